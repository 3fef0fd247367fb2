#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Completion scripts: bash's does what it should; zsh and fish read theirs, where they are installed.
. "${0%/*}/../lib.sh"
scripts=$TEST_BUILD/completions
for name in torpor torpor-cr; do
	for shell in bash zsh fish; do [ -s "$scripts/$name.$shell" ] || fail "no $name.$shell"; done
	if command -v zsh >/dev/null; then zsh -n "$scripts/$name.zsh"; fi
	if command -v fish >/dev/null; then fish --no-execute "$scripts/$name.fish"; fi
	bash -n "$scripts/$name.bash"
done
# completes WORD…: what bash offers for the last word
completes() {
	bash -c 'source "$1"; shift; compopt() { :; }; COMP_WORDS=("$@") COMP_CWORD=$(($# - 1)); _torpor; printf "%s\n" "${COMPREPLY[@]}" | sort | xargs' - "$scripts/torpor.bash" "$@"
}
offers() { [[ " $(completes "${@:2}") " == *" $1 "* ]] || fail "${*:2}: \"$1\" is not in: $(completes "${@:2}")"; }
equal "$(completes torpor che)" checkpoint
equal "$(completes torpor --root /x st)" "start state" "what begins with st"
offers --log-format torpor --log
equal "$(completes torpor --log-format '')" "json text" "log formats"
offers --bundle torpor create --
equal "$(completes torpor list --format t)" table "list formats"
offers --memory-swap torpor update --mem
equal "$(completes torpor --debug spec --bu)" --bundle "options of spec"
mkdir "$TEST_DIR/somewhere"
cd "$TEST_DIR"
equal "$(completes torpor create --bundle some)" somewhere "directories"
grep -q "^complete -c torpor -n '__fish_seen_subcommand_from delete' -l force -s f" "$scripts/torpor.fish"
grep -q "'--format=\[output format\]:value:(table json)'" "$scripts/torpor.zsh"
