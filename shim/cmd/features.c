/* SPDX-License-Identifier: Apache-2.0 */
/* features: what this runtime does, as the runtime specification's features document. Every list comes from the table that the parser
 * or the mounter itself reads, less what these refuse: what is printed here works. */
#include <seccomp.h>
#include <stdio.h>
#include <string.h>
#include <sys/capability.h>

#include "actions.h"
#include "base/str.h"
#include "cmd/cmd.h"
#include "cmd/version.h"
#include "rootfs/rootfs.h"
#include "spec/json.h"
#include "spec/seccomp.h"
#include "spec/spec.h"

static void add_enabled(struct json_out *o, const char *key, bool enabled)
{
	json_open_object(o, key);
	json_add_bool(o, "enabled", enabled);
	json_close_object(o);
}

static void add_mount_options(struct json_out *o)
{
	json_open_array(o, "mountOptions");
	for (const struct mount_option *m = mount_options; m->name; m++)
		json_add_string(o, NULL, m->name);
	json_close_array(o);
}

static void add_namespaces(struct json_out *o)
{
	json_open_array(o, "namespaces");
	for (int k = 0; k < NS_KINDS; k++)
		json_add_string(o, NULL, spec_namespaces[k].spec);
	json_close_array(o);
}

static void add_capabilities(struct json_out *o)
{
	json_open_array(o, "capabilities");
	for (cap_value_t c = 0; c <= cap_max_bits() - 1; c++) {
		char *name = cap_to_name(c);
		for (char *p = name; p && *p; p++)
			*p = *p >= 'a' && *p <= 'z' ? (char)(*p - 'a' + 'A') : *p;
		if (name && !strncmp(name, "CAP_", 4))
			json_add_string(o, NULL, name);
		cap_free(name);
	}
	json_close_array(o);
}

static void add_names(struct json_out *o, const char *key, const struct map_name *names)
{
	json_open_array(o, key);
	for (; names->name; names++)
		json_add_string(o, NULL, names->name);
	json_close_array(o);
}

static void add_seccomp(struct json_out *o)
{
	json_open_object(o, "seccomp");
	json_add_bool(o, "enabled", true);
	add_names(o, "actions", spec_seccomp_actions);
	add_names(o, "operators", spec_seccomp_operators);
	json_open_array(o, "archs");
	for (const char *const *arch = spec_seccomp_architectures; *arch; arch++)
		if (spec_seccomp_architecture(*arch))
			json_add_string(o, NULL, *arch);
	json_close_array(o);
	add_names(o, "knownFlags", spec_seccomp_flags);
	add_names(o, "supportedFlags", spec_seccomp_flags);
	json_close_object(o);
}

static void add_linux(struct json_out *o)
{
	json_open_object(o, "linux");
	add_namespaces(o);
	add_capabilities(o);
	json_open_object(o, "cgroup");
	json_add_bool(o, "v1", true);
	json_add_bool(o, "v2", true);
	json_add_bool(o, "systemd", false);
	json_add_bool(o, "systemdUser", false);
	json_add_bool(o, "rdma", true);
	json_close_object(o);
	add_seccomp(o);
	add_enabled(o, "apparmor", true);
	add_enabled(o, "selinux", false);
	json_open_object(o, "intelRdt");
	json_add_bool(o, "enabled", true);
	json_add_bool(o, "schemata", true);
	json_add_bool(o, "monitoring", true);
	json_close_object(o);
	json_open_object(o, "mountExtensions");
	add_enabled(o, "idmap", true);
	json_close_object(o);
	add_enabled(o, "netDevices", true);
	json_open_object(o, "memoryPolicy");
	add_names(o, "modes", spec_memory_modes);
	add_names(o, "flags", spec_memory_flags);
	json_close_object(o);
	json_close_object(o);
}

static void add_annotations(struct json_out *o)
{
	const struct scmp_version *v = seccomp_version();
	autofree char *seccomp = v ? str_printf("%u.%u.%u", v->major, v->minor, v->micro) : NULL;

	json_open_object(o, "annotations");
	json_add_string(o, "io.github.seccomp.libseccomp.version", seccomp);
	json_add_string(o, "org.opencontainers.runc.checkpoint.enabled", "true");
	json_add_string(o, "torpor.version", TORPOR_VERSION);
	json_add_string(o, "torpor.commit", shim_commit);
	json_close_object(o);
}

char *shim_features_json(void)
{
	struct json_out o = { .pretty = true };

	json_open_object(&o, NULL);
	json_add_string(&o, "ociVersionMin", "1.0.0");
	json_add_string(&o, "ociVersionMax", SHIM_SPEC_VERSION);
	json_add_strings(&o, "hooks", spec_hook_points);
	add_mount_options(&o);
	add_linux(&o);
	add_annotations(&o);
	json_add_strings(&o, "potentiallyUnsafeConfigAnnotations", (const char *const[]){ OCI_ANNOTATIONS, NULL });
	json_close_object(&o);
	return json_take(&o);
}

int shim_features(struct shim_call *c)
{
	autofree char *text = shim_features_json();

	(void)c;
	puts(text);
	return 0;
}
