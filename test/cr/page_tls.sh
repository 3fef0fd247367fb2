#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Page server over TLS: a dump arrives and restores; a certificate that is expired, revoked, of the wrong authority or for another name is
# refused with its reason, on both sides, and the program runs on. CRIU on either side as well, where there is one.
# timeout: 120
. "${0%/*}/../lib.sh"
require_root
require_command openssl

new_tmpdir pki
new_tmpdir work
cd "$pki"
authority() { # NAME
	openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -keyout "$1.key" -out "$1.pem" -subj "/CN=$1" -days 2 2>/dev/null
}
certificate() { # NAME AUTHORITY SUBJECT-ALTERNATIVE [OPTION…]
	local name=$1 ca=$2 alternative=$3
	shift 3
	[ $# -gt 0 ] || set -- -days 2
	openssl req -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -keyout "$name.key" -out "$name.csr" -subj "/CN=$name" 2>/dev/null
	openssl x509 -req -in "$name.csr" -CA "$ca.pem" -CAkey "$ca.key" -CAcreateserial -out "$name.pem" \
		-extfile <(echo "subjectAltName=$alternative") "$@" 2>/dev/null
}
# x509 -days takes no past: the authority of openssl ca does.
dated() { # NAME: made of the request NAME.csr, expired
	mkdir -p ca.d
	: >ca.d/index.txt
	echo 77 >ca.d/serial
	printf '[ca]\ndefault_ca=a\n[a]\ndatabase=ca.d/index.txt\nserial=ca.d/serial\nnew_certs_dir=ca.d\ndefault_md=sha256\npolicy=p\ndefault_crl_days=2\n[p]\ncommonName=supplied\n' >ca.conf
	openssl ca -batch -notext -config ca.conf -cert ca.pem -keyfile ca.key -in "$1.csr" -out "$1.pem" -startdate 20200101000000Z \
		-enddate 20200201000000Z 2>/dev/null
}
authority ca
authority other
certificate server ca IP:127.0.0.1,DNS:localhost
certificate client ca DNS:client
certificate stranger other IP:127.0.0.1
certificate expired ca DNS:expired
certificate revoked ca DNS:revoked
dated expired
openssl ca -config ca.conf -cert ca.pem -keyfile ca.key -revoke revoked.pem 2>/dev/null
openssl ca -config ca.conf -cert ca.pem -keyfile ca.key -gencrl -out revoked.crl 2>/dev/null

tls() { # NAME [AUTHORITY]: options
	echo --tls --tls-cacert "$pki/${2:-ca}.pem" --tls-cert "$pki/$1.pem" --tls-key "$pki/$1.key"
}
start_server() { # PROGRAM OPTION…
	local program=$1
	shift
	rm -rf "$work/pages"
	mkdir "$work/pages"
	port=$(free_port)
	timeout 60 $program page-server -D "$work/pages" --address 127.0.0.1 --port $port "$@" >"$work/server.out" 2>&1 &
	server=$!
	wait_until 20 eval "grep -q ':$(printf %04X $port) 00000000:0000 0A' /proc/net/tcp"
}
dump() { # PROGRAM ADDRESS OPTION…
	local program=$1 address=$2
	shift 2
	rm -rf "$work/images"
	mkdir "$work/images"
	timeout 60 $program dump --tree $pid -D "$work/images" --page-server --address "$address" --port $port "$@" >"$work/dump.out" 2>&1
}
runs() { [ -e /proc/$pid ] && grep -q '^State:.[SRD]' /proc/$pid/status; }
start_program() {
	setsid sleep 1000 </dev/null >/dev/null 2>&1 &
	pid=$!
	disown $pid
	wait_until 20 grep -q sleep /proc/$pid/comm
}
for fd in /proc/self/fd/*; do ((${fd##*/} < 3 || ${fd##*/} == 255)) || eval "exec ${fd##*/}>&-"; done 2>/dev/null
at_exit eval 'kill -9 $pid 2>/dev/null'

refused() { # WHAT DUMP-SAYS SERVER-SAYS, with the dump's ADDRESS and OPTIONs in "${options[@]}"
	if dump "$TORPOR_CR" "${options[@]}"; then fail "$1: the dump succeeds"; fi
	if wait $server; then fail "$1: the server succeeds"; fi
	head -1 "$work/dump.out" | grep -q "$2" || fail "$1: the dump says: $(cat "$work/dump.out")"
	head -1 "$work/server.out" | grep -q "$3" || fail "$1: the server says: $(cat "$work/server.out")"
	[ -z "$(ls "$work/pages" "$work/images" | grep img)" ] || fail "$1: there are images"
	runs || fail "$1: the program does not run on"
}

start_program
# Nobody wrong gets in, and nobody wrong is sent anything.
start_server "$TORPOR_CR" $(tls server)
options=(127.0.0.1 $(tls stranger))
refused "client of another authority" "refuses our certificate .*stranger.pem: unknown CA" "(/CN=stranger) is refused: it is not signed by an authority"
start_server "$TORPOR_CR" $(tls stranger)
options=(127.0.0.1 $(tls client))
refused "server of another authority" "(/CN=stranger) is refused: it is not signed by an authority" "refuses our certificate .*: unknown CA"
start_server "$TORPOR_CR" $(tls client)
refused "server with another name" "(/CN=client) is refused: it is not for the name 127.0.0.1" "refuses our certificate"
start_server "$TORPOR_CR" $(tls server) --tls-cacrl "$pki/revoked.crl"
options=(127.0.0.1 $(tls revoked))
refused "revoked client" "refuses our certificate .*revoked.pem: certificate revoked" "(/CN=revoked) is refused: it has been revoked"
start_server "$TORPOR_CR"
options=(127.0.0.1 $(tls client))
refused "server without TLS" "TLS handshake" "unknown command"
start_server "$TORPOR_CR" $(tls server)
options=(127.0.0.1)
refused "client without TLS" "closed the connection\|Connection reset" "TLS handshake"
# Files that are of no use, before anything else happens.
options=(127.0.0.1 $(tls expired))
if dump "$TORPOR_CR" "${options[@]}"; then fail "an expired certificate is used"; fi
head -1 "$work/dump.out" | grep -q "expired.pem: the certificate has expired" || fail "$(cat "$work/dump.out")"
refuses "expired.pem: the certificate has expired" "$TORPOR_CR" page-server -D "$work/pages" --address 127.0.0.1 $(tls expired)
refuses "No such file" "$TORPOR_CR" page-server -D "$work/pages" --address 127.0.0.1 $(tls nobody)
refuses "is not the key of" "$TORPOR_CR" page-server -D "$work/pages" --address 127.0.0.1 $(tls server) --tls-key "$pki/client.key"
# An expired certificate that is shown all the same.
start_server "$TORPOR_CR" $(tls server)
openssl s_client -connect 127.0.0.1:$port -cert expired.pem -key expired.key -CAfile ca.pem >"$work/dump.out" 2>&1 </dev/null || :
if wait $server; then fail "an expired certificate is taken"; fi
grep -q "(/CN=expired) is refused: it has expired" "$work/server.out" || fail "$(cat "$work/server.out")"

# What is right goes through.
through() { # SERVER CLIENT ADDRESS SERVER-CERTIFICATE CLIENT-CERTIFICATE [OPTION…]
	local from=$1 to=$2 address=$3 server_name=$4 client_name=$5
	shift 5
	start_server "$from" $(tls "$server_name")
	dump "$to" "$address" $(tls "$client_name") "$@" || fail "dump by $to to $from: $(cat "$work/dump.out")"
	wait $server || fail "server $from for $to: $(cat "$work/server.out")"
	cp "$work"/pages/pag*.img "$work/images"
	wait_until 20 test ! -e /proc/$pid
	"$TORPOR_CR" restore -D "$work/images" --restore-detached || fail "restore after $to to $from"
	runs || fail "not restored: $to to $from"
}
through "$TORPOR_CR" "$TORPOR_CR" 127.0.0.1 server client
through "$TORPOR_CR" "$TORPOR_CR" localhost server client
through "$TORPOR_CR" "$TORPOR_CR" 127.0.0.1 client client --tls-no-cn-verify
if "$TEST_TOP/test/peers" has criu 2>/dev/null; then
	criu="$TEST_TOP/test/peers run criu"
	through "$TORPOR_CR" "$criu" localhost server client
	# CRIU's server wants the client's certificate to be for the server's address.
	through "$criu" "$TORPOR_CR" 127.0.0.1 server server
fi
