# shellcheck shell=bash
# What the scripts of this folder share: a server, settings, and words about what went wrong.
# usage: . tools.sh MODULE KMS-LOCAL

module=$1
kms_local=$2
folder=$(mktemp -d)
chmod 755 "$folder"
server=

stop() {
    [ -z "$server" ] || kill "$server" 2>/dev/null || true
    [ -z "${remote:-}" ] || kill "$remote" 2>/dev/null || true
    wait
    rm -rf "$folder"
}
trap stop EXIT

fail() {
    printf '%s\n' "$*" >&2
    exit 1
}

# expect TEXT FILE: fails unless the file says it.
expect() {
    grep -qF -- "$1" "$2" || fail "'$1' is not in: $(cat "$2")"
}

# wait_for COMMAND...: until it succeeds, for at most ten seconds.
wait_for() {
    local _
    for _ in $(seq 200); do
        "$@" && return 0
        sleep 0.05
    done
    fail "timed out: $*"
}

start_server() {
    "$kms_local" --port 0 --seed-key alias/matbakh-ai >"$folder/server" 2>"$folder/server.errors" &
    server=$!
    wait_for grep -q '^kms-local ready on ' "$folder/server"
    unset AWS_PROFILE AWS_SESSION_TOKEN KMS_ENCRYPTION_ENABLED kms_encryption_enabled AWS_CA_BUNDLE
    AWS_ENDPOINT_URL_KMS=$(sed -n 's/^kms-local ready on //p' "$folder/server")
    export AWS_ENDPOINT_URL_KMS AWS_REGION=eu-central-1 AWS_ACCESS_KEY_ID=local \
        AWS_SECRET_ACCESS_KEY=local KMS_KEY_ALIAS=alias/matbakh-ai KMS_PROVIDER_LOG=stderr \
        KMS_PROVIDER_CONF=$folder/kms.conf OPENSSL_MODULES=${module%/*}
}

# configure SETTING...: the settings, one a line, and the context that the tools can't give.
configure() {
    printf '%s\n' "$@" '[context]' 'dataType = credentials' 'operationId = op-1' \
        >"$folder/kms.conf"
}

# by_openssl -encrypt|-decrypt FROM TO: the same key by the other door.
by_openssl() {
    openssl pkeyutl "$1" -provider default -provider kms -inkey kms:alias/matbakh-ai \
        -pkeyopt context:dataType=credentials -pkeyopt context:operationId=op-1 \
        -in "$2" -out "$3"
}

# refused TEXT COMMAND...: the command must fail and say so.
refused() {
    local text=$1
    shift
    if "$@" >"$folder/refusal" 2>&1; then
        fail "not refused: $*"
    fi
    expect "$text" "$folder/refusal"
}
