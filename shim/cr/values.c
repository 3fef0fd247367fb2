/* SPDX-License-Identifier: Apache-2.0 */
/* Options whose values are little languages: lists of resources outside, older forms of options in the newer one, capabilities of a processor. */
#include "cr/values.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/str.h"

int cr_check_modes(const struct cr_options *o)
{
	static const char *const modes[] = { "ignore", "none", "props", "soft", "full", "strict" };
	bool known = false;

	for (size_t i = 0; i < sizeof modes / sizeof *modes; i++)
		known |= !strcmp(o->manage_cgroups, modes[i]);
	if (!known)
		return fail_text(EINVAL, "--manage-cgroups=%s: ignore, none, props, soft, full or strict", o->manage_cgroups);
	if (o->empty_ns && strcmp(o->empty_ns, "net") != 0)
		return fail_text(EINVAL, "--empty-ns %s: only a network namespace (net) can be left empty", o->empty_ns);
	if (o->pre_dump_mode && strcmp(o->pre_dump_mode, "splice") != 0 && strcmp(o->pre_dump_mode, "read") != 0)
		return fail_text(EINVAL, "--pre-dump-mode %s: splice and read are known", o->pre_dump_mode);
	if (o->exec_cmd && !o->n_command)
		return fail_text(EINVAL, "--exec-cmd: the command is missing (restore … --exec-cmd -- COMMAND ARGUMENT…)");
	if (o->log_pid && !o->log_file)
		return fail_text(EINVAL, "--log-pid: name the file whose beginning the tasks' files have (--log-file)");
	return cr_check_plugins(o);
}

/* A directory without plugins is one that a script names out of habit. */
int cr_check_plugins(const struct cr_options *o)
{
	DIR *dir = o->libdir ? opendir(o->libdir) : NULL;
	int r = 0;

	if (!dir)
		return !o->libdir || errno == ENOENT ? 0 : fail(errno, "--libdir %s", o->libdir);
	for (const struct dirent *e; r == 0 && (e = readdir(dir));)
		if (str_ends(e->d_name, ".so"))
			r = fail_text(ENOTSUP, "--libdir %s: torpor has no plugins, and would do without %s", o->libdir, e->d_name);
	closedir(dir);
	return r;
}

static int add_mount(struct option_list *made, const char *item)
{
	const char *colon = strchr(item, ':');

	if (!strcmp(item, "auto"))
		array_push(made) = str_dup("mnt[]");
	else if (colon && colon != item)
		array_push(made) = str_printf("mnt[%.*s]:%s", (int)(colon - item), item, colon + 1);
	else
		return fail_text(EINVAL, "--ext-mount-map %s: expected KEY:VALUE or auto", item);
	return 0;
}

static int add_veth(struct option_list *made, const char *pair)
{
	const char *mark = strchr(pair, '=');

	if (!mark || mark == pair || !mark[1])
		return fail_text(EINVAL, "--veth-pair %s: expected IN=OUT", pair);
	array_push(made) = str_printf("veth[%.*s]:%s", (int)(mark - pair), pair, mark + 1);
	return 0;
}

/* The inodes of --ext-unix-sk. */
static int add_sockets(struct option_list *made, const char *list)
{
	while (*list) {
		size_t len = strcspn(list, ",");
		if (!len || strspn(list, "0123456789") != len)
			return fail_text(EINVAL, "--ext-unix-sk=%s: expected the inodes of sockets, with commas between", list);
		array_push(made) = str_printf("unix[%.*s]", (int)len, list);
		list += len + (list[len] == ',');
	}
	return 0;
}

/* mnt[]:m is what always happens. */
static int add_plain(struct option_list *made, const char *item)
{
	if (str_starts(item, "mnt[]:") && strspn(item + 6, "ms") == strlen(item + 6) && strchr(item + 6, 's'))
		return fail_text(ENOTSUP, "--external %s: mounts that are shared with those outside cannot be made so again (mnt[]:m is possible)", item);
	array_push(made) = str_dup(item);
	return 0;
}

int cr_external(const struct cr_options *o, struct option_list *made)
{
	int r = 0;

	for (size_t i = 0; i < o->mount_map.n && r == 0; i++)
		r = add_mount(made, o->mount_map.data[i]);
	for (size_t i = 0; i < o->veth_pairs.n && r == 0; i++)
		r = add_veth(made, o->veth_pairs.data[i]);
	if (r == 0 && o->ext_unix_sk)
		r = add_sockets(made, o->ext_unix_sk);
	for (size_t i = 0; i < o->external.n && r == 0; i++)
		r = add_plain(made, o->external.data[i]);
	array_push(made) = NULL;
	return r;
}

void cr_external_free(struct option_list *made)
{
	for (size_t i = 0; i < made->n; i++)
		free((void *)(uintptr_t)made->data[i]);
	array_free(made);
}

int cr_joined(const struct cr_options *o, const char **out)
{
	*out = NULL;
	for (size_t i = 0; i < o->join_ns.n; i++) {
		const char *text = o->join_ns.data[i];
		if (strncmp(text, "net:", 4) != 0)
			continue;   /* the engine's own list */
		if (*out || !text[4])
			return fail_text(EINVAL, "--join-ns %s: expected net:PID or net:FILE, once", text);
		*out = text + 4;
	}
	return *out && o->empty_ns ? fail_text(EINVAL, "--join-ns and --empty-ns exclude each other") : 0;
}

int cr_inherit(const char *text, struct ck_inherit *out)
{
	char *end;

	if (strncmp(text, "fd[", 3) != 0)
		return fail_text(EINVAL, "--inherit-fd %s: expected fd[N]:KEY", text);
	long n = strtol(text + 3, &end, 10);
	if (end == text + 3 || n < 0 || n > INT_MAX || strncmp(end, "]:", 2) != 0 || !end[2])
		return fail_text(EINVAL, "--inherit-fd %s: expected fd[N]:KEY", text);
	if (fcntl((int)n, F_GETFD) < 0)
		return fail(errno, "--inherit-fd %s: descriptor %ld", text, n);
	*out = (struct ck_inherit){ .key = end + 2, .fd = (int)n };
	return 0;
}

static bool one_cap(const char *name, size_t len, unsigned *caps)
{
	static const struct { const char *name; unsigned caps; } known[] = {
		{ "fpu", CK_CPU_FPU }, { "cpu", CK_CPU_SAME }, { "ins", CK_CPU_INS }, { "all", CK_CPU_FPU | CK_CPU_SAME | CK_CPU_INS }, { "none", 0 },
	};
	bool without = *name == '^';

	name += without;
	len -= without;
	for (size_t i = 0; i < sizeof known / sizeof *known; i++) {
		if (strlen(known[i].name) != len || strncmp(known[i].name, name, len) != 0)
			continue;
		*caps = without ? *caps & ~known[i].caps : known[i].caps ? *caps | known[i].caps : 0;
		return true;
	}
	return false;
}

int cr_cpu_caps(const struct cr_options *o, unsigned *caps)
{
	const char *list = o->cpu_cap;

	*caps = 0;
	if (!list)
		return 0;
	if (*list == '^')
		*caps = CK_CPU_FPU | CK_CPU_INS;
	while (*list) {
		size_t len = strcspn(list, ",");
		if (!one_cap(list, len, caps))
			return fail_text(EINVAL, "--cpu-cap=%s: fpu, cpu, ins, all or none are known, ^ before one leaves it out", o->cpu_cap);
		list += len + (list[len] == ',');
	}
	if (*caps)
		*caps |= CK_CPU_IMAGE;
	return 0;
}
