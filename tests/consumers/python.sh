#!/usr/bin/env bash
# Python's ssl: load_cert_chain with a PEM reference, as server (threads, and children forked by a
# process that has used the key itself) and as client.
# usage: python.sh MODULES-FOLDER KMS-LOCAL [USER]
set -euo pipefail
# shellcheck source=tests/consumers/lib.sh
. "$(dirname "$0")/lib.sh"

with_python_server() {
    port=$(free_port)
    serve "$1" "$python" -I "$here/tls.py" serve "$2" "$address" "$port" "$1.crt" "$1.pem" ca.crt
    await "$1" "$port"
}

# server KEY SIGNATURE MODEL
server() {
    local before own=0
    [ "$3" != forks ] || own=1 # what it signs before it forks
    before=$(requests any)
    with_python_server "$1" "$3"
    equal "$1, $3: requests while it loads" $((before + own)) "$(requests any)"
    handshake "$1, $3" "$port" web.test "$2"
    handshake "$1, $3, TLS 1.2" "$port" web.test "$2" -tls1_2
    before=$(requests Sign)
    equal "$1, $3: handshakes" 100 "$(many "$port" web.test 100 --get 2>many.log || true)"
    equal "$1, $3: requests of 100 handshakes" 100 $(($(requests Sign) - before))
    stop "$1"
}

# client KEY: a server with an ordinary key demands a certificate, and tells whose it has seen.
client() {
    local before
    before=$(requests Sign)
    works "client $1" with_kms "$python" -I "$here/tls.py" get "$address" "$port" "$1.crt" \
        "$1.pem" ca.crt ordinary.test
    prints "client $1" 'verified: web.test'
    equal "client $1: requests" 1 $(($(requests Sign) - before))
}

consumer_start 480 "$@"
start_kms ca:ECC_NIST_P384 web-rsa:RSA_2048 web-p256:ECC_NIST_P256 \
    web-ed25519:ECC_NIST_EDWARDS25519
authority
served web-rsa web-p256 web-ed25519
ordinary ordinary ordinary.test
for model in threads forks; do
    server web-rsa RSA-PSS $model
    server web-p256 ECDSA $model
    server web-ed25519 ed25519 $model
done
port=$(free_port)
start ordinary env -i "${plain[@]}" "$python" -I "$here/tls.py" serve mutual "$address" "$port" \
    ordinary.crt ordinary.pem ca.crt
await ordinary "$port"
for key in web-rsa web-p256 web-ed25519; do
    client $key
done
stop ordinary
consumer_end
