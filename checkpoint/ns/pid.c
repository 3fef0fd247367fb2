/* SPDX-License-Identifier: Apache-2.0 */
/* A pid namespace has nothing to save; only one that is external has an image, which says by what key it is given back. */
#include "ns/internal.h"
#include "pidns.pb-c.h"

int pid_save(struct dump *d, uint32_t id)
{
	const char *key = ns_external(d, NSK_PID);
	PidnsEntry e = PIDNS_ENTRY__INIT;

	e.ext_key = (char *)(uintptr_t)key;
	return key ? image_write_one(d->images, IMG_PIDNS, id, &e) : 0;
}
