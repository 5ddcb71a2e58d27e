#!/usr/bin/env bash
# Apache httpd with the prefork and the event module: keys of two types in KMS and an ordinary one,
# 1,000 handshakes, and graceful restarts under load. Memory and descriptors stay what they were.
# usage: apache.sh MODULES-FOLDER KMS-LOCAL [USER]
set -euo pipefail
# shellcheck source=tests/consumers/lib.sh
. "$(dirname "$0")/lib.sh"

restarts=20

set_up() {
    start_kms ca:ECC_NIST_P384 web-rsa:RSA_2048 web-p256:ECC_NIST_P256
    authority
    served web-rsa web-p256
    ordinary ordinary ordinary.test
    readable_by www-data
    mkdir pages
    printf 'signed in KMS\n' >pages/index.html
    cp "$here/apache.conf" .
    user=$(id -un) group=$(id -gn)
    [ "$(id -u)" -ne 0 ] || user=www-data group=www-data
    port=$(free_port)
    configure apache-site.conf -e "s/8443/$port/"
}

starts() {
    local before
    # The variables of apache.conf, and the command.
    httpd=(SERVER_FOLDER="$work" SERVER_MPM="$1" SERVER_USER="$user" SERVER_GROUP="$group"
        /usr/sbin/apache2 -f "$work/apache.conf")
    : >apache-error.log
    before=$(requests any)
    works "$1: configtest" with_kms "${httpd[@]}" -t
    serve "$1" "${httpd[@]}" -DFOREGROUND
    parent=$daemon
    await "$1" "$port"
    wait_until 20 grep -q 'resuming normal operations' apache-error.log ||
        bad "$1: does not start" apache-error.log
    equal "$1: requests while it loads" "$before" "$(requests any)"
}

each_key() {
    local tls before
    for tls in 1_2 1_3; do
        handshake "$1: RSA, TLS $tls" "$port" web.test RSA-PSS -tls$tls -cipher aRSA \
            -sigalgs rsa_pss_rsae_sha256
        prints "$1: RSA, TLS $tls" "Protocol version: TLSv${tls/_/.}"
        handshake "$1: EC, TLS $tls" "$port" web.test ECDSA -tls$tls \
            -sigalgs ecdsa_secp256r1_sha256
        before=$(requests any)
        handshake "$1: the ordinary key, TLS $tls" "$port" ordinary.test ECDSA -tls$tls
        equal "$1: its requests" "$before" "$(requests any)"
    done
    works "$1: a page" clean curl -sS --fail --cacert ca.crt --resolve "web.test:$port:$address" \
        "https://web.test:$port/"
    says "$1: a page" 'signed in KMS'
}

# handshakes_cost MPM: one request each; the children stay as they are.
handshakes_cost() {
    local before pids fds rss
    equal "$1: handshakes to warm up" 400 "$(many "$port" web.test 400 --get)"
    mapfile -t pids < <(children "$parent")
    fds=$(most descriptors "${pids[@]}") rss=$(most resident "${pids[@]}")
    before=$(requests Sign)
    equal "$1: handshakes" 1000 "$(many "$port" web.test 1000 --get 2>many.log || true)"
    equal "$1: requests of 1,000 handshakes" 1000 $(($(requests Sign) - before))
    # As many idle connections to KMS as there are threads, at most.
    flat "$1: descriptors of a child" 16 "$fds" descriptors "${pids[@]}"
    flat "$1: kB of a child" 1024 "$rss" resident "${pids[@]}"
}

resumed() {
    [ "$(grep -c 'resuming normal operations' apache-error.log)" -eq "$1" ]
}

restarts_under_load() {
    local i load before done_ fds='' rss=''
    rm -f enough
    before=$(requests Sign)
    many "$port" web.test 1000000 --get --threads 4 --until "$work/enough" >load.out 2>load.log &
    load=$!
    for i in $(seq "$restarts"); do
        works "$1: graceful restart" with_kms "${httpd[@]}" -k graceful
        wait_until 20 resumed $((i + 1)) || { bad "$1: a restart has no end" apache-error.log; exit 1; }
        [ "$i" -ne 5 ] || fds=$(descriptors "$parent") rss=$(resident "$parent")
    done
    : >enough
    checks=$((checks + 1))
    wait "$load" || bad "$1: handshakes failed during restarts" load.log
    done_=$(cat load.out)
    say "  $1: $done_ handshakes during $restarts restarts"
    equal "$1: requests of these handshakes" "$done_" $(($(requests Sign) - before))
    flat "$1: descriptors of the parent after 5 restarts and all" 0 "$fds" \
        descriptors "$parent"
    flat "$1: kB of the parent after 5 restarts and all" 1024 "$rss" resident "$parent"
}

nothing_logged() {
    checks=$((checks + 1))
    ! grep -E ':(alert|crit|emerg|error)\]' apache-error.log >alerts || bad "$1 has logged" alerts
}

consumer_start 480 "$@"
set_up
for mpm in prefork event; do
    starts $mpm
    each_key $mpm
    handshakes_cost $mpm
    restarts_under_load $mpm
    stop $mpm
    nothing_logged $mpm
done
consumer_end
