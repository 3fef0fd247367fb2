/* SPDX-License-Identifier: Apache-2.0 */
#ifndef OCI_SPEC_H
#define OCI_SPEC_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/* A parsed config.json (runtime-spec 1.3, Linux). Everything is owned by the spec's arena and lives as long as it does.
 * Strings are NUL-terminated and NULL when absent; lists are data + count; numbers that may be absent have a has_ flag. */
struct strings {
	char **data;   /* n entries, then a NULL */
	size_t n;
};

struct spec_pair {
	char *key, *value;
};

struct spec_pairs {
	struct spec_pair *data;
	size_t n;
};

struct spec_rlimit {
	int resource;   /* RLIMIT_… */
	uint64_t soft, hard;
};

struct spec_capabilities {   /* bit N = capability number N; present: the object was there */
	bool present;
	uint64_t bounding, permitted, effective, inheritable, ambient;
};

#define SPEC_SCHED_ISO 4   /* in the specification, never in the kernel */
struct spec_scheduler {
	bool present;
	uint32_t policy, flags;   /* SCHED_…, SCHED_FLAG_… */
	int nice, priority;
	uint64_t runtime, deadline, period;
};

struct spec_process {
	bool terminal, no_new_privileges, has_umask, has_oom_score_adj, has_console_size;
	uint64_t console_height, console_width;
	uint32_t uid, gid, umask;
	uint32_t *additional_gids;
	size_t n_additional_gids;
	struct strings args, env;
	char *cwd;
	struct spec_capabilities capabilities;
	struct spec_rlimit *rlimits;
	size_t n_rlimits;
	int oom_score_adj;
	char *apparmor_profile, *selinux_label;
	bool has_io_priority;
	uint32_t io_class;   /* IOPRIO_CLASS_… */
	int io_priority;
	struct spec_scheduler scheduler;
	char *affinity_initial, *affinity_final;   /* of exec: lists of CPUs, spec_number_list() */
};

struct spec_id_map {
	uint32_t container, host, size;
};

struct spec_id_maps {
	struct spec_id_map *data;
	size_t n;
};
uint32_t spec_host_id(const struct spec_id_maps *maps, uint32_t id);   /* UINT32_MAX: it is mapped to none */
char *spec_id_map_text(const struct spec_id_maps *maps);                 /* as the kernel takes them; to be freed */

struct spec_mount {
	char *destination, *type, *source;   /* type NULL: "bind" if the options say so, else "none" */
	struct strings options;
	struct spec_id_maps uids, gids;   /* of an id-mapped mount */
};

enum spec_namespace { NS_MOUNT, NS_PID, NS_NETWORK, NS_UTS, NS_IPC, NS_USER, NS_CGROUP, NS_TIME, NS_KINDS };

struct spec_namespace_entry {
	bool wanted;   /* in linux.namespaces */
	char *path;    /* join this one; NULL: make a new one */
};

struct spec_device {
	char *path;
	char type;   /* 'b', 'c' ('u' is read as 'c'), 'p' */
	int64_t major, minor;
	mode_t mode; /* 0666 when absent */
	uint32_t uid, gid;
};

struct spec_device_rule {
	bool allow;
	char type;             /* 'a', 'b', 'c' */
	int64_t major, minor;  /* -1: any */
	char *access;          /* some of "rwm" */
};

struct spec_intel_rdt {
	bool present, monitoring;
	char *clos_id, *l3, *bandwidth;
	struct strings schemata;
};

struct spec_net_device {
	char *host, *name;   /* name: in the container; NULL: the same */
};

struct spec_block_rate {
	int64_t major, minor;
	uint64_t rate;
};

struct spec_block_weight {
	int64_t major, minor;
	bool has_weight, has_leaf_weight;
	uint32_t weight, leaf_weight;
};

struct spec_hugepage {
	char *page_size;   /* "2MB" */
	uint64_t limit;
};

struct spec_net_priority {
	char *name;
	uint32_t priority;
};

struct spec_rdma {
	char *device;
	bool has_handles, has_objects;
	uint32_t handles, objects;
};

enum spec_throttle { THROTTLE_READ_BPS, THROTTLE_WRITE_BPS, THROTTLE_READ_IOPS, THROTTLE_WRITE_IOPS, THROTTLES };

/* A has_ flag is set when there is something to set: 0 stands for "leave it" where 0 is no limit that anybody could want (memory,
 * cpu shares, quota, period, block I/O weights), as engines write it. -1 is no limit. */
struct spec_resources {
	struct spec_device_rule *devices;
	size_t n_devices;
	bool has_memory_limit, has_memory_reservation, has_memory_swap, has_memory_kernel, has_memory_kernel_tcp, has_swappiness,
		has_disable_oom_killer;
	int64_t memory_limit, memory_reservation, memory_swap, memory_kernel, memory_kernel_tcp;
	uint64_t swappiness;
	bool disable_oom_killer, check_before_update;
	bool has_pids_limit;
	int64_t pids_limit;
	bool has_cpu_shares, has_cpu_quota, has_cpu_period, has_cpu_burst, has_cpu_idle, has_cpu_rt_period, has_cpu_rt_runtime;
	uint64_t cpu_shares, cpu_period, cpu_burst, cpu_rt_period;
	int64_t cpu_quota, cpu_idle, cpu_rt_runtime;
	char *cpuset_cpus, *cpuset_mems;
	bool has_block_weight, has_block_leaf_weight;
	uint32_t block_weight, block_leaf_weight;
	struct spec_block_weight *block_weights;
	size_t n_block_weights;
	struct {
		struct spec_block_rate *data;
		size_t n;
	} throttle[THROTTLES];
	struct spec_hugepage *hugepages;
	size_t n_hugepages;
	bool has_class_id;
	uint32_t class_id;
	struct spec_net_priority *priorities;
	size_t n_priorities;
	struct spec_rdma *rdma;
	size_t n_rdma;
	struct spec_pairs unified;
};

enum spec_hook_point { HOOK_PRESTART, HOOK_CREATE_RUNTIME, HOOK_CREATE_CONTAINER, HOOK_START_CONTAINER, HOOK_POSTSTART, HOOK_POSTSTOP, HOOK_POINTS };
extern const char *const spec_hook_points[HOOK_POINTS + 1];   /* their names, and a NULL */

struct spec_hook {
	char *path;
	struct strings args, env;
	uint32_t timeout;   /* seconds; 0: none */
};

struct spec_hooks {
	struct spec_hook *data;
	size_t n;
};

struct spec_seccomp_arg {
	uint32_t index;
	uint64_t value, value_two;
	int op;   /* enum scmp_compare */
};

struct spec_seccomp_rule {
	struct strings names;
	uint32_t action;   /* SCMP_ACT_…, errno included */
	struct spec_seccomp_arg *args;
	size_t n_args;
};

struct spec_seccomp {
	bool present;
	uint32_t default_action;
	uint32_t *architectures;   /* SCMP_ARCH_… */
	size_t n_architectures;
	uint32_t flags;            /* SECCOMP_FILTER_FLAG_… */
	struct spec_seccomp_rule *rules;
	size_t n_rules;
	bool notify;               /* a rule has SCMP_ACT_NOTIFY, so listener_path is there */
	char *listener_path, *listener_metadata;
};

struct spec_clock {
	int64_t secs;
	uint32_t nanosecs;
};

struct spec_memory_policy {
	bool present;
	uint32_t mode, flags;   /* MPOL_…, MPOL_F_… */
	char *nodes;            /* a list, spec_number_list(); NULL: none */
};

struct spec {
	struct arena *arena;
	const char *text;                    /* the JSON it was read from */
	size_t text_size;
	char *oci_version, *bundle;          /* bundle: absolute, without trailing slash */
	char *hostname, *domainname;
	char *root_path;                     /* absolute, symlinks resolved */
	bool root_readonly, has_process, has_root;
	struct spec_process process;
	struct spec_mount *mounts;
	size_t n_mounts;
	struct spec_namespace_entry namespaces[NS_KINDS];
	struct spec_device *devices;
	size_t n_devices;
	struct spec_resources resources;
	struct spec_seccomp seccomp;
	struct spec_hooks hooks[HOOK_POINTS];
	struct spec_pairs annotations, sysctl;
	struct strings masked_paths, readonly_paths;
	char *cgroups_path, *rootfs_propagation, *mount_label;
	struct spec_id_maps uids, gids;      /* of a new user namespace */
	bool has_monotonic, has_boottime, has_personality;
	struct spec_clock monotonic, boottime;
	uint32_t personality;
	struct spec_intel_rdt intel_rdt;
	struct spec_net_device *net_devices;
	size_t n_net_devices;
	struct spec_memory_policy memory_policy;
};

/* Reads BUNDLE/NAME (NULL: config.json), checks types, ranges, enums and the rules between properties, and refuses by its JSON
 * path what this runtime does not do. On success *out is to be freed with spec_free(). Returns 0 or -errno with the trail filled:
 * "config.json: linux.resources.pids.limit: expected an integer, found a string". */
int spec_load(const char *bundle, const char *name, struct spec **out);
int spec_parse(const char *bundle, const char *name, const char *text, size_t size, struct spec **out);   /* the same on text */
void spec_free(struct spec *s);
/* A process object on its own (exec --process FILE), a resources object (update --resources): the result belongs to *arena. */
int spec_resources_parse(struct arena *arena, const char *name, const char *text, size_t size, struct spec_resources *out);
/* Takes away the has_ flags of zeroes that ask for nothing, and completes what follows from the rest. spec_parse() has done it. */
void spec_resources_settle(struct spec_resources *r);
int spec_process_parse(struct arena *arena, const char *name, const char *text, size_t size, struct spec_process *out);
/* The file below /proc/sys of a sysctl key ("net.ipv4.ip_forward", or with slashes where names contain dots); -EINVAL for a key
 * that would lead elsewhere. */
int spec_sysctl_path(const char *key, char *path, size_t size);
/* Numbers like "0-3,7, 9" as bits in an array of words; -EINVAL for anything else, -ERANGE beyond the array. */
int spec_number_list(const char *text, unsigned long *bits, size_t words);
#define SPEC_CPU_WORDS 128   /* 8192 CPUs or nodes, on 64-bit machines */
/* Capability names "CAP_CHOWN" (any case, prefix optional): the number, or -EINVAL. */
int spec_capability(const char *name);
/* clone flag and /proc/PID/ns name of each kind, index = enum spec_namespace. */
extern const struct spec_namespace_name {
	const char *spec, *proc;
	uint64_t clone_flag;
} spec_namespaces[NS_KINDS];

#endif
