#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Memory on huge pages of hugetlb (hugetlb.c): saved and restored in every way, with CRIU's images too, and refused where there are too few
# pages. The pages are taken from the system for the time of the test.
. "${0%/*}/../lib.sh"
require_root
pages=/proc/sys/vm/nr_hugepages run=$TEST_TOP/test/cr/run-kind
[ -w $pages ] || skip "no hugetlb in this kernel, or its number of pages cannot be set"
before=$(<$pages)
at_exit eval "echo $before >$pages"
enough() {
	echo $((before + 20)) >$pages
	[ "$(sed -n 's/^HugePages_Free: *//p' /proc/meminfo)" -ge 16 ] || skip "the system has no 20 huge pages to give"
}
enough

for variant in once rounds increments lazy fetched; do
	"$run" -w $variant hugetlb || fail "$variant"
done
if "$TEST_TOP/test/peers" has criu; then
	for engines in torpor:criu criu:torpor; do "$run" -e $engines hugetlb || fail "$engines"; done
fi

# Too few pages: nothing is restored, and the images are as good as before.
work=$TEST_DIR/few
mkdir -p "$work/images"
(
	for fd in /proc/$BASHPID/fd/*; do   # what make has open is not the program's
		[ "${fd##*/}" -le 2 ] || eval "exec ${fd##*/}>&-"
	done
	exec setsid "$TEST_BUILD/test/cr/hugetlb" "$work/ready" </dev/null >/dev/null 2>&1
) &
pid=$!
wait_until 20 [ -e "$work/ready" ]
child=$(tr -d ' ' <"/proc/$pid/task/$pid/children")
gone() { [ ! -e "/proc/$pid" ] && [ ! -e "/proc/$child" ]; }
torpor_cr dump -t $pid -D "$work/images" -o dump.log || fail "the dump failed"
wait_until 20 gone
[ "$before" = 0 ] || skip "all but the restore without pages: others have some"
echo 0 >$pages
refuses "huge pages" torpor_cr restore -d -D "$work/images" -o restore.log
enough
wait_until 20 gone
torpor_cr restore -d -D "$work/images" -o restore.log || fail "not restored when there are pages again"
touch "$work/go"
wait_until 20 [ -e "$work/result" ]
equal "$(<"$work/result")" ok
