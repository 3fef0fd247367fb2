#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Rounds whose pages go to a page server: only what has changed is sent, the server frees what it has twice, the last round restores, and a
# restore frees the images as it reads them. A server without the earlier round gets everything.
# timeout: 120
. "${0%/*}/../lib.sh"
require_root
below_reaper
tracks() { "$TORPOR_CR" check --feature mem_dirty_track >/dev/null 2>&1; }
tracks || skip "this kernel cannot track changes"

new_tmpdir work
mount -t tmpfs torpor-test "$work"
at_exit umount -l "$work"
cd "$work"
cat >program.c <<'END'
#include <stdio.h>
#include <sys/mman.h>
#include <unistd.h>
#include <sys/wait.h>
#define PAGES 4096
static unsigned char *p;
static unsigned wrong(unsigned n)
{
	unsigned bad = 0;
	for (unsigned i = 0; i < PAGES; i++) bad += p[i * 4096ul] != (unsigned char)(i * 7 + 1 + (i < n));
	return bad;
}
int main(void)
{
	unsigned changed = 0;
	p = mmap(NULL, PAGES * 4096ul, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	for (unsigned i = 0; i < PAGES; i++) p[i * 4096ul] = (unsigned char)(i * 7 + 1);
	pid_t child = fork();          /* shares all of it, and goes on to */
	FILE *note = child ? fopen("child", "w") : NULL;
	if (note && (fprintf(note, "%d\n", child) < 0 || fclose(note) < 0)) return 1;
	if (child == 0) {
		while (access("go", F_OK)) usleep(5000);
		return wrong(0) != 0;
	}
	fclose(fopen("ready", "w"));
	while (access("go", F_OK)) {
		if (!access("change", F_OK)) {
			for (unsigned i = 0; i < 5; i++) p[changed++ * 4096ul]++;
			unlink("change");
		}
		usleep(5000);
	}
	int status;
	waitpid(child, &status, 0);
	FILE *f = fopen("result.new", "w");
	fprintf(f, "%u %d\n", wrong(changed), status);
	fclose(f);
	return rename("result.new", "result");
}
END
cc -O1 -o program program.c
start() {
	rm -rf go ready result change child [sp][0-9]
	setsid ./program </dev/null >/dev/null 2>&1 &
	pid=$!
	at_exit kill -9 $pid
	wait_until 20 [ -e ready ]
}
change() {
	touch change
	wait_until 20 [ ! -e change ]
}
# round N VERB OPTION…: into s$N, with the pages in p$N
server_options=()
server=("$TORPOR_CR") dumper=("$TORPOR_CR")
round() {
	local n=$1 verb=$2
	shift 2
	mkdir -p s$n p$n
	port=$(free_port)
	timeout 60 "${server[@]}" page-server -D "$work/p$n" --address 127.0.0.1 --port $port "${server_options[@]}" >server.$n.log 2>&1 &
	wait_until 20 eval "grep -q ':$(printf %04X $port) 00000000:0000 0A' /proc/net/tcp"
	timeout 60 "${dumper[@]}" $verb -t $pid -D "$work/s$n" --page-server --address 127.0.0.1 --port $port "$@" >dump.$n.log 2>&1 ||
		fail "$verb $n: $(cat dump.$n.log server.$n.log)"
	wait $! || fail "server of round $n: $(cat server.$n.log)"
}
sent() { echo $(($(stat -c %s p"$1"/pages-*.img | awk '{ n += $1 } END { print n }') / 4096)); }
kept() { du -k p"$1"/pages-*.img | awk '{ n += $1 } END { print n / 4 }'; }
restored() { # N OPTION…
	local n=$1
	shift
	cp s$n/* p$n
	wait_until 20 eval '[ ! -e /proc/$pid ] && [ ! -e /proc/$(<child) ]'
	"$TORPOR_CR" restore -D p$n -d "$@" 2>restore.log || fail "restore: $(cat restore.log)"
	touch go
	wait_until 20 [ -e result ]
	equal "$(<result)" "0 0" "wrong pages, and the child's status"
}

# Three rounds.
start
round 1 pre-dump
[ "$(sent 1)" -ge 4096 ] || fail "the first round has $(sent 1) pages"
change
server_options=(--prev-images-dir ../p1)
round 2 pre-dump --prev-images-dir ../s1
[ "$(sent 2)" -lt 100 ] || fail "the second round has $(sent 2) pages"
change
server_options=(--prev-images-dir ../p2 --auto-dedup)
before=$(kept 2)
round 3 dump --prev-images-dir ../s2
[ "$(sent 3)" -lt 300 ] || fail "the third round has $(sent 3) pages"
[ "$(kept 2)" -lt "$before" ] || fail "nothing was freed in the second round: $before, $(kept 2)"
restored 3 --auto-dedup
for n in 1 2 3; do [ "$(kept $n)" -lt 64 ] || fail "$(kept $n) pages are still in the images of round $n"; done

# A server that has no earlier round gets all of it.
start
server_options=()
round 1 pre-dump
change
round 2 dump --prev-images-dir ../s1
[ "$(sent 2)" -ge 4096 ] || fail "a server without the round before was sent $(sent 2) pages"
restored 2

# Into CRIU's server. (CRIU itself cannot pre-dump on a kernel without soft-dirty, nor save upon a dump that was no pre-dump.)
if "$TEST_TOP/test/peers" has criu; then
	criu=("$TEST_TOP/test/peers" run criu)
	start
	server=("${criu[@]}")
	round 1 pre-dump
	change
	mkdir p2
	ln -s ../p1 p2/parent
	round 2 dump --prev-images-dir ../s1
	[ "$(sent 2)" -lt 300 ] || fail "CRIU's server was sent $(sent 2) pages"
	server=("$TORPOR_CR")
	restored 2
fi

# One whose earlier round has not what is left out refuses it, and the program runs on.
start
round 1 pre-dump
server_options=(--prev-images-dir ../p1)
: >p1/empty
python3 - p1/pagemap-$pid.img <<'END'
import struct, sys
data = open(sys.argv[1], 'rb').read()
size = struct.unpack_from('<I', data, 8)[0]       # two magics, the head; no entries
open(sys.argv[1], 'wb').write(data[:12 + size])
END
mkdir s2 p2
timeout 60 "$TORPOR_CR" page-server -D p2 --address "$work/socket" --prev-images-dir ../p1 >server.log 2>&1 &
wait_until 20 listens_at "$work/socket"
refuses "" "$TORPOR_CR" dump -t $pid -D s2 --prev-images-dir ../s1 --page-server --address "$work/socket"
if wait $!; then fail "the server takes pages that are nowhere"; fi
grep -q "said to be in the parent images, which do not have them" server.log || fail "the server says: $(cat server.log)"
[ -z "$(ls -A p2 s2 | grep -v ':$')" ] || fail "there is $(ls -A p2 s2)"
touch go
wait_until 20 [ -e result ]
equal "$(<result)" "0 0" "wrong pages, and the child's status"

# What makes no sense.
start
mkdir p1 s1
refuses "it is the server that has the earlier pages" "$TORPOR_CR" dump -t $pid -D s1 --page-server --address "$work/none" --auto-dedup
refuses "that is the images directory itself" "$TORPOR_CR" page-server -D p1 --prev-images-dir . --address "$work/none"
refuses "No such file" "$TORPOR_CR" page-server -D p1 --prev-images-dir ../p9 --address "$work/none"
refuses "it frees nothing" "$TORPOR_CR" restore -D p1 --lazy-pages --auto-dedup
