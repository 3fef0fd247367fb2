/* SPDX-License-Identifier: Apache-2.0 */
#ifndef OCI_SPEC_INTERNAL_H
#define OCI_SPEC_INTERNAL_H

#include "spec/map.h"
#include "spec/spec.h"

/* Between the files of this folder. A table's file defines ROW_OF, the struct that its rows fill. */
#define AT(field) .at = offsetof(struct ROW_OF, field)
#define COUNT(field) .count = offsetof(struct ROW_OF, field)
#define HAS(field) .has = MAP_HAS(struct ROW_OF, field)

extern const struct map_table spec_table, spec_process_table, spec_resources_table, spec_id_map_table, spec_intel_rdt_table;
map_call spec_map_flags;                             /* a list of names into a uint32_t of bits */
map_call spec_map_device_type;                       /* one letter by the row's names, into a char */
map_call spec_map_net_devices;                       /* linux.netDevices, into the struct spec */
map_call spec_map_seccomp;                           /* the object linux.seccomp into a struct spec_seccomp */
extern const struct map_name spec_rlimit_names[];
/* The rules between properties; prefix is what comes before "cwd" in messages ("process." or ""). */
int spec_check(const char *name, const struct spec *s);
int spec_check_intel_rdt(const char *name, const struct spec *s);
int spec_check_net_devices(const char *name, const struct spec *s);
int spec_check_resources(const char *name, const char *prefix, const struct spec_resources *r);
int spec_check_process(const char *name, const char *prefix, const struct spec_process *p);

#endif
