/* SPDX-License-Identifier: Apache-2.0 */
/* Capabilities and the change of user.
 *
 * Five sets. The bounding set limits what any later execve() can give and can only shrink, by PR_CAPBSET_DROP, which needs
 * CAP_SETPCAP. A change from uid 0 to another clears the other sets, unless PR_SET_KEEPCAPS (which keeps the permitted one; execve()
 * resets it). The ambient set survives execve() of an ordinary program by an ordinary user; a capability can only be in it while
 * it is permitted and inheritable.
 *
 * Order: bounding; groups, gid, uid (CAP_SETGID, CAP_SETUID), permitted kept; permitted, effective and inheritable as wanted; ambient.
 *
 * A capability that the runtime itself does not have cannot be handed on: runtime-spec asks for a warning there, not an error. An ambient
 * one that is not inheritable as well is left out: buildah's configurations have such.
 * Without a `capabilities` object a process gets none. */
#include "security/security.h"

#include <errno.h>
#include <grp.h>
#include <linux/capability.h>
#include <sys/capability.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/err.h"

#define LOG_PREFIX "caps"
#include "base/log.h"

static int get(struct __user_cap_data_struct data[2])
{
	struct __user_cap_header_struct head = { .version = _LINUX_CAPABILITY_VERSION_3 };
	return syscall(SYS_capget, &head, data) < 0 ? -errno : 0;
}

/* Which of these can be handed on. */
static uint64_t available(uint64_t wanted, bool user_namespace)
{
	struct __user_cap_data_struct data[2] = { 0 };
	uint64_t bounding = 0;

	for (int cap = 0; cap < 64; cap++) {
		int r = wanted & 1ull << cap ? prctl(PR_CAPBSET_READ, cap, 0, 0, 0) : 0;
		if (r > 0 || (wanted & 1ull << cap && r == 0 && user_namespace))
			bounding |= 1ull << cap;
	}
	if (user_namespace)
		return bounding;
	get(data);
	return bounding & (data[0].permitted | (uint64_t)data[1].permitted << 32);
}

static void tell(uint64_t caps, enum log_level level, const char *why)
{
	for (int cap = 0; caps; cap++, caps >>= 1) {
		if (!(caps & 1))
			continue;
		char *name = cap_to_name(cap);
		log_write(level, LOG_PREFIX, "capability %s %s", name ? name : "?", why);
		cap_free(name);
	}
}

void caps_limit(struct spec_capabilities *c, bool user_namespace)
{
	uint64_t *const sets[] = { &c->bounding, &c->permitted, &c->effective, &c->inheritable, &c->ambient };
	uint64_t wanted = c->bounding | c->permitted | c->effective | c->inheritable | c->ambient, can = available(wanted, user_namespace);

	for (size_t i = 0; i < sizeof sets / sizeof *sets; i++)
		*sets[i] &= can;
	tell(wanted & ~can, LOG_LEVEL_WARN, "is not given to the container: the runtime does not have it itself");
	tell(c->ambient & ~(c->permitted & c->inheritable), LOG_LEVEL_INFO, "is not made ambient: it is not permitted and inheritable as well");
	c->ambient &= c->permitted & c->inheritable;
}

int caps_bound(const struct spec_capabilities *c)
{
	for (int cap = 0; cap < 64; cap++) {
		if (c->bounding & 1ull << cap || prctl(PR_CAPBSET_DROP, cap, 0, 0, 0) == 0)
			continue;
		if (errno == EINVAL)
			return 0;   /* beyond the last one that the kernel has */
		if (prctl(PR_CAPBSET_READ, cap, 0, 0, 0) > 0)   /* without CAP_SETPCAP not even one that is not there can be dropped */
			return fail(EPERM, "process.capabilities.bounding: drop capability %d", cap);
	}
	return 0;
}

static int set(uint64_t permitted, uint64_t effective, uint64_t inheritable)
{
	struct __user_cap_header_struct head = { .version = _LINUX_CAPABILITY_VERSION_3 };
	struct __user_cap_data_struct data[2] = {
		{ (uint32_t)effective, (uint32_t)permitted, (uint32_t)inheritable },
		{ (uint32_t)(effective >> 32), (uint32_t)(permitted >> 32), (uint32_t)(inheritable >> 32) },
	};
	return syscall(SYS_capset, &head, data) < 0 ? -errno : 0;
}

int caps_user(const struct spec_process *p, uint64_t keep, bool unprivileged)
{
	struct __user_cap_data_struct data[2] = { 0 };
	_Static_assert(sizeof(gid_t) == sizeof *p->additional_gids, "a list of gids as the kernel takes it");

	if (prctl(PR_SET_KEEPCAPS, 1, 0, 0, 0) < 0)
		return fail(errno, "keep capabilities over the change of user");
	if (setgroups(p->n_additional_gids, p->additional_gids) < 0 && (errno != EPERM || p->n_additional_gids || !unprivileged))
		return fail(errno, "process.user.additionalGids: set %zu groups", p->n_additional_gids);
	/* The plain system calls: the C library's would signal all threads of a process that is not this one's any more. */
	if (syscall(SYS_setresgid, p->gid, p->gid, p->gid) < 0)
		return fail(errno, "process.user.gid: become group %u", p->gid);
	if (syscall(SYS_setresuid, p->uid, p->uid, p->uid) < 0)
		return fail(errno, "process.user.uid: become user %u", p->uid);
	if (prctl(PR_SET_KEEPCAPS, 0, 0, 0, 0) < 0)
		return fail(errno, "stop keeping capabilities");
	int r = get(data);
	uint64_t permitted = (data[0].permitted | (uint64_t)data[1].permitted << 32) & (p->capabilities.permitted | keep);
	uint64_t inheritable = p->capabilities.inheritable;
	if (r >= 0)
		r = set(permitted, (p->capabilities.effective | keep) & permitted, inheritable);
	return r < 0 ? fail(-r, "process.capabilities: set them") : 0;
}

int caps_final(const struct spec_capabilities *c)
{
	int r = set(c->permitted, c->effective, c->inheritable);

	if (r < 0)
		return c->effective & ~c->permitted ? fail_text(-r, "process.capabilities.effective: has capabilities that permitted has not")
						    : fail(-r, "process.capabilities: set them");
	if (prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0) < 0 && errno != EINVAL)
		return fail(errno, "process.capabilities.ambient: clear them");
	for (int cap = 0; cap < 64; cap++)
		if (c->ambient & 1ull << cap && prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, cap, 0, 0) < 0)
			return fail(errno, "process.capabilities.ambient: raise capability %d", cap);
	return 0;
}
