#!/usr/bin/env bash
# stunnel at both ends of a connection, with keys of each type in KMS, and reloads. The service
# behind it is the local KMS server itself.
# usage: stunnel.sh MODULES-FOLDER KMS-LOCAL [USER]
set -euo pipefail
# shellcheck source=tests/consumers/lib.sh
. "$(dirname "$0")/lib.sh"

reloads=20

set_up() {
    start_kms ca:ECC_NIST_P384 web-rsa:RSA_2048 web-p256:ECC_NIST_P256 \
        web-ed25519:ECC_NIST_EDWARDS25519 client:ECC_NIST_P256
    authority
    served web-rsa web-p256 web-ed25519
    reference client
    certificate client somebody
    ordinary ordinary somebody
    port=$(free_port)
    plain_port=$(free_port)
    uses web-rsa
}

# uses KEY: the example configuration with this server key.
uses() {
    configure stunnel.conf -e "s/$address:8080/${url#http://}/" \
        -e "s/8081/$plain_port/" -e "s/8443/$port/" -e "s/web-rsa/$1/"
}

starts() {
    local before
    before=$(requests any)
    serve stunnel /usr/bin/stunnel4 "$work/stunnel.conf"
    await stunnel "$plain_port"
    equal 'requests while it loads' "$before" "$(requests any)"
}

# through_both: the service, through the client's end and the server's.
through_both() {
    clean curl -sS --fail --max-time 20 "http://$address:$plain_port/_admin/requests"
}

both_ends() {
    local before
    before=$(requests Sign)
    works 'a page through both ends' through_both
    says 'a page through both ends' '"Sign":'
    equal 'their requests' 2 $(($(requests Sign) - before))
}

# Clients that have an ordinary certificate, and none.
each_key() {
    local before
    handshake "$1" "$port" web.test "$2" -tls1_3 -cert ordinary.crt -key ordinary.pem
    handshake "$1, TLS 1.2" "$port" web.test "$3" -tls1_2 -cert ordinary.crt -key ordinary.pem
    before=$(requests Sign)
    works "$1: a page" clean curl -sS --fail --cacert ca.crt --cert ordinary.crt \
        --key ordinary.pem --resolve "web.test:$port:$address" \
        "https://web.test:$port/_admin/requests"
    says "$1: a page" '"Sign":'
    equal "$1: requests" 1 $(($(requests Sign) - before))
    refused "$1: no client certificate" 'alert handshake failure' clean curl -sS --cacert ca.crt \
        --tls-max 1.2 --resolve "web.test:$port:$address" "https://web.test:$port/_admin/requests"
}

read_again() {
    [ "$(grep -c 'Configuration successful' stunnel.log)" -gt "$1" ]
}

# reloads_to KEY
reloads_to() {
    local before
    before=$(grep -c 'Configuration successful' stunnel.log)
    uses "$1"
    kill -HUP "$daemon"
    checks=$((checks + 1))
    wait_until 20 read_again "$before" || { bad "$1: a reload has no end" stunnel.log; exit 1; }
    await stunnel "$port"
    await stunnel "$plain_port"
}

# A reload closes the ports and opens them again, so what comes in that moment is turned away: each
# page is fetched between two reloads.
reloads_and_pages() {
    local i fds='' rss=''
    for i in $(seq $((reloads / 2))); do
        reloads_to web-p256
        works 'a page after a reload' through_both
        reloads_to web-rsa
        works 'a page after a reload' through_both
        [ "$i" -ne 3 ] || fds=$(descriptors "$daemon") rss=$(resident "$daemon")
    done
    flat 'descriptors after 6 reloads and all' 0 "$fds" descriptors "$daemon"
    flat 'kB after 6 reloads and all' 1024 "$rss" resident "$daemon"
}

consumer_start 480 "$@"
set_up
starts
both_ends
each_key web-rsa RSA-PSS RSA-PSS
reloads_to web-p256
each_key web-p256 ECDSA ECDSA
reloads_to web-ed25519
each_key web-ed25519 ed25519 ed25519
reloads_to web-rsa
reloads_and_pages
stop stunnel
consumer_end
