/* SPDX-License-Identifier: Apache-2.0 */
/* The network lock of a container, as far as it is the runtime's.
 *
 * The engine locks and unlocks. But a command can be killed in between, and then `delete` removes what it has left: the file `network-lock` of
 * the state directory, written before, says so, with the method and the namespace on a line each. A lock in a namespace of the
 * container's own ends with it.
 *
 * A checkpoint that ends the container leaves its lock on purpose, where the namespace lives on: its connections must not be answered until
 * they are restored. `torpor-netlock clean` gives them up.
 *
 * A restore into a namespace that is there already, with its addresses, locks it before anything else: until then, packets to the connections are
 * answered with a reset by the kernel. (So it should not be reachable until the restore has begun.) */
#define LOG_PREFIX "network"
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "actions.h"
#include "base/err.h"
#include "base/fd.h"
#include "base/log.h"
#include "base/proc.h"
#include "netlock.h"

#define NOTE "network-lock"
#define OWN "own"
#define HOST "host"

static const char *joined_network(const struct container *c)
{
	for (size_t i = 0; i < c->joined.n; i++)
		if (!strcmp(c->joined.data[i].key, "network"))
			return c->joined.data[i].value;
	return NULL;
}

/* Where the lock would be when the container has ended. */
static const char *where(const struct container *c)
{
	const char *path = joined_network(c);
	uint64_t its, mine;

	if (path)
		return path;
	return proc_ns_inode(c->pid, "net", &its) == 0 && proc_ns_inode(getpid(), "net", &mine) == 0 && its == mine ? HOST : OWN;
}

int oci_lock_note(struct container *c, const struct ck_lock_method *method)
{
	autofree char *text = str_printf("%s\n%s\n", method->name, where(c));
	int r = file_swap(c->dir_fd, NOTE, text, strlen(text), 0600);

	return r < 0 ? fail(-r, "write %s/" NOTE, c->dir) : 0;
}

void oci_lock_forget(struct container *c)
{
	unlinkat(c->dir_fd, NOTE, 0);
}

static int unlock(const char *path, const char *id, const struct ck_lock_method *method)
{
	autoclose int netns = path ? open(path, O_RDONLY | O_CLOEXEC) : -1;

	if (path && netns < 0)
		return errno == ENOENT ? 0 : fail(errno, "open the network namespace %s", path);
	return method->unlock(&(struct ck_lock){ .netns = netns, .name = id });
}

void oci_lock_sweep(struct container *c)
{
	autofree char *text = NULL;
	const struct ck_lock_method *method;
	size_t mark = err_mark();
	char *place;

	if (file_read(c->dir_fd, NOTE, &text, 8192) < 0 || !(place = strchr(text, '\n')))
		return;
	*place++ = 0;
	place[strcspn(place, "\n")] = 0;
	if (!strcmp(place, OWN))
		return;
	int r = netlock_find(text, &method);
	if (r >= 0 && method)
		r = unlock(!strcmp(place, HOST) ? NULL : place, c->id, method);
	if (r < 0)
		log_warn("container %s: the network may still be locked (torpor-netlock clean): %s", c->id, err_line(mark));
	err_rewind(mark);
}

static bool is_own(int netns)
{
	struct stat here, there;

	return stat("/proc/self/ns/net", &here) == 0 && fstat(netns, &there) == 0 && here.st_ino == there.st_ino;
}

int oci_lock_joined(const char *path, const char *id, const struct ck_lock_method *method, bool *made)
{
	autoclose int netns = open(path, O_RDONLY | O_CLOEXEC);

	if (netns < 0)
		return fail(errno, "open the network namespace %s", path);
	if (is_own(netns))   /* the host's: the engine locks connections there, not all */
		return 0;
	int r = method->lock(&(struct ck_lock){ .netns = netns, .name = id, .whole = true });
	*made = r > 0;
	return r;
}

void oci_unlock_joined(const char *path, const char *id, const struct ck_lock_method *method)
{
	size_t mark = err_mark();

	if (unlock(path, id, method) < 0)
		log_warn("the network namespace %s stays locked (torpor-netlock clean): %s", path, err_line(mark));
	err_rewind(mark);
}
