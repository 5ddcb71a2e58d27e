#!/usr/bin/env bash
# HAProxy, a master and a worker of four threads, plain and with ssl-mode-async: keys of two types
# in KMS and an ordinary one, 1,000 handshakes, and reloads under load.
# usage: haproxy.sh MODULES-FOLDER KMS-LOCAL [USER]
set -euo pipefail
# shellcheck source=tests/consumers/lib.sh
. "$(dirname "$0")/lib.sh"

reloads=20

set_up() {
    start_kms ca:ECC_NIST_P384 web-rsa:RSA_2048 web-p256:ECC_NIST_P256
    authority
    served web-rsa web-p256
    ordinary ordinary ordinary.test
    readable_by haproxy
    mkdir haproxy
    cat web-rsa.crt web-rsa.pem >haproxy/web.pem.rsa
    cat web-p256.crt web-p256.pem >haproxy/web.pem.ecdsa
    cat ordinary.crt ordinary.pem >haproxy/ordinary.pem
    port=$(free_port)
    # What is particular to the machine; no second listener while one is reloaded.
    printf 'global\n    nbthread 4\n    hard-stop-after 20s\n' >frame.cfg
    [ "$(id -u)" -ne 0 ] || printf '    user haproxy\n    group haproxy\n' >>frame.cfg
}

starts() {
    local before change=()
    [ "$1" != async ] || change=(-e 's/# ssl-mode-async/ssl-mode-async/')
    configure haproxy.cfg -e "s/8443/$port/" "${change[@]}"
    before=$(requests any)
    works "$1: the configuration is valid" with_kms /usr/sbin/haproxy -c -f frame.cfg -f haproxy.cfg
    serve "$1" /usr/sbin/haproxy -W -f "$work/frame.cfg" -f "$work/haproxy.cfg"
    master=$daemon
    await "$1" "$port"
    equal "$1: requests while it loads" "$before" "$(requests any)"
}

each_key() {
    local tls before
    for tls in 1_2 1_3; do
        # HAProxy takes a client for one of RSA by its PKCS#1 algorithms.
        handshake "$1: RSA, TLS $tls" "$port" web.test RSA-PSS -tls$tls -cipher aRSA \
            -sigalgs rsa_pss_rsae_sha256:rsa_pkcs1_sha256
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

handshakes_cost() {
    local before worker fds rss
    equal "$1: handshakes to warm up" 400 "$(many "$port" web.test 400 --get)"
    worker=$(children "$master")
    fds=$(descriptors "$worker") rss=$(resident "$worker")
    before=$(requests Sign)
    equal "$1: handshakes" 1000 "$(many "$port" web.test 1000 --get 2>many.log || true)"
    equal "$1: requests of 1,000 handshakes" 1000 $(($(requests Sign) - before))
    # A connection to KMS more for each thread that had none, and what HAProxy has not closed yet.
    flat "$1: descriptors of the worker" 16 "$fds" descriptors "$worker"
    flat "$1: kB of the worker" 4096 "$rss" resident "$worker"
}

# another_worker PID: there is one, and that one no longer listens to the master.
another_worker() {
    [ -n "$(comm -13 <(say "$1") <(children "$master"))" ]
}

one_worker() {
    [ "$(children "$master" | wc -l)" -eq 1 ]
}

reloads_under_load() {
    local i load before done_ old fds='' rss=''
    rm -f enough
    before=$(requests Sign)
    many "$port" web.test 1000000 --get --threads 4 --until "$work/enough" >load.out 2>load.log &
    load=$!
    for i in $(seq "$reloads"); do
        old=$(children "$master")
        kill -USR2 "$master"
        wait_until 30 another_worker "$old" || { bad "$1: a reload has no end" "$1.log"; exit 1; }
        wait_until 30 one_worker || { bad "$1: an old worker does not end" "$1.log"; exit 1; }
        [ "$i" -ne 5 ] || fds=$(descriptors "$master") rss=$(resident "$master")
    done
    : >enough
    checks=$((checks + 1))
    wait "$load" || bad "$1: handshakes failed during reloads" load.log
    done_=$(cat load.out)
    say "  $1: $done_ handshakes during $reloads reloads"
    equal "$1: requests of these handshakes" "$done_" $(($(requests Sign) - before))
    flat "$1: descriptors of the master after 5 reloads and all" 0 "$fds" descriptors "$master"
    flat "$1: kB of the master after 5 reloads and all" 1024 "$rss" resident "$master"
}

consumer_start 480 "$@"
set_up
for mode in blocking async; do
    starts $mode
    each_key $mode
    handshakes_cost $mode
    reloads_under_load $mode
    stop $mode
done
consumer_end
