/* SPDX-License-Identifier: Apache-2.0 */
/* The state directory: made, read back, locked, taken away; the status of an init that lives, has ended, or is somebody else. */
#include "container/container.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/err.h"
#include "base/fd.h"
#include "harness.h"

static char root[256];
static struct oci_options oci;

static struct spec *make_spec(void)
{
	static const char text[] =
		"{\"ociVersion\":\"1.1.0\",\"root\":{\"path\":\"r\"},\"process\":{\"args\":[\"x\"],\"cwd\":\"/\"},"
		"\"annotations\":{\"k\":\"v\\\"\\n\"},\"linux\":{\"namespaces\":[{\"type\":\"pid\"},{\"type\":\"ipc\",\"path\":\"/i\"}]}}";
	struct spec *s;

	CHECK_OK(spec_parse("/bundle", NULL, text, strlen(text), &s));
	return s;
}

static struct container *make(const char *id)
{
	struct spec *s = make_spec();
	struct container *c;

	snprintf(root, sizeof root, "%s/a/b", test_dir());
	oci.root = root;
	CHECK_OK(container_new(oci.root, id, s, &c));
	spec_free(s);
	return c;
}

static struct container *reopen(const char *id)
{
	struct container *c;

	CHECK_OK(container_open(&oci, id, &c));
	return c;
}

static pid_t sleeper(void)
{
	pid_t pid = fork();

	if (!pid) {
		pause();
		_exit(0);
	}
	return pid;
}

static void round_trip(void)
{
	struct container *c = make("c-1"), *d;

	container_add_pair(c, &c->cgroups, "memory", "/sys/fs/cgroup/memory/x");
	container_add_pair(c, &c->cgroups, "", "/sys/fs/cgroup/unified/x");
	CHECK_OK(container_set_init(c, getpid()));
	c->restored = true;
	CHECK_OK(container_save(c));
	d = reopen("c-1");
	CHECK_EQ(d->pid, getpid());
	CHECK(d->pid_start == c->pid_start && d->pid_start);
	CHECK_STR(d->bundle, "/bundle");
	CHECK_STR(d->rootfs, "/bundle/r");
	CHECK_STR(d->oci_version, "1.1.0");
	CHECK_STR(d->created, c->created);
	CHECK_EQ(strlen(d->created), strlen("2026-01-02T03:04:05.123456789Z"));
	CHECK_EQ(d->cgroups.n, 2);
	CHECK_STR(d->cgroups.data[1].key, "");
	CHECK_STR(d->cgroups.data[1].value, "/sys/fs/cgroup/unified/x");
	CHECK_STR(d->annotations.data[0].value, "v\"\n");
	CHECK_EQ(d->joined.n, 1);
	CHECK_STR(d->joined.data[0].key, "ipc");
	CHECK(d->restored && d->private_pid);
	CHECK(d->descriptors[0] && d->descriptors[2]);
	container_free(d);
	CHECK_OK(container_remove(c));
	container_free(c);
	CHECK_EQ(container_open(&oci, "c-1", &d), -ENOENT);
	CHECK_HAS(err_line(0), "does not exist");
}

static void configuration_is_kept(void)
{
	struct container *c = make("c");
	struct spec *s;

	CHECK_OK(container_spec(c, &s));
	CHECK_STR(s->process.args.data[0], "x");
	CHECK_STR(s->bundle, "/bundle");
	spec_free(s);
	CHECK_OK(container_remove(c));
	container_free(c);
}

static void ids(void)
{
	static const char *const good[] = { "a", "A_b+c-d.9", "...", "-x" };
	static const char *const bad[] = { "", ".", "..", "a/b", "a b", "\xc3\xa9", "a\n" };
	char longest[257];
	struct container *c;

	for (size_t i = 0; i < sizeof good / sizeof *good; i++)
		CHECK(container_id_valid(good[i]));
	for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
		CHECK(!container_id_valid(bad[i]));
		CHECK_EQ(container_open(&(struct oci_options){ .root = "/run/x" }, bad[i], &c), -EINVAL);
	}
	memset(longest, 'a', 256);
	longest[256] = '\0';
	CHECK(!container_id_valid(longest));
	longest[255] = '\0';
	CHECK(container_id_valid(longest));
	CHECK_EQ(container_open(&(struct oci_options){ .root = "/" }, "a", &c), -EINVAL);
	CHECK_EQ(container_open(&(struct oci_options){ .root = "//" }, "a", &c), -EINVAL);
	CHECK_EQ(container_open(&(struct oci_options){ .root = "x" }, "a", &c), -EINVAL);
}

static void id_in_use(void)
{
	struct container *c = make("c"), *d;
	struct spec *s = make_spec();

	CHECK_EQ(container_new(oci.root, "c", s, &d), -EEXIST);
	CHECK_HAS(err_line(0), "already exists");
	spec_free(s);
	d = reopen("c");
	container_free(d);
	CHECK_OK(container_remove(c));
	container_free(c);
}

static void status_of_init(void)
{
	struct container *c = make("c");
	autofree char *start = str_printf("%s/%s", c->dir, CONTAINER_START_SOCKET);
	pid_t pid = sleeper();

	CHECK_EQ(container_status(c), OCI_CREATING);
	container_unlock(c);
	CHECK_EQ(container_status(c), OCI_STOPPED);
	CHECK(mknod(start, S_IFSOCK | 0600, 0) == 0);
	CHECK_OK(container_set_init(c, pid));
	CHECK_EQ(container_status(c), OCI_CREATED);
	CHECK(unlink(start) == 0);
	CHECK_EQ(container_status(c), OCI_RUNNING);
	CHECK_EQ(container_init_pid(c), pid);
	c->pid_start--;   /* the number was given again */
	CHECK_EQ(container_status(c), OCI_STOPPED);
	CHECK_EQ(container_kill(c, SIGTERM, false), -ESRCH);
	CHECK_HAS(err_line(0), "container not running");
	c->pid_start++;
	CHECK_OK(container_kill(c, SIGKILL, false));
	CHECK(waitid(P_PID, (id_t)pid, &(siginfo_t){ 0 }, WEXITED | WNOWAIT) == 0);
	CHECK_EQ(container_status(c), OCI_STOPPED);   /* a zombie */
	CHECK(waitpid(pid, NULL, 0) == pid);
	CHECK_EQ(container_status(c), OCI_STOPPED);
	CHECK_EQ(container_init_pid(c), 0);
	CHECK_OK(container_remove(c));
	container_free(c);
}

static void delete_needs_force(void)
{
	struct container *c = make("c");
	pid_t pid = sleeper();

	CHECK_OK(container_set_init(c, pid));
	CHECK_OK(container_save(c));
	container_unlock(c);
	CHECK_EQ(container_delete(c, false), -EBUSY);
	CHECK_HAS(err_line(0), "cannot delete container c that is not stopped: running");
	CHECK_OK(container_delete(c, true));
	CHECK(waitpid(pid, NULL, WNOHANG) == pid);
	CHECK_EQ(container_delete(c, true), -ENOENT);
	container_free(c);
}

static void half_made(void)
{
	struct container *c = make("c"), *d;
	autofree char *state = str_printf("%s/state.json", c->dir), *extra = str_printf("%s/sub", c->dir);
	autofree char *deep = str_printf("%s/sub/file", c->dir);

	container_unlock(c);
	CHECK(unlink(state) == 0 && mkdir(extra, 0700) == 0 && close(open(deep, O_CREAT | O_WRONLY, 0600)) == 0);
	d = reopen("c");
	CHECK_EQ(container_status(d), OCI_STOPPED);
	CHECK_OK(container_delete(d, false));
	CHECK(access(c->dir, F_OK) < 0);
	container_free(d);
	container_free(c);
}

static void damaged(void)
{
	static const char *const texts[] = {
		"", "{}", "[]", "{\"id\": \"c",  "{\"id\":\"other\",\"pid\":1,\"pidStart\":1}", "{\"id\":\"c\",\"pid\":-1,\"pidStart\":1}",
		"{\"id\":\"c\",\"pid\":4294967296,\"pidStart\":1}", "{\"id\":\"c\",\"pid\":\"1\",\"pidStart\":1}",
	};
	struct container *c = make("c"), *d;

	for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
		CHECK_OK(file_replace(c->dir_fd, "state.json", texts[i], strlen(texts[i]), 0600));
		int r = container_open(&oci, "c", &d);
		CHECK(r < 0 && r != -EINVAL && r != -ENOENT);
		CHECK_HAS(err_line(err_count() - 1), "delete --force c");
		err_clear();
	}
	container_free(c);
	CHECK_OK(container_discard(&oci, "c"));
	CHECK_EQ(container_open(&oci, "c", &d), -ENOENT);
}

/* Who waits for the lock of a container that its holder deletes hears that it is gone. */
static void lock_of_a_deleted_one(void)
{
	struct container *c = make("c");
	struct container *d = reopen("c");
	pid_t pid = fork();

	if (!pid) {
		usleep(200000);
		_exit(container_remove(c) < 0);   /* the exit closes the child's copy only */
	}
	CHECK(waitpid(pid, &(int){ 0 }, 0) == pid);
	container_unlock(c);
	CHECK_EQ(container_lock(d), -ENOENT);
	container_free(d);
	container_free(c);
}

static void lock_waits(void)
{
	struct container *c = make("c");
	int ready[2];

	CHECK(pipe(ready) == 0);
	container_unlock(c);
	pid_t pid = fork();
	if (!pid) {
		struct container *mine = reopen("c");
		CHECK_OK(container_lock(mine));
		mine->restored = true;
		CHECK(write(ready[1], "x", 1) == 1);
		usleep(200000);
		CHECK_OK(container_save(mine));
		_exit(0);
	}
	CHECK(read(ready[0], &(char){ 0 }, 1) == 1);
	CHECK_OK(container_lock(c));
	CHECK(c->restored);   /* read again */
	CHECK(waitpid(pid, NULL, 0) == pid);
	CHECK_OK(container_remove(c));
	container_free(c);
}

static void lists(void)
{
	struct container *b = make("b"), *a = make("a");
	autofree char *stray = str_printf("%s/file", oci.root);
	char **found;

	CHECK(close(open(stray, O_CREAT | O_WRONLY, 0600)) == 0);
	CHECK_EQ(container_list(&oci, &found), 2);
	CHECK_STR(found[0], "a");
	CHECK_STR(found[1], "b");
	free(found[0]);
	free(found[1]);
	free(found);
	CHECK_OK(container_remove(a));
	CHECK_OK(container_remove(b));
	CHECK_EQ(container_list(&oci, &found), 0);
	CHECK_EQ(container_list(&(struct oci_options){ .root = "/nonexistent/x" }, &found), 0);
	container_free(a);
	container_free(b);
}

static void document(void)
{
	struct container *c = make("c");
	autofree char *json = NULL;

	container_unlock(c);
	CHECK_OK(container_state_json(c, &json));
	CHECK_HAS(json, "\"status\": \"stopped\"");
	CHECK_HAS(json, "\"pid\": 0,");
	CHECK_HAS(json, "\"ociVersion\": \"1.1.0\"");
	CHECK_HAS(json, "\"k\": \"v\\\"\\u000a\"");
	CHECK_HAS(json, "\"owner\": \"\"");
	CHECK_OK(container_remove(c));
	container_free(c);
}

const struct test tests[] = {
	TEST(round_trip), TEST(configuration_is_kept), TEST(ids), TEST(id_in_use), TEST(status_of_init), TEST(delete_needs_force),
	TEST(half_made), TEST(damaged), TEST(lock_of_a_deleted_one), TEST(lock_waits), TEST(lists), TEST(document), {},
};
