#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# coverage.tsv has a row for every option and command of torpor-cr's table, every request and every option of rpc.proto; each test that it names is
# there and speaks of it.
. "${0%/*}/../lib.sh"
here=${0%/*} top=${0%/*}/.. source=${0%/*}/../..
rows() { grep -v '^#' "$here/coverage.tsv"; }
listed() { rows | awk -F'\t' -v kind="$1" '$1 == kind { print $2 }' | sort; }
options() { sed -n '/^static const struct option rows/,/^};/s/^\t{ "\([a-z-]*\)", .*/\1/p' "$source/shim/cr/options.c" | sort -u; }
commands() { sed -n '/^static const struct option_verb verbs/,/^};/s/.*\[CR_[A-Z_]*\] = { "\([a-z-]*\)", .*/\1/p' "$source/shim/cr/options.c" | sort; }
requests() { sed -n '/^enum criu_req_type/,/^}/s/^\t\([A-Z_]*\) = .*/\1/p' "$source/proto/rpc.proto" | sort; }
fields() { sed -n '/^message criu_opts/,/^}/s/^\t[a-z]* [a-z0-9_]* \([a-z_]*\) = .*/\1/p' "$source/proto/rpc.proto" | sort; }
for kind in options commands requests fields; do
	diff <(listed "${kind%s}") <($kind) || fail "the $kind differ: < of coverage.tsv, > of the program"
done
has_test() { # TEST WORD: it exists and has the word
	local name=$1 file dir
	for file in "$top/$name.sh" "$top/$name.c" "$top/$name.py" "$top/$name"; do [ -f "$file" ] && break; done
	dir=${name%/*}
	[ -f "$file" ] || shows "^${name#*/}\$" "$top/$dir/tests" --list || fail "there is no test $name"
	[ -z "${2-}" ] || [ ! -f "$file" ] || grep -q -e "$2" "$file" || fail "$name does not speak of $2"
}
open=0 n=0
while IFS=$'\t' read -r kind name tests remark; do
	n=$((n + 1))
	case $remark in '' | refused | "as --"* | same* | "by runc") ;; *) fail "$name: unknown remark \"$remark\"" ;; esac
	[ "$tests" = - ] && open=$((open + 1)) && continue
	word=
	[ "$kind" = option ] && [ "$remark" != "by runc" ] && word="[-][-]$name\|${name//-/_}"
	for t in $tests; do has_test "$t" "$word"; done
done < <(rows)
echo "$n rows, $open without a test"
