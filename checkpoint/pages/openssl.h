/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PAGES_OPENSSL_H
#define PAGES_OPENSSL_H

#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509_vfy.h>
#include <openssl/x509err.h>
#include <openssl/x509v3.h>

/* What is used of OpenSSL 3, loaded when TLS is asked for (openssl.c): ssl->SSL_read(…) instead of SSL_read(…). */
/* clang-format off */
#define OPENSSL_FUNCTIONS(X) \
	X(BIO_free_all) X(BIO_get_data) X(BIO_meth_free) X(BIO_meth_new) X(BIO_meth_set_ctrl) \
	X(BIO_meth_set_read_ex) X(BIO_meth_set_write_ex) X(BIO_new) X(BIO_new_mem_buf) X(BIO_set_data) X(BIO_set_init) \
	X(ERR_clear_error) X(ERR_peek_error) X(ERR_reason_error_string) X(PEM_read_bio_X509_CRL) \
	X(SSL_CTX_ctrl) X(SSL_CTX_free) X(SSL_CTX_get0_certificate) X(SSL_CTX_get_cert_store) \
	X(SSL_CTX_load_verify_file) X(SSL_CTX_new) X(SSL_CTX_set_default_passwd_cb) X(SSL_CTX_set_default_verify_paths) X(SSL_CTX_set_num_tickets) \
	X(SSL_CTX_use_PrivateKey_file) X(SSL_CTX_use_certificate_chain_file) X(SSL_accept) \
	X(SSL_alert_desc_string_long) X(SSL_connect) X(SSL_free) X(SSL_get0_param) X(SSL_get_error) X(SSL_get_verify_result) \
	X(SSL_new) X(SSL_pending) X(SSL_read) X(SSL_set1_host) X(SSL_set_bio) X(SSL_shutdown) X(SSL_write) \
	X(SSL_set_verify) X(TLS_client_method) X(TLS_server_method) X(X509_CRL_free) X(X509_NAME_oneline) X(X509_STORE_CTX_get_current_cert) \
	X(X509_STORE_CTX_get_error) X(X509_STORE_CTX_get_ex_data) X(SSL_get_ex_data_X509_STORE_CTX_idx) X(SSL_set_ex_data) X(SSL_get_ex_data) \
	X(X509_STORE_add_crl) X(X509_STORE_set_flags) X(X509_VERIFY_PARAM_set1_ip_asc) X(X509_cmp_current_time) X(X509_get0_notAfter) \
	X(X509_get0_notBefore) X(X509_get_subject_name) X(X509_verify_cert_error_string)
/* clang-format on */
struct openssl {
#define OPENSSL_FIELD(name) __typeof__(&name) name;
	OPENSSL_FUNCTIONS(OPENSSL_FIELD)
#undef OPENSSL_FIELD
};

/* 0 or -errno, explained. *out stays good until the process ends. */
int openssl_load(const struct openssl **out);

#endif
