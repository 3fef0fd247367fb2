/* SPDX-License-Identifier: Apache-2.0 */
/* Descriptors into and out of a task.
 *
 * Out: pidfd_getfd. In: a stream socketpair is made in the task, one end is taken out, and descriptors come over it by SCM_RIGHTS,
 * received by a recvmsg of the task. They arrive with FD_CLOEXEC set, at the lowest free numbers.
 *
 * Not protected: if the engine is killed while a live task has a channel, the task keeps its end (CLOEXEC). Dumps do without where they can. */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/err.h"
#include "base/fd.h"
#include "remote/internal.h"

/* The layout of recvmsg's arguments in this folder's page of the slot. */
struct message {
	struct {
		uint64_t name, name_length, iov, iov_length, control, control_length, flags;
	} head;
	struct {
		uint64_t base, length;
	} iov;
	uint64_t byte;
	uint8_t control[CMSG_SPACE(FD_PASS_MAX * sizeof(int))] __attribute__((aligned(8)));
};
_Static_assert(sizeof(struct message) <= PRIVATE_SIZE - HOLD_SIZE, "a message fits the page");

static int need_pidfd(struct remote *r)
{
	struct status s;

	if (r->pidfd >= 0)
		return 0;
	r->pidfd = (int)syscall(SYS_pidfd_open, r->tid, 0);
	if (r->pidfd < 0 && errno != ESRCH && status_read(r->tid, &s) == 0)      /* not a leader: the process has the same table */
		r->pidfd = (int)syscall(SYS_pidfd_open, s.tgid, 0);
	return r->pidfd < 0 ? -errno : 0;
}

int remote_pidfd(struct remote *r)
{
	int e = need_pidfd(r);

	return e < 0 ? e : r->pidfd;
}

int remote_get_fd(struct remote *r, int fd)
{
	int e = need_pidfd(r);

	if (e < 0)
		return e;
	int got = (int)syscall(SYS_pidfd_getfd, r->pidfd, fd, 0);
	return got < 0 ? -errno : got;
}

int remote_channel(const struct remote *r)
{
	return r->channel;
}

/* The task's numbers of a new pair. */
static int make_pair(struct remote *r, bool alone, int pair[2])
{
	uint64_t at = r->slot + SLOT_PRIVATE;
	struct call calls[] = {
		{ .nr = SYS_close_range, .arg = { 0, ~0u } },
		{ .nr = SYS_socketpair, .arg = { AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, at } },
	};
	int e = alone ? remote_batch(r, calls, 2) : remote_batch(r, calls + 1, 1);

	if (e < 0)
		return e;
	if (alone && calls[0].ret < 0)
		return fail((int)-calls[0].ret, "close the descriptors of task %d", r->tid);
	if (calls[1].ret < 0)
		return fail((int)-calls[1].ret, "make a socket pair in task %d", r->tid);
	return remote_read(r, at, pair, 2 * sizeof *pair);
}

int remote_open_channel(struct remote *r)
{
	int pair[2], e = r->channel < 0 ? make_pair(r, false, pair) : 1;

	if (e)
		return e < 0 ? e : 0;
	r->channel = remote_get_fd(r, pair[1]);
	if (r->channel < 0) {
		e = fail(-r->channel, "take descriptor %d of task %d", pair[1], r->tid);
		remote_call(r, SYS_close, (uint64_t)pair[0], 0, 0, 0, 0, 0);
	} else {
		r->peer = pair[0];
	}
	remote_call(r, SYS_close, (uint64_t)pair[1], 0, 0, 0, 0, 0);
	return e;
}

int remote_open_only_channel(struct remote *r)
{
	int pair[2], e = make_pair(r, true, pair);

	if (e < 0)
		return e;
	r->channel = remote_get_fd(r, pair[1]);
	if (r->channel < 0)
		return fail(-r->channel, "take descriptor %d of task %d", pair[1], r->tid);
	r->peer = pair[0];
	return 0;
}

int remote_close_channel(struct remote *r)
{
	if (r->channel < 0)
		return 0;
	fd_close(&r->channel);
	int64_t ret = remote_call(r, SYS_close, (uint64_t)r->peer, 0, 0, 0, 0, 0);
	r->peer = -1;
	return ret < 0 ? fail((int)-ret, "close the channel of task %d", r->tid) : 0;
}

int remote_forget_channel(struct remote *r)
{
	int peer = r->channel < 0 ? -1 : r->peer;

	fd_close(&r->channel);
	r->channel = r->peer = -1;
	return peer;
}

int remote_keep_channel(struct remote *r, int number)
{
	bool moves = r->peer != number;

	if (r->channel < 0)
		return fail(EBADF, "move the channel of task %d", r->tid);
	struct call calls[] = {
		{ .nr = SYS_dup3, .arg = { (uint64_t)r->peer, (uint64_t)number, O_CLOEXEC }, .must = 1 },
		{ .nr = SYS_close_range, .arg = { 0, (uint64_t)number - 1 }, .must = 1 },
		{ .nr = SYS_close_range, .arg = { (uint64_t)number + 1, ~0u }, .must = 1 },
	};
	int ret = remote_batch_checked(r, calls + !moves, 2 + (size_t)moves, "close all descriptors but the channel");
	if (ret < 0)
		return ret;
	r->peer = number;
	return 0;
}

static struct message empty_message(uint64_t at)
{
	return (struct message){
		.head = { .iov = at + offsetof(struct message, iov), .iov_length = 1, .control = at + offsetof(struct message, control),
			  .control_length = CMSG_SPACE(FD_PASS_MAX * sizeof(int)) },
		.iov = { at + offsetof(struct message, byte), 1 },
	};
}

/* The descriptors in a message that the task has received: how many. */
static int take_numbers(const struct remote *r, const struct message *m, int *numbers, size_t max)
{
	struct cmsghdr head;

	memcpy(&head, m->control, sizeof head);
	if (m->head.flags & MSG_CTRUNC)
		return fail_text(EMFILE, "task %d could not take all descriptors: its limit of open files is too low", r->tid);
	if (m->head.control_length < sizeof head || head.cmsg_len > sizeof m->control || head.cmsg_level != SOL_SOCKET ||
	    head.cmsg_type != SCM_RIGHTS)
		return fail_text(EPROTO, "task %d received a message without descriptors", r->tid);
	size_t n = (head.cmsg_len - CMSG_LEN(0)) / sizeof *numbers;
	if (n > max)
		return fail_text(EPROTO, "task %d received %zu descriptors instead of %zu", r->tid, n, max);
	memcpy(numbers, m->control + CMSG_LEN(0), n * sizeof *numbers);
	return (int)n;
}

int remote_recv_fds(struct remote *r, size_t n, int *numbers)
{
	uint64_t at = r->slot + SLOT_PRIVATE;

	for (size_t done = 0; done < n;) {
		struct message m = empty_message(at);
		int e = remote_write(r, at, &m, sizeof m);
		if (e < 0)
			return e;
		int64_t ret = remote_call(r, SYS_recvmsg, (uint64_t)r->peer, at, MSG_CMSG_CLOEXEC, 0, 0, 0);
		if (ret < 0)
			return fail((int)-ret, "receive descriptors in task %d", r->tid);
		if (!ret)
			return fail_text(ENODATA, "receive descriptors in task %d: the sender has gone", r->tid);
		e = remote_read(r, at, &m, sizeof m);
		if (e == 0)
			e = take_numbers(r, &m, numbers + done, n - done);
		if (e < 0)
			return e;
		done += (size_t)e;
	}
	return 0;
}

int remote_send_fds(struct remote *r, const int *fds, size_t n, int *numbers)
{
	for (size_t done = 0; done < n;) {
		size_t part = n - done < FD_PASS_MAX ? n - done : FD_PASS_MAX;
		int e = fd_send(r->channel, fds + done, part);
		if (e < 0)
			return fail(-e, "send descriptors to task %d", r->tid);
		e = remote_recv_fds(r, part, numbers + done);
		if (e < 0)
			return e;
		done += part;
	}
	return 0;
}
