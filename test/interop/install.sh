#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# make install: the name criu only when it is asked for, and never in the place of another.
. "${0%/*}/../lib.sh"

require_command make
new_tmpdir work
bin=$work/usr/bin
install() { make -s -C "${0%/*}/../.." O="$(realpath "$TEST_BUILD")" DESTDIR="$work" PREFIX=/usr "$@" install >"$work/out" 2>&1 || fail "make install: $(tail -n 5 "$work/out")"; }
install
[ -x "$bin/torpor-cr" ] || fail "no torpor-cr"
[ ! -e "$bin/criu" ] || fail "criu, which nobody asked for"
install WITH_CRIU_LINK=1
equal "$(readlink "$bin/criu")" torpor-cr "what criu leads to"
shows '^Version: ' "$bin/criu" --version || fail "criu says: $("$bin/criu" --version)"
install WITH_CRIU_LINK=1
equal "$(readlink "$bin/criu")" torpor-cr "what criu leads to"
rm "$bin/criu"
echo another >"$bin/criu"
install WITH_CRIU_LINK=1
equal "$(cat "$bin/criu")" another "a criu that was there"
grep -q 'not replaced' "$work/out" || fail "not a word of it: $(cat "$work/out")"
ln -sf nowhere "$bin/criu"
install WITH_CRIU_LINK=1
equal "$(readlink "$bin/criu")" nowhere "a link that was there"
[ -f "$work/usr/share/man/man8/torpor-cr.8" ] || fail "no manual page"
