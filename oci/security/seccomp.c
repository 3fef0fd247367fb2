/* SPDX-License-Identifier: Apache-2.0 */
/* The seccomp filter.
 *
 * libseccomp turns the profile into a BPF program; the runtime does that beside init's work and sends the program over, init
 * installs it. The library knows system calls by name per architecture: a name that it does not know is skipped, as runtime-spec
 * wants (profiles list calls of newer kernels), and so is a rule whose action is the default one, which it refuses.
 *
 * Arguments: the conditions of one rule are joined by "and". The library cannot test one argument twice in a rule; runc
 * made such lists mean "or", one rule for each condition, and profiles rely on it.
 *
 * Where the default is an error, calls that are newer than the profile get ENOSYS: a C library takes that for an older kernel and
 * goes another way, while any other error is the program's. Newer is, as in runc, a number above all that the profile names. Some
 * instructions before the library's see to it, for each architecture.
 *
 * Installing needs no_new_privs or CAP_SYS_ADMIN, so it happens at different moments (process.c). */
#include <errno.h>
#include <fcntl.h>
#include <linux/seccomp.h>
#include <seccomp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/err.h"
#include "base/fd.h"
#include "base/str.h"
#include "security/security.h"

#define LOG_PREFIX "seccomp"
#include "base/log.h"

#define X32_BIT 0x40000000   /* in the numbers of x32 calls, which are of the architecture x86-64 otherwise */

static void filter_release(scmp_filter_ctx *filter)
{
	if (*filter)
		seccomp_release(*filter);
}
#define auto_filter __attribute__((cleanup(filter_release)))

static struct scmp_arg_cmp condition(const struct spec_seccomp_arg *a)
{
	/* MASKED_EQ: value is the mask, valueTwo what must be left. */
	return (struct scmp_arg_cmp){ .arg = a->index, .op = (enum scmp_compare)a->op, .datum_a = a->value, .datum_b = a->value_two };
}

static bool repeats_argument(const struct spec_seccomp_rule *rule)
{
	unsigned seen = 0;

	for (size_t i = 0; i < rule->n_args; i++) {
		if (seen & 1u << rule->args[i].index)
			return true;
		seen |= 1u << rule->args[i].index;
	}
	return false;
}

static int add_call(scmp_filter_ctx filter, const struct spec_seccomp_rule *rule, int number)
{
	struct scmp_arg_cmp all[6];
	int r = 0;

	if (repeats_argument(rule)) {
		for (size_t i = 0; r >= 0 && i < rule->n_args; i++) {
			all[0] = condition(&rule->args[i]);
			r = seccomp_rule_add_array(filter, rule->action, number, 1, all);
		}
		return r;
	}
	for (size_t i = 0; i < rule->n_args; i++)   /* each argument once: at most six */
		all[i] = condition(&rule->args[i]);
	return seccomp_rule_add_array(filter, rule->action, number, (unsigned)rule->n_args, all);
}

static int add_rule(scmp_filter_ctx filter, const struct spec_seccomp_rule *rule)
{
	for (size_t i = 0; i < rule->names.n; i++) {
		const char *name = rule->names.data[i];
		int number = seccomp_syscall_resolve_name(name);
		if (number == __NR_SCMP_ERROR) {
			log_debug("system call %s is unknown here, its rule is skipped", name);
			continue;
		}
		int r = add_call(filter, rule, number);
		if (r < 0 && r != -EEXIST)
			return fail(-r, "linux.seccomp: rule for system call %s", name);
	}
	return 0;
}

static int add_architectures(scmp_filter_ctx filter, const struct spec_seccomp *s)
{
	for (size_t i = 0; i < s->n_architectures; i++) {
		int r = seccomp_arch_add(filter, s->architectures[i]);
		if (r < 0 && r != -EEXIST)
			return fail(-r, "linux.seccomp.architectures: add 0x%x", s->architectures[i]);
	}
	return 0;
}

/* The library writes the program to a descriptor only. */
static int export(scmp_filter_ctx filter, struct seccomp_program *out)
{
	struct stat st;
	autoclose int fd = memfd_create("seccomp", MFD_CLOEXEC);
	if (fd < 0)
		return fail(errno, "linux.seccomp: make a memory file");
	int r = seccomp_export_bpf(filter, fd);
	if (r < 0)
		return fail(-r, "linux.seccomp: build the filter");
	if (fstat(fd, &st) < 0)
		return fail(errno, "linux.seccomp: read the filter");
	size_t n = (size_t)st.st_size / sizeof *out->code;
	if (n == 0 || n > BPF_MAXINSNS)
		return fail_text(E2BIG, "linux.seccomp: the filter has %zu instructions, the kernel takes %d", n, BPF_MAXINSNS);
	out->code = mem_alloc(n * sizeof *out->code);
	out->n = (unsigned short)n;
	r = fd_pread_all(fd, out->code, n * sizeof *out->code, 0);
	return r < 0 ? fail(-r, "linux.seccomp: read the filter") : 0;
}

/* The largest number that the profile names for an architecture; -1: none. */
static int newest_call(const struct spec_seccomp *s, uint32_t arch)
{
	int newest = -1;

	for (size_t i = 0; i < s->n_rules; i++)
		for (size_t k = 0; k < s->rules[i].names.n; k++) {
			int number = seccomp_syscall_resolve_name_arch(arch, s->rules[i].names.data[k]);
			if (number > newest && number < X32_BIT)
				newest = number;
		}
	return newest;
}

#define GROUP 6

/* If it is this architecture, and no x32 call, and the number is larger: ENOSYS. */
static void add_group(struct sock_filter *code, uint32_t arch, int newest)
{
	const struct sock_filter group[GROUP] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, arch)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, arch, 0, 4),
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JGE | BPF_K, X32_BIT, 2, 0),
		BPF_JUMP(BPF_JMP | BPF_JGT | BPF_K, (uint32_t)newest, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | ENOSYS),
	};

	memcpy(code, group, sizeof group);
}

static int add_newer(const struct spec_seccomp *s, struct seccomp_program *p)
{
	size_t n = 0, room = (s->n_architectures + 1) * GROUP;
	bool is_error = (s->default_action & SECCOMP_RET_ACTION_FULL) == SECCOMP_RET_ERRNO;

	if (!is_error || (s->default_action & SECCOMP_RET_DATA) == ENOSYS)
		return 0;
	if (room + p->n > BPF_MAXINSNS)
		return fail_text(E2BIG, "linux.seccomp: the filter has %zu instructions, the kernel takes %d", room + p->n, BPF_MAXINSNS);
	struct sock_filter *code = mem_alloc((room + p->n) * sizeof *code);
	for (size_t i = 0; i <= s->n_architectures; i++) {
		uint32_t arch = i ? s->architectures[i - 1] : seccomp_arch_native();
		int newest = arch == SCMP_ARCH_X32 || (i && arch == seccomp_arch_native()) ? -1 : newest_call(s, arch);
		if (newest >= 0) {
			add_group(code + n, arch, newest);
			n += GROUP;
		}
	}
	memcpy(code + n, p->code, p->n * sizeof *code);
	free(p->code);
	p->code = code;
	p->n = (unsigned short)(p->n + n);
	return 0;
}

int seccomp_build(const struct spec_seccomp *s, struct seccomp_program *out)
{
	*out = (struct seccomp_program){ .flags = s->flags, .notify = s->notify };
	if (!s->present)
		return 0;
	auto_filter scmp_filter_ctx filter = seccomp_init(s->default_action);
	if (!filter)
		return fail_text(EINVAL, "linux.seccomp.defaultAction: 0x%x is not supported here", s->default_action);
	int r = seccomp_attr_set(filter, SCMP_FLTATR_CTL_NNP, 0);
	if (r >= 0)
		r = add_architectures(filter, s);
	for (size_t i = 0; r >= 0 && i < s->n_rules; i++)
		if (s->rules[i].action != s->default_action)
			r = add_rule(filter, &s->rules[i]);
	if (r >= 0)
		r = export(filter, out);
	if (r >= 0)
		r = add_newer(s, out);
	return r;
}

int seccomp_install(const struct seccomp_program *p)
{
	struct sock_fprog program = { .len = p->n, .filter = p->code };

	if (!p->n)
		return 0;
	unsigned flags = p->flags | (p->notify ? SECCOMP_FILTER_FLAG_NEW_LISTENER : 0);
	if (p->notify && flags & SECCOMP_FILTER_FLAG_TSYNC)   /* both want the return value: TSYNC then fails with ESRCH */
		flags |= SECCOMP_FILTER_FLAG_TSYNC_ESRCH;
	long r = syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, flags, &program);
	if (r >= 0 && (p->notify || r == 0))
		return (int)r;
	if (r > 0)
		return fail_text(ESRCH, "linux.seccomp: thread %ld cannot take the filter", r);
	return fail(errno, "linux.seccomp: install the filter (%u instructions, flags 0x%x)", p->n, flags);
}
