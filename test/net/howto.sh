#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# README's "move a container with open connections", to the letter: a container on its host's network, whose address moves with it, and one with a network
# namespace of its own, which is made anew on the other host. Their peer, on a third host, sees a pause.
own_mounts=1
. "${0%/*}/../lib.sh"
. "${0%/*}/lib_e2e.sh"

# Each host has a folder of its own, and the programs in its PATH.
for host in a b; do
	mkdir "$TEST_DIR/$host"
	on $host mount -t tmpfs run /run
	on $host mkdir -p /run/etc
	on $host mount --bind /run/etc "$TEST_DIR/$host" || fail "no folder for $host"
done
howto() { # HOST: the commands of standard input, as they are in README
	{ echo "cd $TEST_DIR/$1; torpor() { command torpor --root $TEST_DIR/$1/state \"\$@\"; }; set -ex"; sed 's/^	*//'; } >"$TEST_DIR/commands"
	on "$1" env PATH="$TEST_BUILD/bin:$PATH" TORPOR_ADDRESSES="$TEST_DIR/$1/addresses" sh "$TEST_DIR/commands" </dev/null >"$TEST_DIR/output" 2>&1 ||
		fail "on $1: $(cat "$TEST_DIR/output")"
}
copy() { on a tar -C "$TEST_DIR/a" -c "$@" | on b tar -C "$TEST_DIR/b" -x; }
at_exit eval 'for h in a b; do for c in c1 c2; do on $h "$TORPOR" --root "$TEST_DIR/$h/state" delete --force $c; done; done >/dev/null 2>&1'
ask() { # ADDRESS FILE
	in_background peer "$TALK" ask "$1" 80 "$2"
	wait_until 10 test -e "$2"
	goes_on "$2"
}

# -- on the host's network ----------------------------------------------------------------------------------------------------------
make_srv python3 /tree/test/net/talk.py serve 10.9.0.10 80
on a cp -a "$TEST_DIR/srv" "$TEST_DIR/a/bundle"
for host in a b; do sed 's/srv/c1/' "$TORPOR_ADDRESSES" | on $host sh -c "cat >'$TEST_DIR/$host/addresses'"; done
on a "$TORPOR" --root "$TEST_DIR/a/state" run --detach --bundle "$TEST_DIR/a/bundle" c1 </dev/null >/dev/null 2>&1
wait_until 20 eval '[ -n "$(on a ss -Htln "sport = :80")" ]'
ask 10.9.0.10 "$TEST_DIR/one"
howto a <<END
	torpor checkpoint --tcp-established --action-script $MOVE --image-path images c1
	torpor-netlock clean
END
copy images bundle
howto b <<END
	torpor restore --detach --tcp-established --action-script $MOVE --image-path images --bundle bundle c1
END
goes_on "$TEST_DIR/one"
no_reset "on the host's network"
on b "$TORPOR" --root "$TEST_DIR/b/state" delete --force c1
for host in a b; do on $host sh -c "rm -rf '$TEST_DIR/$host'/*"; done
watch "$TEST_DIR/seen-own" 10.9.0.20   # the first one's end may still be under way

# -- with a network namespace of its own ------------------------------------------------------------------------------------------------
# What a container engine's network set-up does.
network() { # HOST
	howto "$1" <<-END
		ip link add br0 type bridge
		ip link set net0 master br0
		ip link set br0 up
	END
}
network a
network b
howto a <<END
	ip netns add c2
	ip link add c2-host type veth peer name eth0 netns c2
	ip link set c2-host master br0 up
	ip -n c2 addr add 10.9.0.20/24 dev eth0
	ip -n c2 link set lo up
	ip -n c2 link set eth0 up
END
configure "$TEST_DIR/srv" '.process.args[-2] = "10.9.0.20" | .linux.namespaces += [{type: "network", path: "/run/netns/c2"}]'
on a cp -a "$TEST_DIR/srv" "$TEST_DIR/a/bundle"
on a "$TORPOR" --root "$TEST_DIR/a/state" run --detach --bundle "$TEST_DIR/a/bundle" c2 </dev/null >/dev/null 2>&1
wait_until 20 eval '[ -n "$(on a ip netns exec c2 ss -Htln "sport = :80")" ]'
ask 10.9.0.20 "$TEST_DIR/two"
howto a <<END
	torpor checkpoint --tcp-established --image-path images c2
	ip link del c2-host
	ip netns del c2
END
copy images bundle
howto b <<END
	ip netns add c2
	torpor-netlock lock --id c2 --netns /run/netns/c2
	ip link add c2-host type veth peer name eth0 netns c2
	ip link set c2-host master br0 up
	ip -n c2 addr add 10.9.0.20/24 dev eth0
	ip -n c2 link set lo up
	ip -n c2 link set eth0 up
	torpor restore --detach --tcp-established --image-path images --bundle bundle c2
END
goes_on "$TEST_DIR/two"
no_reset "with a network namespace of its own"
equal "$(on b ip netns exec c2 nft list ruleset)" "" "what is left of the lock"
on b "$TORPOR" --root "$TEST_DIR/b/state" delete --force c2
