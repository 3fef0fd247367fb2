/* SPDX-License-Identifier: Apache-2.0 */
#ifndef OCI_MIGRATE_H
#define OCI_MIGRATE_H

/* What checkpoint and restore share. */

/* The engine's log WORK/NAME is written beside the ordinary one from here on; returns its descriptor for oci_log_end(), which also puts
 * the error trail into it. */
int oci_log_begin(const char *work_path, const char *name);
void oci_log_end(int fd);
/* Whether there is such a mode (NULL: the engine's own choice). */
int oci_check_cgroups_mode(const char *mode);
/* CRIU's key of a descriptor's link text: without a leading slash. NULL for NULL. */
const char *oci_descriptor_key(const char *link);

#endif
