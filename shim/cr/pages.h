/* SPDX-License-Identifier: Apache-2.0 */
#ifndef CR_PAGES_H
#define CR_PAGES_H

#include "checkpoint.h"
#include "cr/options.h"

struct ck_page_peer cr_page_peer(const struct cr_options *o);
/* A server listens: tells the port and --status-fd, the action scripts, becomes a daemon. arg: the options (not const). */
int cr_is_ready(void *arg, unsigned port);
/* A page server, or with --lazy-pages one that gives; ready is called when it listens. */
int cr_serve_pages(const struct cr_options *o, int (*ready)(void *arg, unsigned port), void *arg);
/* Leaves the caller's session and standard descriptors; standard error stays if it is the log. */
void cr_detach(void);
int cr_page_server(const struct cr_options *o);
int cr_lazy_pages(const struct cr_options *o);

#endif
