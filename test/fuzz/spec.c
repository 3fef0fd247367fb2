/* SPDX-License-Identifier: Apache-2.0 */
/* Any bytes as a config.json and as a process object: no crash, no leak, and every refusal explained. */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include "base/err.h"
#include "base/log.h"
#include "base/str.h"
#include "spec/spec.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct arena arena = { 0 };
	struct spec_process process;
	struct spec *spec = NULL;

	log_set_level(LOG_LEVEL_ERROR);
	err_clear();
	if (spec_parse("/bundle", NULL, (const char *)data, size, &spec) < 0 && !err_count())
		abort();
	spec_free(spec);
	err_clear();
	if (spec_process_parse(&arena, "process.json", (const char *)data, size, &process) < 0 && !err_count())
		abort();
	arena_done(&arena);
	return 0;
}
