# SPDX-License-Identifier: Apache-2.0
# In the virtual machine (chain.sh): two rounds and a dump by one engine, a restore by the other.
mkdir /tmp/chain && cd /tmp/chain || exit 1
criu=$(echo /var/cache/torpor-peers/*-bin/criu)
wait_for() { for _ in {1..300}; do [ -s "$1" ] && return || sleep 0.1; done; }
gone() { for _ in {1..300}; do [ -e "/proc/$1" ] || return 0; sleep 0.1; done; }
changed() { for _ in {1..300}; do [ -e change ] || return 0; sleep 0.1; done; return 1; }   # the page is, before the file goes
chain() { # NAME DUMPER RESTORER OPTION…
	local pid r=0
	rm -rf ./*
	setsid "$TEST_BUILD/test/cr/one_page" </dev/null >/dev/null 2>&1 &
	for _ in {1..300}; do [ -e ready ] && break || sleep 0.1; done
	pid=$(pgrep -x one_page)
	mkdir 1 2 3
	{
		"$2" pre-dump -t "$pid" -D 1 "${@:4}" && touch change && changed &&
			"$2" pre-dump -t "$pid" -D 2 --prev-images-dir ../1 "${@:4}" &&
			"$2" dump -t "$pid" -D 3 --prev-images-dir ../2 "${@:4}" && gone "$pid" &&
			"$3" restore -D 3 -d && touch go && wait_for result
	} >log 2>&1
	[ "$(cat result 2>/dev/null)" = "0 1" ] && [ "$(stat -c %s 2/pages-1.img)" -lt 1000000 ] || r=1
	[ $r = 0 ] && echo "ok vm/chain:$1" || { echo "FAILED vm/chain:$1"; tail -n 8 log | sed 's/^/    /'; }
	pkill -x one_page
	return $r
}
status=0
chain criu-torpor "$criu" "$TORPOR_CR" --track-mem || status=1
chain torpor-criu "$TORPOR_CR" "$criu" || status=1
exit $status
