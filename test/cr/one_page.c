/* SPDX-License-Identifier: Apache-2.0 */
/* 16 MiB of pages of which one changes whenever there is a file `change` in the current directory; when `go` comes, `result` says how many
 * other pages are wrong, and how often that one was changed (test/cr/rounds.sh). */
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#define PAGES 4096
#define PAGE 4096ul

static unsigned char first_byte(unsigned page)
{
	return (unsigned char)(page * 7 + 1);
}

int main(void)
{
	unsigned char *p = mmap(NULL, PAGES * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	unsigned bad = 0;

	/* Where the kernel tracks by soft-dirty bits a huge page changes as a whole, and by chance the one page may be in such a one. */
	madvise(p, PAGES * PAGE, MADV_NOHUGEPAGE);
	for (unsigned i = 0; i < PAGES; i++)
		p[i * PAGE] = first_byte(i);
	fclose(fopen("ready", "w"));
	while (access("go", F_OK)) {
		if (!access("change", F_OK)) {
			p[17 * PAGE]++;
			unlink("change");
		}
		usleep(5000);
	}
	for (unsigned i = 0; i < PAGES; i++)
		bad += p[i * PAGE] != first_byte(i) && i != 17;
	FILE *f = fopen("result", "w");
	fprintf(f, "%u %u\n", bad, (unsigned)(unsigned char)(p[17 * PAGE] - first_byte(17)));
	fclose(f);
	return 0;
}
