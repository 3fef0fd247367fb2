/* SPDX-License-Identifier: Apache-2.0 */
/* By what a checkpoint is told from another in the same place: the id of the dump, and of the one that it was saved upon. The second is a
 * field of torpor's own, which other readers skip. */
#include "image/run_id.h"

#include <errno.h>
#include <string.h>

#include "base/err.h"
#include "inventory.pb-c.h"

static int run_ids(struct image_dir *images, char **own, char **parent)
{
	struct arena arena = { 0 };
	InventoryEntry *e;
	int ret = image_read_one(images, IMG_INVENTORY, 0, &arena, &e);

	if (ret >= 0 && own && e->dump_criu_run_id)
		*own = str_dup(e->dump_criu_run_id);
	if (ret >= 0 && parent && e->torpor_parent_run_id)
		*parent = str_dup(e->torpor_parent_run_id);
	arena_done(&arena);
	return ret;
}

char *image_run_id(struct image_dir *images)
{
	size_t mark = err_mark();
	char *id = NULL;

	run_ids(images, &id, NULL);
	err_rewind(mark);
	return id;
}

int image_check_parent(struct image_dir *images, struct image_dir *parent)
{
	autofree char *wanted = NULL, *is = NULL;
	int ret = run_ids(images, NULL, &wanted);

	if (ret >= 0)
		ret = run_ids(parent, &is, NULL);
	if (ret < 0)
		return ret == -ENOENT ? 0 : ret;
	if (wanted && !(is && !strcmp(wanted, is)))
		return fail_text(EINVAL, "%s is not the checkpoint that %s was saved upon: another has been saved there since", parent->path,
				 images->path);
	return 0;
}
