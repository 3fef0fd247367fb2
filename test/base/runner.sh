#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# The test runner itself: what it counts, what it calls left behind, that nothing outlives a test.
. "${0%/*}/../lib.sh"

# A copy of the runner over a folder of tests that pass, fail, skip and leave things.
new_tmpdir top
mkdir -p "$top/test/t" "$top/build"
cp "$TEST_TOP"/test/{run,lib.sh} "$top/test/"
make_test() { { echo '. "${0%/*}/../lib.sh"'; cat; } >"$top/test/t/$1.sh"; }
run() { env -u TEST_DIR -u TEST_STATE -u TEST_CGROUP -u TEST_PATIENCE TMPDIR="$top" "$top/test/run" --build "$top/build" "$@"; }

make_test pass <<<'new_tmpdir d; echo x >$d/file'
make_test bad <<<'echo some output; false; echo not reached'
make_test skips <<<'skip "no moon"'
make_test reasonless <<<'exit 77'
make_test slow <<<'sleep 60'
sed -i '1i # timeout: 1' "$top/test/t/slow.sh"
make_test state <<<'mkdir -p $TEST_STATE/c1'

output=$(run) && fail "succeeded: $output"
[[ $output == *"ok t/pass"* ]] || fail "$output"
[[ $output == *"FAILED t/bad (status 1)"*"some output"* ]] || fail "$output"
[[ $output != *"not reached"* ]] || fail "$output"
[[ $output == *"skipped t/skips: no moon"* ]] || fail "$output"
[[ $output == *"timed out after 1 seconds"* ]] || fail "$output"
[[ $output == *"1 passed, 4 failed, 1 skipped" ]] || fail "$output"
run 't/(pass|skips)' >/dev/null

[ "$(id -u)" = 0 ] || exit 0
make_test process <<<'setsid sleep 61 & sleep 0.1'
make_test mount <<<'mount -t tmpfs none $TEST_DIR'
make_test cgroup <<<'mkdir -p /sys/fs/cgroup/pids$TEST_CGROUP/a /sys/fs/cgroup$TEST_CGROUP/a 2>/dev/null || :'
output=$(run 't/(process|mount|cgroup)') && fail "succeeded: $output"
[[ $output == *"left behind: process "*": sleep 61"* ]] || fail "$output"
[[ $output == *"left behind: mount $top/"* ]] || fail "$output"
[[ $output == *"left behind: cgroup /sys/fs/cgroup"* ]] || fail "$output"
[[ $output == *"0 passed, 3 failed, 0 skipped" ]] || fail "$output"
equal "$(ls "$top")" $'build\ntest' "what is left"
