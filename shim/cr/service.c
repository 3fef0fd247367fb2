/* SPDX-License-Identifier: Apache-2.0 */
/* torpor-cr service: RPC for processes that are not our parent. A unix socket, a process per connection.
 *
 * Whoever can connect could dump and restore as root. So a connection of another user than the service's own is served only by a
 * service that has no more rights than that user: root's service serves root alone, and says so. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/err.h"
#include "base/fd.h"
#include "base/log.h"
#include "cr/pages.h"
#include "cr/rpc.h"
#include "cr/rpc_private.h"
#include "cr/verbs.h"

#define DEFAULT_PATH "criu_service.socket"

static int listen_at(const char *path)
{
	struct sockaddr_un at = { .sun_family = AF_UNIX };

	if (strlen(path) >= sizeof at.sun_path)
		return fail_text(ENAMETOOLONG, "--address %s: a unix socket's path has at most %zu bytes", path, sizeof at.sun_path - 1);
	memcpy(at.sun_path, path, strlen(path));
	autoclose int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
	struct stat st;
	if (fd < 0)
		return fail(errno, "make the socket of the service");
	if (lstat(path, &st) == 0 && !S_ISSOCK(st.st_mode))
		return fail_text(EEXIST, "--address %s: there is a file that is no socket", path);
	unlink(path);
	if (bind(fd, (struct sockaddr *)&at, sizeof at) < 0 || listen(fd, 16) < 0)
		return fail(errno, "listen at %s", path);
	if (chmod(path, 0666) < 0)
		return fail(errno, "open %s for others", path);
	return take_fd(&fd);
}

static int work(int fd)
{
	struct ucred peer;
	struct rpc rpc = { .fd = fd };
	socklen_t size = sizeof peer;

	signal(SIGCHLD, SIG_DFL);
	if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &size) < 0)
		return fail(errno, "the client's credentials");
	if (peer.uid != geteuid()) {
		fail_text(EPERM, "process %d of user %u: this service works for user %u only", peer.pid, peer.uid, geteuid());
		return rpc_refuse(&rpc, EPERM);
	}
	rpc.client = peer.pid;
	return rpc_connection(&rpc);
}

/* Waits for a connection. For want of descriptors or memory it waits in the socket's queue meanwhile. */
static int next_client(int fd)
{
	for (bool told = false;;) {
		int client = accept4(fd, NULL, NULL, SOCK_CLOEXEC);
		if (client >= 0)
			return client;
		if (errno == EINTR || errno == ECONNABORTED)
			continue;
		if (errno != EMFILE && errno != ENFILE && errno != ENOBUFS && errno != ENOMEM)
			return fail(errno, "accept a connection");
		if (!told)
			log_error("a connection cannot be accepted: %s; it waits until it can", strerror(errno));
		told = true;
		nanosleep(&(struct timespec){ .tv_nsec = 100000000 }, NULL);
	}
}

int cr_service(const struct cr_options *o)
{
	struct cr_options copy = *o;
	autoclose int fd = listen_at(o->address ? o->address : DEFAULT_PATH);

	if (fd < 0)
		return fd;
	int r = cr_is_ready(&copy, 0);
	if (r < 0)
		return r;
	signal(SIGCHLD, SIG_IGN);   /* workers are not waited for */
	for (;;) {
		autoclose int client = next_client(fd);
		if (client < 0)
			return client;
		pid_t pid = fork();
		if (pid < 0)
			log_warn("a worker for the connection: %s", strerror(errno));
		if (pid != 0)
			continue;
		fd_close(&fd);
		r = work(client);
		if (r < 0)
			log_trail();
		_exit(r < 0 ? 1 : 0);
	}
}

/* --- page servers of requests --------------------------------------------------------------------------------------------- */

struct answer {
	int fd;
	struct said { pid_t pid; unsigned port; } said;
};

static int tell(void *arg, unsigned port)
{
	struct answer *a = arg;

	a->said = (struct said){ .pid = getpid(), .port = port };
	int r = fd_write_all(a->fd, &a->said, sizeof a->said);
	fd_close(&a->fd);
	return r;
}

/* The server's process: what goes wrong before it listens comes back over the pipe. */
static void serve_pages(const struct cr_options *o, int fd)
{
	struct answer answer = { .fd = fd };
	int r = cr_serve_pages(o, tell, &answer);

	if (r < 0 && answer.fd >= 0 && fd_write_all(answer.fd, &(struct said){ .pid = 0 }, sizeof(struct said)) == 0)
		err_send(answer.fd);
	else if (r < 0)
		log_trail();
	_exit(r < 0 ? 1 : 0);
}

int rpc_page_server(const struct rpc *rpc, const struct cr_options *o, bool daemon, pid_t *pid, unsigned *port)
{
	struct said said;
	int p[2];

	if (pipe2(p, O_CLOEXEC) < 0)
		return fail(errno, "make a pipe for the page server");
	pid_t child = fork();
	if (child == 0) {
		close(p[0]);
		close(rpc->fd);   /* the client may wait for the connection's end */
		if (daemon)
			cr_detach();
		else
			setsid();
		if (!daemon || fork() == 0)
			serve_pages(o, p[1]);
		_exit(0);
	}
	close(p[1]);
	autoclose int in = p[0];
	if (child < 0)
		return fail(errno, "start the page server");
	if (daemon)
		waitpid(child, NULL, 0);
	if (fd_read_all(in, &said, sizeof said) < 0)
		return fail_text(EIO, "the page server ended before it listened");
	if (!said.pid) {
		err_recv(in);
		return fail_text(EIO, "the page server did not start");
	}
	*pid = said.pid;
	*port = said.port;
	return 0;
}
