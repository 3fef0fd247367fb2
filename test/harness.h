/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TEST_HARNESS_H
#define TEST_HARNESS_H

#include <stdbool.h>
#include <stddef.h>

/* Unit tests: a file test/unit/NAME.c defines its list of tests and is linked with test/harness.c and the libraries into one
 * program. Each test runs in a process of its own, which ends when a check fails:
 *
 *     static void empty_list(void)
 *     {
 *             CHECK(list_length(NULL) == 0);
 *     }
 *     const struct test tests[] = { TEST(empty_list), {} };
 */
struct test {
	const char *name;
	void (*run)(void);
	unsigned timeout;      /* seconds; 0: TEST_TIMEOUT */
};
#define TEST(function) { .name = #function, .run = function }
#define TEST_TIMEOUT 60
extern const struct test tests[];      /* the last one has no name */

#define CHECK(condition) ((condition) ? (void)0 : test_failed(__FILE__, __LINE__, "%s", #condition))
/* Whole numbers of any type. */
#define CHECK_EQ(got, wanted)                                                                                          \
	do {                                                                                                           \
		long long test_got = (long long)(got), test_wanted = (long long)(wanted);                              \
		if (test_got != test_wanted)                                                                           \
			test_failed(__FILE__, __LINE__, "%s is %lld, not %lld", #got, test_got, test_wanted);           \
	} while (0)
/* Texts; either may be NULL. */
#define CHECK_STR(got, wanted) test_check_text(__FILE__, __LINE__, #got, got, wanted)
#define CHECK_HAS(text, part) test_check_has(__FILE__, __LINE__, #text, text, part)
/* A function that returns a value >= 0 or -errno, having explained itself: shows the error trail when it failed. */
#define CHECK_OK(call) test_check_ok(__FILE__, __LINE__, #call, (long)(call))

void test_failed(const char *file, int line, const char *fmt, ...) __attribute__((noreturn, format(printf, 3, 4)));
void test_skip(const char *fmt, ...) __attribute__((noreturn, format(printf, 1, 2)));      /* the reason */
void test_check_text(const char *file, int line, const char *what, const char *got, const char *wanted);
void test_check_has(const char *file, int line, const char *what, const char *text, const char *part);
long test_check_ok(const char *file, int line, const char *what, long r);

/* A directory that the test may write to, removed afterwards. */
const char *test_dir(void);

#endif
