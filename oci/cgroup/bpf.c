/* SPDX-License-Identifier: Apache-2.0 */
/* The device program of a cgroup2 group (BPF_PROG_TYPE_CGROUP_DEVICE, 4.15).
 *
 * The kernel runs it for each mknod and open of a device node in the group and all below; the result 1 allows. Its context
 * is { access << 16 | type, major, minor }. Of the rules the last one that matches decides, so the program tests them from the
 * last to the first and ends at a match. An allowing rule matches if it covers all of the access asked for, a denying one
 * if it covers any of it.
 *
 * Attached with BPF_F_ALLOW_MULTI, so that programs of groups above (an engine's, systemd's) hold as well: all must allow. A new
 * program is attached before the ones that were there are detached: at no time is there none. */
#include <errno.h>
#include <fcntl.h>
#include <linux/bpf.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/err.h"
#include "base/fd.h"
#include "cgroup/internal.h"

#define OLD_MAX 64

typedef ARRAY(struct bpf_insn) program;
typedef ARRAY(const struct spec_device_rule *) rule_list;

static void emit(program *p, uint8_t code, uint8_t dst, uint8_t src, int16_t off, int32_t imm)
{
	array_push(p) = (struct bpf_insn){ .code = code, .dst_reg = dst, .src_reg = src, .off = off, .imm = imm };
}

/* Registers: 2 access, 3 type, 4 major, 5 minor, 6 scratch. */
static void emit_head(program *p)
{
	emit(p, BPF_LDX | BPF_MEM | BPF_W, 3, 1, 0, 0);
	emit(p, BPF_ALU64 | BPF_MOV | BPF_X, 2, 3, 0, 0);
	emit(p, BPF_ALU64 | BPF_RSH | BPF_K, 2, 0, 0, 16);
	emit(p, BPF_ALU64 | BPF_AND | BPF_K, 3, 0, 0, 0xffff);
	emit(p, BPF_LDX | BPF_MEM | BPF_W, 4, 1, 4, 0);
	emit(p, BPF_LDX | BPF_MEM | BPF_W, 5, 1, 8, 0);
}

static int32_t access_bits(const char *access)
{
	int32_t bits = 0;

	for (; access && *access; access++)
		bits |= *access == 'r' ? BPF_DEVCG_ACC_READ : *access == 'w' ? BPF_DEVCG_ACC_WRITE : BPF_DEVCG_ACC_MKNOD;
	return bits ? bits : BPF_DEVCG_ACC_READ | BPF_DEVCG_ACC_WRITE | BPF_DEVCG_ACC_MKNOD;
}

/* Each test that fails jumps behind the rule; the distances are filled in when its length is known. */
static void emit_rule(program *p, const struct spec_device_rule *rule)
{
	size_t start = p->n;
	int32_t bits = access_bits(rule->access);

	if (rule->type != 'a')
		emit(p, BPF_JMP | BPF_JNE | BPF_K, 3, 0, -1, rule->type == 'b' ? BPF_DEVCG_DEV_BLOCK : BPF_DEVCG_DEV_CHAR);
	if (bits != 7) {
		emit(p, BPF_ALU64 | BPF_MOV | BPF_X, 6, 2, 0, 0);
		emit(p, BPF_ALU64 | BPF_AND | BPF_K, 6, 0, 0, rule->allow ? ~bits : bits);
		emit(p, BPF_JMP | (rule->allow ? BPF_JNE : BPF_JEQ) | BPF_K, 6, 0, -1, 0);
	}
	if (rule->major >= 0)
		emit(p, BPF_JMP | BPF_JNE | BPF_K, 4, 0, -1, (int32_t)rule->major);
	if (rule->minor >= 0)
		emit(p, BPF_JMP | BPF_JNE | BPF_K, 5, 0, -1, (int32_t)rule->minor);
	emit(p, BPF_ALU64 | BPF_MOV | BPF_K, 0, 0, 0, rule->allow);
	emit(p, BPF_JMP | BPF_EXIT, 0, 0, 0, 0);
	for (size_t i = start; i < p->n; i++)
		if (p->data[i].off == -1)
			p->data[i].off = (int16_t)(p->n - i - 1);
}

static int note_rule(void *arg, const struct spec_device_rule *rule)
{
	rule_list *list = arg;
	array_push(list) = rule;
	return 0;
}

static int bpf(int command, union bpf_attr *attr)
{
	long r = syscall(SYS_bpf, command, attr, sizeof *attr);
	return r < 0 ? -errno : (int)r;
}

static int load(const struct spec_resources *r)
{
	rule_list rules = { 0 };
	program p = { 0 };

	cgroup_each_device_rule(r, note_rule, &rules);
	emit_head(&p);
	/* A rule that matches everything ends the program: nothing may follow an exit that always happens, or the
	 * verifier refuses the program for its dead code. */
	for (size_t i = rules.n; i-- > 0;) {
		emit_rule(&p, rules.data[i]);
		if (rules.data[i]->type == 'a' && rules.data[i]->major < 0 && rules.data[i]->minor < 0 && access_bits(rules.data[i]->access) == 7)
			break;
	}
	static const char license[] = "Apache-2.0";
	union bpf_attr attr = {
		.prog_type = BPF_PROG_TYPE_CGROUP_DEVICE,
		.insns = (uintptr_t)p.data,
		.insn_cnt = (uint32_t)p.n,
		.license = (uintptr_t)license,
		.prog_name = "torpor_devices",
	};
	int fd = bpf(BPF_PROG_LOAD, &attr);
	array_free(&p);
	array_free(&rules);
	return fd < 0 ? fail(-fd, "linux.resources.devices: load the eBPF program (%zu rules)", r->n_devices) : fd;
}

static int attached(int cgroup, uint32_t ids[OLD_MAX], uint32_t *n)
{
	union bpf_attr attr = { .query = {
		.target_fd = (uint32_t)cgroup,
		.attach_type = BPF_CGROUP_DEVICE,
		.prog_ids = (uintptr_t)ids,
		.prog_cnt = OLD_MAX,
	} };
	int r = bpf(BPF_PROG_QUERY, &attr);
	*n = r < 0 ? 0 : attr.query.prog_cnt;
	return r;
}

static void detach(int cgroup, uint32_t id)
{
	union bpf_attr get = { .prog_id = id };
	autoclose int fd = bpf(BPF_PROG_GET_FD_BY_ID, &get);
	if (fd < 0)
		return;
	union bpf_attr attr = { .target_fd = (uint32_t)cgroup, .attach_bpf_fd = (uint32_t)fd, .attach_type = BPF_CGROUP_DEVICE };
	bpf(BPF_PROG_DETACH, &attr);
}

int cgroup_bpf_devices(const char *dir, const struct spec_resources *r)
{
	uint32_t old[OLD_MAX], n;
	autoclose int cgroup = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (cgroup < 0)
		return fail(errno, "open cgroup %s", dir);
	autoclose int prog = load(r);
	if (prog < 0)
		return prog;
	int done = attached(cgroup, old, &n);
	if (done < 0)
		return fail(-done, "ask for the device programs of cgroup %s", dir);
	union bpf_attr attr = {
		.target_fd = (uint32_t)cgroup,
		.attach_bpf_fd = (uint32_t)prog,
		.attach_type = BPF_CGROUP_DEVICE,
		.attach_flags = BPF_F_ALLOW_MULTI,
	};
	done = bpf(BPF_PROG_ATTACH, &attr);
	if (done < 0)
		return fail(-done, "linux.resources.devices: attach the eBPF program to cgroup %s", dir);
	for (uint32_t i = 0; i < n; i++)
		detach(cgroup, old[i]);
	return 0;
}
