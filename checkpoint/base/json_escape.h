/* SPDX-License-Identifier: Apache-2.0 */
#ifndef BASE_JSON_ESCAPE_H
#define BASE_JSON_ESCAPE_H

#include <stddef.h>

/* Writes text as the inside of a JSON string (RFC 8259: quotes, backslash and control characters escaped, bytes that are not
 * valid UTF-8 replaced by U+FFFD) into out, cutting at a character so that it fits size; returns the bytes written, no NUL. */
size_t json_escape(char *out, size_t size, const char *text);

#endif
