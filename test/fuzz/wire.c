/* SPDX-License-Identifier: Apache-2.0 */
/* Fuzzes the page server's messages: whatever is accepted is within bounds and means the same when it is sent on. */
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "pages/wire.h"

int LLVMFuzzerTestOneInput(const unsigned char *data, size_t size);

int LLVMFuzzerTestOneInput(const unsigned char *data, size_t size)
{
	struct wire_message m, again;
	unsigned char bytes[WIRE_SIZE];

	for (; size >= WIRE_SIZE; data += WIRE_SIZE, size -= WIRE_SIZE) {
		err_clear();
		if (wire_decode(data, &m) < 0)
			continue;
		if (wire_content(&m) > 1ull << 47)
			abort();
		wire_encode(&m, bytes);
		if (wire_decode(bytes, &again) < 0 || again.command != m.command || again.flags != m.flags)
			abort();
		bool close = m.command == WIRE_CLOSE || m.command == WIRE_FORCE_CLOSE;
		if (!close && (again.id != m.id || again.pages != m.pages || again.address != m.address || again.segment != m.segment))
			abort();
	}
	return 0;
}
