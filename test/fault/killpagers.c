/* SPDX-License-Identifier: Apache-2.0 */
/* killpagers SEED KILLS FILE: kills the pager or its guardian, one of them, at random moments, as soon as there are both of them again; so often, or
 * until they have ended or FILE exists. Says how many it has killed of each. */
#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

struct pair {
	int guards, pagers;
	pid_t guard, pager;
};

static bool is_zombie(const char *pid)
{
	char path[300], text[512], *end;
	snprintf(path, sizeof path, "/proc/%s/stat", pid);
	int fd = open(path, O_RDONLY);
	ssize_t n = fd < 0 ? -1 : read(fd, text, sizeof text - 1);

	if (fd >= 0)
		close(fd);
	text[n < 0 ? 0 : n] = 0;
	end = strrchr(text, ')');
	return !end || end[2] == 'Z' || end[2] == 'X';
}

static struct pair find(void)
{
	struct pair p = { 0 };
	DIR *dir = opendir("/proc");

	for (struct dirent *e; dir && (e = readdir(dir));) {
		char path[300], name[32] = "";
		if (e->d_name[0] < '1' || e->d_name[0] > '9')
			continue;
		snprintf(path, sizeof path, "/proc/%s/comm", e->d_name);
		int fd = open(path, O_RDONLY);
		if (fd < 0)
			continue;
		if (read(fd, name, sizeof name - 1) > 0 && !strncmp(name, "torpor-", 7) && !is_zombie(e->d_name)) {
			if (!strcmp(name, "torpor-guard\n"))
				p.guards++, p.guard = atoi(e->d_name);
			if (!strcmp(name, "torpor-pager\n"))
				p.pagers++, p.pager = atoi(e->d_name);
		}
		close(fd);
	}
	closedir(dir);
	return p;
}

int main(int argc, char **argv)
{
	int kills = argc == 4 ? atoi(argv[2]) : 0, guards = 0, pagers = 0, idle = 0;
	pid_t killed = 0;
	bool seen = false;

	if (argc != 4)
		return 2;
	srandom((unsigned)atoi(argv[1]));
	prctl(PR_SET_TIMERSLACK, 1);
	while (guards + pagers < kills && access(argv[3], F_OK) < 0 && idle < 60000) {
		struct pair p = find();
		seen |= p.guards || p.pagers;
		if (seen && !p.guards && !p.pagers)
			break;
		idle = p.guards == 1 && p.pagers == 1 && p.guard != killed && p.pager != killed ? 0 : idle + 1;
		if (idle) {
			usleep(500);
			continue;
		}
		usleep((useconds_t)random() % 4000);
		bool guard = random() % 3 == 0;
		killed = guard ? p.guard : p.pager;       /* it may be seen for a while */
		if (kill(killed, SIGKILL) == 0)
			*(guard ? &guards : &pagers) += 1;
		usleep(200);
	}
	printf("%d %d\n", pagers, guards);
	return 0;
}
