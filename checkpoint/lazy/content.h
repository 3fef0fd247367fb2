/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LAZY_CONTENT_H
#define LAZY_CONTENT_H

#include "mem/restoring.h"

/* Where the pager has page content from: the images, at once, or the page server of a lazy dump, by asking. */
struct content;

int content_open(struct restore *r, const struct ck_page_peer *server, struct content **out);
void content_free(struct content **c);
/* Whether a page server has the content at an address; *size is cut to what is in the same place. */
bool content_is_remote(const struct content *c, const struct task *t, uint64_t at, uint64_t *size);
/* How much of the size, from an address on, has content. */
uint64_t content_stretch(const struct content *c, const struct task *t, uint64_t at, uint64_t size);
/* The images: reads; 0 or -errno, explained. */
int content_read(struct content *c, const struct task *t, uint64_t at, void *data, uint64_t size);
/* The same, where it is in memory already, for the kernel to copy (the file may be cut: who reads it gets SIGBUS); NULL: it is to be read. */
const char *content_place(const struct content *c, const struct task *t, uint64_t at, uint64_t size);
/* A page server: its socket, -1 with images; a request; an answer, whose content is then read into data (of CONTENT_MAX bytes). -errno
 * (explained) means that the connection is gone. */
#define CONTENT_MAX (1u << 20)
uint64_t content_limit(const struct content *c);   /* of a request: CRIU's server cannot give more at once than fits a pipe */
int content_socket(const struct content *c);
bool content_pending(const struct content *c);   /* there is an answer to read, whatever poll says of the socket */
int content_ask(struct content *c, const struct task *t, uint64_t at, uint64_t size);
int content_answer(struct content *c, pid_t *pid, uint64_t *at, uint64_t *size, void *data);
/* Of both, while nothing else is asked for. */
int content_fetch(struct content *c, const struct task *t, uint64_t at, void *data, uint64_t size);
/* The program is about to run here: once the source has agreed it will not go on there by itself. */
int content_begin(struct content *c);
/* The connection is of no use any more. */
void content_drop(struct content *c);
/* All is here: the server may end. */
int content_end(struct content *c);
/* The connection was another process's, and has been closed. */
void content_forget(struct content *c);
/* After the connection is gone: a new one, if the server takes it. */
int content_again(struct content *c);

#endif
