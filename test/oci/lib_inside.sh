# SPDX-License-Identifier: Apache-2.0
# For tests that look from inside: one bundle $b, the container's name is c.
b=$TEST_DIR/b

# inside COMMAND…: what the command says as the container's process; its status does not matter.
inside() {
	configure "$b" '.process.args = $ARGS.positional' --args -- "$@"
	torpor run --bundle "$b" c </dev/null 2>&1 || :
}
# inside_sh SCRIPT
inside_sh() { inside sh -c "$1"; }
# create_refuses TEXT: create fails with this text and leaves nothing; test/run looks for processes, mounts and cgroups at the end.
create_refuses() {
	refuses "$1" torpor create --bundle "$b" c </dev/null
	refuses "does not exist" torpor state c
	[ -z "$(find_groups -maxdepth 3 -path "*$TEST_CGROUP/b")" ] || fail "cgroups are left: $(find_groups -path "*$TEST_CGROUP*" -type d)"
}
# with FILTER…: configure, until `undo`.
with() {
	cp "$b/config.json" "$b/config.saved"
	configure "$b" "$@"
}
undo() { mv "$b/config.saved" "$b/config.json"; }
