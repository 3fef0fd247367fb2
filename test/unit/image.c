/* SPDX-License-Identifier: Apache-2.0 */
/* Image files and directories: what is written is read back, a directory is whole or void, corrupt files are named. */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/err.h"
#include "base/fd.h"
#include "harness.h"
#include "image/stream.h"
#include "inventory.h"
#include "inventory.pb-c.h"

static char *below(const char *name)
{
	return str_printf("%s/%s", test_dir(), name);
}

static void write_tree(struct image_dir *d, uint32_t pids)
{
	struct image *i;

	CHECK_OK(image_create(d, IMG_PSTREE, 0, &i));
	for (uint32_t pid = 1; pid <= pids; pid++) {
		PstreeEntry e = PSTREE_ENTRY__INIT;
		e.pid = pid;
		e.ppid = pid - 1;
		e.pgid = e.sid = 1;
		e.n_threads = 1;
		e.threads = &pid;
		CHECK_OK(image_write(i, &e));
	}
	CHECK_OK(image_close(&i));
}

static void write_inventory(struct image_dir *d)
{
	InventoryEntry e = INVENTORY_ENTRY__INIT;

	e.img_version = 2;
	e.has_fdinfo_per_id = e.fdinfo_per_id = 1;
	CHECK_OK(image_write_one(d, IMG_INVENTORY, 0, &e));
}

static bool exists(const char *dir, const char *name)
{
	autofree char *path = str_printf("%s/%s", dir, name);
	return access(path, F_OK) == 0;
}

static void round_trip(void)
{
	autofree char *path = below("images");
	struct arena arena = { 0 };
	struct image_dir *d;
	struct image *i;
	PstreeEntry *e;
	uint32_t n = 0;

	CHECK_OK(image_dir_create(path, &d));
	write_tree(d, 5000);   /* more than a buffer */
	write_inventory(d);
	CHECK_OK(image_dir_commit(d, true));
	image_dir_free(d);
	CHECK_OK(image_dir_open(path, &d));
	CHECK_OK(image_open(d, IMG_PSTREE, 0, &i));
	while (image_read(i, &arena, &e) > 0) {
		n++;
		CHECK_EQ(e->pid, n);
		CHECK_EQ(e->threads[0], n);
	}
	CHECK_EQ(n, 5000);
	image_free(&i);
	CHECK_EQ(image_open(d, IMG_CORE, 1, &i), -ENOENT);
	CHECK_EQ(err_count(), 0);
	image_dir_free(d);
	arena_done(&arena);
}

static void raw_payload(void)
{
	autofree char *path = below("images"), *big = mem_alloc(200000);
	struct image_dir *d;
	struct image *i;
	char *got = mem_zalloc(200000);

	for (int k = 0; k < 200000; k++)
		big[k] = (char)(k * 31);
	CHECK_OK(image_dir_create(path, &d));
	CHECK_OK(image_create(d, IMG_PIPES_DATA, 0, &i));
	CHECK_OK(image_write_raw(i, "abc", 3));
	CHECK_OK(image_write_raw(i, big, 200000));
	CHECK_OK(image_close(&i));
	write_inventory(d);
	CHECK_OK(image_dir_commit(d, false));
	CHECK_OK(image_open(d, IMG_PIPES_DATA, 0, &i));
	CHECK_OK(image_read_raw(i, got, 3));
	CHECK(!memcmp(got, "abc", 3));
	CHECK_OK(image_read_raw(i, got, 200000));
	CHECK(!memcmp(got, big, 200000));
	CHECK_EQ(image_read_raw(i, got, 1), -ENODATA);
	CHECK_HAS(err_line(0), "pipes-data.img is cut off");
	image_free(&i);
	image_dir_free(d);
	free_pointer(&got);
}

static void uncommitted_is_void(void)
{
	autofree char *path = below("images");
	struct image_dir *d;

	CHECK_OK(image_dir_create(path, &d));
	write_tree(d, 3);
	write_inventory(d);
	CHECK(!exists(path, "inventory.img"));
	image_dir_free(d);
	CHECK(access(path, F_OK) < 0);   /* it made the directory, and takes it away */
}

static void older_checkpoint_survives_failure(void)
{
	autofree char *path = below("images");
	struct image_dir *d;

	CHECK_OK(image_dir_create(path, &d));
	write_tree(d, 3);
	write_inventory(d);
	CHECK_OK(image_dir_commit(d, false));
	image_dir_free(d);
	CHECK_OK(image_dir_create(path, &d));
	write_tree(d, 9);
	image_dir_free(d);
	CHECK(exists(path, "inventory.img") && exists(path, "pstree.img"));
	CHECK(!exists(path, ".pstree.img.part"));
}

static void stale_images_go(void)
{
	autofree char *path = below("images"), *other = NULL;
	struct image_dir *d;

	CHECK_OK(image_dir_create(path, &d));
	close(image_create_raw(d, "core-77.img"));
	close(image_create_raw(d, "pages-9.img"));
	write_inventory(d);
	CHECK_OK(image_dir_commit(d, false));
	image_dir_free(d);
	other = str_printf("%s/notes.txt", path);
	close(open(other, O_CREAT | O_WRONLY, 0600));
	CHECK_OK(image_dir_create(path, &d));
	write_inventory(d);
	CHECK_OK(image_dir_commit(d, false));
	image_dir_free(d);
	CHECK(!exists(path, "core-77.img") && !exists(path, "pages-9.img"));
	CHECK(exists(path, "notes.txt") && exists(path, "inventory.img"));
}

/* A file with these bytes as pstree.img. */
static int read_bytes(const void *data, size_t size)
{
	autofree char *path = below("bad"), *name = str_printf("%s/pstree.img", path);
	struct arena arena = { 0 };
	struct image_dir *d;
	auto_image struct image *i = NULL;
	PstreeEntry *e;

	mkdir(path, 0700);
	CHECK_OK(file_replace(AT_FDCWD, name, data, size, 0600));
	CHECK_OK(image_dir_open(path, &d));
	int r = image_open(d, IMG_PSTREE, 0, &i);
	while (r >= 0 && (r = image_read(i, &arena, &e)) > 0)
		;
	image_dir_free(d);
	arena_done(&arena);
	return r;
}

static void corrupt_files_are_named(void)
{
	uint32_t words[5] = { IMAGE_MAGIC_COMMON, 0x50273030, 4, 0xffffffff, 0 };

	CHECK_EQ(read_bytes(words, 8), 0);
	CHECK_EQ(read_bytes(words, 7), -ENODATA);
	CHECK_EQ(read_bytes(words, 10), -ENODATA);   /* a length that is cut off */
	CHECK_EQ(read_bytes(words, 14), -ENODATA);   /* an entry that is cut off */
	CHECK_EQ(read_bytes(words, 16), -EBADMSG);   /* no message */
	words[2] = 0x7fffffff;
	CHECK_EQ(read_bytes(words, 16), -EBADMSG);
	words[1] = 0x50273031;
	CHECK_EQ(read_bytes(words, 8), -EBADMSG);
	for (size_t i = 0; i < err_count(); i++)
		CHECK_HAS(err_line(i), "pstree.img");
}

/* A tree in images that does not hold together is refused by name. */
static int load(const PstreeEntry *entries, size_t n)
{
	autofree char *path = below("tree");
	struct ck_restore_options o = { .images_dir = path };
	struct restore r = { .o = &o };
	struct image *i;

	CHECK_OK(image_dir_create(path, &r.images));
	CHECK_OK(image_create(r.images, IMG_PSTREE, 0, &i));
	for (size_t k = 0; k < n; k++)
		CHECK_OK(image_write(i, &entries[k]));
	CHECK_OK(image_close(&i));
	write_inventory(r.images);
	CHECK_OK(image_dir_commit(r.images, false));
	r.tree = tree_new();
	r.arena = &r.tree->arena;
	int ret = tree_read(&r);
	image_dir_free(r.images);
	tree_free(r.tree);
	return ret;
}

static void broken_trees_are_refused(void)
{
	static uint32_t tids[2] = { 5, 6 };
	PstreeEntry e[3];

	for (int k = 0; k < 3; k++) {
		pstree_entry__init(&e[k]);
		e[k].pid = 5;
		e[k].n_threads = 1;
		e[k].threads = tids;
	}
	CHECK_EQ(load(e, 0), -EBADMSG);
	CHECK_EQ(load(e, 2), -EBADMSG);           /* twice */
	CHECK_EQ(load(e, 1), -ENOENT);            /* its core is missing */
	CHECK_HAS(err_line(err_count() - 1), "core-5.img is missing");
	e[0].n_threads = 2;
	tids[0] = 7;
	CHECK_EQ(load(e, 1), -EBADMSG);           /* not its leader first */
	tids[0] = 5;
	e[0].n_threads = 1;
	e[0].pid = 0x7fffffff;
	CHECK_EQ(load(e, 1), -EBADMSG);
	e[0].pid = 5;
	e[0].ppid = 9;
	CHECK_EQ(load(e, 1), -EBADMSG);           /* no such parent */
}

const struct test tests[] = {
	TEST(round_trip),
	TEST(raw_payload),
	TEST(uncommitted_is_void),
	TEST(older_checkpoint_survives_failure),
	TEST(stale_images_go),
	TEST(corrupt_files_are_named),
	TEST(broken_trees_are_refused),
	{},
};
