/* SPDX-License-Identifier: Apache-2.0 */
/* TLS 1.2 and 1.3 with X.509 certificates on both sides, as CRIU speaks it: a server wants a certificate of its client, signed by the authority
 * that it was told of, and a client also wants the server's to be for the name it was told to connect to.
 *
 * 1. OpenSSL never sees the socket: it is given one that does not raise SIGPIPE and remembers its errno.
 * 2. A handshake that stands still for 30 s has failed. After it a side may be silent for as long as it likes, as without TLS.
 * 3. Small writes are gathered: a record for a header of 32 bytes would be a system call, and two messages, of its own.
 * 4. With TLS 1.3 a client may believe that it is connected before the server has looked at its certificate: the refusal comes with the first read.
 *    A client therefore asks something before it relies on the connection (client.c).
 * 5. One thread at a time uses a connection. */
#define LOG_PREFIX "tls"
#include "pages/tls.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include "base/err.h"
#include "base/str.h"
#include "pages/openssl.h"
#include "pages/tls_files.h"

#define HANDSHAKE_SECONDS 30
#define GATHER (64u << 10)
#define GATHER_BELOW 4096

struct tls {
	const struct openssl *ssl;
	const struct ck_tls *options;
	SSL *it;
	BIO_METHOD *method;
	int sock, error;             /* error: errno of the socket, 0: none so far */
	const char *name;
	char who[160], refused[400]; /* refused: why the other side's certificate is */
	bool broken;                 /* nothing more is said */
	size_t gathered;
	char *buffer;                /* of GATHER */
};

/* --- the socket --- */

static int socket_write(BIO *b, const char *data, size_t size, size_t *written)
{
	const struct openssl *ssl;
	openssl_load(&ssl);
	struct tls *t = ssl->BIO_get_data(b);
	ssize_t n;

	while ((n = send(t->sock, data, size, MSG_NOSIGNAL)) < 0 && errno == EINTR)
		;
	t->error = n < 0 ? errno : 0;
	*written = n > 0 ? (size_t)n : 0;
	return n > 0;
}

static int socket_read(BIO *b, char *data, size_t size, size_t *got)
{
	const struct openssl *ssl;
	openssl_load(&ssl);
	struct tls *t = ssl->BIO_get_data(b);
	ssize_t n;

	while ((n = recv(t->sock, data, size, 0)) < 0 && errno == EINTR)
		;
	t->error = n < 0 ? errno : 0;
	*got = n > 0 ? (size_t)n : 0;
	return n > 0;
}

static long socket_control(BIO *b, int command, long number, void *pointer)
{
	(void)b;
	(void)number;
	(void)pointer;
	return command == BIO_CTRL_FLUSH;
}

static int socket_attach(struct tls *t)
{
	t->method = t->ssl->BIO_meth_new(BIO_TYPE_SOURCE_SINK | 127, "socket");
	if (!t->method)
		return fail(ENOMEM, "TLS");
	t->ssl->BIO_meth_set_write_ex(t->method, socket_write);
	t->ssl->BIO_meth_set_read_ex(t->method, socket_read);
	t->ssl->BIO_meth_set_ctrl(t->method, socket_control);
	BIO *b = t->ssl->BIO_new(t->method);
	if (!b)
		return fail(ENOMEM, "TLS");
	t->ssl->BIO_set_data(b, t);
	t->ssl->BIO_set_init(b, 1);
	t->ssl->SSL_set_bio(t->it, b, b);
	return 0;
}

static void set_timeout(int sock, int seconds)
{
	const struct timeval v = { .tv_sec = seconds };

	setsockopt(sock, SOL_SOCKET, SO_RCVTIMEO, &v, sizeof v);
	setsockopt(sock, SOL_SOCKET, SO_SNDTIMEO, &v, sizeof v);
}

/* --- the other side's certificate --- */

static const char *refusal(const struct openssl *ssl, int error)
{
	switch (error) {
	case X509_V_ERR_CERT_HAS_EXPIRED: return "it has expired";
	case X509_V_ERR_CERT_NOT_YET_VALID: return "it is not valid yet";
	case X509_V_ERR_CERT_REVOKED: return "it has been revoked";
	case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT:
	case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY:
	case X509_V_ERR_SELF_SIGNED_CERT_IN_CHAIN:
	case X509_V_ERR_DEPTH_ZERO_SELF_SIGNED_CERT:
	case X509_V_ERR_UNABLE_TO_VERIFY_LEAF_SIGNATURE: return "it is not signed by an authority that is trusted here (--tls-cacert)";
	case X509_V_ERR_UNABLE_TO_GET_CRL: return "the revocation list (--tls-cacrl) is not of the authority that signed it";
	case X509_V_ERR_CRL_HAS_EXPIRED: return "the revocation list (--tls-cacrl) is out of date";
	}
	return ssl->X509_verify_cert_error_string(error);
}

static int on_verify(int good, X509_STORE_CTX *store)
{
	const struct openssl *ssl;
	openssl_load(&ssl);
	const SSL *it = ssl->X509_STORE_CTX_get_ex_data(store, ssl->SSL_get_ex_data_X509_STORE_CTX_idx());
	struct tls *t = ssl->SSL_get_ex_data(it, 0);
	char subject[160] = "";
	int error = ssl->X509_STORE_CTX_get_error(store);

	if (good)
		return 1;
	const X509 *certificate = ssl->X509_STORE_CTX_get_current_cert(store);
	if (certificate)
		ssl->X509_NAME_oneline(ssl->X509_get_subject_name(certificate), subject, sizeof subject);
	if (error == X509_V_ERR_HOSTNAME_MISMATCH || error == X509_V_ERR_IP_ADDRESS_MISMATCH)
		snprintf(t->refused, sizeof t->refused, "its certificate (%s) is refused: it is not for the name %s", subject, t->name);
	else
		snprintf(t->refused, sizeof t->refused, "its certificate (%s) is refused: %s", subject, refusal(ssl, error));
	return 0;
}

static int verify_name(struct tls *t)
{
	if (!t->name || t->ssl->X509_VERIFY_PARAM_set1_ip_asc(t->ssl->SSL_get0_param(t->it), t->name) == 1)
		return 0;
	return t->ssl->SSL_set1_host(t->it, t->name) == 1 ? 0 : fail_text(EINVAL, "TLS: %s cannot be the name of a server", t->name);
}

/* --- what went wrong --- */

static bool is_about_certificate(int alert)
{
	return (alert >= SSL_AD_BAD_CERTIFICATE && alert <= SSL_AD_CERTIFICATE_UNKNOWN) || alert == SSL_AD_UNKNOWN_CA ||
	       alert == SSL_AD_ACCESS_DENIED || alert == SSL_AD_CERTIFICATE_REQUIRED;
}

static int explain(struct tls *t, const char *doing)
{
	unsigned long code = t->ssl->ERR_peek_error();
	int alert = code ? ERR_GET_REASON(code) - SSL_AD_REASON_OFFSET : -1;
	const char *text = code ? t->ssl->ERR_reason_error_string(code) : NULL;
	int error = t->error;

	t->ssl->ERR_clear_error();
	t->broken = true;
	if (*t->refused)
		return fail_text(EACCES, "%s: %s", t->who, t->refused);
	if (alert >= 0 && alert < 256 && is_about_certificate(alert))
		return fail_text(EACCES, "%s refuses our certificate %s: %s", t->who, tls_certificate_path(t->options),
				 t->ssl->SSL_alert_desc_string_long(alert));
	if (alert >= 0 && alert < 256)
		return fail_text(EPROTO, "%s ends TLS: %s", t->who, t->ssl->SSL_alert_desc_string_long(alert));
	if (error == EAGAIN)
		return fail_text(ETIMEDOUT, "%s does not answer: %s", t->who, doing);
	if (error)
		return fail(error, "%s: %s", t->who, doing);
	return text && ERR_GET_REASON(code) != SSL_R_UNEXPECTED_EOF_WHILE_READING ?
		       fail_text(EPROTO, "%s: %s: %s", t->who, doing, text) :
		       fail_text(ECONNRESET, "%s has closed the connection: %s", t->who, doing);
}

static int shake_hands(struct tls *t, bool server)
{
	set_timeout(t->sock, HANDSHAKE_SECONDS);
	t->ssl->ERR_clear_error();
	int done = server ? t->ssl->SSL_accept(t->it) : t->ssl->SSL_connect(t->it);
	set_timeout(t->sock, 0);
	if (done == 1)
		return 0;
	int r = explain(t, "TLS handshake");
	if (r != -EACCES)
		fail_hint("--tls must be given on both sides, or on neither");
	return r;
}

/* --- a connection --- */

int tls_check(const struct ck_tls *o, bool server)
{
	const struct openssl *ssl;
	SSL_CTX *context = NULL;
	int r = openssl_load(&ssl);

	if (r == 0)
		r = tls_context(ssl, o, server, &context);
	if (context)
		ssl->SSL_CTX_free(context);
	return r;
}

static int tls_make(struct tls *t, bool server)
{
	SSL_CTX *context;
	int r = tls_context(t->ssl, t->options, server, &context);

	if (r < 0)
		return r;
	t->it = t->ssl->SSL_new(context);
	t->ssl->SSL_CTX_free(context);   /* the connection has a reference of its own */
	if (!t->it)
		return fail(ENOMEM, "TLS");
	t->ssl->SSL_set_ex_data(t->it, 0, t);
	t->ssl->SSL_set_verify(t->it, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, on_verify);
	r = verify_name(t);
	return r < 0 ? r : socket_attach(t);
}

int tls_start(const struct ck_tls *o, bool server, int sock, const char *name, const char *who, struct tls **out)
{
	const struct openssl *ssl;
	int r = openssl_load(&ssl);

	if (r < 0)
		return r;
	struct tls *t = mem_zalloc(sizeof *t);
	t->ssl = ssl;
	t->options = o;
	t->sock = sock;
	t->name = name;
	t->buffer = mem_alloc(GATHER);
	snprintf(t->who, sizeof t->who, "%s", who);
	r = tls_make(t, server);
	if (r == 0)
		r = shake_hands(t, server);
	t->name = NULL;   /* the caller's */
	*out = t;
	if (r < 0)
		tls_free(out);
	return r;
}

static int write_now(struct tls *t, const char *data, size_t size)
{
	while (size) {
		int part = size < (1u << 30) ? (int)size : 1 << 30;
		t->ssl->ERR_clear_error();
		int n = t->ssl->SSL_write(t->it, data, part);
		if (n <= 0)
			return explain(t, "send");
		data += n;
		size -= (size_t)n;
	}
	return 0;
}

int tls_flush(struct tls *t)
{
	size_t n = t->gathered;

	t->gathered = 0;
	return write_now(t, t->buffer, n);
}

int tls_write(struct tls *t, const void *data, size_t size)
{
	int r = t->gathered + size > GATHER || size >= GATHER_BELOW ? tls_flush(t) : 0;

	if (r < 0)
		return r;
	if (size >= GATHER_BELOW)
		return write_now(t, data, size);
	memcpy(t->buffer + t->gathered, data, size);
	t->gathered += size;
	return 0;
}

ssize_t tls_read(struct tls *t, void *data, size_t size)
{
	t->error = 0;
	t->ssl->ERR_clear_error();
	int n = t->ssl->SSL_read(t->it, data, size < (1u << 30) ? (int)size : 1 << 30);
	if (n > 0)
		return n;
	if (t->ssl->SSL_get_error(t->it, n) == SSL_ERROR_ZERO_RETURN)
		return 0;
	return explain(t, "receive");
}

bool tls_pending(const struct tls *t)
{
	return t->ssl->SSL_pending(t->it) > 0;
}

/* Our end of both streams; then the other side's, for a moment: a socket that is closed with something unread in it resets the connection, which
 * takes what the other side has not read yet. */
static void say_goodbye(struct tls *t)
{
	char rest[256];

	set_timeout(t->sock, 1);
	if (!t->broken)
		t->ssl->SSL_shutdown(t->it);
	shutdown(t->sock, SHUT_WR);
	while (recv(t->sock, rest, sizeof rest, 0) > 0)
		;
}

void tls_free(struct tls **out)
{
	struct tls *t = *out;

	if (!t)
		return;
	if (t->it && (t->error == 0 || !t->broken))
		say_goodbye(t);
	if (t->it)
		t->ssl->SSL_free(t->it);
	if (t->method)
		t->ssl->BIO_meth_free(t->method);
	t->ssl->ERR_clear_error();
	free(t->buffer);
	free(t);
	*out = NULL;
}
