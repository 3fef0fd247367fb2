/* SPDX-License-Identifier: Apache-2.0 */
/* Files of a restore without a tree of tasks: what the images may say, and the builder with this process in the place of a husk. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/err.h"
#include "base/fd.h"
#include "files/builder_state.h"
#include "files/ghost.h"
#include "harness.h"
#include "inventory.pb-c.h"
#include "pipe-data.pb-c.h"

static struct restore r;
static struct ck_restore_options options;

static void begin(void)
{
	char path[4096];

	snprintf(path, sizeof path, "%s/images", test_dir());
	CHECK_OK(image_dir_create(path, &r.images));
	r.o = &options;
	r.tree = tree_new();
	r.arena = &r.tree->arena;
}

static FileEntry *add(FdTypes type, uint32_t id)
{
	FileEntry *e = ARENA_MESSAGE(r.arena, FileEntry, FILE_ENTRY__INIT);

	e->type = type;
	e->id = id;
	array_push(&r.tree->files) = e;
	return e;
}

static FileEntry *add_path(uint32_t id, const char *name)
{
	FileEntry *e = add(FD_TYPES__REG, id);

	e->reg = ARENA_MESSAGE(r.arena, RegFileEntry, REG_FILE_ENTRY__INIT);
	e->reg->id = id;
	e->reg->name = arena_str(r.arena, name);
	e->reg->fown = ARENA_MESSAGE(r.arena, FownEntry, FOWN_ENTRY__INIT);
	return e;
}

static FileEntry *add_pipe(uint32_t id, uint32_t pipe_id, uint32_t flags)
{
	FileEntry *e = add(FD_TYPES__PIPE, id);

	e->pipe = ARENA_MESSAGE(r.arena, PipeEntry, PIPE_ENTRY__INIT);
	e->pipe->id = id;
	e->pipe->pipe_id = pipe_id;
	e->pipe->flags = flags;
	e->pipe->fown = ARENA_MESSAGE(r.arena, FownEntry, FOWN_ENTRY__INIT);
	return e;
}

static void add_descriptor(struct fdtable *t, uint32_t fd, uint32_t id, FdTypes type)
{
	FdinfoEntry *f = ARENA_MESSAGE(r.arena, FdinfoEntry, FDINFO_ENTRY__INIT);

	f->fd = fd;
	f->id = id;
	f->type = type;
	array_push(&t->fds) = f;
}

/* --- what the images may say --- */

static void refused(const char *words)
{
	err_clear();
	CHECK(files_check(&r) < 0);
	CHECK_HAS(err_line(0), words);
}

static void ids_twice(void)
{
	begin();
	add_path(7, "/a");
	add_path(7, "/b");
	refused("id 7 twice");
}

static void id_zero(void)
{
	begin();
	add_path(0, "/a");
	refused("id 0");
}

static void no_message(void)
{
	begin();
	add(FD_TYPES__PIPE, 3);
	refused("id 3 does not have what its type (pipe) needs");
}

static void unknown_type(void)
{
	begin();
	add(FD_TYPES__NETLINKSK, 3);
	refused("type 13, which is not supported");
}

static void descriptors(void)
{
	begin();
	add_path(1, "/a");
	struct fdtable *t = tree_add_fdtable(r.tree, 2, NULL);
	add_descriptor(t, 5, 1, FD_TYPES__REG);
	add_descriptor(t, 3, 1, FD_TYPES__REG);
	CHECK_OK(files_check(&r));
	CHECK_EQ(t->fds.data[0]->fd, 3);   /* sorted */
	add_descriptor(t, 9, 4, FD_TYPES__REG);
	refused("descriptor 9 refers to file 4, which is not in the images");
	t->fds.data[2]->id = 1;
	t->fds.data[2]->type = FD_TYPES__PIPE;
	refused("is of another type");
	t->fds.data[2]->type = FD_TYPES__REG;
	t->fds.data[2]->fd = 5;
	refused("listed twice");
	t->fds.data[2]->fd = UINT32_MAX;
	refused("out of range");
}

/* A fifo and its path may have one id (older CRIU): descriptors mean the fifo. */
static void one_id_for_two(void)
{
	begin();
	add_path(4, "/f");
	FileEntry *e = add(FD_TYPES__FIFO, 4);
	e->fifo = ARENA_MESSAGE(r.arena, FifoEntry, FIFO_ENTRY__INIT);
	CHECK_OK(files_check(&r));
	CHECK(builder_slot(&r, 4)->entry == e);
	CHECK(file_entry(&r, FD_TYPES__REG, 4) == r.tree->files.data[0]);
	CHECK(!file_entry(&r, FD_TYPES__PIPE, 4));
	CHECK(!builder_slot(&r, 5));
}

static void ghost_suffix(void)
{
	char restored[] = "/tmp/x.cr.1f.ghost", other[] = "/tmp/x.cr.1g.ghost", twice[] = "/a.cr.1/b.cr.2.ghost";

	ghost_strip_suffix(restored);
	CHECK_STR(restored, "/tmp/x");
	ghost_strip_suffix(other);
	CHECK_STR(other, "/tmp/x.cr.1g.ghost");
	ghost_strip_suffix(twice);
	CHECK_STR(twice, "/a.cr.1/b");
}

/* --- the builder --- */

static int twice(struct restore *unused, void *data, size_t size)
{
	int value;

	(void)unused;
	CHECK_EQ(size, sizeof value);
	memcpy(&value, data, sizeof value);
	return value < 0 ? fail(ERANGE, "no double of %d", value) : 2 * value;
}

static void calls(void)
{
	int value = 21;

	begin();
	CHECK_OK(files_check(&r));
	CHECK_OK(builder_start(&r, getpid()));
	CHECK_EQ(CHECK_OK(builder_call(&r, twice, &value, sizeof value)), 42);
	value = -1;
	CHECK_EQ(builder_call(&r, twice, &value, sizeof value), -ERANGE);
	CHECK_HAS(err_line(0), "no double of -1");
	builder_stop(&r);
	builder_stop(&r);
	err_clear();
	CHECK(builder_call(&r, twice, &value, sizeof value) < 0);
}

static void killed(void)
{
	int value = 1;

	begin();
	CHECK_OK(files_check(&r));
	CHECK_OK(builder_start(&r, getpid()));
	CHECK_OK(builder_call(&r, twice, &value, sizeof value));
	kill(r.builder->pid, SIGKILL);
	CHECK_EQ(builder_call(&r, twice, &value, sizeof value), -ECHILD);
	CHECK_HAS(err_line(0), "killed by signal 9");
	builder_stop(&r);
}

static void pipe_with_contents(void)
{
	struct image *i;
	PipeDataEntry data = PIPE_DATA_ENTRY__INIT;
	InventoryEntry inventory = INVENTORY_ENTRY__INIT;
	char text[16] = "";

	begin();
	data.pipe_id = 77;
	data.bytes = 5;
	data.has_size = true;
	data.size = 4096;
	CHECK_OK(image_create(r.images, IMG_PIPES_DATA, 0, &i));
	CHECK_OK(image_write(i, &data));
	CHECK_OK(image_write_raw(i, "bytes", 5));
	CHECK_OK(image_close(&i));
	CHECK_OK(image_write_one(r.images, IMG_INVENTORY, 0, &inventory));
	CHECK_OK(image_dir_commit(r.images, false));
	add_pipe(1, 77, O_RDONLY | O_NONBLOCK);
	add_pipe(2, 77, O_WRONLY);
	struct fdtable *t = tree_add_fdtable(r.tree, 2, NULL);
	add_descriptor(t, 0, 1, FD_TYPES__PIPE);
	add_descriptor(t, 1, 2, FD_TYPES__PIPE);
	CHECK_OK(files_check(&r));
	CHECK_OK(builder_start(&r, getpid()));
	CHECK_OK(builder_open_all_start(&r));
	CHECK_OK(builder_open_all_wait(&r));
	int in = (int)CHECK_OK(builder_get(&r, 1)), out = (int)CHECK_OK(builder_get(&r, 2));
	CHECK(fcntl(in, F_GETFL) & O_NONBLOCK);
	CHECK(!(fcntl(out, F_GETFL) & O_NONBLOCK));
	CHECK_EQ(fcntl(out, F_GETPIPE_SZ), 4096);
	CHECK_EQ(write(out, "+", 1), 1);
	CHECK_EQ(read(in, text, sizeof text), 6);
	CHECK_STR(text, "bytes+");
	builder_stop(&r);
	CHECK_EQ(write(out, "x", 1), 1);   /* still a reader: us */
	close(in);
	signal(SIGPIPE, SIG_IGN);
	CHECK_EQ(write(out, "x", 1), -1);
}

/* What changed since the dump is told before anything runs. */
static void changed_files(void)
{
	char path[4096];

	begin();
	snprintf(path, sizeof path, "%s/file", test_dir());
	int fd = open(path, O_WRONLY | O_CREAT, 0644);
	CHECK(fd >= 0 && write(fd, "123", 3) == 3);
	CHECK(fchmod(fd, 0644) == 0);
	RegFileEntry *reg = add_path(1, path)->reg;
	reg->has_size = reg->has_mode = true;
	reg->size = 4;
	reg->mode = S_IFREG | 0600;
	reg = add_path(2, path)->reg;
	reg->has_mode = true;
	reg->mode = S_IFDIR | 0755;
	add_path(3, "/no/such/file");
	reg = add_path(4, "file[1a:2b]")->reg;
	reg->has_ext = reg->ext = true;
	CHECK_OK(files_check(&r));
	CHECK_OK(builder_start(&r, getpid()));
	CHECK(builder_get(&r, 1) < 0);
	CHECK_HAS(err_line(0), "has mode 0644 now, it had 0600");
	err_clear();
	CHECK(builder_get(&r, 2) < 0);
	CHECK_HAS(err_line(0), "is a regular file now, it was a directory");
	err_clear();
	CHECK_EQ(builder_get(&r, 3), -ENOENT);
	CHECK_HAS(err_line(0), "/no/such/file");
	err_clear();
	CHECK(builder_get(&r, 4) < 0);
	CHECK_HAS(err_line(1), "--inherit-fd 'fd[N]:file[1a:2b]'");
	builder_stop(&r);
	options.skip_file_rwx_check = true;
	err_clear();
	CHECK_OK(builder_start(&r, getpid()));
	CHECK(builder_get(&r, 1) < 0);
	CHECK_HAS(err_line(0), "has 3 bytes now, it had 4");
	builder_stop(&r);
}

static void inherited(void)
{
	char path[4096];
	struct stat given, got;

	begin();
	snprintf(path, sizeof path, "%s/other", test_dir());
	int fd = open(path, O_RDWR | O_CREAT, 0600);
	CHECK(fd >= 0);
	struct ck_inherit list[] = { { "pipe:[5]", fd }, { "dev/null", fd } };
	options.inherit = list;
	options.n_inherit = 2;
	add_pipe(1, 5, O_WRONLY | O_APPEND);
	add_path(2, "/dev/null");
	CHECK_OK(files_check(&r));
	CHECK_OK(builder_start(&r, getpid()));
	for (uint32_t id = 1; id <= 2; id++) {
		int mine = (int)CHECK_OK(builder_get(&r, id));
		CHECK(fstat(mine, &got) == 0 && fstat(fd, &given) == 0);
		CHECK(got.st_ino == given.st_ino && got.st_dev == given.st_dev);
	}
	builder_stop(&r);
}

const struct test tests[] = {
	TEST(ids_twice), TEST(id_zero), TEST(no_message), TEST(unknown_type), TEST(descriptors), TEST(one_id_for_two), TEST(ghost_suffix),
	TEST(calls), TEST(killed), TEST(pipe_with_contents), TEST(changed_files), TEST(inherited), {},
};
