/* SPDX-License-Identifier: Apache-2.0 */
#ifndef BASE_PROC_H
#define BASE_PROC_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/* Reading /proc. All functions return 0 (or a count) or a bare -errno: the caller knows what the miss means. */

/* Opens /proc/PID/NAME (or /proc/PID/task/TID/NAME with proc_open_thread) read-only. */
int proc_open(pid_t pid, const char *name);
/* The whole file as NUL-terminated text to be freed; returns its length. */
ssize_t proc_read(pid_t pid, const char *name, char **text);
/* The target of a link such as "exe", "cwd", "fd/3", "ns/net"; text to be freed. */
int proc_readlink(pid_t pid, const char *name, char **target);
/* The inode number of /proc/PID/ns/NAME. */
int proc_ns_inode(pid_t pid, const char *name, uint64_t *inode);

/* The links of /proc/PID/ns one after the other ("pid:[4026531836] net:[…] "); to be freed. Faster than to look at each. Returns its length. */
ssize_t proc_ns_links(pid_t pid, char **text);

/* Numbers in a directory of numbers (task, fd, /proc itself when name is NULL), ascending; *list to be freed. Returns n. */
ssize_t proc_numbers(pid_t pid, const char *name, int **list);
/* Direct children of all threads of pid (/proc/PID/task/TID/children), ascending; *list to be freed. Returns n. */
ssize_t proc_children(pid_t pid, pid_t **list);
ssize_t proc_thread_children(pid_t pid, pid_t **list);   /* of its first thread alone */

/* The text after "KEY:" and blanks on its line in status-like text, or NULL; ends at the newline, not NUL-terminated. */
const char *proc_field(const char *text, const char *key);
bool proc_field_u64(const char *text, const char *key, int base, uint64_t *value);

/* Bytes of memory that a process has in it; 0: not known. */
uint64_t proc_resident(pid_t pid);

/* The fields of /proc/PID/stat that are used, by proc(5)'s names. comm is at most 15 bytes and may hold anything. */
struct proc_stat {
	char comm[64], state;
	pid_t ppid, pgrp, session;
	int tty_nr;
	pid_t tpgid;
	unsigned flags;
	int64_t nice;
	uint64_t starttime, start_code, end_code, start_stack, start_data, end_data, start_brk, arg_start, arg_end, env_start,
		env_end;
	int exit_signal, exit_code;
};
int proc_stat_read(pid_t pid, struct proc_stat *s);
/* Since it was made (by fork or clone) it has executed a program. */
bool proc_has_executed(const struct proc_stat *s);
/* A thread that has ended or is about to (PF_EXITING): it may not be a zombie yet. */
bool proc_is_ending(pid_t pid);
int proc_stat_parse(const char *text, struct proc_stat *s);

#endif
