/* SPDX-License-Identifier: Apache-2.0 */
/* torpor-cr's command line: CRIU's, one row per option. What is recognised but not done yet is refused with its reason. */
#include "cr/options.h"

#include <stddef.h>

#define AT(field) offsetof(struct cr_options, field)
#define DUMP OPTION_VERB(CR_DUMP)
#define RESTORE OPTION_VERB(CR_RESTORE)
#define PRE OPTION_VERB(CR_PRE_DUMP)
#define CHECK OPTION_VERB(CR_CHECK)
#define SERVER OPTION_VERB(CR_PAGE_SERVER)
#define PAGER OPTION_VERB(CR_LAZY_PAGES)
#define SERVICE OPTION_VERB(CR_SERVICE)
#define PEERS (DUMP | PRE | SERVER | PAGER)   /* what a page server is one side of */
#define CPUINFO OPTION_VERB(CR_CPUINFO)
#define EVERY OPTION_EVERY_VERB

static const struct option_verb verbs[CR_VERBS] = {
	[CR_DUMP] = { "dump", NULL, "save a tree of processes", NULL, false, false },
	[CR_RESTORE] = { "restore", NULL, "rebuild a tree of processes", NULL, false, false },
	[CR_CHECK] = { "check", NULL, "ask whether this kernel has what is needed", NULL, false, false },
	[CR_PRE_DUMP] = { "pre-dump", NULL, "save the memory of a tree that runs on, in rounds", NULL, false, false },
	[CR_PAGE_SERVER] = { "page-server", NULL, "take the pages of a dump over a network", NULL, false, false },
	[CR_LAZY_PAGES] = { "lazy-pages", NULL, "give restored tasks their memory while they run", NULL, false, false },
	[CR_SERVICE] = { "service", NULL, "serve CRIU's RPC at a unix socket", NULL, false, false },
	[CR_SWRK] = { "swrk", "FD", "serve CRIU's RPC on an open socket", NULL, false, true },
	[CR_DEDUP] = { "dedup", NULL, "free in earlier rounds the pages that a later one has", NULL, false, false },
	[CR_CPUINFO] = { "cpuinfo", "dump|check", "write or check what a checkpoint needs of a processor (cpuinfo.img)", NULL, false, false },
};

#define NOT_YET "not supported yet"

static const struct option rows[] = {
	{ "tree", 't', OPTION_INT, DUMP | PRE | RESTORE, AT(tree), "PID", "root of the tree to dump" },
	{ "images-dir", 'D', OPTION_STRING, EVERY, AT(images_dir), "DIR", "directory of the images; default the current one" },
	{ "work-dir", 'W', OPTION_STRING, EVERY, AT(work_dir), "DIR", "directory for log, pid file and statistics; default the images directory" },
	{ "log-file", 'o', OPTION_STRING, EVERY, AT(log_file), "FILE", "log file, relative to the work directory; default standard error" },
	{ "verbosity", 'v', OPTION_LEVEL, EVERY, AT(verbosity), "N", "0 none, 1 errors, 2 warnings (default), 3 information, 4 all" },
	{ "help", 'h', OPTION_FLAG, EVERY, AT(help), NULL, "print this text" },
	{ "version", 'V', OPTION_FLAG, EVERY, AT(version), NULL, "print the version" },
	{ "leave-running", 'R', OPTION_FLAG, DUMP | PRE, AT(leave_running), NULL, "let the tree go on after the dump", .negatable = true },
	{ "leave-stopped", 's', OPTION_FLAG, DUMP | RESTORE, AT(leave_stopped), NULL, "leave the tasks stopped", .negatable = true },
	{ "restore-detached", 'd', OPTION_FLAG, RESTORE, AT(detached), NULL, "return once the tree runs", .negatable = true },
	{ "restore-sibling", 'S', OPTION_FLAG, RESTORE, AT(sibling), NULL, "make the root task a child of the caller; with --restore-detached",
	  .negatable = true },
	{ "pidfile", 0, OPTION_STRING, RESTORE | SERVER | PAGER | SERVICE, AT(pidfile), "FILE",
	  "write the root task's (or the daemon's) pid; the file must not exist" },
	{ "shell-job", 'j', OPTION_FLAG, DUMP | RESTORE, AT(shell_job), NULL, "session and process group belong outside the tree",
	  .negatable = true },
	{ "ext-unix-sk", 'x', OPTION_OPTIONAL, DUMP | RESTORE, AT(ext_unix_sk), "INODE,…", "allow datagram sockets with peers outside; INODE,…: "
	  "connections that may be lost, as --external unix[INODE]", .bare = "" },
	{ "file-locks", 'l', OPTION_FLAG, DUMP | RESTORE, AT(file_locks), NULL, "save and restore file locks", .negatable = true },
	{ "evasive-devices", 0, OPTION_FLAG, DUMP | RESTORE, AT(evasive_devices), NULL, "a device whose path is not there is saved by another one in /dev",
	  .negatable = true },
	{ "external", 0, OPTION_LIST, DUMP | RESTORE, AT(external), "TYPE[ID]:VALUE", "a resource outside the tree: the text of a descriptor's link, "
	  "unix[INODE], net[INODE]:KEY, veth[IN]:OUT@BRIDGE, macvlan[IN]:PARENT, netdev[IN]:OUT" },
	{ "inherit-fd", 0, OPTION_LIST, RESTORE, AT(inherit_fd), "fd[N]:KEY", "use open descriptor N for the resource KEY" },
	{ "root", 'r', OPTION_STRING, DUMP, AT(root), "PATH", "the tree's root directory; without a mount namespace of its own it must be that one" },
	{ "root", 'r', OPTION_STRING, RESTORE, AT(root), "PATH", "root of the new mount namespace" },
	{ "freeze-cgroup", 0, OPTION_STRING, DUMP | PRE, AT(freeze_cgroup), "DIR", "the tree's freezer cgroup: it may be frozen" },
	{ "ghost-limit", 0, OPTION_SIZE, DUMP, AT(ghost_limit), "SIZE", "largest deleted file to store; default 1M" },
	{ "timeout", 0, OPTION_UINT, DUMP | PRE, AT(timeout), "SECONDS", "limit for stopping the tree; default 10" },
	{ "manage-cgroups", 0, OPTION_OPTIONAL, DUMP | RESTORE, AT(manage_cgroups), "MODE",
	  "soft (default): save cgroups, make those that are not there; none: only put tasks into them; props: and restore their settings; full: "
	  "make all, with settings; strict: none may be there; ignore: leave tasks in the caller's", .bare = "soft" },
	{ "network-lock", 0, OPTION_STRING, DUMP | RESTORE, AT(network_lock), "METHOD",
	  "with --tcp-established, how packets are kept away meanwhile: nftables (default), iptables, skip or none" },
	{ "feature", 0, OPTION_STRING, CHECK, AT(feature), "NAME", "ask for one feature" },
	{ "extra", 0, OPTION_FLAG, CHECK, AT(extra), NULL, "features that some programs need as well", .negatable = true },
	{ "experimental", 0, OPTION_FLAG, CHECK, AT(experimental), NULL, "as --extra", .negatable = true },
	{ "all", 0, OPTION_FLAG, CHECK, AT(all), NULL, "as --extra --experimental" },
	{ "display-stats", 0, OPTION_FLAG, DUMP | PRE | RESTORE, AT(display_stats), NULL, "print the statistics", .negatable = true },
	{ "skip-file-rwx-check", 0, OPTION_FLAG, RESTORE, AT(skip_rwx), NULL, "do not compare the permissions of opened files", .negatable = true },
	{ "keep-partial", 0, OPTION_FLAG, DUMP | PRE, AT(keep_partial), NULL, "keep what a failed dump has written, for study (torpor's own)" },
	{ "no-sync", 0, OPTION_FLAG, DUMP | PRE, AT(no_sync), NULL,
	  "do not wait until the images are on the disk: a machine that goes down may leave a checkpoint that is none (torpor's own)" },
	{ "close", 0, OPTION_INT, EVERY, AT(close_fd), "FD", "close this descriptor first" },
	{ "config", 0, OPTION_STRING, EVERY, AT(config), "FILE", "read options from FILE, and not from the default files" },
	{ "no-default-config", 0, OPTION_FLAG, EVERY, AT(no_default_config), NULL,
	  "do not read /etc/criu/default.conf and ~/.criu/default.conf" },
	{ "tcp-established", 0, OPTION_FLAG, DUMP | RESTORE, AT(tcp_established), NULL, "save and restore TCP connections", .negatable = true },
	{ "tcp-close", 0, OPTION_FLAG, DUMP, AT(tcp_close), NULL, "do not save TCP connections: restored, they are closed", .negatable = true },
	{ "tcp-close", 0, OPTION_FLAG, RESTORE, AT(tcp_close), NULL, "restore TCP connections as closed ones", .negatable = true },
	{ "skip-in-flight", 0, OPTION_FLAG, DUMP, AT(skip_in_flight), NULL, "give up connections that nobody has accepted yet", .negatable = true },
	{ "map-address", 0, OPTION_LIST, RESTORE, AT(map_address), "OLD=NEW", "sockets with the address OLD get NEW (torpor's own)" },
	{ "track-mem", 0, OPTION_FLAG, DUMP | PRE, AT(track_mem), NULL,
	  "record what is written from now on, for a next round (pre-dump always does)", .negatable = true },
	{ "tracker", 0, OPTION_STRING, DUMP | PRE, AT(tracker), "HOW", "how: auto (default), uffd, soft-dirty, none (torpor's own)" },
	{ "prev-images-dir", 0, OPTION_STRING, DUMP | PRE | SERVER, AT(prev_images_dir), "DIR",
	  "images of the previous round, relative to the images directory: what is unchanged since is not saved again" },
	{ "pre-dump-mode", 0, OPTION_STRING, PRE, AT(pre_dump_mode), "MODE", "splice or read (the same here: memory is read from outside)" },
	{ "auto-dedup", 0, OPTION_FLAG, DUMP | PRE | SERVER, AT(auto_dedup), NULL, "free in earlier rounds what this one saves again", .negatable = true },
	{ "auto-dedup", 0, OPTION_FLAG, RESTORE, AT(auto_dedup), NULL,
	  "free pages of the images as they are restored (if the restore fails, they are lost)", .negatable = true },
	{ "page-server", 0, OPTION_FLAG, DUMP | PRE, AT(page_server), NULL, "send pages to a page server", .negatable = true },
	{ "page-server", 0, OPTION_FLAG, PAGER, AT(page_server), NULL,
	  "fetch what the images lack from the source: dump --lazy-pages, or page-server --lazy-pages", .negatable = true },
	{ "address", 0, OPTION_STRING, DUMP | PRE | SERVER | PAGER, AT(address), "ADDR",
	  "of the page server: a name or a number, or the path of a unix socket; with dump --lazy-pages: where to listen" },
	{ "address", 0, OPTION_STRING, SERVICE, AT(address), "PATH", "of the socket; default criu_service.socket in the work directory" },
	{ "port", 0, OPTION_UINT, DUMP | PRE | SERVER | PAGER, AT(port), "N",
	  "of the page server; 0: the kernel chooses, and who listens prints it" },
	{ "ps-socket", 0, OPTION_INT, DUMP | PRE | SERVER | PAGER, AT(ps_socket), "FD", "an open socket instead of address and port" },
	{ "daemon", 'd', OPTION_FLAG, SERVER | PAGER | SERVICE, AT(daemon), NULL, "go to the background when it listens", .negatable = true },
	{ "sessions", 0, OPTION_UINT, SERVER, AT(sessions), "N", "take so many dumps, at the same time if they come so; default 1 (torpor's own)" },
	{ "lazy-pages", 0, OPTION_FLAG, RESTORE, AT(lazy_pages), NULL, "let the tasks run before they have all of their memory; a lazy-pages daemon "
	  "gives it to them", .negatable = true },
	{ "lazy-pages", 0, OPTION_FLAG, DUMP, AT(lazy_pages), NULL, "leave private memory out of the images and serve it, until the pager of a lazy "
	  "restore has it all; the tasks stand still meanwhile, and end then", .negatable = true },
	{ "lazy-pages", 0, OPTION_FLAG, SERVER, AT(lazy_pages), NULL, "serve the pages of these images to a lazy-pages daemon elsewhere",
	  .negatable = true },
	{ "status-fd", 0, OPTION_INT, DUMP | SERVER | PAGER | SERVICE, AT(status_fd), "FD", "write a byte there when it listens" },
	{ "action-script", 0, OPTION_LIST, DUMP | PRE | RESTORE | SERVER | PAGER | SERVICE, AT(action_scripts), "FILE",
	  "run FILE at the points of the operation, CRTOOLS_SCRIPT_ACTION says which" },
	{ "link-remap", 0, OPTION_FLAG, DUMP, AT(link_remap), NULL, "a deleted file that has another name gets a temporary one, until it is restored",
	  .negatable = true },
	{ "join-ns", 'J', OPTION_LIST, RESTORE, AT(join_ns), "KIND:PID|FILE", "restore into this net, uts, ipc or time namespace" },
	{ "empty-ns", 0, OPTION_STRING, DUMP | RESTORE, AT(empty_ns), "net",
	  "do not save what is in the network namespace; restore into an empty one" },
	{ "veth-pair", 0, OPTION_LIST, RESTORE, AT(veth_pairs), "IN=OUT", "as --external 'veth[IN]:OUT'" },
	{ "log-pid", 0, OPTION_FLAG, RESTORE, AT(log_pid), NULL, "log what is done to a task in a file of its own, LOG-FILE.PID", .negatable = true },
	{ "libdir", 'L', OPTION_STRING, EVERY, AT(libdir), "DIR", "directory of plugins: there may be none in it, torpor has none" },
	{ "cpu-cap", 0, OPTION_OPTIONAL, DUMP | RESTORE | CPUINFO, AT(cpu_cap), "CAP,…", "what is compared of the processor: fpu, ins (default of cpuinfo "
	  "check: both), cpu, all, none, ^CAP for without; a dump with it writes cpuinfo.img, a restore with it reads that", .bare = "all" },
	{ "exec-cmd", 0, OPTION_FLAG, RESTORE, AT(exec_cmd), NULL, "after the restore become the command that follows --, the parent of the tree",
	  .negatable = true },
	{ "enable-external-masters", 0, OPTION_FLAG, DUMP | RESTORE, AT(external_masters), NULL, "mounts from outside may be slaves of others (they always may)" },
	{ "enable-external-sharing", 0, OPTION_FLAG, DUMP | RESTORE, 0, NULL, "mounts that are shared with those outside",
	  .refused = "such a mount cannot be made to share with those outside again" },
	{ "deprecated", 0, OPTION_FLAG, EVERY, AT(deprecated), NULL, "allow features that are about to go (torpor has none)", .negatable = true },
	{ "ms", 0, OPTION_FLAG, CHECK, 0, NULL, "(an option of old)", .refused = "it is no more: see --extra, --experimental, --all", .hidden = true },
	{ "ext-mount-map", 'M', OPTION_LIST, DUMP | RESTORE, AT(mount_map), "KEY:VALUE|auto",
	  "older form of --external mnt[KEY]:VALUE; auto: mnt[]" },
	{ "skip-mnt", 0, OPTION_LIST, DUMP, AT(skip_mounts), "PATH", "leave out this mount and what is mounted below" },
	{ "enable-fs", 0, OPTION_LIST, DUMP | RESTORE, AT(plain_filesystems), "NAME,…|all",
	  "filesystems that are mounted again from their options alone" },
	{ "cgroup-root", 0, OPTION_STRING, DUMP, 0, "[CTRL:]/PATH", "where cgroups are saved from",
	  .refused = "cgroups are saved from the root task's own downwards" },
	{ "cgroup-root", 0, OPTION_LIST, RESTORE, AT(cgroup_roots), "[CTRL:]/PATH", "restore the root task's cgroup, and those below, as this one" },
	{ "cgroup-props", 0, OPTION_STRING, DUMP, AT(cgroup_props), "TEXT", "which settings of cgroups are saved" },
	{ "cgroup-props-file", 0, OPTION_STRING, DUMP, AT(cgroup_props_file), "FILE", "the same, from a file" },
	{ "cgroup-dump-controller", 0, OPTION_LIST, DUMP, AT(cgroup_controllers), "NAME", "save the cgroups of these controllers only" },
	{ "cgroup-yard", 0, OPTION_STRING, DUMP | RESTORE, AT(cgroup_yard), "DIR",
	  "the cgroup hierarchies are mounted in DIR, by the names of their controllers (cgroup2: unified)" },
	{ "irmap-scan-path", 0, OPTION_LIST, DUMP | PRE, AT(irmap_paths), "PATH", "search here first for what inotify and fanotify watch" },
	{ "force-irmap", 0, OPTION_FLAG, DUMP | PRE, AT(force_irmap), NULL, "search for what is watched, even if the kernel can tell its path", .negatable = true },
	{ "lsm-profile", 0, OPTION_STRING, RESTORE, 0, "TYPE:NAME", "security profile", .refused = NOT_YET },
	{ "lsm-mount-context", 0, OPTION_STRING, RESTORE, 0, "CTX", "security context of mounts", .refused = NOT_YET },
	{ "file-validation", 0, OPTION_ENUM, RESTORE, AT(file_validation_method), "METHOD", "how files are compared: filesize",
	  .names = (const char *const[]){ "filesize", NULL } },
	{ "weak-sysctls", 0, OPTION_FLAG, RESTORE, AT(weak_sysctls), NULL, "leave out settings that this kernel does not have", .negatable = true },
	{ "ghost-fiemap", 0, OPTION_FLAG, DUMP, AT(ghost_fiemap), NULL, "holes of deleted files stay holes (they always do, by SEEK_DATA)", .negatable = true },
	{ "mntns-compat-mode", 0, OPTION_FLAG, RESTORE, 0, NULL, "older mount engine", .refused = "torpor has one way to restore mounts" },
	{ "unprivileged", 0, OPTION_FLAG, EVERY, 0, NULL, "run without root", .refused = NOT_YET },
	{ "stream", 0, OPTION_FLAG, DUMP | PRE | RESTORE | CPUINFO, 0, NULL, "image streamer",
	  .refused = "images are files in a directory; pages can go elsewhere with --page-server" },
	{ "tls", 0, OPTION_FLAG, PEERS, AT(tls), NULL, "talk to the other side of a page server by TLS, with certificates on both sides",
	  .negatable = true },
	{ "tls-cacert", 0, OPTION_STRING, PEERS, AT(tls_files.ca), "FILE",
	  "who may sign the other side's certificate; default /etc/pki/CA/cacert.pem" },
	{ "tls-cacrl", 0, OPTION_STRING, PEERS, AT(tls_files.revoked), "FILE",
	  "certificates that have been revoked; default /etc/pki/CA/cacrl.pem, if it is there" },
	{ "tls-cert", 0, OPTION_STRING, PEERS, AT(tls_files.certificate), "FILE", "certificate of this side; default /etc/pki/criu/cert.pem" },
	{ "tls-key", 0, OPTION_STRING, PEERS, AT(tls_files.key), "FILE", "its key; default /etc/pki/criu/private/key.pem" },
	{ "tls-no-cn-verify", 0, OPTION_FLAG, PEERS, AT(tls_files.any_name), NULL,
	  "the server's certificate may be for any name (it must be signed all the same)" },
	{ "allow-uprobes", 0, OPTION_FLAG, DUMP | RESTORE, 0, NULL, "accept uprobes", .refused = NOT_YET },
};

const struct option_table cr_options_table = {
	.program = "torpor-cr", .verbs = verbs, .n_verbs = CR_VERBS, .rows = rows, .n_rows = sizeof rows / sizeof *rows, .lenient = true,
};
