/* SPDX-License-Identifier: Apache-2.0 */
/* A config.json with every property that is read, for tests of the reader, and what they do with it. */
#ifndef TEST_SPEC_SAMPLE_H
#define TEST_SPEC_SAMPLE_H

#include <string.h>

#include "base/err.h"
#include "base/str.h"
#include "harness.h"
#include "spec/spec.h"

static const char sample[] =
	"{\"ociVersion\":\"1.2.0\",\"hostname\":\"h\",\"domainname\":\"d\",\"root\":{\"path\":\"rootfs\",\"readonly\":true},"
	"\"process\":{\"args\":[\"sh\",\"-c\",\"\\u00e9\\ud83d\\ude00\"],\"env\":[\"A=b\",\"B=\"],\"cwd\":\"/x\",\"terminal\":false,"
	"\"user\":{\"uid\":1,\"gid\":2,\"umask\":18,\"additionalGids\":[3,4294967295]},\"noNewPrivileges\":true,\"oomScoreAdj\":-7,"
	"\"capabilities\":{\"bounding\":[\"CAP_CHOWN\",\"CAP_KILL\"],\"ambient\":[]},"
	"\"rlimits\":[{\"type\":\"RLIMIT_NOFILE\",\"soft\":9223372036854775809,\"hard\":18446744073709551615}]},"
	"\"mounts\":[{\"destination\":\"/proc\",\"type\":\"proc\",\"source\":\"proc\",\"options\":[\"ro\",\"nosuid\"]},"
	"{\"destination\":\"/d\"}],"
	"\"annotations\":{\"a.b\":\"c\"},\"hooks\":{},\"unknown\":{\"x\":[1,2.5e3,null,true]},"
	"\"linux\":{\"namespaces\":[{\"type\":\"pid\"},{\"type\":\"network\",\"path\":\"/n\"},{\"type\":\"mount\"},"
	"{\"type\":\"uts\"},{\"type\":\"ipc\"}],"
	"\"devices\":[{\"path\":\"/dev/f\",\"type\":\"u\",\"major\":10,\"minor\":229,\"fileMode\":8630,\"uid\":5}],"
	"\"resources\":{\"devices\":[{\"allow\":false,\"access\":\"rwm\"},{\"allow\":true,\"type\":\"c\",\"major\":1,\"minor\":-1,\"access\":\"r\"}],"
	"\"memory\":{\"limit\":-1,\"swap\":9223372036854775807,\"swappiness\":60,\"disableOOMKiller\":false,\"kernel\":0},"
	"\"pids\":{\"limit\":-9223372036854775808},\"cpu\":{\"shares\":2,\"quota\":-1,\"period\":100000,\"idle\":0,\"cpus\":\"0-1\",\"mems\":\"0\"},"
	"\"unified\":{\"memory.high\":\"1\"},\"blockIO\":{\"weight\":0},\"hugepageLimits\":[],\"network\":{}},"
	"\"cgroupsPath\":\"/a/b\",\"rootfsPropagation\":\"rslave\",\"sysctl\":{\"net.ipv4.ip_forward\":\"1\",\"kernel/shmmax\":\"1\"},"
	"\"maskedPaths\":[\"/m\"],\"readonlyPaths\":[\"/r\"],\"personality\":{\"domain\":\"LINUX\"},"
	"\"seccomp\":{\"defaultAction\":\"SCMP_ACT_ERRNO\",\"defaultErrnoRet\":38,\"architectures\":[\"SCMP_ARCH_X86_64\",\"SCMP_ARCH_X86\"],"
	"\"flags\":[\"SECCOMP_FILTER_FLAG_LOG\"],\"syscalls\":[{\"names\":[\"read\",\"write\"],\"action\":\"SCMP_ACT_ALLOW\"},"
	"{\"names\":[\"clone\"],\"action\":\"SCMP_ACT_ERRNO\",\"args\":[{\"index\":0,\"value\":18446744073709551615,\"valueTwo\":1,"
	"\"op\":\"SCMP_CMP_MASKED_EQ\"}]}]}}}";

static inline int parse(const char *text, struct spec **s)
{
	err_clear();
	return spec_parse("/bundle/", NULL, text, strlen(text), s);
}

static inline struct spec *good(const char *text)
{
	struct spec *s;

	CHECK_OK(parse(text, &s));
	return s;
}

/* The sample with one text in it replaced by another. */
static inline char *edited(const char *from, const char *to)
{
	const char *at = strstr(sample, from);

	if (!at)
		test_failed(__FILE__, __LINE__, "the sample has no %s", from);
	return str_printf("%.*s%s%s", (int)(at - sample), sample, to, at + strlen(from));
}

static inline void check_refused(const char *text, const char *message)
{
	struct spec *s = NULL;
	int r = parse(text, &s);

	if (r >= 0)
		test_failed(__FILE__, __LINE__, "accepted, expected: %s", message);
	CHECK(!s);
	CHECK(err_count() > 0);
	CHECK_HAS(err_line(0), message);
}

static inline void refused_edit(const char *from, const char *to, const char *message)
{
	autofree char *text = edited(from, to);
	check_refused(text, message);
}

static inline void accepted_edit(const char *from, const char *to)
{
	autofree char *text = edited(from, to);
	spec_free(good(text));
}

#endif
