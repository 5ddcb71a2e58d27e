#!/usr/bin/env bash
# nginx: a master and four workers, keys of three types in KMS and an ordinary one; 2,000
# handshakes; reloads under load. Memory and descriptors stay what they were.
# usage: nginx.sh MODULES-FOLDER KMS-LOCAL [USER]
set -euo pipefail
# shellcheck source=tests/consumers/lib.sh
. "$(dirname "$0")/lib.sh"

reloads=100

nginx() {
    with_kms /usr/sbin/nginx -p "$work/" -c "$work/nginx.conf" -e "$work/nginx-error.log" "$@"
}

# workers: the process ids of those that accept connections.
workers() {
    local pid
    for pid in $(children "$master"); do
        grep -q 'worker process$' <(tr '\0' ' ' <"/proc/$pid/cmdline" | sed 's/ *$//') && say "$pid"
    done
}

four_workers() {
    [ "$(workers | wc -l)" -eq 4 ] && [ "$(children "$master" | wc -l)" -eq 4 ]
}

set_up() {
    start_kms ca:ECC_NIST_P384 web-rsa:RSA_2048 web-p256:ECC_NIST_P256 \
        web-ed25519:ECC_NIST_EDWARDS25519
    authority
    served web-rsa web-p256 web-ed25519
    ordinary ordinary ordinary.test
    readable_by www-data
    port=$(free_port)
    configure nginx-site.conf -e "s/8443/$port/"
    cp "$here/nginx.conf" .
}

loading_asks_nothing() {
    local before
    before=$(requests any)
    works 'nginx -t' nginx -t
    serve nginx /usr/sbin/nginx -p "$work/" -c "$work/nginx.conf" \
        -e "$work/nginx-error.log"
    master=$daemon
    await nginx "$port"
    wait_until 20 four_workers || bad 'not four workers' nginx-error.log
    equal 'requests while it loads' "$before" "$(requests any)"
}

each_key() {
    local tls before
    for tls in 1_2 1_3; do
        handshake "RSA, TLS $tls" "$port" web.test RSA-PSS -tls$tls -cipher aRSA \
            -sigalgs rsa_pss_rsae_sha256
        prints "RSA, TLS $tls" "Protocol version: TLSv${tls/_/.}"
        handshake "EC, TLS $tls" "$port" web.test ECDSA -tls$tls \
            -sigalgs ecdsa_secp256r1_sha256
        handshake "Ed25519, TLS $tls" "$port" web.test ed25519 -tls$tls \
            -sigalgs ed25519
        before=$(requests any)
        handshake "the ordinary key, TLS $tls" "$port" ordinary.test ECDSA -tls$tls
        equal 'its requests' "$before" "$(requests any)"
    done
    handshake 'RSA, PKCS#1' "$port" web.test RSA -tls1_2 -cipher aRSA \
        -sigalgs RSA+SHA256
    works 'a page' clean curl -sS --fail --cacert ca.crt --resolve "web.test:$port:$address" \
        "https://web.test:$port/"
    says 'a page' 'signed in KMS'
}

two_thousand() {
    local before pids fds rss
    equal 'handshakes to warm up' 200 "$(many "$port" web.test 200)"
    mapfile -t pids < <(workers)
    fds=$(most descriptors "${pids[@]}") rss=$(most resident "${pids[@]}")
    before=$(requests Sign)
    equal 'handshakes' 2000 "$(many "$port" web.test 2000 2>many.log || true)"
    equal 'requests of 2,000 handshakes' 2000 $(($(requests Sign) - before))
    # Room for the one connection to KMS of a worker that had none.
    flat 'descriptors of a worker' 1 "$fds" descriptors "${pids[@]}"
    flat 'kB of a worker' 1024 "$rss" resident "${pids[@]}"
    before=$(requests any)
    equal 'handshakes with the ordinary key' 200 "$(many "$port" ordinary.test 200)"
    equal 'their requests' "$before" "$(requests any)"
}

# new_workers OLD: those of before accept no more, four others do.
new_workers() {
    local now
    now=$(workers)
    [ "$(say "$now" | wc -l)" -eq 4 ] && [ -z "$(comm -12 <(say "$1") <(say "$now"))" ]
}

reload() {
    local old
    old=$(workers)
    works 'nginx -s reload' nginx -s reload
    wait_until 20 new_workers "$old" || { bad 'a reload has no end' nginx-error.log; exit 1; }
}

reloads_under_load() {
    local i load fds_before rss_before before done_
    before=$(requests Sign)
    many "$port" web.test 1000000 --get --threads 4 --until "$work/enough" >load.out 2>load.log &
    load=$!
    for i in $(seq "$reloads"); do
        reload
        if [ "$i" -eq 10 ]; then
            fds_before=$(descriptors "$master") rss_before=$(resident "$master")
        fi
    done
    : >enough
    checks=$((checks + 1))
    wait "$load" || bad 'handshakes failed during reloads' load.log
    done_=$(cat load.out)
    say "  $done_ handshakes during $reloads reloads"
    equal 'requests of these handshakes' "$done_" $(($(requests Sign) - before))
    wait_until 30 four_workers || bad 'old workers have not ended' nginx-error.log
    flat 'descriptors of the master after 10 reloads and all' 0 "$fds_before" \
        descriptors "$master"
    flat 'kB of the master after 10 reloads and all' 1024 "$rss_before" resident "$master"
}

nothing_logged() {
    checks=$((checks + 1))
    if grep -E '\[(alert|crit|emerg|error)\]' nginx-error.log nginx.log >alerts; then
        bad 'nginx has logged' alerts
    fi
}

consumer_start 480 "$@"
set_up
loading_asks_nothing
each_key
two_thousand
reloads_under_load
stop nginx QUIT
nothing_logged
consumer_end
