#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# The tables of README.md are those of matrix.txt, which has every program, and every failure there has its reason. With INTEROP_WHOLE=1 the whole
# matrix is run (20 minutes and more), with INTEROP_WHOLE="COLUMN…" these columns (MATRIX_PROGRAMS: of programs that match): what passed in matrix.txt
# has to pass. What it was is in $TEST_DIR/now, and in the file INTEROP_LINES if that is set. A chosen part of it runs as tests of its own (`tests`).
# timeout: 7200
. "${0%/*}/../lib.sh"
matrix=$TEST_TOP/test/interop/matrix lines=$TEST_TOP/test/interop/matrix.txt
"$matrix" table "$lines" >"$TEST_DIR/tables"
! grep 'not explained' "$TEST_DIR/tables" || fail "a failure without a reason"
sed -n '/^<!-- matrix -->$/,/^<!-- end -->$/p' "$TEST_TOP/README.md" | sed '1d;$d' >"$TEST_DIR/readme"
diff "$TEST_DIR/readme" "$TEST_DIR/tables" || fail "README.md has other tables than \`test/interop/matrix table test/interop/matrix.txt\` prints"
for column in $("$matrix" columns | cut -d'|' -f1); do
	diff <(sed -n "s/^$column|\([^|]*\)|.*/\1/p" "$lines" | sort) <("$matrix" programs | sort) || fail "column $column of matrix.txt has other programs than test/cr"
done
[ -n "${INTEROP_WHOLE:-}" ] || exit 0
require_root
"$TEST_TOP/test/peers" has criu || skip "no criu: run test/peers fetch"
read -ra columns <<<"${INTEROP_WHOLE#1}"
"$matrix" run "${columns[@]}" >"$TEST_DIR/now"
[ -z "${INTEROP_LINES:-}" ] || cp "$TEST_DIR/now" "$INTEROP_LINES"
awk -F'|' 'NR == FNR { passed[$1 "|" $2] = $3 == "ok"; next } passed[$1 "|" $2] && $3 != "ok"' "$lines" "$TEST_DIR/now" >"$TEST_DIR/lost"
cat "$TEST_DIR/lost"
# Once more: each run has 40 s, on a machine that may have much else to do.
while IFS='|' read -r column program _; do
	MATRIX_PROGRAMS="^$program\$" "$matrix" run "$column" </dev/null
done <"$TEST_DIR/lost" >"$TEST_DIR/again"
! grep -v '|ok$' "$TEST_DIR/again" || fail "passed once, and does not now"
