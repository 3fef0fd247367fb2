/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PAGES_TLS_FILES_H
#define PAGES_TLS_FILES_H

#include "checkpoint.h"
#include "pages/openssl.h"

/* Our certificate and key and the authorities that are trusted, from files; 0 or -errno, explained. */
int tls_context(const struct openssl *ssl, const struct ck_tls *o, bool server, SSL_CTX **out);
const char *tls_certificate_path(const struct ck_tls *o);

#endif
