/* SPDX-License-Identifier: Apache-2.0 */
/* Strings, numbers, arrays, pools; JSON escapes. */
#include "base/str.h"

#include <errno.h>
#include <string.h>

#include "base/json_escape.h"
#include "harness.h"

static int u64(const char *text, int base)
{
	uint64_t v = 7;
	int r = parse_u64(text, base, &v);
	return r < 0 ? r : (int)v;
}

static void unsigned_numbers(void)
{
	uint64_t v;

	CHECK_EQ(u64("42", 10), 42);
	CHECK_EQ(u64("0x2a", 0), 42);
	CHECK_EQ(u64("2a", 16), 42);
	CHECK_OK(parse_u64("18446744073709551615", 10, &v));
	CHECK(v == UINT64_MAX);
	CHECK_EQ(u64("18446744073709551616", 10), -ERANGE);
	static const char *const bad[] = { "", " 1", "1 ", "+1", "-1", "x", "1x", "0x" };
	for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
		CHECK_EQ(u64(bad[i], 10), -EINVAL);
}

static void signed_numbers(void)
{
	int64_t v;

	CHECK_OK(parse_i64("-9223372036854775808", 10, &v));
	CHECK(v == INT64_MIN);
	CHECK_OK(parse_i64("9223372036854775807", 10, &v));
	CHECK(v == INT64_MAX);
	CHECK_EQ(parse_i64("9223372036854775808", 10, &v), -ERANGE);
	CHECK_EQ(parse_i64("-9223372036854775809", 10, &v), -ERANGE);
	CHECK_EQ(parse_i64("--1", 10, &v), -EINVAL);
	CHECK_EQ(parse_i64("-", 10, &v), -EINVAL);
}

static void arrays(void)
{
	ARRAY(int) a = { 0 };

	for (int i = 0; i < 1000; i++)
		array_push(&a) = i;
	CHECK_EQ(a.n, 1000);
	CHECK_EQ(a.data[999], 999);
	array_free(&a);
	CHECK(!a.data && !a.n && !a.cap);
}

static void pools(void)
{
	struct arena pool = { 0 };
	char *first = arena_str(&pool, "first"), *big = arena_alloc(&pool, 1 << 20);

	for (int i = 0; i < 10000; i++) {
		int *p = arena_new(&pool, int);
		CHECK(*p == 0 && (uintptr_t)p % 16 == 0);
		*p = -1;
	}
	for (int i = 0; i < 1 << 20; i += 4096)
		CHECK_EQ(big[i], 0);
	CHECK_STR(first, "first");
	CHECK_STR(arena_printf(&pool, "%d-%s", 5, "x"), "5-x");
	arena_done(&pool);
	CHECK(!pool.blocks);
}

static void ownership(void)
{
	autofree char *a = str_printf("%s/%d", "dir", 3);
	char *b = take_ptr(&a);

	CHECK(!a);
	CHECK_STR(b, "dir/3");
	free_pointer(&b);
	CHECK(!b);
	CHECK(str_starts("abc", "ab") && !str_starts("a", "ab") && str_ends("x.img", ".img") && !str_ends("g", "img"));
}

static void escapes(const char *text, const char *wanted)
{
	char out[64];
	size_t n = json_escape(out, sizeof out - 1, text);

	out[n] = 0;
	CHECK_STR(out, wanted);
}

static void json(void)
{
	escapes("plain", "plain");
	escapes("a\"b\\c", "a\\\"b\\\\c");
	escapes("\n\t\001", "\\u000a\\u0009\\u0001");
	escapes("caf\xc3\xa9 \xe2\x82\xac \xf0\x9f\x98\x80", "caf\xc3\xa9 \xe2\x82\xac \xf0\x9f\x98\x80");
	escapes("\xff", "\xef\xbf\xbd");
	escapes("\xc0\x80", "\xef\xbf\xbd\xef\xbf\xbd");
	escapes("\xed\xa0\x80z", "\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbdz");
	escapes("cut\xc3", "cut\xef\xbf\xbd");
}

static void json_cut(void)
{
	char out[8] = "#######";

	CHECK_EQ(json_escape(out, 4, "abc\xc3\xa9"), 3);
	CHECK_EQ(json_escape(out, 1, "\n"), 0);
	CHECK_EQ(json_escape(out, 0, "x"), 0);
	CHECK_EQ(out[4], '#');
}

static void paths_up(void)
{
	static const char *const up[] = { "..", "../a", "a/..", "/..", "a//../b", "/a/../", NULL },
			  *const down[] = { "", "/", ".", "...", "a..b", "..a/b", "a/..b", "a/b..", NULL };

	for (const char *const *p = up; *p; p++)
		CHECK(path_goes_up(*p));
	for (const char *const *p = down; *p; p++)
		CHECK(!path_goes_up(*p));
}

const struct test tests[] = {
	TEST(unsigned_numbers), TEST(signed_numbers), TEST(arrays), TEST(pools), TEST(ownership), TEST(json), TEST(json_cut),
	TEST(paths_up), {},
};
