#!/usr/bin/env bash
# The stock openssl command wraps, unwraps and fails under Valgrind: no invalid access, and nothing
# lost by definition when it exits.
# usage: valgrind.sh MODULES-FOLDER KMS-LOCAL
set -euo pipefail

modules=$1
local_server=$2
work=$(mktemp -d)
server=

finish() {
    [ -z "$server" ] || kill "$server" 2>/dev/null || true
    rm -rf "$work"
}
trap finish EXIT
cd "$work"

: >server.log
"$local_server" --port 0 --seed-key alias/matbakh-ai --tls-self-signed "$work" >server.log 2>&1 &
server=$!
url=
for _ in $(seq 200); do
    url=$(sed -n 's/^kms-local ready on //p' server.log)
    [ -n "$url" ] && break
    sleep 0.05
done
[ -n "$url" ] || { cat server.log; exit 1; }

unset OPENSSL_CONF KMS_PROVIDER_CONF KMS_ENCRYPTION_ENABLED kms_encryption_enabled
unset AWS_PROFILE AWS_SESSION_TOKEN AWS_ENDPOINT_URL
export HOME=$work AWS_REGION=eu-central-1 AWS_ACCESS_KEY_ID=local AWS_SECRET_ACCESS_KEY=local
export AWS_ENDPOINT_URL_KMS=$url AWS_CA_BUNDLE=$work/cert.pem OPENSSL_MODULES=$modules
# Valgrind is slow: the deadlines are not what is tested.
printf 'connect_timeout_ms = 60000\nattempt_timeout_ms = 60000\noperation_timeout_ms = 120000\n' \
    >kms.conf
export KMS_PROVIDER_CONF=$work/kms.conf

# watched EXPECTED-EXIT OPENSSL-ARGUMENT...
watched() {
    local expected=$1 code=0
    shift
    valgrind --quiet --leak-check=full --errors-for-leak-kinds=definite \
        --show-leak-kinds=definite --error-exitcode=99 \
        /usr/bin/openssl "$@" -provider default -provider kms -inkey kms:alias/matbakh-ai \
        >out.log 2>&1 || code=$?
    if [ "$code" -ne "$expected" ]; then
        printf 'exit %d where %d was due: openssl %s\n' "$code" "$expected" "$*"
        cat out.log
        exit 1
    fi
}

context=(-pkeyopt context:dataType=credentials -pkeyopt context:operationId=op-1)
printf 'the secret' >plain
watched 0 pkeyutl -encrypt "${context[@]}" -in plain -out wrapped
watched 0 pkeyutl -decrypt "${context[@]}" -in wrapped -out back
cmp plain back
watched 1 pkeyutl -decrypt -pkeyopt context:dataType=credentials \
    -pkeyopt context:operationId=op-2 -in wrapped -out out
watched 1 pkeyutl -encrypt -in plain -out out
