/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How much memory of their own all processes of one program had at once, while a command runs.
 *
 *     anon_peak FILE PROGRAM NOT-PID COMMAND…     runs a command; every 2 ms adds up RssAnon of the processes whose executable is PROGRAM, but
 *                                                 NOT-PID, and writes the largest sum, in KiB, to FILE. Its status is the command's.
 */
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

/* In KiB; 0 if there is none. */
static unsigned long anonymous(const char *pid)
{
	char path[300], line[256];
	unsigned long kib = 0;

	snprintf(path, sizeof path, "/proc/%s/status", pid);
	FILE *f = fopen(path, "re");
	while (f && fgets(line, sizeof line, f))
		if (sscanf(line, "RssAnon: %lu", &kib) == 1)
			break;
	if (f)
		fclose(f);
	return kib;
}

static int runs(const char *pid, const char *program)
{
	char path[300], exe[4096];

	snprintf(path, sizeof path, "/proc/%s/exe", pid);
	ssize_t n = readlink(path, exe, sizeof exe - 1);
	if (n < 0)
		return 0;
	exe[n] = 0;
	return !strcmp(exe, program);
}

static unsigned long sum(const char *program, const char *but)
{
	DIR *d = opendir("/proc");
	unsigned long kib = 0;

	for (struct dirent *e; d && (e = readdir(d));)
		if (e->d_name[0] >= '1' && e->d_name[0] <= '9' && strcmp(e->d_name, but) != 0 && runs(e->d_name, program))
			kib += anonymous(e->d_name);
	if (d)
		closedir(d);
	return kib;
}

int main(int argc, char **argv)
{
	unsigned long most = 0, now;
	int status;

	if (argc < 5)
		return 2;
	pid_t pid = fork();
	if (pid == 0) {
		execvp(argv[4], argv + 4);
		_exit(127);
	}
	while (pid > 0 && waitpid(pid, &status, WNOHANG) == 0) {
		now = sum(argv[2], argv[3]);
		most = now > most ? now : most;
		usleep(2000);
	}
	FILE *f = fopen(argv[1], "we");
	if (pid < 0 || !f || fprintf(f, "%lu\n", most) < 0 || fclose(f) < 0)
		return 126;
	return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}
