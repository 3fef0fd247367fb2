/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Character devices without state: null, zero, full, random, urandom, and a tty-less standard input and output.
 */
#include "cr.h"

static const char *const names[] = { "/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom" };
#define DEVICES (int)(sizeof(names) / sizeof(names[0]))

int main(int argc, char **argv)
{
	char buffer[16] = "xxxxxxxx";
	int fds[DEVICES];

	cr_begin(argc, argv);
	for (int i = 0; i < DEVICES; i++)
		need((fds[i] = open(names[i], O_RDWR | (i == 1 ? O_NONBLOCK | O_CLOEXEC : 0))) >= 0);
	cr_wait();
	for (int i = 0; i < DEVICES; i++) {
		struct stat a = { 0 }, b = { 0 };
		expect(fstat(fds[i], &a) == 0 && stat(names[i], &b) == 0 && a.st_rdev == b.st_rdev && S_ISCHR(a.st_mode),
		       "%s: another file", names[i]);
	}
	expect(fcntl(fds[1], F_GETFL) & O_NONBLOCK && fcntl(fds[1], F_GETFD) == FD_CLOEXEC, "/dev/zero: flags");
	expect(read(fds[0], buffer, 8) == 0 && write(fds[0], buffer, 8) == 8, "/dev/null");
	expect(read(fds[1], buffer, 8) == 8 && cr_is_zero(buffer, 8), "/dev/zero");
	expect(write(fds[2], buffer, 8) < 0 && errno == ENOSPC, "/dev/full");
	expect(read(fds[4], buffer, 8) == 8, "/dev/urandom");
	expect(read(0, buffer, 8) == 0 && write(1, buffer, 8) == 8, "standard input and output");
	return cr_end();
}
