/* SPDX-License-Identifier: Apache-2.0 */
/* spec: a config.json to begin with: a shell in its own namespaces, with the mounts, masked paths and few capabilities that container
 * engines give by default. process.terminal is false, so that the bundle runs without a terminal as well.
 *
 * With --rootless it is one that a user without privileges can run: a user namespace in which the user is root, the host's network, no
 * limits, and /sys bound from the host, since only the owner of the network namespace may mount sysfs. */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "base/err.h"
#include "base/fd.h"
#include "base/str.h"
#include "cmd/cmd.h"
#include "cmd/version.h"
#include "spec/json.h"

#define LIST(...) ((const char *const[]){ __VA_ARGS__, NULL })
static const char *const capabilities[] = { "CAP_AUDIT_WRITE", "CAP_KILL", "CAP_NET_BIND_SERVICE", NULL };

static const struct {
	const char *destination, *type, *source, *options[8];
} mounts[] = {
	{ "/proc", "proc", "proc", { "nosuid", "noexec", "nodev" } },
	{ "/dev", "tmpfs", "tmpfs", { "nosuid", "strictatime", "mode=755", "size=65536k" } },
	{ "/dev/pts", "devpts", "devpts", { "nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5" } },
	{ "/dev/shm", "tmpfs", "shm", { "nosuid", "noexec", "nodev", "mode=1777", "size=65536k" } },
	{ "/dev/mqueue", "mqueue", "mqueue", { "nosuid", "noexec", "nodev" } },
	{ "/sys", "sysfs", "sysfs", { "nosuid", "noexec", "nodev", "ro" } },
	{ "/sys/fs/cgroup", "cgroup", "cgroup", { "nosuid", "noexec", "nodev", "relatime", "ro" } },
};

/* What /proc and /sys tell about, or let change of, the host. */
static const char *const masked[] = {
	"/proc/acpi", "/proc/asound", "/proc/interrupts", "/proc/kcore", "/proc/keys", "/proc/latency_stats", "/proc/timer_list",
	"/proc/timer_stats", "/proc/sched_debug", "/proc/scsi", "/sys/firmware", "/sys/devices/virtual/powercap", NULL,
};
static const char *const readonly[] = {
	"/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger", NULL,
};
static const char *const namespaces[] = { "pid", "network", "ipc", "uts", "mount", "cgroup", NULL };

static void add_process(struct json_out *o)
{
	json_open_object(o, "process");
	json_add_bool(o, "terminal", false);
	json_open_object(o, "user");
	json_add_u64(o, "uid", 0);
	json_add_u64(o, "gid", 0);
	json_close_object(o);
	json_add_strings(o, "args", LIST("sh"));
	json_add_strings(o, "env", LIST("PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "TERM=xterm"));
	json_add_string(o, "cwd", "/");
	json_open_object(o, "capabilities");
	json_add_strings(o, "bounding", capabilities);
	json_add_strings(o, "effective", capabilities);
	json_add_strings(o, "permitted", capabilities);
	json_close_object(o);
	json_open_array(o, "rlimits");
	json_open_object(o, NULL);
	json_add_string(o, "type", "RLIMIT_NOFILE");
	json_add_u64(o, "hard", 1024);
	json_add_u64(o, "soft", 1024);
	json_close_object(o);
	json_close_array(o);
	json_add_bool(o, "noNewPrivileges", true);
	json_close_object(o);
}

static void add_mount(struct json_out *o, const char *destination, const char *type, const char *source, const char *const *options, bool rootless)
{
	json_open_object(o, NULL);
	json_add_string(o, "destination", destination);
	json_add_string(o, "type", type);
	json_add_string(o, "source", source);
	json_open_array(o, "options");
	for (; *options; options++)
		if (!rootless || (!str_starts(*options, "gid=") && !str_starts(*options, "uid=")))   /* ids that the user does not have */
			json_add_string(o, NULL, *options);
	json_close_array(o);
	json_close_object(o);
}

static void add_mounts(struct json_out *o, bool rootless)
{
	json_open_array(o, "mounts");
	for (size_t i = 0; i < sizeof mounts / sizeof *mounts; i++)
		if (!rootless || !str_starts(mounts[i].destination, "/sys"))
			add_mount(o, mounts[i].destination, mounts[i].type, mounts[i].source, mounts[i].options, rootless);
	if (rootless)
		add_mount(o, "/sys", "none", "/sys", LIST("rbind", "nosuid", "noexec", "nodev", "ro"), true);
	json_close_array(o);
}

static void add_map(struct json_out *o, const char *key, uint32_t id)
{
	json_open_array(o, key);
	json_open_object(o, NULL);
	json_add_u64(o, "containerID", 0);
	json_add_u64(o, "hostID", id);
	json_add_u64(o, "size", 1);
	json_close_object(o);
	json_close_array(o);
}

static void add_resources(struct json_out *o)
{
	json_open_object(o, "resources");
	json_open_array(o, "devices");
	json_open_object(o, NULL);
	json_add_bool(o, "allow", false);
	json_add_string(o, "access", "rwm");
	json_close_object(o);
	json_close_array(o);
	json_close_object(o);
}

static void add_namespaces(struct json_out *o, bool rootless)
{
	json_open_array(o, "namespaces");
	for (const char *const *n = namespaces; *n; n++) {
		json_open_object(o, NULL);
		json_add_string(o, "type", rootless && !strcmp(*n, "network") ? "user" : *n);
		json_close_object(o);
	}
	json_close_array(o);
}

static void add_linux(struct json_out *o, bool rootless)
{
	json_open_object(o, "linux");
	if (rootless) {
		add_map(o, "uidMappings", geteuid());
		add_map(o, "gidMappings", getegid());
	} else {
		add_resources(o);
	}
	add_namespaces(o, rootless);
	json_add_strings(o, "maskedPaths", masked);
	json_add_strings(o, "readonlyPaths", readonly);
	json_close_object(o);
}

static char *default_config(bool rootless)
{
	struct json_out o = { .pretty = true };

	json_open_object(&o, NULL);
	json_add_string(&o, "ociVersion", SHIM_SPEC_VERSION);
	add_process(&o);
	json_open_object(&o, "root");
	json_add_string(&o, "path", "rootfs");
	json_add_bool(&o, "readonly", true);
	json_close_object(&o);
	json_add_string(&o, "hostname", "torpor");
	add_mounts(&o, rootless);
	add_linux(&o, rootless);
	json_close_object(&o);
	return json_take(&o);
}

int shim_spec(struct shim_call *c)
{
	autofree char *config = default_config(c->o->rootless_spec);
	autofree char *path = str_printf("%s/%s", c->o->file && *c->o->file == '/' ? "" : c->o->bundle,
		c->o->file ? c->o->file : "config.json");
	autoclose int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);

	if (fd < 0 && errno == EEXIST)
		return fail_text(EEXIST, "%s exists already; remove it first", path);
	if (fd < 0)
		return fail(errno, "create %s", path);
	int r = fd_write_all(fd, config, strlen(config));
	if (r == 0)
		r = fd_write_all(fd, "\n", 1);
	if (r >= 0)
		return 0;
	unlink(path);   /* half a configuration would be in the way of the next try */
	return fail(-r, "write %s", path);
}
