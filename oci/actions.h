/* SPDX-License-Identifier: Apache-2.0 */
#ifndef OCI_ACTIONS_H
#define OCI_ACTIONS_H

#include "base/str.h"
#include "checkpoint.h"
#include "container/container.h"
#include "scripts.h"

/* Annotations with this prefix change what the runtime does. */
#define OCI_ANNOTATIONS "org.torpor."

/* What happens at the engine's points when a container is saved or restored: action scripts, and the network lock. */
struct oci_actions {
	ARRAY(char *) paths;
	struct action_scripts scripts;
	struct ck_actions actions;
	const struct ck_lock_method *lock;
};

/* annotations: of the container's configuration; more: scripts that were asked for by the caller (NULL-terminated, or NULL); lock: the
 * method likewise, NULL: the annotation's, or nftables. */
int oci_actions_begin(struct oci_actions *a, const struct spec_pairs *annotations, const char *const *more, const char *lock, const char *id);
void oci_actions_end(struct oci_actions *a);
const struct ck_actions *oci_actions_or_null(const struct oci_actions *a);   /* NULL: nobody wants to know */

/* Notes in the state directory that the network may be locked from here on, for delete. */
int oci_lock_note(struct container *c, const struct ck_lock_method *method);
/* Takes away a lock that was noted (a killed command has left it), where it outlives the container. */
void oci_lock_sweep(struct container *c);
void oci_lock_forget(struct container *c);
/* The lock of a restore, where the network namespace is there and works before init does. made: to be taken away if the restore fails. */
int oci_lock_joined(const char *path, const char *id, const struct ck_lock_method *method, bool *made);
void oci_unlock_joined(const char *path, const char *id, const struct ck_lock_method *method);

#endif
