#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# A PostgreSQL session in the middle of a transaction: it goes on, and commits, when the client is saved and restored, when the client's container moves to
# another host with its address, and when the server is saved and restored.
# timeout: 240
. "${0%/*}/../lib.sh"
. "${0%/*}/lib_e2e.sh"
bin=$(echo /usr/lib/postgresql/*/bin)
[ -x "$bin/postgres" ] && [ -x /usr/bin/psql ] || skip "PostgreSQL is not installed (package postgresql)"
getent passwd postgres >/dev/null || skip "there is no user postgres"

chmod 755 "$TEST_DIR"
install -d -o postgres -m 700 "$TEST_DIR/data"
as_postgres() { setpriv --reuid postgres --regid postgres --clear-groups -- "$@"; }
(cd / && as_postgres "$bin/initdb" --pgdata "$TEST_DIR/data" --auth trust --no-sync --no-locale --encoding UTF8 >"$TEST_DIR/output" 2>&1) ||
	fail "initdb: $(cat "$TEST_DIR/output")"
echo "host all all 10.9.0.0/24 trust" >>"$TEST_DIR/data/pg_hba.conf"
begin peer unshare --ipc setpriv --reuid postgres --regid postgres --clear-groups "$bin/postgres" -D "$TEST_DIR/data" -c listen_addresses=10.9.0.3 \
	-c unix_socket_directories= -c shared_buffers=8MB -c fsync=off -c autovacuum=off -c log_destination=stderr
server=$begun
ask() { on peer psql -h 10.9.0.3 -U postgres -At -c "$1" 2>/dev/null; }
wait_until 30 eval '[ "$(ask "select 1")" = 1 ]'
ask "create table t (step int, at text)" >/dev/null

# Each step is a statement of the same transaction; between them psql waits for a file.
{
	echo "begin;"
	for i in 1 2 3 4; do
		echo "insert into t select $i, inet_client_addr()::text || ' ' || repeat('x', 100000);"
		echo "\\! touch /outside/did$i; until [ -e /outside/go$i ]; do sleep 0.05; done"
	done
	echo "commit;"
	echo "\\! touch /outside/committed"
} >"$TEST_DIR/outside/script"
make_srv psql -h 10.9.0.3 -U postgres -v ON_ERROR_STOP=1 -X -f /outside/script
configure "$TEST_DIR/srv" '.process.env += ["PGOPTIONS="]'
# The address that it is known by is that which moves.
on a ip route change 10.9.0.0/24 dev net0 src 10.9.0.10
on b ip route change 10.9.0.0/24 dev net0 src 10.9.0.2
start_srv
step() { wait_until 20 [ -e "$TEST_DIR/outside/did$1" ] || fail "step $1"; no_reset "step $1"; }
step 1
equal "$(ask "select count(*) from t")" 0 "rows before the commit"
move_srv a a
touch "$TEST_DIR/outside/go1"
step 2
move_srv a b
touch "$TEST_DIR/outside/go2"
step 3
equal "$(ask "select count(*) from t")" 0 "rows before the commit"
# The server has a segment of System V shared memory, whatever it is told: of those who save it, the engine is the first to know.
if on peer "$TORPOR_CR" dump --tree "$server" --images-dir "$TEST_DIR" --tcp-established --leave-running >"$TEST_DIR/output" 2>&1; then
	again peer "$server"
elif grep -q "System V shared memory is not supported" "$TEST_DIR/output"; then
	echo "not tried with the server: System V shared memory is not supported"
else
	fail "dump of the server: $(cat "$TEST_DIR/output")"
fi
touch "$TEST_DIR/outside/go3"
step 4
touch "$TEST_DIR/outside/go4"
wait_until 20 [ -e "$TEST_DIR/outside/committed" ]
equal "$(ask "select string_agg(step::text || ' ' || split_part(at, ' ', 1) || ' ' || length(at), ',' order by step) from t")" \
	"$(for i in 1 2 3 4; do echo "$i 10.9.0.10/32 100013"; done | paste -sd,)" "what was committed"
no_reset "the end"
