#!/usr/bin/env bash
# The main job, from a clean checkout: builds, starts the local KMS server, and wraps and unwraps an
# AES data key and a secret under a KMS key through openssl and pkcs11-tool.
# usage: infra/quickstart.sh [--stop]
set -euo pipefail
cd "$(dirname "$0")/.."
# shellcheck source=infra/lib.sh
. infra/lib.sh

state=$root/build/quickstart
lib=$root/build/release/lib

usage() {
    say "usage: infra/quickstart.sh [--stop]"
    say "Builds, starts kms-local, and shows wrap and unwrap with openssl and pkcs11-tool."
    say "  --stop  stops the server that an earlier run left running"
}

# Stops the server of an earlier run: that process and no other, should its number be in use again.
stop_server() {
    local pid
    [ -f "$state/pid" ] || return 1
    pid=$(cat "$state/pid")
    rm -f "$state/pid"
    [ "$(readlink "/proc/$pid/exe")" = "$root/build/release/bin/kms-local" ] || return 1
    kill "$pid"
}

if [ $# -gt 1 ]; then
    usage >&2
    exit 2
fi
case ${1:-} in
'') ;;
--help)
    usage
    exit 0
    ;;
--stop)
    if stop_server; then say "kms-local is stopped."; else say "kms-local does not run."; fi
    exit 0
    ;;
*)
    say "quickstart.sh: unknown argument '$1'" >&2
    usage >&2
    exit 2
    ;;
esac

step() {
    printf '\n%s\n' "$*"
}

show() {
    printf '  $'
    printf ' %q' "$@"
    printf '\n'
}

# run COMMAND...: shows the command as it can be typed, then runs it.
run() {
    show "$@"
    "$@" 2>&1 | sed 's/^/    /' || fail "this command failed"
}

# refused COMMAND...: the command must fail; what it says is shown.
refused() {
    show "$@"
    if "$@" >"$state/refusal" 2>&1; then
        fail "this should have been refused"
    fi
    sed -n 's/.*:kms::\(.*\)::-1:\(.*\)/    \1: \2/p; s/.*:-1:\(.*\)/    \1/p' "$state/refusal" |
        head -n 1
}

same() {
    cmp -s "$1" "$2" || fail "$2 differs from $1"
    say "    $2 is the same as $1"
}

# The server outlives this script and its terminal, unless a step fails.
start_server() {
    stop_server || true
    rm -rf "$state"
    mkdir -p "$state"
    chmod 700 "$state"
    touch "$state/server.log" # its reader may be faster than its writer
    setsid "$root/build/release/bin/kms-local" --port 0 --db "$state/keys.db" \
        --seed-key alias/matbakh-ai >"$state/server.log" 2>&1 </dev/null &
    say $! >"$state/pid"
    trap 'stop_server || true' EXIT
    url=$(wait_for_server "$state/server.log" $!)
}

write_settings() {
    cat >"$state/kms.conf" <<END
# Made by infra/quickstart.sh. pkcs11-tool always asks for token objects and can name no context.
token_objects = memory

[context]
dataType = credentials
operationId = op-1
END
    printf 'export %q\n' AWS_REGION=eu-central-1 "AWS_ENDPOINT_URL_KMS=$url" \
        AWS_ACCESS_KEY_ID=local AWS_SECRET_ACCESS_KEY=local KMS_KEY_ALIAS=alias/matbakh-ai \
        "KMS_PROVIDER_CONF=$state/kms.conf" "OPENSSL_MODULES=$lib" >"$state/env"
    # Nothing of the caller's own AWS and OpenSSL settings takes part.
    unset AWS_PROFILE AWS_SESSION_TOKEN AWS_MAX_ATTEMPTS KMS_PROVIDER_LOG OPENSSL_CONF
    unset KMS_ENCRYPTION_ENABLED kms_encryption_enabled
    # shellcheck source=/dev/null
    . "$state/env"
}

key=kms:alias/matbakh-ai
providers=(-provider default -provider kms)
context=(-pkeyopt context:dataType=credentials -pkeyopt context:operationId=op-1)

with_openssl() {
    step "1. OpenSSL: an AES data key is wrapped and unwrapped by a key that never leaves KMS."
    run openssl rand -out data.key 32
    run openssl pkeyutl -encrypt "${providers[@]}" -inkey $key "${context[@]}" \
        -in data.key -out data.key.wrapped
    run openssl pkeyutl -decrypt "${providers[@]}" -inkey $key "${context[@]}" \
        -in data.key.wrapped -out data.key.back
    same data.key data.key.back

    step "2. OpenSSL: a secret of up to 4096 bytes, the same way."
    run openssl rand -hex -out secret 24
    run openssl pkeyutl -encrypt "${providers[@]}" -inkey $key "${context[@]}" \
        -in secret -out secret.wrapped
    run openssl pkeyutl -decrypt "${providers[@]}" -inkey $key "${context[@]}" \
        -in secret.wrapped -out secret.back
    same secret secret.back

    step "3. Another encryption context, and a region outside the EU, are refused."
    refused openssl pkeyutl -decrypt "${providers[@]}" -inkey $key \
        -pkeyopt context:dataType=credentials -pkeyopt context:operationId=op-2 \
        -in secret.wrapped -out secret.other
    refused env AWS_REGION=eu-west-2 openssl pkeyutl -encrypt "${providers[@]}" -inkey $key \
        "${context[@]}" -in secret -out secret.other
    [ ! -s secret.other ] || fail "a refused operation left output"
}

with_pkcs11() {
    local module=$lib/kms-pkcs11.so id
    step "4. PKCS#11: the token shows the key; the data key is unwrapped into it and wrapped again."
    run pkcs11-tool --module "$module" --list-objects
    id=$(pkcs11-tool --module "$module" --list-objects 2>/dev/null | sed -n 's/^ *ID: *//p' | head -n 1)
    run pkcs11-tool --module "$module" --mechanism 0xCB4D5301 --id "$id" \
        --unwrap --key-type AES:32 --sensitive --input-file data.key.wrapped \
        --wrap --application-id 01 --output-file data.key.rewrapped
    run openssl pkeyutl -decrypt "${providers[@]}" -inkey $key "${context[@]}" \
        -in data.key.rewrapped -out data.key.again
    same data.key data.key.again

    step "5. PKCS#11: the secret, the same way."
    run pkcs11-tool --module "$module" --mechanism 0xCB4D5301 --id "$id" \
        --unwrap --key-type "GENERIC:$(wc -c <secret)" --sensitive --input-file secret.wrapped \
        --wrap --application-id 02 --output-file secret.rewrapped
    run openssl pkeyutl -decrypt "${providers[@]}" -inkey $key "${context[@]}" \
        -in secret.rewrapped -out secret.again
    same secret secret.again
}

install_packages "${packages_build[@]}"
make_build_folder
say "Building (build/release) ..."
build release || exit 1
start_server
write_settings
cd "$state"
say "kms-local runs on $url; its key is $key. The commands run in build/quickstart."
with_openssl
with_pkcs11
trap - EXIT

step "All steps passed. The server keeps running. To go on by hand:"
say "  . build/quickstart/env           the settings for openssl and pkcs11-tool in this shell"
say "  ./infra/quickstart.sh --stop     stops the server"
