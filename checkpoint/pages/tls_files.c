/* SPDX-License-Identifier: Apache-2.0 */
/* The files of TLS, in PEM: certificate with its chain, key, authorities, revocation list. Those that are not named are looked for where CRIU does,
 * below /etc/pki. An own certificate that is out of date is refused here, where it can be replaced.
 *
 * Without a name for the authorities' file a client trusts those of the system as well, as CRIU does: the server has to be who it says it is. A
 * server does not: whoever has any certificate of the public authorities could send it pages. */
#include "pages/tls_files.h"

#include <errno.h>
#include <stdio.h>
#include <unistd.h>

#include "base/err.h"
#include "base/fd.h"
#include "base/str.h"

#define FOLDER "/etc/pki/"
#define CA FOLDER "CA/cacert.pem"
#define REVOKED FOLDER "CA/cacrl.pem"
#define CERTIFICATE FOLDER "criu/cert.pem"
#define KEY FOLDER "criu/private/key.pem"

const char *tls_certificate_path(const struct ck_tls *o)
{
	return o->certificate ? o->certificate : CERTIFICATE;
}

static int unusable(const struct openssl *ssl, const char *option, const char *path)
{
	unsigned long code = ssl->ERR_peek_error();
	const char *reason = code ? ssl->ERR_reason_error_string(code) : NULL;

	if (access(path, R_OK) < 0)
		return fail(errno, "%s %s", option, path);
	return fail_text(EINVAL, "%s %s: %s", option, path, reason ? reason : "not what it should be");
}

/* A key that asks for a password is an error: there may be nobody to answer. */
static int no_password(char *buffer, int size, int writing, void *arg)
{
	(void)buffer;
	(void)size;
	(void)writing;
	(void)arg;
	return -1;
}

static int load_own(const struct openssl *ssl, SSL_CTX *c, const struct ck_tls *o)
{
	const char *path = tls_certificate_path(o), *key = o->key ? o->key : KEY;

	ssl->SSL_CTX_set_default_passwd_cb(c, no_password);
	if (ssl->SSL_CTX_use_certificate_chain_file(c, path) != 1)
		return unusable(ssl, "--tls-cert", path);
	const X509 *own = ssl->SSL_CTX_get0_certificate(c);
	if (ssl->X509_cmp_current_time(ssl->X509_get0_notAfter(own)) < 0)
		return fail_text(EKEYEXPIRED, "--tls-cert %s: the certificate has expired", path);
	if (ssl->X509_cmp_current_time(ssl->X509_get0_notBefore(own)) > 0)
		return fail_text(EKEYREJECTED, "--tls-cert %s: the certificate is not valid yet", path);
	if (ssl->SSL_CTX_use_PrivateKey_file(c, key, SSL_FILETYPE_PEM) == 1)
		return 0;
	unsigned long code = ssl->ERR_peek_error();
	if (ERR_GET_LIB(code) == ERR_LIB_X509 && ERR_GET_REASON(code) == X509_R_KEY_VALUES_MISMATCH)
		return fail_text(EINVAL, "--tls-key %s is not the key of the certificate %s", key, path);
	return unusable(ssl, "--tls-key", key);
}

static int load_authorities(const struct openssl *ssl, SSL_CTX *c, const struct ck_tls *o, bool server)
{
	const char *path = o->ca ? o->ca : CA;
	bool system = !o->ca && !server;

	if (system)
		ssl->SSL_CTX_set_default_verify_paths(c);
	if (system && access(path, F_OK) < 0)
		return 0;
	return ssl->SSL_CTX_load_verify_file(c, path) == 1 ? 0 : unusable(ssl, "--tls-cacert", path);
}

static int load_revoked(const struct openssl *ssl, SSL_CTX *c, const struct ck_tls *o)
{
	const char *path = o->revoked ? o->revoked : REVOKED;
	autofree char *text = NULL;
	int n = 0;

	if (!o->revoked && access(path, R_OK) < 0)
		return 0;
	ssize_t size = file_read(-1, path, &text, 16 << 20);
	if (size < 0)
		return fail((int)-size, "--tls-cacrl %s", path);
	BIO *in = ssl->BIO_new_mem_buf(text, (int)size);
	X509_STORE *store = ssl->SSL_CTX_get_cert_store(c);
	for (X509_CRL *list; in && (list = ssl->PEM_read_bio_X509_CRL(in, NULL, NULL, NULL)); n++) {
		ssl->X509_STORE_add_crl(store, list);
		ssl->X509_CRL_free(list);
	}
	if (in)
		ssl->BIO_free_all(in);
	if (n == 0)
		return unusable(ssl, "--tls-cacrl", path);
	ssl->X509_STORE_set_flags(store, X509_V_FLAG_CRL_CHECK);
	return 0;
}

int tls_context(const struct openssl *ssl, const struct ck_tls *o, bool server, SSL_CTX **out)
{
	ssl->ERR_clear_error();
	SSL_CTX *c = *out = ssl->SSL_CTX_new(server ? ssl->TLS_server_method() : ssl->TLS_client_method());
	if (!c)
		return fail(ENOMEM, "TLS");
	ssl->SSL_CTX_ctrl(c, SSL_CTRL_SET_MIN_PROTO_VERSION, TLS1_2_VERSION, NULL);
	ssl->SSL_CTX_ctrl(c, SSL_CTRL_SET_SESS_CACHE_MODE, SSL_SESS_CACHE_OFF, NULL);
	ssl->SSL_CTX_set_num_tickets(c, 0);   /* nobody comes back, and CRIU takes a ticket for an answer that does not come */
	int r = load_own(ssl, c, o);
	if (r == 0)
		r = load_authorities(ssl, c, o, server);
	if (r == 0)
		r = load_revoked(ssl, c, o);
	ssl->ERR_clear_error();
	if (r < 0) {
		ssl->SSL_CTX_free(c);
		*out = NULL;
	}
	return r;
}
