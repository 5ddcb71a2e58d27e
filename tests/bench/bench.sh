#!/usr/bin/env bash
# Runs the benchmarks of a build folder against a kms-local started for them.
# usage: tests/bench/bench.sh [BUILD-FOLDER [SECONDS-PER-ROUND [ROUNDS]]]
set -euo pipefail
cd "$(dirname "$0")/../.."

build=${1:-build/release}
log=$(mktemp)
for file in bin/kms-local bin/bench_wrap bin/bench_load lib/kms.so lib/kms-pkcs11.so; do
    if [ ! -e "$build/$file" ]; then
        echo "bench.sh: $build/$file is missing: build it first (cmake --preset release && cmake --build --preset release)" >&2
        exit 2
    fi
done

"$build/bin/kms-local" --port 0 --seed-key alias/bench >"$log" &
server=$!
trap 'kill $server 2>/dev/null || true; rm -f "$log"' EXIT
for _ in $(seq 100); do
    url=$(grep -o 'http://[0-9.:]*' "$log" | head -1 || true)
    [ -n "$url" ] && break
    sleep 0.05
done
[ -n "$url" ] || { echo "bench.sh: kms-local did not start" >&2; exit 1; }

export AWS_REGION=eu-central-1 AWS_ENDPOINT_URL_KMS=$url
export AWS_ACCESS_KEY_ID=local AWS_SECRET_ACCESS_KEY=local KMS_KEY_ALIAS=alias/bench
unset KMS_PROVIDER_CONF AWS_PROFILE AWS_SESSION_TOKEN
"$build/bin/bench_load" "$build/lib" "$build/lib/kms-pkcs11.so"
echo
"$build/bin/bench_wrap" "$build/lib" "$build/lib/kms-pkcs11.so" "${2:-0.5}" "${3:-9}"
