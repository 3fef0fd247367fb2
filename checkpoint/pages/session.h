/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PAGES_SESSION_H
#define PAGES_SESSION_H

#include <stdbool.h>

#include "checkpoint.h"

/* One dump's connection at the page server, from its first message to its end: takes the socket, writes into o->images_dir, sends the answers.
 * number: of the session, from 0; alone: no others are at work in the directory. 0 if it was a whole dump. */
int session_run(int sock, const struct ck_page_server_options *o, unsigned number, bool alone);

#endif
