#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# coverage.tsv: every test that it names exists and speaks of the property (of its last word), every row is as the others are.
. "${0%/*}/../lib.sh"
here=${0%/*} top=${0%/*}/.. open=0 rows=0 last='' known=()

has_test() {
	[ -f "$top/$1.sh" ] && files=("$top/$1.sh") && return
	[ -f "$top/$1.c" ] && files=("$top/$1.c" $(grep -o '"unit/[a-z_]*\.h"' "$top/$1.c" | sed "s|\"\(.*\)\"|$top/\1|" || :)) && return
	fail "$2: there is no test $1"
}
while IFS=$'\t' read -r document path tests remark; do
	rows=$((rows + 1))
	[[ $remark != refused* ]] || grep -ql refuse $(for t in $tests; do ls "$top/$t".{sh,c} 2>/dev/null; done) || fail "$path: $tests refuse nothing"
	case $remark in '' | refused* | ignored* | features*) ;; *) fail "$path: unknown remark \"$remark\"" ;; esac
	[ "$tests" = - ] && { open=$((open + 1)); continue; }
	last=${path%%\[\]*} last=${last##*.} known=()
	for t in $tests; do
		has_test "$t" "$path"
		cat "${files[@]}" | tr -d _ | grep -iF -- "$last" >/dev/null && known+=("$t")
	done
	[ ${#known[@]} -gt 0 ] || [ "${last#<}" != "$last" ] || [ "${last#(}" != "$last" ] || [ "$document" != config ] ||
		fail "$path: no word of $last in $tests"
done < <(grep -v '^#' "$here/coverage.tsv")
equal "$(grep -v '^#' "$here/coverage.tsv" | cut -f1,2 | sort | uniq -d)" "" "properties listed twice"
equal $open 0 "number of properties without a test"
[ $rows -ge 343 ] || fail "only $rows properties are listed"
