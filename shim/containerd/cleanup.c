/* SPDX-License-Identifier: Apache-2.0 */
/* `delete`: what a dead shim has left of a container goes away: processes, cgroups, mounts, state, its socket.
 *
 * containerd gives it five seconds, kills it then, and does not come back; a loaded machine may take longer. So the work is done by a process
 * of its own, in a session of its own and with none of our descriptors, which goes on when this one is killed. Each step of it takes "gone
 * already" for done. What it logs and how it ends comes back through memory and a socket.
 *
 * The socket goes first: the next shim of the group needs the name. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "base/err.h"
#include "base/fd.h"
#include "base/log.h"
#include "base/str.h"
#include "containerd/address.h"
#include "containerd/bootstrap.h"
#include "containerd/pod.h"
#include "containerd/publish.h"
#include "containerd/task.h"
#include "oci.h"

#define SETTLE_MS 3000   /* of containerd's five seconds */

struct cleanup {
	int result;
	pid_t pid;   /* the container's init, if it lived */
};

static int delete_container(const struct bootstrap *b, pid_t *pid)
{
	autofree char *root = bootstrap_state_root(b->ns);
	const struct oci_options o = { .root = root };
	struct container *c;
	size_t mark = err_mark();
	int r = container_open(&o, b->id, &c);

	*pid = 0;
	if (r == 0) {
		*pid = container_init_pid(c);
		r = container_delete(c, true);
		container_free(c);
	} else if (r != -ENOENT) {
		err_rewind(mark);
		r = container_discard(&o, b->id);
	}
	if (r == -ENOENT)
		err_rewind(mark);
	return r == -ENOENT ? 0 : r;
}

/* Where its shim was: the bundle says it. To be freed. */
static char *socket_of(const struct bootstrap *b)
{
	autofree char *text = NULL, *group = NULL;
	autoclose int bundle = open(b->bundle, O_PATH | O_DIRECTORY | O_CLOEXEC);
	const char *prefix = "unix://";

	if (bundle >= 0 && file_read(bundle, "address", &text, 4096) > 0 && str_starts(text, prefix))
		return str_dup(text + strlen(prefix));
	if (bundle < 0 || bootstrap_group(b, bundle, &group) < 0)
		err_clear();
	return address_path(ADDRESS_DIR, b->address, b->ns, group ? group : b->id);
}

/* If nobody is there any more: of a pod the others' shim may live on. */
static void remove_socket(char *path)
{
	autofree char *dir = str_dup(path);
	char *slash = strrchr(dir, '/');

	if (slash)
		*slash = '\0';
	autoclose int lock = slash && access(dir, F_OK) == 0 ? address_lock(dir) : -1;
	if (lock >= 0)
		address_remove(path);
	err_clear();
}

/* When the caller has been killed, containerd takes the bundle away with its mounts, and another container may be there by now. */
static int clean_up(const struct bootstrap *b, pid_t caller, pid_t *pid)
{
	autofree char *rootfs = str_printf("%s/rootfs", b->bundle);
	int r = delete_container(b, pid);

	if (r < 0 || getppid() != caller)
		return r;
	r = rootfs_unmount(rootfs);
	return r < 0 ? r : pod_remove(b->bundle, b->id);
}

static _Noreturn void work(const struct bootstrap *b, pid_t caller, int sock, int log)
{
	struct cleanup c = { 0 };
	int null = open("/dev/null", O_RDWR | O_CLOEXEC);

	setsid();
	signal(SIGPIPE, SIG_IGN);   /* nobody may be there to hear of the end */
	for (int fd = 0; fd < 3; fd++)
		dup2(null, fd);
	log_swap(log);
	c.result = clean_up(b, caller, &c.pid);
	if (fd_write_all(sock, &c, sizeof c) == 0)
		err_send(sock);
	_exit(0);
}

static void pass_on(int log)
{
	char text[4096];
	ssize_t n;

	for (off_t at = 0; (n = pread(log, text, sizeof text, at)) > 0; at += n)
		if (fd_write_all(2, text, (size_t)n) < 0)
			return;
}

static int in_a_process(const struct bootstrap *b, pid_t *init)
{
	struct cleanup c = { 0 };
	int ends[2];
	autoclose int log = memfd_create("log", MFD_CLOEXEC);

	if (log < 0 || socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) < 0)
		return fail(errno, "prepare a process that cleans up");
	autoclose int sock = ends[0];
	pid_t caller = getpid(), pid = fork();
	if (pid == 0) {
		close(sock);
		work(b, caller, ends[1], log);
	}
	close(ends[1]);
	if (pid < 0)
		return fail(errno, "make a process that cleans up");
	int r = fd_read_all(sock, &c, sizeof c);
	pass_on(log);
	if (r < 0)
		return fail_text(EIO, "container %s: the process that cleans up has ended before it was done", b->id);
	err_recv(sock);
	*init = c.pid;
	return c.result;
}

int bootstrap_delete(const struct bootstrap *b)
{
	Task__DeleteResponse a = TASK__DELETE_RESPONSE__INIT;
	struct timespec now;
	Wk__Timestamp at;
	pid_t pid = 0;
	int r = bootstrap_check(b);

	if (r >= 0 && !b->bundle)
		return fail_text(EINVAL, "delete: the flag -bundle is needed");
	if (r < 0)
		return r;
	autofree char *path = socket_of(b);
	address_settle(path, SETTLE_MS);
	remove_socket(path);
	r = in_a_process(b, &pid);
	if (r < 0)
		return r;
	clock_gettime(CLOCK_REALTIME, &now);
	timestamp_fill(&at, &now);
	a.pid = (uint32_t)pid;
	a.exit_status = 128 + SIGKILL;
	a.exited_at = &at;
	return bootstrap_answer(&a.base);
}
