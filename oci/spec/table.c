/* SPDX-License-Identifier: Apache-2.0 */
/* What this runtime reads of config.json (runtime-spec 1.3, Linux): one row per property. A MAP_REFUSE row is a property that is
 * known and not done yet; it fails only when it asks for something. Properties of other systems (windows, solaris, vm, zos) and
 * unknown ones have no row and are ignored, as the specification demands.
 *
 * Departures from the schema, each because engines write it: fileMode may contain the file type bits (docker writes 020666), a
 * relative mount destination counts from /, rootfsPropagation may be recursive ("rprivate"), null counts as absent. One the other way: process
 * is required already at create. */
#define LOG_PREFIX "spec"
#include <errno.h>
#include <linux/mempolicy.h>
#include <string.h>
#include <sys/personality.h>

#include "spec/internal.h"

/* mounts and devices */

#define ROW_OF spec_mount
static const struct map_row mount_rows[] = {
	{ "destination", MAP_STRING, AT(destination), .required = true },
	{ "type", MAP_STRING, AT(type) },
	{ "source", MAP_STRING, AT(source) },
	{ "options", MAP_STRINGS, AT(options) },
	{ "uidMappings", MAP_LIST, AT(uids.data), COUNT(uids.n), .of = &spec_id_map_table },
	{ "gidMappings", MAP_LIST, AT(gids.data), COUNT(gids.n), .of = &spec_id_map_table },
};
static const struct map_table mount_table = MAP_TABLE_OF(mount_rows, struct spec_mount, NULL);
#undef ROW_OF

int spec_map_device_type(struct map *m, const struct map_row *row, const struct map_path *path, const struct json *node, void *field)
{
	const struct map_name *names = row->names;
	uint32_t type;
	int r = map_enum(m, path, node, names, &type);

	if (r == 0)
		*(char *)field = (char)type;
	return r;
}

static const struct map_name device_types[] = { { "b", 'b' }, { "c", 'c' }, { "u", 'c' }, { "p", 'p' }, { NULL, 0 } };

#define ROW_OF spec_device
static const struct map_row device_rows[] = {
	{ "path", MAP_STRING, AT(path), .required = true },
	{ "type", MAP_CALL, AT(type), .call = spec_map_device_type, .names = device_types, .required = true },
	{ "major", MAP_I64, AT(major) },
	{ "minor", MAP_I64, AT(minor) },
	{ "fileMode", MAP_U32, AT(mode), .max = 0177777 },
	{ "uid", MAP_U32, AT(uid) },
	{ "gid", MAP_U32, AT(gid) },
};
static const struct spec_device new_device = { .mode = 0666, .major = -1, .minor = -1 };
static const struct map_table device_table = MAP_TABLE_OF(device_rows, struct spec_device, &new_device);
#undef ROW_OF
_Static_assert(sizeof(mode_t) == sizeof(uint32_t), "fileMode is read as an unsigned 32-bit number");

/* linux */

struct namespace_entry {
	uint32_t kind;
	char *path;
};

static const struct map_name namespace_names[] = {
	{ "mount", NS_MOUNT }, { "pid", NS_PID }, { "network", NS_NETWORK }, { "uts", NS_UTS }, { "ipc", NS_IPC },
	{ "user", NS_USER }, { "cgroup", NS_CGROUP }, { "time", NS_TIME }, { NULL, 0 },
};

#define ROW_OF namespace_entry
static const struct map_row namespace_rows[] = {
	{ "type", MAP_ENUM, AT(kind), .names = namespace_names, .required = true },
	{ "path", MAP_STRING, AT(path) },
};
static const struct map_table namespace_table = MAP_TABLE_OF(namespace_rows, struct namespace_entry, NULL);
#undef ROW_OF

static int map_namespace(struct map *m, const struct map_path *path, const struct json *node, struct spec_namespace_entry *all)
{
	struct namespace_entry entry = { 0 };
	int r = map_object(m, &namespace_table, path, node, &entry);

	if (r < 0)
		return r;
	const char *kind = namespace_names[entry.kind].name;
	if (all[entry.kind].wanted)
		return map_fail(m, path, "the %s namespace is listed twice", kind);
	if (entry.path && !*entry.path)
		entry.path = NULL;
	if (entry.path && *entry.path != '/')
		return map_fail(m, path, "path \"%s\" is not absolute", entry.path);
	all[entry.kind] = (struct spec_namespace_entry){ .wanted = true, .path = entry.path };
	return 0;
}

static int map_namespaces(struct map *m, const struct map_row *row, const struct map_path *path, const struct json *node, void *field)
{
	struct map_path element = { path, NULL, 0 };
	int r = map_want(m, path, node, JSON_ARRAY);

	(void)row;
	for (const struct json *e = node->first; e && r >= 0; e = e->next, element.index++)
		r = map_namespace(m, &element, e, field);
	return r;
}

static const struct map_name domains[] = { { "LINUX", PER_LINUX }, { "LINUX32", PER_LINUX32 }, { NULL, 0 } };

const struct map_name spec_memory_modes[] = {
	{ "MPOL_DEFAULT", MPOL_DEFAULT }, { "MPOL_BIND", MPOL_BIND }, { "MPOL_INTERLEAVE", MPOL_INTERLEAVE },
	{ "MPOL_WEIGHTED_INTERLEAVE", 6 }, { "MPOL_PREFERRED", MPOL_PREFERRED }, { "MPOL_PREFERRED_MANY", 5 }, { "MPOL_LOCAL", MPOL_LOCAL },
	{ NULL, 0 },
};
const struct map_name spec_memory_flags[] = {
	{ "MPOL_F_NUMA_BALANCING", 1u << 13 }, { "MPOL_F_RELATIVE_NODES", MPOL_F_RELATIVE_NODES }, { "MPOL_F_STATIC_NODES", MPOL_F_STATIC_NODES },
	{ NULL, 0 },
};

#define ROW_OF spec_clock
static const struct map_row clock_rows[] = {
	{ "secs", MAP_I64, AT(secs) },
	{ "nanosecs", MAP_U32, AT(nanosecs), .max = 999999999 },
};
static const struct map_table clock_table = MAP_TABLE_OF(clock_rows, struct spec_clock, NULL);
#undef ROW_OF

#define ROW_OF spec_id_map
static const struct map_row id_map_rows[] = {
	{ "containerID", MAP_U32, AT(container), .required = true },
	{ "hostID", MAP_U32, AT(host), .required = true },
	{ "size", MAP_U32, AT(size), .required = true },
};
const struct map_table spec_id_map_table = MAP_TABLE_OF(id_map_rows, struct spec_id_map, NULL);
#undef ROW_OF

static int map_propagation(struct map *m, const struct map_row *row, const struct map_path *path, const struct json *node, void *field)
{
	uint32_t unused;
	int r = map_enum(m, path, node, row->names, &unused);

	if (r == 0 && *node->text)
		*(char **)field = arena_str(m->arena, node->text);
	return r;
}

static const struct map_name propagations[] = {
	{ "private", 0 }, { "rprivate", 0 }, { "shared", 0 }, { "rshared", 0 }, { "slave", 0 }, { "rslave", 0 }, { "unbindable", 0 },
	{ "runbindable", 0 }, { "", 0 }, { NULL, 0 },
};

#define ROW_OF spec_hook
static const struct map_row hook_rows[] = {
	{ "path", MAP_STRING, AT(path), .required = true },
	{ "args", MAP_STRINGS, AT(args) },
	{ "env", MAP_STRINGS, AT(env) },
	{ "timeout", MAP_U32, AT(timeout), .min = 1, .max = UINT32_MAX },
};
static const struct map_table hook_table = MAP_TABLE_OF(hook_rows, struct spec_hook, NULL);
#undef ROW_OF

#define ROW_OF spec
#define HOOKS(name, point) { "hooks." name, MAP_LIST, AT(hooks[point].data), COUNT(hooks[point].n), .of = &hook_table }
static const struct map_row rows[] = {
	{ "ociVersion", MAP_STRING, AT(oci_version), .required = true },
	{ "process", MAP_TABLE, AT(process), HAS(has_process), .of = &spec_process_table, .required = true },
	{ "root", MAP_OBJECT, HAS(has_root), .required = true },
	{ "root.path", MAP_STRING, AT(root_path), .required = true },
	{ "root.readonly", MAP_BOOL, AT(root_readonly) },
	{ "hostname", MAP_STRING, AT(hostname) },
	{ "domainname", MAP_STRING, AT(domainname) },
	{ "mounts", MAP_LIST, AT(mounts), COUNT(n_mounts), .of = &mount_table },
	{ "annotations", MAP_PAIRS, AT(annotations) },
	{ "hooks", MAP_OBJECT },
	HOOKS("prestart", HOOK_PRESTART),
	HOOKS("createRuntime", HOOK_CREATE_RUNTIME),
	HOOKS("createContainer", HOOK_CREATE_CONTAINER),
	HOOKS("startContainer", HOOK_START_CONTAINER),
	HOOKS("poststart", HOOK_POSTSTART),
	HOOKS("poststop", HOOK_POSTSTOP),
	{ "linux", MAP_OBJECT },
	{ "linux.namespaces", MAP_CALL, AT(namespaces), .call = map_namespaces },
	{ "linux.devices", MAP_LIST, AT(devices), COUNT(n_devices), .of = &device_table },
	{ "linux.resources", MAP_TABLE, AT(resources), .of = &spec_resources_table },
	{ "linux.cgroupsPath", MAP_STRING, AT(cgroups_path) },
	{ "linux.rootfsPropagation", MAP_CALL, AT(rootfs_propagation), .call = map_propagation, .names = propagations },
	{ "linux.seccomp", MAP_CALL, AT(seccomp), .call = spec_map_seccomp },
	{ "linux.sysctl", MAP_PAIRS, AT(sysctl) },
	{ "linux.maskedPaths", MAP_STRINGS, AT(masked_paths) },
	{ "linux.readonlyPaths", MAP_STRINGS, AT(readonly_paths) },
	{ "linux.personality", MAP_OBJECT },
	{ "linux.personality.domain", MAP_ENUM, AT(personality), HAS(has_personality), .names = domains, .required = true },
	{ "linux.personality.flags", MAP_REFUSE, .reason = "personality flags" },
	{ "linux.mountLabel", MAP_STRING, AT(mount_label) },
	{ "linux.uidMappings", MAP_LIST, AT(uids.data), COUNT(uids.n), .of = &spec_id_map_table },
	{ "linux.gidMappings", MAP_LIST, AT(gids.data), COUNT(gids.n), .of = &spec_id_map_table },
	{ "linux.timeOffsets", MAP_OBJECT },
	{ "linux.timeOffsets.monotonic", MAP_TABLE, AT(monotonic), HAS(has_monotonic), .of = &clock_table },
	{ "linux.timeOffsets.boottime", MAP_TABLE, AT(boottime), HAS(has_boottime), .of = &clock_table },
	{ "linux.netDevices", MAP_CALL, .call = spec_map_net_devices },
	{ "linux.intelRdt", MAP_TABLE, AT(intel_rdt), HAS(intel_rdt.present), .of = &spec_intel_rdt_table },
	{ "linux.memoryPolicy", MAP_OBJECT },
	{ "linux.memoryPolicy.mode", MAP_ENUM, AT(memory_policy.mode), HAS(memory_policy.present), .names = spec_memory_modes },
	{ "linux.memoryPolicy.nodes", MAP_STRING, AT(memory_policy.nodes) },
	{ "linux.memoryPolicy.flags", MAP_CALL, AT(memory_policy.flags), .call = spec_map_flags, .names = spec_memory_flags },
};
const struct map_table spec_table = MAP_TABLE_OF(rows, struct spec, NULL);
#undef ROW_OF
