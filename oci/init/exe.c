/* SPDX-License-Identifier: Apache-2.0 */
/* Cutting init off the runtime's binary.
 *
 * /proc/PID/exe is a door to the file that a process executes, through all namespaces. A container process that gets at init while
 * init still is the runtime, or an image whose program is "/proc/self/exe" (or has it as its interpreter), could open the
 * runtime's file on the host and, once it is idle, write into it (CVE-2019-5736). The usual answers are to execute a sealed copy of
 * the binary, or to execute it again from a read-only mount. Both cost an execve() and dynamic linking for each container.
 *
 * Here the child, first thing after the clone, stops being a process of that file:
 *   1. every mapping of the file is replaced, at the same address and in one step, so the code that does it may be in what is replaced. What
 *      was never written (code, constants) is mapped again through a read-only mount that nobody else has (open_tree(), a clone): it is
 *      the same page cache, and to the kernel another path. What was written is copied to anonymous memory (mremap() puts the copy in
 *      place). Without such a mount (a user's containers) all is copied, 0.3 ms more;
 *   2. then, and only then, the kernel lets the exe link be changed: prctl(PR_SET_MM, PR_SET_MM_MAP) with an exe_fd (needs
 *      CAP_SYS_ADMIN or CAP_CHECKPOINT_RESTORE, not CAP_SYS_RESOURCE). It is pointed at an empty memory file.
 * /proc/PID/exe, and an image that executes it, then get an empty file that is nobody's: ENOEXEC.
 *
 * The rest of the protection: init is not dumpable from its clone to its execve() (so its /proc files, memory and descriptors need
 * CAP_SYS_PTRACE in the initial user namespace); no descriptor of the runtime stays open (process.c); it has left the host's mounts.
 * Not covered: a container with CAP_SYS_ADMIN and CAP_SYS_PTRACE in the initial user namespace and the host's pid namespace, which
 * needs no such door; the C library's mapped files where it is not linked in, which only /proc/PID/map_files shows, again to those
 * capabilities only. The runtime's own are there as well, but cannot be written through that mount.
 *
 * The mount is made before the clone. The last one to close its descriptor waits for an RCU grace period: that is the runtime, when the
 * program runs already (container.late_fd).
 *
 * A husk for restore is not detached: the engine replaces all of it before anything of the container runs. */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <link.h>
#include <linux/mount.h>
#include <linux/prctl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "base/err.h"
#include "base/fd.h"
#include "base/proc.h"
#include "base/str.h"
#include "init/internal.h"

#ifndef MFD_EXEC
#define MFD_EXEC 0x10u
#endif

/* Not memcpy(): a sanitizer would object to the gaps between variables. The barrier keeps the compiler from calling it all the same. */
__attribute__((no_sanitize("address"))) static void copy_words(uint64_t *to, const uint64_t *from, size_t size)
{
	for (size_t i = 0; i < size / sizeof *to; i++) {
		to[i] = from[i];
		__asm__ volatile("" ::: "memory");
	}
}

static int replace(char *start, size_t size, int protection)
{
	char *copy = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);

	if (copy == MAP_FAILED)
		return -errno;
	if (protection & PROT_READ)
		copy_words((void *)copy, (void *)start, size);
	if (mprotect(copy, size, protection) < 0)
		return -errno;
	return mremap(copy, size, size, MREMAP_MAYMOVE | MREMAP_FIXED, start) == MAP_FAILED ? -errno : 0;
}

extern const ElfW(Ehdr) __ehdr_start __attribute__((visibility("hidden")));   /* from the linker: the program's own header, in memory */

/* Addresses that the loader or the program may have written to: those of a writable segment, also when they are read-only by now. */
static bool in_writable_segment(uintptr_t address)
{
	uintptr_t base = (uintptr_t)&__ehdr_start;

	__asm__("" : "+r"(base));   /* the program lies behind its header: for the compiler, beyond the end of that object */
	const ElfW(Phdr) *headers = (const void *)(base + __ehdr_start.e_phoff);

	for (size_t i = 0; i < __ehdr_start.e_phnum; i++)
		if (headers[i].p_type == PT_LOAD && !headers[i].p_offset)
			base -= headers[i].p_vaddr;
	for (size_t i = 0; i < __ehdr_start.e_phnum; i++) {
		uintptr_t start = (base + headers[i].p_vaddr) & ~(uintptr_t)4095;
		if (headers[i].p_type == PT_LOAD && headers[i].p_flags & PF_W && address >= start && address < base + headers[i].p_vaddr + headers[i].p_memsz)
			return true;
	}
	return false;
}

static int map_again(char *start, size_t size, int protection, int file, off_t offset)
{
	return mmap(start, size, protection, MAP_PRIVATE | MAP_FIXED, file, offset) == MAP_FAILED ? -errno : 0;
}

/* "START-END rwxp OFFSET MAJ:MIN INODE PATH" */
static int replace_if_ours(const char *line, const struct stat *exe, int file)
{
	uintptr_t start, end;
	unsigned major, minor;
	uint64_t inode, offset;
	char mode[5];

	if (sscanf(line, "%" SCNxPTR "-%" SCNxPTR " %4s %" SCNx64 " %x:%x %" SCNu64, &start, &end, mode, &offset, &major, &minor, &inode) != 7)
		return -EINVAL;
	if (inode != exe->st_ino || makedev(major, minor) != exe->st_dev)
		return 0;
	int protection = (mode[0] == 'r' ? PROT_READ : 0) | (mode[1] == 'w' ? PROT_WRITE : 0) | (mode[2] == 'x' ? PROT_EXEC : 0);
	char *at = (char *)start;   /* NOLINT(performance-no-int-to-ptr) */
	if (file >= 0 && !(protection & PROT_WRITE) && !in_writable_segment(start))
		return map_again(at, end - start, protection, file, (off_t)offset);
	return replace(at, end - start, protection);
}

static int replace_mappings(int proc, int file)
{
	struct stat exe;
	autofree char *maps = NULL;

	if (fstatat(proc, "self/exe", &exe, 0) < 0)
		return fail(errno, "look at /proc/self/exe");
	ssize_t n = file_read(proc, "self/maps", &maps, 4 << 20);
	if (n < 0)
		return fail((int)-n, "read /proc/self/maps");
	char *save, *line = strtok_r(maps, "\n", &save);
	for (; line; line = strtok_r(NULL, "\n", &save)) {
		int r = replace_if_ours(line, &exe, file);
		if (r < 0)
			return fail(-r, "replace the mapping %.40s of the runtime's binary", line);
	}
	return 0;
}

/* A file system that is not to be mapped from a second mount, a kernel without these calls, a caller without the privilege: no file. */
void exe_open(struct init *i)
{
	struct mount_attr read_only = { .attr_set = MOUNT_ATTR_RDONLY };

	i->self_tree = (int)syscall(SYS_open_tree, AT_FDCWD, "/proc/self/exe", OPEN_TREE_CLONE | O_CLOEXEC);
	if (i->self_tree < 0)
		return;
	if (syscall(SYS_mount_setattr, i->self_tree, "", AT_EMPTY_PATH, &read_only, sizeof read_only) < 0) {
		fd_close(&i->self_tree);
		return;
	}
	i->self = open(FD_PATH(i->self_tree), O_RDONLY | O_CLOEXEC);
}

/* The kernel wants a file that nobody has open for writing. */
static int empty_file(int proc)
{
	char path[64];
	autoclose int fd = memfd_create("init", MFD_CLOEXEC | MFD_EXEC);
	if (fd < 0 && errno == EINVAL)   /* before 6.3 all are executable */
		fd = memfd_create("init", MFD_CLOEXEC);
	if (fd < 0)
		return -errno;
	snprintf(path, sizeof path, "self/fd/%d", fd);
	int read_only = openat(proc, path, O_RDONLY | O_CLOEXEC);
	return read_only < 0 ? -errno : read_only;
}

int exe_detach(struct init *i)
{
	autofree char *text = NULL;
	int proc = i->proc;
	struct proc_stat st;

	fd_close(&i->self_tree);   /* the runtime still has it */
	int r = replace_mappings(proc, i->self);

	if (r < 0)
		return r;
	fd_close(&i->self);
	ssize_t n = file_read(proc, "self/stat", &text, 4096);
	r = n < 0 ? (int)n : proc_stat_parse(text, &st);
	if (r < 0)
		return fail(-r, "read /proc/self/stat");
	autoclose int file = empty_file(proc);
	if (file < 0)
		return fail(-file, "make an empty memory file");
	struct prctl_mm_map map = {
		.start_code = st.start_code, .end_code = st.end_code, .start_data = st.start_data, .end_data = st.end_data,
		.start_brk = st.start_brk, .brk = (uintptr_t)sbrk(0), .start_stack = st.start_stack, .arg_start = st.arg_start,
		.arg_end = st.arg_end, .env_start = st.env_start, .env_end = st.env_end, .exe_fd = (uint32_t)file,
	};
	if (prctl(PR_SET_MM, PR_SET_MM_MAP, &map, sizeof map, 0) < 0) {
		r = fail(errno, "cut init off the runtime's binary (PR_SET_MM_MAP)");
		fail_hint("this needs CAP_SYS_ADMIN or CAP_CHECKPOINT_RESTORE; without it a container could write to the runtime's binary");
		return r;
	}
	return 0;
}
