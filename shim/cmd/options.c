/* SPDX-License-Identifier: Apache-2.0 */
/* torpor's verbs and options: the command line of runc, with what engines use of crun's (--config, --log-level, --regex …). One row
 * per option; the parser, --help and the manual read it. A row with a reason is known and not done: giving it fails with the reason. */
#include <stddef.h>

#include "base/log.h"
#include "cmd/cmd.h"

#define V(verb) OPTION_VERB(SHIM_##verb)
#define AT(field) offsetof(struct shim_options, field)
#define MAKES (V(CREATE) | V(RUN) | V(RESTORE))
#define STARTS (MAKES | V(EXEC))
#define IMAGES (V(CHECKPOINT) | V(RESTORE))
#define NO_LABEL "security labels are not set so far"

static const char *const log_formats[] = { [LOG_TEXT] = "text", [LOG_JSON] = "json", NULL };
static const char *const log_levels[] = {
	[LOG_LEVEL_ERROR] = "error", [LOG_LEVEL_WARN] = "warning", [LOG_LEVEL_INFO] = "info", [LOG_LEVEL_DEBUG] = "debug", NULL,
};
static const char *const managers[] = {
	[SHIM_CGROUPFS] = "cgroupfs", [SHIM_SYSTEMD] = "systemd", [SHIM_NO_CGROUPS] = "disabled", NULL,
};
static const char *const rootless_modes[] = {
	[SHIM_ROOTLESS_AUTO] = "auto", [SHIM_ROOTLESS_FALSE] = "false", [SHIM_ROOTLESS_TRUE] = "true", NULL,
};
static const char *const formats[] = { [SHIM_TABLE] = "table", [SHIM_JSON] = "json", NULL };

static const struct option global_rows[] = {
	{ "root", 0, OPTION_STRING, OPTION_EVERY_VERB, AT(root), "DIR", "where the state of containers is kept (default /run/torpor)" },
	{ "log", 0, OPTION_STRING, OPTION_EVERY_VERB, AT(log), "FILE", "append messages to a file; errors go to stderr as well" },
	{ "log-format", 0, OPTION_ENUM, OPTION_EVERY_VERB, AT(log_format), NULL, "format of the messages", .names = log_formats },
	{ "log-level", 0, OPTION_ENUM, OPTION_EVERY_VERB, AT(log_level), NULL, "least important message to log", .names = log_levels },
	{ "debug", 0, OPTION_FLAG, OPTION_EVERY_VERB, AT(debug), .help = "log everything" },
	{ "cgroup-manager", 0, OPTION_ENUM, OPTION_EVERY_VERB, AT(cgroup_manager), NULL,
	  "who makes control groups: cgroupfs (torpor itself), disabled (nobody); systemd is not supported", .names = managers },
	{ "systemd-cgroup", 0, OPTION_FLAG, OPTION_EVERY_VERB, 0, .help = "let systemd make the control groups",
	  .refused = "control groups are made directly; let the engine use its cgroupfs manager" },
	{ "rootless", 0, OPTION_ENUM, OPTION_EVERY_VERB, AT(rootless), NULL,
	  "go without control groups that may not be made (auto: for users other than root)", .names = rootless_modes },
	{ "help", 'h', OPTION_FLAG, OPTION_EVERY_VERB, AT(help), .help = "show this text" },
	{ "version", 'v', OPTION_FLAG, OPTION_EVERY_VERB, AT(version), .help = "show the version" },
};
static const struct option_verb global_verb[] = { { NULL, "COMMAND [ARGUMENT…]", "Runs OCI containers, and saves and restores them." } };
const struct option_table shim_torpor_global = {
	"torpor", global_verb, 1, global_rows, sizeof global_rows / sizeof *global_rows, .single_dash = true,
};

#define UPDATE(name, which, argument, help) \
	{ name, 0, OPTION_STRING, V(UPDATE), AT(update[SHIM_UPDATE_##which]), argument, help }

static const struct option rows[] = {
	{ "bundle", 'b', OPTION_STRING, MAKES | V(SPEC), AT(bundle), "DIR", "the bundle (default: the current directory)" },
	{ "config", 'f', OPTION_STRING, V(CREATE) | V(RUN), AT(config), "FILE", "configuration to use instead of config.json" },
	{ "console-socket", 0, OPTION_STRING, STARTS, AT(console_socket), "SOCKET", "unix socket that gets the terminal" },
	{ "pidfd-socket", 0, OPTION_STRING, V(CREATE) | V(RUN) | V(EXEC), AT(pidfd_socket), "SOCKET", "unix socket that gets a pidfd of the process" },
	{ "pid-file", 0, OPTION_STRING, STARTS, AT(pid_file), "FILE", "write the process's pid there" },
	{ "no-pivot", 0, OPTION_FLAG, MAKES, AT(no_pivot), .help = "move the root mount instead of pivot_root" },
	{ "no-new-keyring", 0, OPTION_FLAG, MAKES, AT(no_new_keyring), .help = "keep the caller's session keyring" },
	{ "preserve-fds", 0, OPTION_UINT, V(CREATE) | V(RUN) | V(EXEC), AT(preserve_fds), "N", "pass N more descriptors, from 3 on" },
	{ "no-subreaper", 0, OPTION_FLAG, V(CREATE) | V(RUN) | V(RESTORE), AT(no_subreaper), .help = "do not adopt orphans of the container" },
	{ "detach", 'd', OPTION_FLAG, V(RUN) | V(EXEC) | V(RESTORE), AT(detach), .help = "return as soon as the process runs" },
	{ "keep", 0, OPTION_FLAG, V(RUN), AT(keep), .help = "do not delete the container when it has ended" },
	{ "force", 'f', OPTION_FLAG, V(DELETE), AT(force), .help = "kill it first if it runs; a missing container is no error" },
	{ "regex", 'r', OPTION_FLAG, V(DELETE) | V(KILL), AT(regex), .help = "the argument is an extended regular expression on IDs" },
	{ "all", 'a', OPTION_FLAG, V(KILL), AT(all), .help = "signal all processes; a stopped container is no error" },
	{ "format", 'f', OPTION_ENUM, V(LIST) | V(PS), AT(format), NULL, "output format", .names = formats },
	{ "quiet", 'q', OPTION_FLAG, V(LIST), AT(quiet), .help = "IDs only" },
	{ "file", 'f', OPTION_STRING, V(SPEC), AT(file), "FILE", "write to this file" },
	{ "rootless", 0, OPTION_FLAG, V(SPEC), AT(rootless_spec), .help = "a configuration for a user without privileges" },

	{ "cwd", 0, OPTION_STRING, V(EXEC), AT(cwd), "DIR", "working directory in the container" },
	{ "env", 'e', OPTION_LIST, V(EXEC), AT(env), "NAME=VALUE", "set an environment variable (repeatable)" },
	{ "tty", 't', OPTION_FLAG, V(EXEC), AT(tty), .help = "allocate a terminal" },
	{ "user", 'u', OPTION_STRING, V(EXEC), AT(user), "UID[:GID]", "user and group" },
	{ "additional-gids", 'g', OPTION_LIST, V(EXEC), AT(additional_gids), "GID", "a further group (repeatable)" },
	{ "process", 'p', OPTION_STRING, V(EXEC), AT(process), "FILE", "the process as a JSON object" },
	{ "process-label", 0, OPTION_STRING, V(EXEC), AT(process_label), "LABEL", "SELinux label" },
	{ "apparmor", 0, OPTION_STRING, V(EXEC), AT(apparmor), "PROFILE", "AppArmor profile" },
	{ "no-new-privs", 0, OPTION_FLAG, V(EXEC), AT(no_new_privs), .help = "the process cannot gain privileges" },
	{ "cap", 'c', OPTION_LIST, V(EXEC), AT(caps), "CAPABILITY", "add a capability (repeatable)" },
	{ "cgroup", 0, OPTION_LIST, V(EXEC), AT(cgroups), "[CONTROLLER:]PATH", "an existing group below the container's (repeatable)" },
	{ "ignore-paused", 0, OPTION_FLAG, V(EXEC), AT(ignore_paused), .help = "also in a paused container; it runs when that is resumed" },

	{ "stats", 0, OPTION_FLAG, V(EVENTS), AT(stats), .help = "show statistics once, and end" },
	{ "interval", 0, OPTION_STRING, V(EVENTS), AT(interval), "DURATION", "time between statistics (default 5s)" },
	{ "resources", 'r', OPTION_STRING, V(UPDATE), AT(resources), "FILE",
	  "limits as JSON, as linux.resources has them (-: standard input); those given by options come on top" },
	UPDATE("memory", MEMORY, "SIZE", "limit of memory"),
	UPDATE("memory-reservation", MEMORY_RESERVATION, "SIZE", "memory that is left to it when memory is short"),
	UPDATE("memory-swap", MEMORY_SWAP, "SIZE", "limit of memory and swap together (-1: none)"),
	UPDATE("pids-limit", PIDS_LIMIT, "N", "limit of processes and threads (-1: none)"),
	UPDATE("cpu-share", CPU_SHARE, "N", "weight of its CPU time"),
	UPDATE("cpu-quota", CPU_QUOTA, "MICROSECONDS", "CPU time in each period (-1: no limit)"),
	UPDATE("cpu-period", CPU_PERIOD, "MICROSECONDS", "length of a period"),
	UPDATE("cpu-burst", CPU_BURST, "MICROSECONDS", "CPU time that may be saved up"),
	UPDATE("cpu-rt-period", CPU_RT_PERIOD, "MICROSECONDS", "length of a period for real-time scheduling"),
	UPDATE("cpu-rt-runtime", CPU_RT_RUNTIME, "MICROSECONDS", "real-time scheduling in each of those periods"),
	UPDATE("cpu-idle", CPU_IDLE, "0|1", "run only when nothing else wants to"),
	UPDATE("cpuset-cpus", CPUSET_CPUS, "LIST", "processors it may run on"),
	UPDATE("cpuset-mems", CPUSET_MEMS, "LIST", "memory nodes it may use"),
	UPDATE("blkio-weight", BLKIO_WEIGHT, "N", "weight of its block I/O (10 to 1000)"),
	{ "l3-cache-schema", 0, OPTION_STRING, V(UPDATE), AT(l3_cache_schema), "SCHEMA", "Intel RDT: its share of the L3 cache" },
	{ "mem-bw-schema", 0, OPTION_STRING, V(UPDATE), AT(mem_bw_schema), "SCHEMA", "Intel RDT: its share of memory bandwidth" },
	{ "kernel-memory", 0, OPTION_STRING, V(UPDATE), AT(update[SHIM_UPDATE_KERNEL_MEMORY]), "SIZE", "limit of kernel memory", .hidden = true },
	{ "kernel-memory-tcp", 0, OPTION_STRING, V(UPDATE), AT(update[SHIM_UPDATE_KERNEL_MEMORY_TCP]), "SIZE", "limit of TCP's buffers",
	  .hidden = true },

	{ "image-path", 0, OPTION_STRING, IMAGES, AT(image_path), "DIR", "the images (default ./checkpoint)" },
	{ "work-path", 0, OPTION_STRING, IMAGES, AT(work_path), "DIR", "log and statistics (default: the image directory)" },
	{ "leave-running", 0, OPTION_FLAG, V(CHECKPOINT), AT(leave_running), .help = "let the container run on" },
	{ "tcp-established", 0, OPTION_FLAG, IMAGES, AT(tcp_established), .help = "save and restore TCP connections" },
	{ "ext-unix-sk", 0, OPTION_FLAG, IMAGES, AT(ext_unix_sk), .help = "allow unix sockets whose peer is outside" },
	{ "shell-job", 0, OPTION_FLAG, IMAGES, AT(shell_job), .help = "allow a terminal and session from outside" },
	{ "file-locks", 0, OPTION_FLAG, IMAGES, AT(file_locks), .help = "save and restore file locks" },
	{ "link-remap", 0, OPTION_FLAG, V(CHECKPOINT), AT(link_remap), .help = "give deleted files that have other names a temporary one" },
	{ "manage-cgroups-mode", 0, OPTION_STRING, IMAGES, AT(manage_cgroups_mode), "soft|full|strict|ignore", "what is done about control groups" },
	{ "empty-ns", 0, OPTION_STRING, IMAGES, AT(empty_ns), "network", "do not save, or restore, what is in the network namespace" },
	{ "parent-path", 0, OPTION_STRING, V(CHECKPOINT), AT(parent_path), "DIR",
	  "images of the round before, relative to the images: what is unchanged since is not saved again" },
	{ "pre-dump", 0, OPTION_FLAG, V(CHECKPOINT), AT(pre_dump), .help = "save memory only and let the container run on" },
	{ "auto-dedup", 0, OPTION_FLAG, V(CHECKPOINT), AT(auto_dedup), .help = "free pages in earlier rounds as they are saved again" },
	{ "auto-dedup", 0, OPTION_FLAG, V(RESTORE), 0, .help = "free pages of the images as they are restored",
	  .refused = "images are kept until the restore has succeeded" },
	{ "lazy-pages", 0, OPTION_FLAG, V(CHECKPOINT), AT(lazy_pages),
	  .help = "leave memory with the container, which stands still, until a lazy restore elsewhere has fetched it all" },
	{ "lazy-pages", 0, OPTION_FLAG, V(RESTORE), AT(lazy_pages),
	  .help = "let the container run before it has all of its memory; a process that ends by itself brings it" },
	{ "page-server", 0, OPTION_STRING, V(CHECKPOINT), AT(page_server), "ADDRESS:PORT",
	  "send memory to the page server there (torpor-cr page-server), or the path of its unix socket; with --lazy-pages: where to serve it "
	  "(default: all addresses, a port that is printed)" },
	{ "page-server", 0, OPTION_STRING, V(RESTORE), AT(page_server), "ADDRESS:PORT",
	  "with --lazy-pages: where a lazy checkpoint serves the memory" },
	{ "status-fd", 0, OPTION_INT, V(CHECKPOINT), AT(status_fd), "FD", "with --lazy-pages: write a byte there when memory can be fetched" },
	{ "tcp-skip-in-flight", 0, OPTION_FLAG, V(CHECKPOINT), AT(tcp_skip_in_flight), .help = "give up connections that nobody has accepted yet" },
	{ "tcp-close", 0, OPTION_FLAG, V(RESTORE), AT(tcp_close), .help = "restore TCP connections as closed ones" },
	{ "map-address", 0, OPTION_LIST, V(RESTORE), AT(map_address), "OLD=NEW", "sockets with the address OLD get NEW (repeatable)" },
	{ "network-lock", 0, OPTION_STRING, IMAGES, AT(network_lock), "nftables|iptables|skip",
	  "with --tcp-established, how packets are kept away from connections meanwhile (default nftables, or what the annotation "
	  "org.torpor.network-lock says)" },
	{ "action-script", 0, OPTION_LIST, IMAGES, AT(action_scripts), "FILE",
	  "run FILE at the points of the operation, after those of /etc/torpor/actions.d (repeatable)" },
	{ "lsm-profile", 0, OPTION_STRING, V(RESTORE), 0, "TYPE:NAME", "security profile to restore with", .refused = NO_LABEL },
	{ "lsm-mount-context", 0, OPTION_STRING, V(RESTORE), 0, "CONTEXT", "mount context to restore with", .refused = NO_LABEL },

	{ "help", 'h', OPTION_FLAG, OPTION_EVERY_VERB, AT(help), .help = "show this text" },
};

static const struct option_verb verbs[] = {
	[SHIM_CHECKPOINT] = { "checkpoint", "CONTAINER", "Saves a running container to image files and ends it." },
	[SHIM_CREATE] = { "create", "CONTAINER", "Makes a container; its program waits for start." },
	[SHIM_DELETE] = { "delete", "CONTAINER", "Removes what is left of a container that has ended." },
	[SHIM_EVENTS] = { "events", "CONTAINER", "Shows statistics of a container, and when it is out of memory, as JSON." },
	[SHIM_EXEC] = { "exec", "CONTAINER COMMAND [ARGUMENT…]", "Runs a further process in a container.", .stops = true },
	[SHIM_FEATURES] = { "features", NULL, "Describes what this runtime supports, as JSON." },
	[SHIM_KILL] = { "kill", "CONTAINER [SIGNAL]", "Sends a signal (TERM) to a container's first process." },
	[SHIM_LIST] = { "list", NULL, "Lists the containers." },
	[SHIM_PAUSE] = { "pause", "CONTAINER", "Freezes all processes of a container." },
	[SHIM_PS] = { "ps", "CONTAINER [PS-OPTION…]", "Lists the processes of a container.", .stops = true },
	[SHIM_RESTORE] = { "restore", "CONTAINER", "Rebuilds a container from image files." },
	[SHIM_RESUME] = { "resume", "CONTAINER", "Lets a paused container go on." },
	[SHIM_RUN] = { "run", "CONTAINER", "Makes a container, starts it and waits for its end." },
	[SHIM_SPEC] = { "spec", NULL, "Writes a configuration to begin with." },
	[SHIM_START] = { "start", "CONTAINER", "Lets the program of a created container run." },
	[SHIM_STATE] = { "state", "CONTAINER", "Shows the state of a container, as JSON." },
	[SHIM_UPDATE] = { "update", "CONTAINER", "Changes limits of a container." },
};
_Static_assert(sizeof verbs / sizeof *verbs == SHIM_VERBS, "a line per verb");

const struct option_table shim_torpor_table = {
	"torpor", verbs, SHIM_VERBS, rows, sizeof rows / sizeof *rows, .single_dash = true,
};

const struct shim_options shim_torpor_defaults = { .log_level = -1, .status_fd = -1, .bundle = "." };
