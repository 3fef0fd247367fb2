/* SPDX-License-Identifier: Apache-2.0 */
/*
 * System V IPC in a namespace of its own: segments with content, attached twice, read-only, shared with a child, by nobody, and one that is
 * removed and still attached; semaphores; messages; owners, modes and ids, of which the first were given away. Afterwards all of it is used.
 * With the argument `part` a part of a segment is unmapped (to be refused).
 */
#include "cr.h"

#include <sched.h>
#include <sys/ipc.h>
#include <sys/mman.h>
#include <sys/msg.h>
#include <sys/sem.h>
#include <sys/shm.h>

#define SIZE (1 << 20)

struct message {
	long type;
	char text[6000];
};

static char *shared;

static int child(void *arg)
{
	(void)arg;
	cr_child_ready();
	cr_wait_go();
	for (int i = 0; i < 20000 && __atomic_load_n(&shared[0], __ATOMIC_SEQ_CST) != 1; i++)
		cr_sleep_ms(1);
	cr_check_fill("child", shared + 8, SIZE / 2 - 8, 1);
	shared[SIZE - 1] = 2;
	return 0;
}

static char *attach(int id, int flags)
{
	char *at = shmat(id, NULL, flags);

	need(at != (void *)-1);
	return at;
}

static void check_owner(const char *what, const struct ipc_perm *p, key_t key, unsigned uid, unsigned mode)
{
	expect(p->__key == key && p->uid == uid && p->gid == uid && p->cuid == 0 && (p->mode & 0777) == mode, "%s: key %#x, owner %u:%u, creator %u, mode %#o",
	       what, p->__key, p->uid, p->gid, p->cuid, p->mode);
}

/* How often it is attached, when that is as wanted (-1: it is gone) or does not become so: who reads /proc/PID of a process that ends (ps does)
 * has its memory a moment longer than it. */
static int nattch(int id, int wanted)
{
	struct shmid_ds ds;
	int n = 0;

	for (int ms = 0; ms < 20000; ms++) {
		n = shmctl(id, IPC_STAT, &ds) < 0 ? -1 : (int)ds.shm_nattch;
		if (n == wanted)
			break;
		cr_sleep_ms(1);
	}
	return n;
}

static int sems;
static int queue;

static void make_others(void)
{
	unsigned short values[5] = { 1, 0, 32767, 7, 5 };
	struct semid_ds ds;
	struct msqid_ds qs;
	struct message m = { .type = 7, .text = "first" };

	need(semctl(semget(IPC_PRIVATE, 1, 0600), 0, IPC_RMID) == 0);
	sems = semget(0x51, 5, IPC_CREAT | 0640);
	need(sems > 0 && semctl(sems, 0, SETALL, values) == 0 && semctl(sems, 0, IPC_STAT, &ds) == 0);
	ds.sem_perm.uid = ds.sem_perm.gid = 12;
	need(semctl(sems, 0, IPC_SET, &ds) == 0);
	need(msgctl(msgget(IPC_PRIVATE, 0600), IPC_RMID, NULL) == 0);
	queue = msgget(0x52, IPC_CREAT | 0600);
	need(queue > 0 && msgsnd(queue, &m, 5, 0) == 0 && msgctl(queue, IPC_STAT, &qs) == 0);
	qs.msg_qbytes = 10000;
	need(msgctl(queue, IPC_SET, &qs) == 0);
	m.type = 9;
	need(msgsnd(queue, &m, 0, 0) == 0);
	cr_fill(m.text, 6000, 9);
	need(msgsnd(queue, &m, 6000, 0) == 0);
}

static void check_others(void)
{
	unsigned short values[5] = { 0 };
	struct semid_ds ds;
	struct msqid_ds qs;
	struct message m;
	struct sembuf take = { 3, -7, IPC_NOWAIT };

	expect(semget(0x51, 5, 0) == sems && semctl(sems, 0, GETALL, values) == 0 && values[0] == 1 && values[2] == 32767 && values[3] == 7 && values[4] == 5,
	       "semaphores: %u %u %u %u %u", values[0], values[1], values[2], values[3], values[4]);
	expect(semop(sems, &take, 1) == 0 && semop(sems, &take, 1) < 0 && errno == EAGAIN, "semop: %s", strerror(errno));
	if (semctl(sems, 0, IPC_STAT, &ds) == 0)
		check_owner("semaphores", &ds.sem_perm, 0x51, 12, 0640);
	expect(msgctl(queue, IPC_STAT, &qs) == 0 && qs.msg_qnum == 3 && qs.msg_qbytes == 10000, "%ju messages, %ju bytes at most", (uintmax_t)qs.msg_qnum,
	       (uintmax_t)qs.msg_qbytes);
	expect(msgget(0x52, 0) == queue && msgrcv(queue, &m, 6000, 9, IPC_NOWAIT) == 0, "the empty message: %s", strerror(errno));
	expect(msgrcv(queue, &m, 6000, 0, IPC_NOWAIT) == 5 && m.type == 7 && !memcmp(m.text, "first", 5), "the first message: %s", m.text);
	expect(msgrcv(queue, &m, 6000, 0, IPC_NOWAIT) == 6000 && m.type == 9, "the large message: %s", strerror(errno));
	cr_check_fill("the large message", m.text, 6000, 9);
}

int main(int argc, char **argv)
{
	struct shmid_ds ds;
	char names[128];

	cr_begin(argc, argv);
	if (unshare(CLONE_NEWIPC) < 0 && errno != EPERM)
		cr_skip(": an IPC namespace: %s", strerror(errno));
	need(shmctl(shmget(IPC_PRIVATE, 1, 0600), IPC_RMID, NULL) == 0);
	int id = shmget(0x50, SIZE, IPC_CREAT | 0640), alone = shmget(IPC_PRIVATE, 5000, 0600), gone = shmget(0x53, 8192, IPC_CREAT | 0600);
	need(id > 0 && alone > 0 && gone > 0);
	shared = attach(id, 0);
	char *readable = attach(id, SHM_RDONLY), *removed = attach(gone, 0), *at = attach(alone, 0);
	cr_fill(shared + 8, SIZE / 2 - 8, 1);
	cr_fill(at, 5000, 2);
	cr_fill(removed, 8192, 3);
	need(shmdt(at) == 0 && shmctl(gone, IPC_RMID, NULL) == 0 && shmctl(id, IPC_STAT, &ds) == 0);
	ds.shm_perm.uid = ds.shm_perm.gid = 34;
	need(shmctl(id, IPC_SET, &ds) == 0);
	make_others();
	if (argc > 2)
		need(munmap(readable + 4096, 4096) == 0);
	snprintf(names, sizeof(names), "system v\n%d\n%lx\n", getpid(), (unsigned long)readable);
	cr_write("names", O_TRUNC, names);
	pid_t pid = cr_fork(child, NULL);
	cr_wait();

	cr_check_fill("shared", (argc > 2 ? shared : readable) + 8, SIZE / 2 - 8, 1);
	expect(cr_is_zero(shared + SIZE / 2, SIZE / 2), "what was never written is not zero");
	int all = argc > 2 ? 6 : 4, n = nattch(id, all);
	expect(shmget(0x50, SIZE, 0) == id && n == all, "id %d, attached %d times", shmget(0x50, SIZE, 0), n);
	if (shmctl(id, IPC_STAT, &ds) == 0)
		check_owner("segment", &ds.shm_perm, 0x50, 34, 0640);
	__atomic_store_n(&shared[0], 1, __ATOMIC_SEQ_CST);
	cr_join(pid);
	expect(readable[SIZE - 1] == 2, "the child's memory is another one");
	cr_check_fill("removed", removed, 8192, 3);
	expect(shmget(0x53, 0, 0) < 0 && nattch(gone, 1) == 1, "the removed segment is there again");
	expect(shmdt(removed) == 0 && nattch(gone, -1) < 0, "the removed segment does not go");
	at = shmat(alone, NULL, SHM_RDONLY);
	expect(at != (void *)-1 && nattch(alone, 1) == 1, "the segment that nobody had attached: %s", strerror(errno));
	cr_check_fill("not attached", at, 5000, 2);
	expect(argc > 2 || (shmdt(readable) == 0 && nattch(id, 1) == 1), "attached %d times", nattch(id, 1));
	check_others();
	return cr_end();
}
