/* SPDX-License-Identifier: Apache-2.0 */
#ifndef OCI_SECURITY_H
#define OCI_SECURITY_H

#include <linux/filter.h>
#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#include "spec/spec.h"

/* What limits a process, each applied by the process to itself. All return 0 or -errno with the trail filled. */

/* Capabilities. caps_limit() takes out, with a warning, what this process cannot hand on or the kernel does not know; the
 * others are called by the container's process in this order, the user change being inside caps_user(). keep: capabilities
 * to be held (permitted and effective) until caps_final(). user_namespace: the process has one, and all capabilities in it.
 * unprivileged: it cannot give up the groups that its user has. */
void caps_limit(struct spec_capabilities *c, bool user_namespace);
int caps_bound(const struct spec_capabilities *c);
int caps_user(const struct spec_process *p, uint64_t keep, bool unprivileged);
int caps_final(const struct spec_capabilities *c);

int rlimits_raise(pid_t pid, const struct spec_process *p);   /* the hard limits that are too low; pid 0: this process */
int rlimits_apply(const struct spec_process *p);

/* A seccomp profile as the program the kernel takes. n 0: no profile. */
struct seccomp_program {
	struct sock_filter *code;   /* to be freed */
	unsigned short n;
	bool notify;                /* comes with a listener */
	uint32_t flags;
};
int seccomp_build(const struct spec_seccomp *s, struct seccomp_program *out);
/* The same, from the cache below the state directory root if it has the profile; what is built is kept there. */
int seccomp_cached(const char *root, const struct spec_seccomp *s, struct seccomp_program *out);
int seccomp_install(const struct seccomp_program *p);   /* the listener's descriptor (close-on-exec) if there is one, else 0 */
/* Sends the listener and what it belongs to ("container process state", as JSON) to who waits at linux.seccomp.listenerPath. */
int seccomp_send_listener(const char *path, int listener, const char *state, size_t size);

/* AppArmor profile and SELinux label of the program to be executed. lsm_open() runs while the host's /proc is at hand (proc: a
 * descriptor of it) and returns the descriptor that lsm_apply() writes to, or -ENOENT (bare) when neither is asked for. */
int lsm_check(const struct spec_process *p);   /* 1: one is asked for and can be had; 0: none */
int lsm_check_mounts(const struct spec *s);
int lsm_open(int proc, const struct spec_process *p);
int lsm_apply(int fd, const struct spec_process *p);

#endif
