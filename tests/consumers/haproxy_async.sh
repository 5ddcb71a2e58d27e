#!/usr/bin/env bash
# HAProxy with one thread and a KMS that takes 50 ms: 64 clients at once, with ssl-mode-async and
# without; and clients that go away while their handshakes wait for KMS.
# usage: haproxy_async.sh MODULES-FOLDER KMS-LOCAL [USER]
set -euo pipefail
# shellcheck source=tests/consumers/lib.sh
. "$(dirname "$0")/lib.sh"

clients=64

set_up() {
    start_kms ca:ECC_NIST_P384 web-p256:ECC_NIST_P256
    authority
    served web-p256
    readable_by haproxy
    mkdir haproxy
    cat web-p256.crt web-p256.pem >haproxy/web.pem
    port=$(free_port)
    printf 'global\n    nbthread 1\n' >frame.cfg
    [ "$(id -u)" -ne 0 ] || printf '    user haproxy\n    group haproxy\n' >>frame.cfg
}

# latency MS: of each answer of KMS from now on.
latency() {
    works "latency of $1 ms" clean curl -sf -d "{\"faults\":[],\"latencyMs\":$1}" "$url/_admin/faults"
}

starts() {
    local change=()
    [ "$1" != async ] || change=(-e 's/# ssl-mode-async/ssl-mode-async/')
    configure haproxy.cfg -e "s/8443/$port/" "${change[@]}"
    serve "$1" /usr/sbin/haproxy -db -f "$work/frame.cfg" -f "$work/haproxy.cfg"
    server=$daemon
    await "$1" "$port"
}

# together MODE: milliseconds that all clients took, in the variable of that name.
together() {
    local start before
    equal "$1: handshakes to warm up" $clients "$(many "$port" web.test $clients --threads $clients --get)"
    latency 50
    before=$(requests Sign)
    start=$(date +%s%3N)
    equal "$1: handshakes at once" $clients "$(many "$port" web.test $clients --threads $clients --get)"
    declare -g "$1=$(($(date +%s%3N) - start))"
    equal "$1: requests of these handshakes" $clients $(($(requests Sign) - before))
    say "  $1: $clients clients at once, one thread, 50 ms latency: ${!1} ms"
    latency 0
}

# leave ROUNDS [ARGUMENT...]: 50 clients each, which leave when KMS has got the request of all.
leave() {
    local rounds=$1
    shift
    works 'clients leave' clean "$python" -I "$here/leave.py" --rounds "$rounds" "$@" \
        "$address" "$port" "$url"
}

# The pool of connections to KMS may not have been full: it has 64 at the most, of three descriptors
# each. A descriptor that each client left behind would be more.
clients_leave() {
    local fds rss pool=$((64 * 3))
    fds=$(descriptors "$server")
    latency 300
    leave 2
    # HAProxy frees the SSL while its job is paused, and OpenSSL then never frees the job: a stack
    # of 32 KiB, what libssl has there, and the gaps between these stacks.
    rss=$(resident "$server")
    leave 20
    flat '1,000 clients left: kB' 64000 "$rss" resident "$server"
    flat '1,000 clients left: descriptors' $pool "$fds" descriptors "$server"
    rss=$(resident "$server")
    leave 10 --reset
    flat '500 clients reset: descriptors' $pool "$fds" descriptors "$server"
    flat '500 clients reset: kB' 64000 "$rss" resident "$server"
    latency 0
    equal 'handshakes afterwards' $clients "$(many "$port" web.test $clients --get)"
}

consumer_start 240 "$@"
set_up
blocking=0 async=0
for mode in blocking async; do
    starts $mode
    together $mode
    [ $mode != async ] || clients_leave
    stop $mode
done
checks=$((checks + 1))
[ $((async * 2)) -lt "$blocking" ] || bad "async: $async ms, blocking: $blocking ms"
consumer_end
