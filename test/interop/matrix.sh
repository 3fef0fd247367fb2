#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# The tables of README.md are those of matrix.txt, and every failure there has its reason. With INTEROP_WHOLE=1 the whole matrix is run (20 minutes and
# more): what passed in matrix.txt has to pass. A chosen part of it runs as tests of its own (`tests`).
# timeout: 7200
. "${0%/*}/../lib.sh"
matrix=$TEST_TOP/test/interop/matrix lines=$TEST_TOP/test/interop/matrix.txt
"$matrix" table "$lines" >"$TEST_DIR/tables"
! grep 'not explained' "$TEST_DIR/tables" || fail "a failure without a reason"
sed -n '/^<!-- matrix -->$/,/^<!-- end -->$/p' "$TEST_TOP/README.md" | sed '1d;$d' >"$TEST_DIR/readme"
diff "$TEST_DIR/readme" "$TEST_DIR/tables" || fail "README.md has other tables than \`test/interop/matrix table test/interop/matrix.txt\` prints"
[ -n "${INTEROP_WHOLE:-}" ] || exit 0
require_root
"$TEST_TOP/test/peers" has criu || skip "no criu: run test/peers fetch"
"$matrix" run >"$TEST_DIR/now"
grep '|ok$' "$lines" | grep -vxFf "$TEST_DIR/now" >"$TEST_DIR/lost" || exit 0
grep -Ff <(sed 's/ok$//' "$TEST_DIR/lost") "$TEST_DIR/now"
fail "passed once, and does not now"
