/* SPDX-License-Identifier: Apache-2.0 */
/* How a shim begins and ends.
 *
 * One shim serves a group of containers: those of a pod (the annotation that names the sandbox); address.c finds it.
 *
 * `start` must print the answer and nothing else, on neither output, and end; the shim lives on as its orphan, in a session of its own,
 * with the bundle's `log` FIFO (which containerd reads) as its standard error. */
#include "containerd/bootstrap.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/err.h"
#include "base/fd.h"
#include "base/log.h"
#include "base/str.h"
#include "bootstrap.pb-c.h"
#include "cmd/cmd.h"
#include "containerd/address.h"
#include "containerd/options.h"
#include "containerd/publish.h"
#include "containerd/sandbox.h"
#include "containerd/task.h"
#include "introspection.pb-c.h"
#include "oci.h"
#include "spec/json.h"

#define RUN_DIR "/run/containerd"
#define LISTEN_FD 3
#define INPUT_MAX (10u << 20)

struct shim shim;

char *bootstrap_state_root(const char *ns)
{
	return str_printf(RUN_DIR "/torpor/%s", ns);
}

int bootstrap_make_path(const char *path, mode_t above, mode_t last)
{
	autofree char *copy = str_dup(path);

	for (char *p = copy + 1; *p; p++)
		if (*p == '/') {
			*p = '\0';
			if (mkdir(copy, above) < 0 && errno != EEXIST)
				return fail(errno, "make the directory %s", copy);
			*p = '/';
		}
	return mkdir(path, last) < 0 && errno != EEXIST ? fail(errno, "make the directory %s", path) : 0;
}

int bootstrap_make_directories(const char *path)
{
	return bootstrap_make_path(path, 0711, 0700);
}

/* What the caller wants of the shim to be. */
struct wishes {
	char *cgroup, *socket_dir;   /* NULL: none */
};

/* --- the group ------------------------------------------------------------------------------------------------------------------------ */

static const char *find_group(const struct json *config, const char *id)
{
	static const char *const keys[] = { "io.containerd.runc.v2.group", "io.kubernetes.cri.sandbox-id" };
	const struct json *annotations = json_get(config, "annotations");

	for (size_t i = 0; i < sizeof keys / sizeof *keys; i++) {
		const char *value = json_string(annotations, keys[i]);
		if (value && *value)
			return value;
	}
	return id;
}

int bootstrap_group(const struct bootstrap *b, int bundle, char **group)
{
	struct arena arena = { 0 };
	struct json *config;
	autofree char *text = NULL;
	ssize_t n = file_read(bundle, "config.json", &text, JSON_MAX_SIZE);

	if (n == -ENOENT) {   /* a sandbox has none */
		*group = str_dup(b->id);
		return 0;
	}
	if (n < 0)
		return fail((int)-n, "read the bundle's config.json");
	int r = json_parse(&arena, "config.json", text, (size_t)n, &config);
	if (r >= 0)
		*group = str_dup(find_group(config, b->id));
	arena_done(&arena);
	return r;
}

/* --- start ---------------------------------------------------------------------------------------------------------------------------- */

/* containerd 1.6 reads a bare address, those that set MAX_SHIM_VERSION (1.7 and newer) JSON. */
static int say(const char *path)
{
	if (!getenv("MAX_SHIM_VERSION"))
		return printf("unix://%s", path) < 0 || fflush(stdout) ? fail(errno, "answer") : 0;
	return printf("{\"version\":3,\"address\":\"unix://%s\",\"protocol\":\"ttrpc\"}", path) < 0 || fflush(stdout) ? fail(errno, "answer") : 0;
}

static void set_oom_score(void)
{
	autofree char *text = NULL, *path = str_printf("/proc/%d/oom_score_adj", getppid());
	char value[16];

	if (file_read(AT_FDCWD, path, &text, 64) <= 0)
		return;
	int score = atoi(text) + 1;
	snprintf(value, sizeof value, "%d", score > 1000 ? 1000 : score);
	file_write(AT_FDCWD, "/proc/self/oom_score_adj", value);   /* lower than it may be is not allowed: no harm */
}

/* The shim: in the bundle's directory, its standard error in the log FIFO. What keeps it from running is told over `said`. */
static _Noreturn void become_shim(const struct bootstrap *b, const char *group, const char *path, int listener, int said)
{
	autoclose int null = open("/dev/null", O_RDWR | O_CLOEXEC);
	/* Rather lose a message than wait for a reader that does not read. */
	int log = open("log", O_RDWR | O_NONBLOCK | O_CLOEXEC);   /* containerd reads it; if it has died, nobody is waited for, with the lock held */
	const char *argv[] = { b->program, "-namespace", b->ns, "-id", group, "-address", b->address, "-socket", path, b->debug ? "-debug" : NULL, NULL };

	setsid();
	set_oom_score();
	int high = fcntl(said, F_DUPFD_CLOEXEC, 10), sock = fcntl(listener, F_DUPFD_CLOEXEC, 10);
	dup2(null, 0);
	dup2(null, 1);
	dup2(log >= 0 ? log : null, 2);
	if (listen(sock, 128) == 0 && dup2(sock, LISTEN_FD) == LISTEN_FD)
		execv("/proc/self/exe", (char *const *)(uintptr_t)argv);
	int error = errno;
	if (write(high, &error, sizeof error) < 0)
		_exit(126);
	_exit(127);
}

/* shim_cgroup of the options: containerd wants the shim there. */
static int join_cgroup(pid_t pid, const char *path)
{
	char text[16];
	int done = 0;
	static const char *const roots[] = { "", "/memory", "/pids", "/cpu,cpuacct", "/freezer", "/unified" };

	snprintf(text, sizeof text, "%d", pid);
	for (size_t i = 0; i < sizeof roots / sizeof *roots; i++) {
		autofree char *root = str_printf("/sys/fs/cgroup%s/cgroup.procs", roots[i]);
		autofree char *dir = str_printf("/sys/fs/cgroup%s/%s", roots[i], path), *file = str_printf("%s/cgroup.procs", dir);
		done += access(root, F_OK) == 0 && bootstrap_make_path(dir, 0755, 0755) == 0 && file_write(AT_FDCWD, file, text) == 0;
	}
	if (done)
		err_clear();
	return done ? 0 : fail_text(ENOENT, "shim_cgroup %s: no such group could be joined", path);
}

/* What is wrong with them is said at Create. */
static void take_options(struct wishes *w, const Wk__Any *any)
{
	Torpor__V1__Options *o = NULL;
	size_t mark = err_mark();

	if (options_runtime(any, &o) < 0)
		err_rewind(mark);
	if (o && *o->shim_cgroup && !w->cgroup)
		w->cgroup = str_dup(o->shim_cgroup);
	if (o)
		torpor__v1__options__free_unpacked(o, NULL);
}

/* What comes on standard input: an Any with the runtime's options, or (containerd 2.3 and newer) BootstrapParams that have one. Some bytes are
 * both: parameters are those that name this container. */
static void read_wishes(const struct bootstrap *b, struct wishes *w)
{
	autofree char *text = NULL;
	ssize_t n = file_read(AT_FDCWD, "/dev/stdin", &text, INPUT_MAX);

	if (n <= 0)
		return;
	Bootstrap__BootstrapParams *params = bootstrap__bootstrap_params__unpack(NULL, (size_t)n, (uint8_t *)text);
	if (params && !strcmp(params->instance_id, b->id) && !strcmp(params->namespace_, b->ns)) {
		for (size_t i = 0; i < params->n_extensions; i++)
			take_options(w, params->extensions[i]->value);
		if (*params->socket_dir)
			w->socket_dir = str_dup(params->socket_dir);
	} else {
		Wk__Any *any = wk__any__unpack(NULL, (size_t)n, (uint8_t *)text);
		take_options(w, any);
		if (any)
			wk__any__free_unpacked(any, NULL);
	}
	if (params)
		bootstrap__bootstrap_params__free_unpacked(params, NULL);
}

static int note_address(const char *path)
{
	autofree char *text = str_printf("unix://%s", path);
	int r = file_swap(AT_FDCWD, "address", text, strlen(text), 0600);

	return r < 0 ? fail(-r, "write the file address in the bundle") : 0;
}

/* Until the shim is a program of its own, and can be found. */
static int make_shim(const struct bootstrap *b, const char *group, const char *path, int listener, pid_t *pid)
{
	int said[2], error;

	*pid = -1;
	if (pipe2(said, O_CLOEXEC) < 0)
		return fail(errno, "make a pipe to the shim");
	*pid = fork();
	if (*pid == 0)
		become_shim(b, group, path, listener, said[1]);
	close(said[1]);
	autoclose int in = said[0];
	if (*pid < 0 || fd_read_all(in, &error, sizeof error) == 0) {
		error = *pid < 0 ? errno : error;
		unlink(path);
		return fail(error, "start the shim");
	}
	return 0;
}

static int start_shim(const struct bootstrap *b, const char *group, const char *path, const struct wishes *w, const char *dir)
{
	autoclose int lock = address_lock(dir);
	autoclose int listener = lock < 0 ? lock : address_bind(path);
	pid_t pid = -1;

	if (listener < 0)
		return listener == -EADDRINUSE ? 0 : listener;
	int r = make_shim(b, group, path, listener, &pid);
	return r == 0 && w->cgroup ? join_cgroup(pid, w->cgroup) : r;
}

int bootstrap_check(const struct bootstrap *b)
{
	if (!*b->ns || !*b->id)
		return fail_text(EINVAL, "the flags -namespace and -id are needed: this program is called by containerd");
	if (strchr(b->ns, '/') || !strcmp(b->ns, "..") || (!b->socket && strchr(b->id, '/')))   /* a group has any name */
		return fail_text(EINVAL, "-namespace %s, -id %s: these are no identifiers", b->ns, b->id);
	return 0;
}

int bootstrap_start(const struct bootstrap *b)
{
	autofree char *group = NULL;
	struct wishes w = { 0 };
	int r = bootstrap_check(b);

	if (r >= 0)
		r = bootstrap_group(b, AT_FDCWD, &group);
	if (r < 0)
		return r;
	read_wishes(b, &w);
	const char *dir = w.socket_dir ? w.socket_dir : ADDRESS_DIR;
	autofree char *path = address_path(dir, b->address, b->ns, group);
	r = note_address(path);   /* first: `delete` reads it, whatever becomes of this */
	if (r >= 0)
		r = start_shim(b, group, path, &w, dir);
	free_pointer(&w.cgroup);
	free_pointer(&w.socket_dir);
	return r < 0 ? r : say(path);
}

/* --- -info ---------------------------------------------------------------------------------------------------------------------- */

int bootstrap_answer(const ProtobufCMessage *m)
{
	size_t size = protobuf_c_message_get_packed_size(m);
	autofree uint8_t *data = mem_alloc(size + 1);

	protobuf_c_message_pack(m, data);
	int r = fd_write_all(1, data, size);
	return r < 0 ? fail(-r, "answer") : 0;
}

int bootstrap_info(void)
{
	Intro__RuntimeInfo info = INTRO__RUNTIME_INFO__INIT;
	Intro__RuntimeVersion version = INTRO__RUNTIME_VERSION__INIT;
	Wk__Any features = WK__ANY__INIT;
	static char name[] = "io.containerd.torpor.v1", number[] = TORPOR_VERSION;
	static char type[] = "types.containerd.io/opencontainers/runtime-spec/1/features/Features";
	autofree char *json = shim_features_json();

	version.version = number;
	info.name = name;
	info.version = &version;
	features.type_url = type;
	features.value = (ProtobufCBinaryData){ .len = strlen(json), .data = (uint8_t *)json };
	info.features = &features;
	return bootstrap_answer(&info.base);
}

/* --- the shim itself ----------------------------------------------------------------------------------------------------------------------- */

static void child_ended(pid_t pid, int status)
{
	if (!sandbox_child_ended(pid, status))
		task_child_ended(pid, status);
}

int bootstrap_serve(const struct bootstrap *b)
{
	autofree char *root = bootstrap_state_root(b->ns);
	static const struct rpc_method *const tables[] = { task_methods, sandbox_methods, NULL };
	const char *events = getenv("TTRPC_ADDRESS");
	int r = bootstrap_check(b);

	if (r >= 0 && !b->socket)
		return fail_text(EINVAL, "an action is needed: start or delete; this program is called by containerd");
	if (r >= 0)
		r = bootstrap_make_directories(root);
	if (r < 0)
		return r;
	shim = (struct shim){ .ns = b->ns, .id = b->id, .address = events ? events : "", .socket = b->socket, .oci = { .root = root },
		.title = b->title, .title_size = b->title_size, .debug = b->debug };
	prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0);
	prctl(PR_SET_NAME, "torpor-shim");
	fcntl(LISTEN_FD, F_SETFD, FD_CLOEXEC);
	signal(SIGHUP, SIG_IGN);
	r = loop_begin();
	if (r < 0)
		return r;
	loop_on_child(child_ended);
	loop_on_stop(service_end);
	publish_begin(shim.address, shim.ns);
	r = server_start(LISTEN_FD, tables);
	service_idle();
	if (r >= 0)
		r = loop_run();
	if (!shim.ending)   /* the loop has failed; else the name was given up, and may be another's by now */
		unlink(b->socket);
	server_stop();
	return r;
}
