#!/usr/bin/env bash
# Runs the benchmarks of a build folder against servers started for them: first without TLS, where
# the modules' own work weighs most, then with TLS, as AWS has it.
# One thread shares one core with its server. On two cores a request would also pay for waking the
# other one, up to twice what all the rest takes and much in one run and little in the next.
# usage: tests/bench/bench.sh [BUILD-FOLDER [SECONDS-PER-ROUND [ROUNDS]]]
set -euo pipefail
cd "$(dirname "$0")/../.."

build=${1:-build/release}
duration=${2:-0.1}
rounds=${3:-41}
folder=$(mktemp -d)
server=
for file in bin/kms-local bin/bench_wrap bin/bench_load bin/bench_sign bin/bench_async lib/kms.so lib/kms-pkcs11.so; do
    if [ ! -e "$build/$file" ]; then
        echo "bench.sh: $build/$file is missing: build it first (cmake --preset release && cmake --build --preset release)" >&2
        exit 2
    fi
done

stop_server() {
    [ -z "$server" ] || kill "$server" 2>/dev/null || true
    [ -z "$server" ] || wait "$server" || true
    server=
}
trap 'stop_server; rm -rf "$folder"' EXIT

# start_server CORES [OPTION...]: sets $server and AWS_ENDPOINT_URL_KMS.
start_server() {
    local cores=$1 url=
    shift
    : >"$folder/log"
    taskset -c "$cores" "$build/bin/kms-local" --port 0 --seed-key alias/bench \
        --seed-key alias/bench-rsa:RSA_2048:SIGN_VERIFY \
        --seed-key alias/bench-p256:ECC_NIST_P256:SIGN_VERIFY "$@" \
        >"$folder/log" 2>"$folder/err" &
    server=$!
    for _ in $(seq 100); do
        url=$(grep -oE 'https?://[0-9.:]+' "$folder/log" | head -1 || true)
        [ -z "$url" ] || break
        sleep 0.05
    done
    [ -n "$url" ] || { echo "bench.sh: kms-local did not start" >&2; cat "$folder/err" >&2; exit 1; }
    export AWS_ENDPOINT_URL_KMS=$url
}

# measure THREADS CORES [SERVER-OPTION...]
measure() {
    local threads=$1 cores=$2
    shift 2
    start_server "$cores" "$@"
    echo
    echo "${AWS_ENDPOINT_URL_KMS%%:*}, client and server on core(s) $cores"
    taskset -c "$cores" "$build/bin/bench_wrap" "$build/lib" "$build/lib/kms-pkcs11.so" \
        "$threads" "$duration" "$rounds"
    taskset -c "$cores" "$build/bin/bench_sign" "$build/lib" "$threads" "$duration" "$rounds"
    stop_server
}

export AWS_REGION=eu-central-1 AWS_CA_BUNDLE=$folder/cert.pem
export AWS_ACCESS_KEY_ID=local AWS_SECRET_ACCESS_KEY=local KMS_KEY_ALIAS=alias/bench
unset KMS_PROVIDER_CONF AWS_PROFILE AWS_SESSION_TOKEN
all=$(taskset -cp $$ | sed 's/.*: //')
one=${all%%[-,]*}

"$build/bin/bench_load" "$build/lib" "$build/lib/kms-pkcs11.so"
measure 1 "$one"
measure 8 "$all"
measure 1 "$one" --tls-self-signed "$folder"
measure 8 "$all" --tls-self-signed "$folder"
start_server "$all" --latency-ms 20
echo
"$build/bin/bench_async" "$build/lib"
stop_server
uptime
