/* SPDX-License-Identifier: Apache-2.0 */
/* waiting N FILE: N connections with itself, and a thread asleep in recv() of each, as a live program has them. FILE is made when they are
 * there; whatever a recv() returns is a fault and becomes a line of it: nobody sends anything. */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static int out;

static void *wait_for_data(void *arg)
{
	int fd = (int)(intptr_t)arg;
	char byte, line[128];

	for (;;) {
		ssize_t n = recv(fd, &byte, 1, 0);
		int size = snprintf(line, sizeof line, "descriptor %d: %zd, %s\n", fd, n, n < 0 ? strerror(errno) : "");
		if (write(out, line, (size_t)size) != size || n == 0)
			return NULL;
		usleep(1000);
	}
}

static void connect_one(int listener, const struct sockaddr_in *a)
{
	pthread_attr_t small;
	pthread_t thread;
	int s = socket(AF_INET, SOCK_STREAM, 0);

	if (connect(s, (const void *)a, sizeof *a) < 0)
		exit(1);
	s = accept(listener, NULL, NULL);
	pthread_attr_init(&small);
	pthread_attr_setstacksize(&small, 64 << 10);
	if (s < 0 || pthread_create(&thread, &small, wait_for_data, (void *)(intptr_t)s) != 0)
		exit(1);
}

int main(int argc, char **argv)
{
	struct sockaddr_in a = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t size = sizeof a;

	if (argc != 3)
		return 2;
	close_range(3, ~0u, 0);   /* what whoever started it has left open would have to be saved */
	int listener = socket(AF_INET, SOCK_STREAM, 0);
	char making[4096];
	snprintf(making, sizeof making, "%s.new", argv[2]);
	out = open(making, O_WRONLY | O_CREAT | O_APPEND, 0600);
	if (out < 0 || listener < 0 || bind(listener, (const void *)&a, sizeof a) < 0 || listen(listener, 64) < 0 ||
	    getsockname(listener, (void *)&a, &size) < 0)
		return 1;
	for (int i = atoi(argv[1]); i > 0; i--)
		connect_one(listener, &a);
	if (rename(making, argv[2]) < 0)
		return 1;
	for (;;)
		pause();
}
