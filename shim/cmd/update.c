/* SPDX-License-Identifier: Apache-2.0 */
/* update: limits from options, or from a JSON object as linux.resources has it (--resources, "-" is standard input); options that are given
 * as well come on top. Amounts of memory may have a unit (64m, 1.5GiB); -1 is no limit. */
#include <errno.h>
#include <fcntl.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#include "base/err.h"
#include "base/fd.h"
#include "base/str.h"
#include "cmd/cmd.h"
#include "spec/json.h"
#include "spec/spec.h"

/* How the text of an option becomes a field of struct spec_resources. */
static const struct {
	const char *name;
	enum { BYTES, I64, U64, U32, TEXT } kind;
	size_t has, at;
} limits[SHIM_UPDATES] = {
#define LIMIT(name, kind, field) { name, kind, 1 + offsetof(struct spec_resources, has_##field), offsetof(struct spec_resources, field) }
	[SHIM_UPDATE_BLKIO_WEIGHT] = LIMIT("blkio-weight", U32, block_weight),
	[SHIM_UPDATE_CPU_PERIOD] = LIMIT("cpu-period", U64, cpu_period),
	[SHIM_UPDATE_CPU_QUOTA] = LIMIT("cpu-quota", I64, cpu_quota),
	[SHIM_UPDATE_CPU_BURST] = LIMIT("cpu-burst", U64, cpu_burst),
	[SHIM_UPDATE_CPU_SHARE] = LIMIT("cpu-share", U64, cpu_shares),
	[SHIM_UPDATE_CPU_RT_PERIOD] = LIMIT("cpu-rt-period", U64, cpu_rt_period),
	[SHIM_UPDATE_CPU_RT_RUNTIME] = LIMIT("cpu-rt-runtime", I64, cpu_rt_runtime),
	[SHIM_UPDATE_CPUSET_CPUS] = { "cpuset-cpus", TEXT, 0, offsetof(struct spec_resources, cpuset_cpus) },
	[SHIM_UPDATE_CPUSET_MEMS] = { "cpuset-mems", TEXT, 0, offsetof(struct spec_resources, cpuset_mems) },
	[SHIM_UPDATE_KERNEL_MEMORY] = LIMIT("kernel-memory", BYTES, memory_kernel),
	[SHIM_UPDATE_KERNEL_MEMORY_TCP] = LIMIT("kernel-memory-tcp", BYTES, memory_kernel_tcp),
	[SHIM_UPDATE_MEMORY] = LIMIT("memory", BYTES, memory_limit),
	[SHIM_UPDATE_MEMORY_RESERVATION] = LIMIT("memory-reservation", BYTES, memory_reservation),
	[SHIM_UPDATE_MEMORY_SWAP] = LIMIT("memory-swap", BYTES, memory_swap),
	[SHIM_UPDATE_CPU_IDLE] = LIMIT("cpu-idle", I64, cpu_idle),
	[SHIM_UPDATE_PIDS_LIMIT] = LIMIT("pids-limit", I64, pids_limit),
};

/* "1073741824", "1g", "1.5GiB", "512 kb", "-1". */
int shim_bytes(const char *text, int64_t *value)
{
	static const char units[] = "kmgtp";
	char *end;
	double number;

	*value = -1;
	if (!strcmp(text, "-1"))
		return 0;
	if (parse_i64(text, 10, value) == 0)
		return *value < 0 ? -EINVAL : 0;
	size_t digits = strspn(text, "0123456789.");
	if (*text < '0' || *text > '9' || digits > 15)
		return -EINVAL;
	number = strtod(text, &end);
	if (end != text + digits)   /* 0x10, 1e3, 1.2.3 */
		return -EINVAL;
	end += *end == ' ';
	const char *unit = *end ? strchr(units, *end | 0x20) : NULL;
	for (const char *u = units; unit && u <= unit; u++)
		number *= 1024;
	end += unit != NULL;
	if (number > 9e18 || (*end && strcasecmp(end, "b") != 0 && !(unit && strcasecmp(end, "ib") == 0)))
		return -EINVAL;
	*value = (int64_t)number;
	return 0;
}

static int parse_limit(int i, const char *text, struct spec_resources *r)
{
	char *base = (char *)r;
	int64_t value = 0;
	uint64_t natural = 0;
	int done;

	if (limits[i].kind == TEXT) {
		memcpy(base + limits[i].at, &text, sizeof text);
		return 0;
	}
	if (limits[i].kind == BYTES)
		done = shim_bytes(text, &value);
	else
		done = limits[i].kind == I64 ? parse_i64(text, 10, &value) : parse_u64(text, 10, &natural);
	if (done < 0 || (limits[i].kind == U32 && natural > UINT16_MAX))
		return fail_text(EINVAL, "--%s %s: expected %s", limits[i].name, text,
			limits[i].kind == BYTES ? "an amount of memory such as 64m, or -1" : limits[i].kind == U32 ? "a number up to 65535" : "a number");
	if (limits[i].kind == U32)
		memcpy(base + limits[i].at, &(uint32_t){ (uint32_t)natural }, sizeof(uint32_t));
	else
		memcpy(base + limits[i].at, limits[i].kind == U64 ? (const void *)&natural : &value, sizeof value);
	*(bool *)(base + limits[i].has - 1) = true;
	return 0;
}

static int read_stdin(char **text, size_t *size)
{
	size_t room = 0;
	ssize_t n;

	do {
		if (room - *size < 4096) {
			room = room ? 2 * room : 1 << 16;
			*text = mem_realloc(*text, room);
		}
		n = read(STDIN_FILENO, *text + *size, room - *size);
		if (n < 0 && errno != EINTR)
			return fail(errno, "read the resources from standard input");
		*size += n > 0 ? (size_t)n : 0;
	} while (n && *size <= JSON_MAX_SIZE);
	return 0;
}

static int read_resources(struct arena *arena, const char *path, struct spec_resources *r)
{
	autofree char *text = NULL;
	size_t size = 0;
	int done;

	if (!strcmp(path, "-")) {
		done = read_stdin(&text, &size);
	} else {
		ssize_t n = file_read(AT_FDCWD, path, &text, JSON_MAX_SIZE);
		size = n < 0 ? 0 : (size_t)n;
		done = n < 0 ? fail((int)-n, "read the resources %s", path) : 0;
	}
	return done < 0 ? done : spec_resources_parse(arena, !strcmp(path, "-") ? "standard input" : path, text, size, r);
}

static int update(struct shim_call *c, struct arena *arena)
{
	struct spec_resources r = { 0 };
	struct container *container;
	int done = c->o->resources ? read_resources(arena, c->o->resources, &r) : 0;

	for (int i = 0; done >= 0 && i < SHIM_UPDATES; i++)
		if (c->o->update[i])
			done = parse_limit(i, c->o->update[i], &r);
	if (done < 0)
		return done;
	spec_resources_settle(&r);
	done = container_open(&c->oci, c->argv[0], &container);
	if (done < 0)
		return done;
	done = container_update(container, &(struct oci_update){ &r, c->o->l3_cache_schema, c->o->mem_bw_schema });
	container_free(container);
	return done;
}

int shim_update(struct shim_call *c)
{
	struct arena arena = { 0 };
	int done = update(c, &arena);

	arena_done(&arena);
	return done;
}
