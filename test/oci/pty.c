/* SPDX-License-Identifier: Apache-2.0 */
/* The other end of a terminal, for tests.
 *
 *   pty run [STEP…] -- COMMAND…       runs the command on a new terminal of 24 rows and 80 columns; its exit status
 *   pty receive SOCKET [STEP…]        listens on a unix socket for a terminal (a --console-socket), says its name; runs until it is closed
 *   pty pidfd SOCKET                  listens for a pidfd and prints the pid that it is of
 *   pty notify                        says READY=1 to NOTIFY_SOCKET
 *
 * Steps, in order: expect TEXT (in the output since the last one), send TEXT, size ROWS COLUMNS, say TEXT (on stdout, so that others know how
 * far this is). The output goes to stdout. A socket that is there can be connected to. */
#include <errno.h>
#include <poll.h>
#include <pty.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

static char seen[1 << 16];
static size_t n_seen, looked;

static void die(const char *what)
{
	perror(what);
	exit(99);
}

/* False at the end. */
static int more(int fd)
{
	ssize_t n;

	if (poll(&(struct pollfd){ .fd = fd, .events = POLLIN }, 1, 300000) == 0) {
		fprintf(stderr, "pty: nothing for five minutes\n");
		exit(98);
	}
	if (n_seen > sizeof seen / 2)   /* nobody looks for anything so long ago */
		n_seen = looked = 0;
	n = read(fd, seen + n_seen, sizeof seen - n_seen - 1);
	if (n <= 0)
		return 0;
	if (write(1, seen + n_seen, (size_t)n) != n)
		die("write");
	n_seen += (size_t)n;
	seen[n_seen] = 0;
	return 1;
}

static void expect(int fd, const char *text)
{
	char *at;

	while (!(at = strstr(seen + looked, text)))
		if (!more(fd)) {
			fprintf(stderr, "pty: the end comes before \"%s\"\n", text);
			exit(97);
		}
	looked = (size_t)(at - seen) + strlen(text);
}

/* Returns the index behind the steps. */
static int play(int fd, char **argv)
{
	int i = 0;

	for (; argv[i] && strcmp(argv[i], "--"); i += 2) {
		if (!strcmp(argv[i], "expect"))
			expect(fd, argv[i + 1]);
		else if (!strcmp(argv[i], "send") && write(fd, argv[i + 1], strlen(argv[i + 1])) < 0)
			die("send");
		else if (!strcmp(argv[i], "say"))
			puts(argv[i + 1]);
		else if (!strcmp(argv[i], "size")) {
			struct winsize size = { .ws_row = (unsigned short)atoi(argv[i + 1]), .ws_col = (unsigned short)atoi(argv[i + 2]) };
			ioctl(fd, TIOCSWINSZ, &size);
			i++;
		}
	}
	return i;
}

static int run(char **argv)
{
	struct winsize size = { .ws_row = 24, .ws_col = 80 };
	int master, status, command = 0;

	while (argv[command] && strcmp(argv[command], "--"))
		command++;
	pid_t pid = forkpty(&master, NULL, NULL, &size);
	if (pid == 0) {
		execvp(argv[command + 1], argv + command + 1);
		die("exec");
	}
	play(master, argv);
	while (more(master))
		;
	waitpid(pid, &status, 0);
	return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

static int receive(const char *path, char *name, size_t size)
{
	struct sockaddr_un at = { .sun_family = AF_UNIX };
	char control[CMSG_SPACE(sizeof(int))];
	struct iovec iov = { name, size - 1 };
	struct msghdr m = { .msg_iov = &iov, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof control };
	int fd, listener = socket(AF_UNIX, SOCK_STREAM, 0);

	snprintf(at.sun_path, sizeof at.sun_path, "%s~", path);
	if (bind(listener, (struct sockaddr *)&at, sizeof at) < 0 || listen(listener, 1) < 0 || rename(at.sun_path, path) < 0)
		die("listen");
	int connection = accept(listener, NULL, NULL);
	ssize_t n = recvmsg(connection, &m, 0);
	if (n <= 0 || !CMSG_FIRSTHDR(&m))
		die("no descriptor came");
	name[n] = 0;
	memcpy(&fd, CMSG_DATA(CMSG_FIRSTHDR(&m)), sizeof fd);
	return fd;
}

static int show_pidfd(int fd)
{
	char path[64], line[256];

	snprintf(path, sizeof path, "/proc/self/fdinfo/%d", fd);
	FILE *f = fopen(path, "r");
	while (f && fgets(line, sizeof line, f))
		if (!strncmp(line, "Pid:", 4))
			printf("%d\n", atoi(line + 4));
	return 0;
}

static int notify(void)
{
	struct sockaddr_un at = { .sun_family = AF_UNIX };
	const char *name = getenv("NOTIFY_SOCKET");

	strncpy(at.sun_path, name ? name : "", sizeof at.sun_path - 1);
	if (sendto(socket(AF_UNIX, SOCK_DGRAM, 0), "READY=1", 7, 0, (struct sockaddr *)&at, sizeof at) != 7)
		die("notify");
	return 0;
}

int main(int argc, char **argv)
{
	char name[256];

	setvbuf(stdout, NULL, _IONBF, 0);
	if (argc > 2 && !strcmp(argv[1], "run"))
		return run(argv + 2);
	if (argc == 2 && !strcmp(argv[1], "notify"))
		return notify();
	if (argc < 3)
		return 99;
	int fd = receive(argv[2], name, sizeof name);
	if (!strcmp(argv[1], "pidfd"))
		return show_pidfd(fd);
	printf("%s\n", name);
	play(fd, argv + 3);
	while (more(fd))
		;
	return 0;
}
