/* SPDX-License-Identifier: Apache-2.0 */
/* Settings of a network namespace below /proc/sys/net, which shows those of the thread that opens it.
 *
 * CRIU's images have two lists of values per device (and for "all" and "default"): IPv4's and IPv6's, by position. The names below
 * are in that order, which is the alphabet's but for what came later. Every other setting that this namespace has and that can be
 * written goes by its name into a list of torpor's own. Only what differs is written at restore:
 * 1. "all" before "default" before the devices: writing forwarding or disable_ipv6 to "all" changes the others too;
 * 2. devices before they are up;
 * 3. an MTU of IPv6 after that of the device.
 *
 * Of torpor's list, what belongs to a device (conf/DEVICE/…, neigh/DEVICE/…) waits until the device is there. How IPv6 makes addresses
 * (addr_gen_mode) is a property of the device (net_relink.c). */
#define LOG_PREFIX "net"
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/err.h"
#include "base/fd.h"
#include "base/log.h"
#include "ns/net.h"

#define ROOT "/proc/sys/net/"
#define VALUE_MAX 4096
#define TREE_DEPTH 4

static const char *const names4[] = {
	"accept_local", "accept_redirects", "accept_source_route", "arp_accept", "arp_announce", "arp_filter", "arp_ignore", "arp_notify",
	"bootp_relay", "disable_policy", "disable_xfrm", "force_igmp_version", "forwarding", "igmpv2_unsolicited_report_interval",
	"igmpv3_unsolicited_report_interval", "log_martians", "medium_id", "promote_secondaries", "proxy_arp", "proxy_arp_pvlan",
	"route_localnet", "rp_filter", "secure_redirects", "send_redirects", "shared_media", "src_valid_mark", "tag",
	"ignore_routes_with_linkdown", "drop_gratuitous_arp", "drop_unicast_in_l2_multicast",
};
static const char *const names6[] = {
	"accept_dad", "accept_ra", "accept_ra_defrtr", "accept_ra_from_local", "accept_ra_min_hop_limit", "accept_ra_mtu", "accept_ra_pinfo",
	"accept_ra_rt_info_max_plen", "accept_ra_rtr_pref", "accept_redirects", "accept_source_route", "autoconf", "dad_transmits",
	"disable_ipv6", "drop_unicast_in_l2_multicast", "drop_unsolicited_na", "force_mld_version", "force_tllao", "forwarding", "hop_limit",
	"ignore_routes_with_linkdown", "keep_addr_on_down", "max_addresses", "max_desync_factor", "mldv1_unsolicited_report_interval",
	"mldv2_unsolicited_report_interval", "mtu", "ndisc_notify", "optimistic_dad", "proxy_ndp", "regen_max_retry", "router_probe_interval",
	"router_solicitation_delay", "router_solicitation_interval", "router_solicitations", "stable_secret", "suppress_frag_ndisc",
	"temp_prefered_lft", "temp_valid_lft", "use_oif_addrs_only", "use_optimistic", "use_tempaddr",
};
#define NAMES4 (sizeof names4 / sizeof *names4)
#define NAMES6 (sizeof names6 / sizeof *names6)

/* --- reading --- */

/* The text without its newline; NULL: there is no such setting, or it has no value (IPv6's secret). */
static char *read_value(const char *path)
{
	autofree char *text = NULL;
	ssize_t n = file_read(AT_FDCWD, path, &text, VALUE_MAX);

	if (n < 0)
		return NULL;
	text[strcspn(text, "\n")] = 0;
	return take_ptr(&text);
}

static void fill(struct arena *arena, const char *path, SysctlEntry *e)
{
	autofree char *text = read_value(path);
	char *end;

	sysctl_entry__init(e);
	e->type = SYSCTL_TYPE__CTL_STR;
	if (!text)
		return;
	long value = strtol(text, &end, 10);
	if (end == text || *end) {
		e->sarg = arena_str(arena, text);
		return;
	}
	e->type = SYSCTL_TYPE__CTL_32;
	e->has_iarg = 1;
	e->iarg = (int32_t)value;
}

static size_t read_list(struct arena *arena, const char *family, const char *device, const char *const *names, size_t n, SysctlEntry ***out)
{
	SysctlEntry *entries = arena_array(arena, SysctlEntry, n);

	*out = arena_array(arena, SysctlEntry *, n);
	for (size_t i = 0; i < n; i++) {
		autofree char *path = str_printf(ROOT "%s/conf/%s/%s", family, device, names[i]);
		fill(arena, path, &entries[i]);
		(*out)[i] = &entries[i];
	}
	return n;
}

int net_sysctls_save_device(struct arena *arena, NetDeviceEntry *e)
{
	if (!e->has_link)
		return 0;
	e->n_conf4 = read_list(arena, "ipv4", e->name, names4, NAMES4, &e->conf4);
	e->n_conf6 = access(ROOT "ipv6", F_OK) < 0 ? 0 : read_list(arena, "ipv6", e->name, names6, NAMES6, &e->conf6);
	return 0;
}

struct walk {
	struct arena *arena;
	ARRAY(NetSysctl *) found;
};

/* "eth0/forwarding" of "ipv4/conf/eth0/forwarding", or of neigh; NULL: it belongs to no device. */
static const char *of_device(const char *name)
{
	const char *at = strchr(name, '/');

	if (!at)
		return NULL;
	return str_starts(at, "/conf/") ? at + 6 : str_starts(at, "/neigh/") ? at + 7 : NULL;
}

/* CRIU's lists have it, or another file of this folder. */
static bool is_elsewhere(const char *name)
{
	const char *device = of_device(name), *setting = device ? strchr(device, '/') : NULL;
	const bool six = str_starts(name, "ipv6/");
	const char *const *names = six ? names6 : names4;

	if (!setting || !strstr(name, "/conf/"))
		return false;
	for (size_t i = 0; i < (six ? NAMES6 : NAMES4); i++)
		if (!strcmp(names[i], setting + 1))
			return true;
	return !strcmp(setting, "/addr_gen_mode") && !str_starts(device, "default/");
}

static void take(struct walk *w, const char *path, mode_t mode)
{
	autofree char *text = NULL;

	if (is_elsewhere(path + strlen(ROOT)) || !S_ISREG(mode) || !(mode & 0200) || !(mode & 0400) || !(text = read_value(path)))
		return;
	NetSysctl *s = arena_new(w->arena, NetSysctl);
	net_sysctl__init(s);
	s->name = arena_str(w->arena, path + strlen(ROOT));
	s->value = arena_str(w->arena, text);
	array_push(&w->found) = s;
}

/* flush does something when it is written. */
static bool is_left_out(const char *name)
{
	return name[0] == '.' || !strcmp(name, "flush") || !strcmp(name, "nf_log");
}

static void walk(struct walk *w, const char *path, int depth)
{
	DIR *dir = depth < TREE_DEPTH ? opendir(path) : NULL;
	struct dirent *f;

	while (dir && (f = readdir(dir))) {
		struct stat st;
		if (is_left_out(f->d_name))
			continue;
		autofree char *child = str_printf("%s%s%s", path, str_ends(path, "/") ? "" : "/", f->d_name);
		if (fstatat(AT_FDCWD, child, &st, AT_SYMLINK_NOFOLLOW) < 0)
			continue;
		if (S_ISDIR(st.st_mode))
			walk(w, child, depth + 1);
		else
			take(w, child, st.st_mode);
	}
	if (dir)
		closedir(dir);
}

static SysctlEntry **one(struct arena *arena, const char *path, const char *without, size_t *n)
{
	SysctlEntry **list = arena_array(arena, SysctlEntry *, 1);

	list[0] = arena_new(arena, SysctlEntry);
	fill(arena, path, list[0]);
	if (without && list[0]->sarg && !strcmp(list[0]->sarg, without))
		list[0]->sarg = NULL;
	*n = 1;
	return list;
}

int net_sysctls_save(struct arena *arena, NetnsEntry *e)
{
	struct walk w = { .arena = arena };

	e->n_all_conf4 = read_list(arena, "ipv4", "all", names4, NAMES4, &e->all_conf4);
	e->n_def_conf4 = read_list(arena, "ipv4", "default", names4, NAMES4, &e->def_conf4);
	if (access(ROOT "ipv6", F_OK) == 0) {
		e->n_all_conf6 = read_list(arena, "ipv6", "all", names6, NAMES6, &e->all_conf6);
		e->n_def_conf6 = read_list(arena, "ipv6", "default", names6, NAMES6, &e->def_conf6);
	}
	e->unix_conf = one(arena, ROOT "unix/max_dgram_qlen", NULL, &e->n_unix_conf);
	e->ipv4_sysctl = one(arena, ROOT "ipv4/ping_group_range", "1\t0", &e->n_ipv4_sysctl);
	walk(&w, ROOT, 0);
	e->n_sysctls = w.found.n;
	e->sysctls = arena_dup(arena, w.found.data ? (void *)w.found.data : (void *)&w, w.found.n * sizeof *w.found.data);
	array_free(&w.found);
	return 0;
}

/* --- writing --- */

/* A setting that this kernel does not have, or does not let a namespace change, is named and left. */
static int set(const char *path, const char *value)
{
	autofree char *now = NULL;
	struct stat st;

	if (stat(path, &st) < 0 || !(st.st_mode & 0200)) {
		log_warn("%s cannot be set to %s: this kernel does not have it so", path, value);
		return 0;
	}
	now = read_value(path);
	if (now && !strcmp(now, value))
		return 0;
	int r = file_write(AT_FDCWD, path, value);
	return r < 0 ? fail(-r, "set %s to %s (it is %s)", path, value, now ? now : "unset") : 0;
}

static int set_entry(const char *path, const SysctlEntry *e)
{
	char text[16];

	if (e->type == SYSCTL_TYPE__CTL_STR)
		return e->sarg && *e->sarg ? set(path, e->sarg) : 0;
	if (!e->has_iarg)
		return 0;
	snprintf(text, sizeof text, "%" PRId32, e->iarg);
	return set(path, text);
}

static int set_list(const char *family, const char *device, const char *const *names, size_t max, SysctlEntry *const *list, size_t n)
{
	int r = 0;

	for (size_t i = 0; i < n && i < max && r >= 0; i++) {
		autofree char *path = str_printf(ROOT "%s/conf/%s/%s", family, device, names[i]);
		r = set_entry(path, list[i]);
	}
	return r;
}

/* By name: nothing that leads out of /proc/sys/net. */
static int set_named(const NetSysctl *s)
{
	autofree char *path = str_printf(ROOT "%s", s->name);

	if (path_goes_up(s->name) || s->name[0] == '/')
		return fail_text(EBADMSG, "netns.img names the setting %s: it is damaged", s->name);
	return set(path, s->value);
}

/* Whether a setting, whose name goes on with owner, is the device's. */
static bool is_of(const char *owner, const char *device)
{
	size_t n = strlen(device);

	return owner && !strncmp(owner, device, n) && owner[n] == '/';
}

/* Those of a device, of "all" or "default"; NULL: those of none. */
static int set_those_of(const NetnsEntry *e, const char *device)
{
	int r = 0;

	for (size_t i = 0; i < e->n_sysctls && r >= 0; i++) {
		const char *owner = of_device(e->sysctls[i]->name);
		if (device ? is_of(owner, device) : !owner)
			r = set_named(e->sysctls[i]);
	}
	return r;
}

int net_sysctls_restore_device(const NetnsEntry *n, const NetDeviceEntry *e)
{
	int r = set_list("ipv4", e->name, names4, NAMES4, e->conf4, e->n_conf4);

	if (r >= 0)
		r = set_list("ipv6", e->name, names6, NAMES6, e->conf6, e->n_conf6);
	return r < 0 ? r : set_those_of(n, e->name);
}

int net_sysctls_restore(const NetnsEntry *e)
{
	int r = set_list("ipv4", "all", names4, NAMES4, e->all_conf4, e->n_all_conf4);

	if (r >= 0)
		r = set_list("ipv6", "all", names6, NAMES6, e->all_conf6, e->n_all_conf6);
	if (r >= 0)
		r = set_list("ipv4", "default", names4, NAMES4, e->def_conf4, e->n_def_conf4);
	if (r >= 0)
		r = set_list("ipv6", "default", names6, NAMES6, e->def_conf6, e->n_def_conf6);
	if (r >= 0 && e->n_unix_conf)
		r = set_entry(ROOT "unix/max_dgram_qlen", e->unix_conf[0]);
	if (r >= 0 && e->n_ipv4_sysctl)
		r = set_entry(ROOT "ipv4/ping_group_range", e->ipv4_sysctl[0]);
	if (r >= 0)
		r = set_those_of(e, NULL);
	if (r >= 0)
		r = set_those_of(e, "all");
	return r < 0 ? r : set_those_of(e, "default");
}

/* --- duplicate address detection --- */

static int set_dad(const char *device, const char *value)
{
	autofree char *path = str_printf(ROOT "ipv6/conf/%s/accept_dad", device);

	return access(path, F_OK) < 0 ? 0 : set(path, value);
}

int net_dad_off(const char *device)
{
	int r = set_dad("all", "0");

	return r < 0 ? r : set_dad(device, "0");
}

static int put_dad_back(const char *device, const SysctlEntry *e)
{
	autofree char *path = str_printf(ROOT "ipv6/conf/%s/accept_dad", device);

	return access(path, F_OK) < 0 ? 0 : set_entry(path, e);   /* the first of names6 */
}

int net_dad_back(const NetnsEntry *e, const struct net_links *saved)
{
	int r = e->n_all_conf6 ? put_dad_back("all", e->all_conf6[0]) : 0;

	for (size_t k = 0; k < saved->list.n && r >= 0; k++)
		if (saved->list.data[k]->n_conf6)
			r = put_dad_back(saved->list.data[k]->name, saved->list.data[k]->conf6[0]);
	return r;
}
