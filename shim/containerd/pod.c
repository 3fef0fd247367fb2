/* SPDX-License-Identifier: Apache-2.0 */
/* What a pod has beyond its containers: network, IPC and UTS namespaces (a PID namespace when its containers share one), a cgroup. A runtime
 * without the sandbox service needs an image and a container with a program `pause` for that. Here it is a fork of the shim, which costs
 * a few pages.
 *
 * 1. It has nothing that a container could take from it: no capabilities, no descriptors but one, a root directory that is empty and
 *    read-only, no dumps (so that /proc/1 says nothing in a shared PID namespace).
 * 2. It ends with the shim, however that ends: it waits for the end of a pipe of which the shim has the other side.
 * 3. In a PID namespace it is the first process, and orphans are its children: it ignores SIGCHLD, so the kernel reaps them.
 *
 * What is asked for stands in the bundle as pod.json, a configuration as containers have them: with its checks, and there for `delete` when
 * the shim is dead. User namespaces of pods are refused: containerd's own sandboxer has them. */
#include "containerd/pod.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <linux/sched.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/err.h"
#include "base/fd.h"
#include "base/str.h"
#include "cgroup/cgroup.h"
#include "containerd/task.h"
#include "init/internal.h"
#include "pod.pb-c.h"
#include "spec/json.h"
#include "spec/spec.h"

#define FILE_NAME "pod.json"

/* --- what is asked for ---------------------------------------------------------------------------------------------------------------- */

enum { OF_POD = 0, OF_NODE = 2 };

static void add_namespace(struct json_out *o, const char *type, const char *path)
{
	json_open_object(o, NULL);
	json_add_string(o, "type", type);
	json_add_string(o, "path", path && *path ? path : NULL);
	json_close_object(o);
}

static void add_namespaces(struct json_out *o, const Runtime__V1__NamespaceOption *n, const char *netns)
{
	json_open_array(o, "namespaces");
	add_namespace(o, "mount", NULL);
	if (!n || n->network != OF_NODE) {   /* the node's network has the node's name */
		add_namespace(o, "network", netns);
		add_namespace(o, "uts", NULL);
	}
	if (!n || n->ipc != OF_NODE)
		add_namespace(o, "ipc", NULL);
	if (n && n->pid == OF_POD)
		add_namespace(o, "pid", NULL);
	json_close_array(o);
}

static void add_process(struct json_out *o)
{
	static const char *const args[] = { "pause", NULL };

	json_open_object(o, "process");
	json_add_string(o, "cwd", "/");
	json_add_strings(o, "args", args);
	json_close_object(o);
	json_open_object(o, "root");
	json_add_string(o, "path", "/");
	json_close_object(o);
}

static char *describe(const Sandbox__CreateSandboxRequest *q, const Runtime__V1__PodSandboxConfig *c, const Runtime__V1__NamespaceOption *n)
{
	const Runtime__V1__LinuxPodSandboxConfig *l = c->on_linux;
	autofree char *group = str_printf("%s/%s", l && *l->cgroup_parent ? l->cgroup_parent : "/k8s.io", q->sandbox_id);
	struct json_out o = { 0 };

	json_open_object(&o, NULL);
	json_add_string(&o, "ociVersion", "1.2.0");
	if (*c->hostname && (!n || n->network != OF_NODE))
		json_add_string(&o, "hostname", c->hostname);
	add_process(&o);
	json_open_object(&o, "linux");
	json_add_string(&o, "cgroupsPath", group);
	add_namespaces(&o, n, q->netns_path);
	json_open_object(&o, "sysctl");
	for (size_t i = 0; l && i < l->n_sysctls; i++)
		json_add_string(&o, l->sysctls[i]->key, l->sysctls[i]->value);
	json_close_object(&o);
	json_close_object(&o);
	json_close_object(&o);
	return json_take(&o);
}

static int note(const Sandbox__CreateSandboxRequest *q, const Runtime__V1__PodSandboxConfig *c)
{
	const Runtime__V1__LinuxPodSandboxConfig *l = c->on_linux;
	const Runtime__V1__NamespaceOption *n = l && l->security_context ? l->security_context->namespace_options : NULL;
	autofree char *path = str_printf("%s/" FILE_NAME, q->bundle_path);
	struct spec *s;

	if (n && n->userns_options && n->userns_options->mode != OF_NODE)
		return fail_text(ENOTSUP, "user namespaces of pods: not with this sandboxer; containerd's own has them (sandboxer = \"podsandbox\")");
	autofree char *text = describe(q, c, n);
	int r = spec_parse(q->bundle_path, FILE_NAME, text, strlen(text), &s);
	if (r < 0)
		return r;
	spec_free(s);
	r = file_swap(AT_FDCWD, path, text, strlen(text), 0600);
	return r < 0 ? fail(-r, "write %s", path) : 0;
}

int pod_note(const Sandbox__CreateSandboxRequest *q)
{
	const Wk__Any *any = q->options;

	if (any && any->value.len && !str_ends(any->type_url, "runtime.v1.PodSandboxConfig"))
		return fail_text(EINVAL, "options of the kind %s: a sandbox is described by runtime.v1.PodSandboxConfig", any->type_url);
	if (q->n_rootfs)
		return fail_text(ENOTSUP, "rootfs: a sandbox has no root file system here");
	Runtime__V1__PodSandboxConfig *c = runtime__v1__pod_sandbox_config__unpack(NULL, any ? any->value.len : 0, any ? any->value.data : NULL);
	if (!c)
		return fail_text(EINVAL, "the pod's configuration cannot be decoded");
	int r = note(q, c);
	runtime__v1__pod_sandbox_config__free_unpacked(c, NULL);
	return r;
}

/* --- the process ------------------------------------------------------------------------------------------------------------------------ */

struct pausing {
	const struct spec *spec;
	const char *bundle;
	unsigned long flags;   /* of clone3: the namespaces that are new */
	int life, said;
};

static int empty_root(const char *over)
{
	if (mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0 ||
	    mount("pause", over, "tmpfs", MS_RDONLY | MS_NOSUID | MS_NODEV | MS_NOEXEC, "size=4k,nr_inodes=2,mode=555") < 0)
		return fail(errno, "mount an empty root directory");
	if (chdir(over) < 0 || syscall(SYS_pivot_root, ".", ".") < 0 || umount2(".", MNT_DETACH) < 0 || chdir("/") < 0)
		return fail(errno, "change to an empty root directory");
	return 0;
}

static int drop_all(void)
{
	struct __user_cap_header_struct header = { .version = _LINUX_CAPABILITY_VERSION_3 };
	struct __user_cap_data_struct none[2] = { 0 };

	for (int cap = 0; cap <= CAP_LAST_CAP; cap++)
		prctl(PR_CAPBSET_DROP, cap);
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0 || syscall(SYS_capset, &header, none) < 0 || prctl(PR_SET_DUMPABLE, 0) < 0)
		return fail(errno, "drop all privileges");
	return 0;
}

/* One descriptor of each is kept, all else is closed. */
static void keep_two(struct pausing *p)
{
	int low = p->life < p->said ? p->life : p->said, high = p->life < p->said ? p->said : p->life;

	syscall(SYS_close_range, 0, low - 1, 0);
	if (high > low + 1)
		syscall(SYS_close_range, low + 1, high - 1, 0);
	syscall(SYS_close_range, high + 1, ~0u, 0);
}

static int settle(const struct pausing *p)
{
	autoclose int proc = proc_open_host();
	int r = proc < 0 ? proc : sysctls_apply(proc, p->spec);

	if (r >= 0 && p->flags & CLONE_NEWNET)
		r = loopback_up();
	if (r >= 0 && p->spec->hostname && sethostname(p->spec->hostname, strlen(p->spec->hostname)) < 0)
		r = fail(errno, "set the pod's host name");
	if (r >= 0)
		r = empty_root(p->bundle);
	return r < 0 ? r : drop_all();
}

static _Noreturn void pause_main(struct pausing *p)
{
	struct pollfd end = { .fd = p->life };   /* POLLHUP alone */

	static const char title[] = "torpor-pause";

	prctl(PR_SET_NAME, title);
	memset(shim.title, 0, shim.title_size);   /* a shim is known by its command line */
	memcpy(shim.title, title, shim.title_size < sizeof title ? 1 : sizeof title - 1);
	keep_two(p);
	setsid();
	signal(SIGCHLD, SIG_IGN);
	err_clear();
	int r = settle(p);
	if (fd_write_all(p->said, &r, sizeof r) == 0)
		err_send(p->said);
	close(p->said);
	while (r == 0 && poll(&end, 1, -1) <= 0)
		;
	_exit(r < 0 ? 1 : 0);
}

static pid_t clone_pause(struct pausing *p, int cgroup)
{
	struct clone_args a = { .flags = CLONE_PARENT | p->flags | (cgroup >= 0 ? CLONE_INTO_CGROUP : 0), .cgroup = cgroup >= 0 ? (uint64_t)cgroup : 0 };
	pid_t pid = (pid_t)syscall(SYS_clone3, &a, sizeof a);

	if (pid == 0)
		pause_main(p);
	return pid < 0 ? fail(errno, "make the process that holds the pod's namespaces") : pid;
}

/* In the pod's network and cgroup, the worker becomes the parent of a sibling. */
static int make_pause(const struct spec *s, const struct spec_pairs *groups, struct pausing *p, pid_t *pid)
{
	const char *net = s->namespaces[NS_NETWORK].path;
	autoclose int netns = net ? open(net, O_RDONLY | O_CLOEXEC) : -1, cgroup = cgroup_open_unified(groups, NULL);
	int said[2], r = cgroup_join(groups, NULL), answer;

	if (r < 0)
		return r;
	if (net && (netns < 0 || setns(netns, CLONE_NEWNET) < 0))
		return fail(errno, "enter the pod's network namespace %s", net);
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, said) < 0)
		return fail(errno, "make a socket pair");
	autoclose int in = said[0];
	p->said = said[1];
	*pid = clone_pause(p, cgroup);
	close(said[1]);
	if (*pid < 0)
		return *pid;
	if (fd_read_all(in, &answer, sizeof answer) < 0)
		return fail_text(EIO, "the process that holds the pod's namespaces has ended");
	if (answer < 0)
		err_recv(in);
	return answer;
}

static unsigned long flags_of(const struct spec *s)
{
	static const struct {
		enum spec_namespace kind;
		unsigned long flag;
	} kinds[] = { { NS_MOUNT, CLONE_NEWNS }, { NS_NETWORK, CLONE_NEWNET }, { NS_UTS, CLONE_NEWUTS }, { NS_IPC, CLONE_NEWIPC }, { NS_PID, CLONE_NEWPID } };
	unsigned long flags = 0;

	for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++)
		if (s->namespaces[kinds[i].kind].wanted && !s->namespaces[kinds[i].kind].path)
			flags |= kinds[i].flag;
	return flags;
}

/* --- in workers -------------------------------------------------------------------------------------------------------------------------- */

/* The pod as it was noted, and where its groups are. */
struct noted {
	struct arena arena;
	struct spec *spec;
	struct spec_pairs groups;
};

static int noted_open(struct noted *n, const char *bundle, const char *id)
{
	*n = (struct noted){ 0 };
	int r = spec_load(bundle, FILE_NAME, &n->spec);
	return r < 0 ? r : cgroup_plan(&n->arena, n->spec, id, &n->groups);
}

static void noted_done(struct noted *n)
{
	spec_free(n->spec);
	arena_done(&n->arena);
}

int pod_start(const char *bundle, const char *id, int life, struct job_result *r)
{
	struct noted n;
	int ret = noted_open(&n, bundle, id);

	if (ret >= 0)
		ret = cgroup_create(&n.groups, &n.spec->resources, false);
	if (ret >= 0) {
		struct pausing p = { .spec = n.spec, .bundle = bundle, .flags = flags_of(n.spec), .life = life };
		ret = make_pause(n.spec, &n.groups, &p, &r->pid);
	}
	noted_done(&n);   /* what failed is cleaned up by pod_remove(), once its process has ended */
	return ret;
}

int pod_stats(const char *bundle, const char *id, struct job_result *r)
{
	struct noted n;
	int ret = noted_open(&n, bundle, id);

	if (ret >= 0)
		ret = stats_of_groups(&n.groups, r);
	noted_done(&n);
	return ret;
}

int pod_remove(const char *bundle, const char *id)
{
	autofree char *path = str_printf("%s/" FILE_NAME, bundle);
	struct noted n;

	if (access(path, F_OK) < 0)
		return 0;
	int r = noted_open(&n, bundle, id);
	if (r >= 0)
		r = cgroup_remove(&n.groups);
	noted_done(&n);
	if (r >= 0)
		unlink(path);
	return r;
}
