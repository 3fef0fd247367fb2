#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# The engine is killed at random moments of a dump with the network locked, LOCK_KILLS times (20; 200 and more by hand): `torpor-netlock clean`
# leaves no rule, and the connections are alive: at once, or, if the kill came when the checkpoint was whole and the tasks had ended, after a
# restore. No reset reaches the peer. Half of the dumps leave the program running; half are on a host's network.
# timeout: 600
. "${0%/*}/../lib.sh"
. "${0%/*}/lib_net.sh"
box_and_peer
exec 7<"$TEST_DIR/box.net"
net=$(stat -Lc %i box.net)
killafter=$TEST_BUILD/test/fault/killafter
serve_box
ask_box
in_background peer "$TALK" sniff net0 seen    # not before: who asks may have been too early
wait_until 20 test -e seen

guarded() { grep -qs torpor-tcp /proc/[0-9]*/comm; }
# It lives, whatever the engine was about to do with it. (One that is being killed, the signal is pending, does not.)
lives() {
	local status seen_alive=0
	wait_until 10 eval '! guarded'
	for _ in {1..500}; do
		status=$(cat "/proc/$pid/status" 2>/dev/null) || return 1
		[[ $status =~ State:.(.).*SigPnd:.*(.)..$'\n'ShdPnd:.*(.)..$'\n'SigBlk ]] || return 1
		case ${BASH_REMATCH[1]} in
		Z | X) return 1 ;;
		S | R | D) ((0x${BASH_REMATCH[2]} & 1 || 0x${BASH_REMATCH[3]} & 1)) || seen_alive=$((seen_alive + 1)) ;;
		esac
		[ $seen_alive -lt 5 ] || return 0
		sleep 0.02
	done
	fail "$1: the program is neither alive nor dead: $status"
}

killed=0 restored=0 took=(0 0)
LOCK_KILLS=${LOCK_KILLS-20}
for ((i = 0; i < LOCK_KILLS; i++)); do
	rm -rf images
	mkdir images
	options=(--tcp-established) place=(nsenter --net="$TEST_DIR/box.net" --) save=() build=()
	((i & 1)) && options+=(--leave-running)
	((i & 2)) && place=() save=(--external "net[$net]:box") build=(--inherit-fd "fd[7]:box")
	us=0
	[ $i -lt 4 ] || us=$((RANDOM * 32768 + RANDOM)) us=$((us % (took[i & 1] + took[i & 1] / 10) + 1))
	read -r outcome time < <("$killafter" -t $us "${place[@]}" "$TORPOR_CR" dump -t $pid -D images -o dump.log "${options[@]}" "${save[@]}")
	[ "$us" != 0 ] || took[i & 1]=${time##* }
	case $outcome in killed) killed=$((killed + 1)) ;; exit) [ "${time% *}" = 0 ] || fail "kill $i: dump: $(tail -3 images/dump.log)" ;; esac
	lived=lived
	if ! lives "kill $i"; then
		lived="ended, restored"
		[ -s images/inventory.img ] || fail "kill $i: the tasks ended, and there is no checkpoint"
		"${place[@]}" "$TORPOR_CR" restore -d -D images -o restore.log --tcp-established "${build[@]}" || fail "kill $i: $(tail -3 images/restore.log)"
		restored=$((restored + 1))
	fi
	"$NETLOCK" clean --netns "$TEST_DIR/box.net" >/dev/null
	equal "$(on box nft list ruleset | grep -c torpor || :)" 0 "kill $i: tables that are left"
	how="kill $i ($outcome after $us us, $lived, ${place[*]})"
	goes_on four "$how"
	goes_on six "$how"
	equal "$(<seen)" "" "$how: what the peer saw"
done
echo "$killed killed, $restored restored; a dump takes ${took[0]} us"
kill -9 $pid
