/* SPDX-License-Identifier: Apache-2.0 */
/* Escaping for the one place that writes JSON without the library: log lines. */
#include "base/json_escape.h"

#include <stdio.h>
#include <string.h>

/* Length of the UTF-8 sequence at s, or 0 when it is not one (overlong forms and surrogates included). */
static size_t utf8_length(const unsigned char *s)
{
	if (s[0] < 0x80)
		return 1;
	if (s[0] >= 0xc2 && s[0] <= 0xdf)
		return (s[1] & 0xc0) == 0x80 ? 2 : 0;
	if ((s[0] & 0xf0) == 0xe0) {
		if ((s[1] & 0xc0) != 0x80 || (s[2] & 0xc0) != 0x80)
			return 0;
		return (s[0] == 0xe0 && s[1] < 0xa0) || (s[0] == 0xed && s[1] > 0x9f) ? 0 : 3;
	}
	if (s[0] >= 0xf0 && s[0] <= 0xf4) {
		if ((s[1] & 0xc0) != 0x80 || (s[2] & 0xc0) != 0x80 || (s[3] & 0xc0) != 0x80)
			return 0;
		return (s[0] == 0xf0 && s[1] < 0x90) || (s[0] == 0xf4 && s[1] > 0x8f) ? 0 : 4;
	}
	return 0;
}

size_t json_escape(char *out, size_t size, const char *text)
{
	const unsigned char *s = (const unsigned char *)text;
	size_t at = 0;

	while (*s) {
		char piece[8];
		size_t len = utf8_length(s), take = len ? len : 1, n;

		if (!len) {
			n = 3;
			memcpy(piece, "\xef\xbf\xbd", 3);
		} else if (*s == '"' || *s == '\\') {
			n = 2;
			piece[0] = '\\';
			piece[1] = (char)*s;
		} else if (*s < 0x20 || *s == 0x7f) {
			n = (size_t)snprintf(piece, sizeof piece, "\\u%04x", *s);
		} else {
			n = len;
			memcpy(piece, s, len);
		}
		if (at + n > size)
			break;
		memcpy(out + at, piece, n);
		at += n;
		s += take;
	}
	return at;
}
