/* SPDX-License-Identifier: Apache-2.0 */
/* The lock of the network around connections that are saved or restored.
 *
 *   dump      tree stands ── lock ── sockets are read ──┬── failed, or goes on: sockets as before ── unlock ── tasks run
 *                                                       └── ends: the lock stays, for the restore
 *   restore   root task ── lock ── sockets are built, work ── unlock ── tasks run
 *
 * How is the caller's affair (a method of hooks/netlock.h, scripts at the points network-lock and network-unlock); where and when is decided
 * here:
 * - A tree with a network namespace of its own: all packets in there. If the namespace ends with the tree, so does the lock.
 * - A tree in the engine's own namespace: its connections only (sockets/flows.c).
 * - A lock that outlives the tree is named in the inventory, so that a restore in the same namespace takes it away whatever its own is called.
 * - CRIU's lock by nftables bears the run's id in its name (inventory), in 3.x the pid of the root; a restore takes it away likewise.
 * - A restore makes the lock before anything else is in the namespace. If it fails, what it has made itself is taken away again, and a lock
 *   that was there stays: the connections may still be restored.
 *
 * Taking a lock away may make the kernel wait when a descriptor is closed: that is done at the very end. */
#define LOG_PREFIX "lock"
#include "network_lock.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "action.h"
#include "base/err.h"
#include "base/fd.h"
#include "base/log.h"
#include "base/stage.h"
#include "image/run_id.h"
#include "ns/ns.h"
#include "sockets/flows.h"

struct net_lock {
	const struct ck_lock_method *method;   /* NULL: nothing of ours is locked */
	struct ck_lock lock;
	struct flows flows;
	int netns, later;
	bool made;        /* it was not there before */
	bool scripts;     /* were told of network-lock, and not of network-unlock */
};

static bool own_network(pid_t pid)
{
	struct stat here, there;
	char path[64];

	snprintf(path, sizeof path, "/proc/%d/ns/net", pid);
	return stat("/proc/self/ns/net", &here) == 0 && stat(path, &there) == 0 && here.st_ino != there.st_ino;
}

static int open_netns(struct net_lock *l, pid_t pid)
{
	char path[64];

	snprintf(path, sizeof path, "/proc/%d/ns/net", pid);
	l->netns = open(path, O_RDONLY | O_CLOEXEC);
	return l->netns < 0 ? fail(errno, "open %s", path) : 0;
}

static void begin(struct net_lock *l, const char *name, bool whole)
{
	l->lock = (struct ck_lock){
		.netns = l->netns, .name = name, .whole = whole, .flows = l->flows.data, .n_flows = l->flows.n, .later = &l->later,
	};
}

static int engage(struct net_lock *l, const struct ck_lock_method *method)
{
	if (!l->lock.whole && !l->lock.n_flows)
		return 0;
	int r = method->lock(&l->lock);
	if (r < 0)
		return r;
	l->method = method;
	l->made = r > 0;
	log_debug("%s: %s: %s", method->name, l->lock.name, l->lock.whole ? "all packets" : "connections of the tree");
	return 0;
}

static int disengage(struct net_lock *l)
{
	if (!l->method)
		return 0;
	uint64_t began = clock_us();
	int r = l->method->unlock(&l->lock);
	log_debug("%s: %s: unlocked in %llu us", l->method->name, l->lock.name, (unsigned long long)(clock_us() - began));
	l->method = NULL;
	return r;
}

static void lock_free(struct net_lock **pl)
{
	struct net_lock *l = *pl;

	if (!l)
		return;
	array_free(&l->flows);
	fd_close(&l->netns);
	fd_close(&l->later);
	free(l);
	*pl = NULL;
}

static struct net_lock *lock_new(void)
{
	struct net_lock *l = mem_zalloc(sizeof *l);

	l->netns = l->later = -1;
	return l;
}

/* --- dump --- */

static int lock_tree(struct dump *d, bool whole)
{
	struct net_lock *l = d->lock;
	int r = open_netns(l, d->o->pid);

	if (r >= 0 && !whole)
		r = flows_of_tasks(d, l->netns, &l->flows);
	if (r < 0)
		return r;
	begin(l, d->o->lock_name ? d->o->lock_name : d->run_id, whole);
	r = engage(l, d->o->network_lock);
	if (r >= 0 && l->method)
		d->lock_left = l->lock.name;
	return r;
}

int net_lock_dump(void *ctx)
{
	struct dump *d = ctx;
	bool whole = own_network(d->o->pid);
	int r = 0;

	d->lock = lock_new();
	if (d->o->tcp_established && d->o->network_lock)
		r = lock_tree(d, whole);
	if (r < 0 || !d->o->actions || (!whole && !d->o->tcp_established))
		return r;
	d->lock->scripts = true;   /* even if it fails: half a lock is unlocked as well */
	return action_run(d->o->actions, CK_NETWORK_LOCK, d->images, d->o->pid);
}

void net_lock_dump_release(struct dump *d)
{
	struct net_lock *l = d->lock;
	size_t mark = err_mark();

	if (!l)
		return;
	if (l->scripts && action_run(d->o->actions, CK_NETWORK_UNLOCK, d->images, d->o->pid) < 0)
		log_warn("%s: %s", ck_action_name(CK_NETWORK_UNLOCK), err_line(mark) ? err_line(mark) : "failed");
	l->scripts = false;
	if (disengage(l) < 0)
		log_warn("the network stays locked (torpor-netlock clean): %s", err_line(mark));
	err_rewind(mark);
}

void net_lock_dump_undo(void *ctx)
{
	net_lock_dump_release(ctx);
}

void net_lock_dump_end(struct dump *d)
{
	lock_free(&d->lock);
}

/* --- restore --- */

static const char *restore_name(struct restore *r)
{
	if (r->o->lock_name)
		return r->o->lock_name;
	autofree char *id = image_run_id(r->images);
	return arena_str(r->arena, id ? id : "restore");
}

int net_lock_restore(struct restore *r)
{
	pid_t root = tree_root(r->tree)->host_pid;
	bool whole = own_network(root);

	r->lock = lock_new();
	if (!r->o->tcp_established || !r->o->network_lock)
		return 0;
	int ret = open_netns(r->lock, root);
	if (ret < 0)
		return ret;
	if (!whole)
		flows_of_images(r, &r->lock->flows);
	begin(r->lock, restore_name(r), whole);
	return engage(r->lock, r->o->network_lock);
}

void net_lock_restore_undo(struct restore *r)
{
	if (r->lock && r->lock->made)
		disengage(r->lock);
	lock_free(&r->lock);
}

int net_lock_restore_scripts(struct restore *r)
{
	if (!r->own_ns[NSK_NET] && !r->o->tcp_established)
		return 0;
	return action_run(r->o->actions, CK_NETWORK_UNLOCK, r->images, tree_root(r->tree)->host_pid);
}

/* CRIU's, if it made the images. Which rules of iptables are its own cannot be told from those of other checkpoints. */
static int release_criu(struct restore *r, const struct ck_lock_method *method)
{
	struct net_lock *l = r->lock;

	if (r->criu_iptables || (r->criu_lock && !method->unlock_criu))
		log_warn("the images say that CRIU locked the network by %s: if its rules are still there (mark 0xC114, iptables -S, nft list ruleset), "
			 "remove them, or the connections stand still", r->criu_iptables ? "iptables" : "nftables");
	if (!r->criu_lock || !method->unlock_criu)
		return 0;
	l->lock.name = r->criu_lock[0] ? r->criu_lock : arena_printf(r->arena, "%d", tree_root(r->tree)->pid);
	int ret = method->unlock_criu(&l->lock);
	if (ret > 0)
		log_info("CRIU's lock of the network (nftables, inet CRIU-%s) is taken away", l->lock.name);
	return ret < 0 ? ret : 0;
}

/* That of the dump as well, if it is another one. */
int net_lock_restore_release(struct restore *r)
{
	struct net_lock *l = r->lock;
	const struct ck_lock_method *method = l->method;
	int ret = disengage(l);

	if (ret >= 0 && method)
		ret = release_criu(r, method);
	if (ret < 0 || !method || !r->lock_left)
		return ret;
	l->lock.name = r->lock_left;
	ret = method->unlock(&l->lock);
	return ret < 0 ? ret : 0;
}

void net_lock_restore_end(struct restore *r)
{
	lock_free(&r->lock);
}
