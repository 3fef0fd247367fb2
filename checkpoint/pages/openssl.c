/* SPDX-License-Identifier: Apache-2.0 */
/* OpenSSL 3, which only TLS needs, is loaded when TLS is asked for: linked to the programs, it would cost every command 0.55 ms of start (and a shim
 * its memory). The types are those of its headers, so that a call is checked as if it were linked. */
#include "pages/openssl.h"

#include <dlfcn.h>
#include <errno.h>
#include <pthread.h>

#include "base/err.h"

#define LIBRARY "libssl.so.3"

static const char *const names[] = {
#define OPENSSL_NAME(name) #name,
	OPENSSL_FUNCTIONS(OPENSSL_NAME)
#undef OPENSSL_NAME
};
_Static_assert(sizeof(struct openssl) == sizeof names / sizeof *names * sizeof(void *), "one name for each function");

int openssl_load(const struct openssl **out)
{
	static struct openssl functions;   /* the same for all callers, once it is filled */
	static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
	static int loaded;
	void **at = (void **)&functions;
	int r = 0;

	pthread_mutex_lock(&lock);
	/* With its dependency libcrypto; never closed. */
	void *library = loaded ? NULL : dlopen(LIBRARY, RTLD_NOW | RTLD_LOCAL);
	if (!loaded && !library) {
		r = fail_text(ENOENT, "TLS needs OpenSSL 3: %s", dlerror());
		fail_hint("install " LIBRARY " (Debian: libssl3)");
	}
	for (size_t i = 0; library && r == 0 && i < sizeof names / sizeof *names; i++) {
		at[i] = dlsym(library, names[i]);
		if (!at[i])
			r = fail_text(ENOSYS, "TLS needs OpenSSL 3: " LIBRARY " has no %s", names[i]);
	}
	loaded |= r == 0;
	pthread_mutex_unlock(&lock);
	*out = &functions;
	return r;
}
