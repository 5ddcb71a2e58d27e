#!/usr/bin/env bash
# The module by way of p11-kit: registered by its module file, through the proxy module, and served
# to another process. Nothing of the system's configuration is touched.
# usage: p11_kit.sh MODULE KMS-LOCAL
set -euo pipefail
# shellcheck source=tests/pkcs11/tools.sh
. "$(dirname "$0")/tools.sh"

libraries=$(pkg-config --variable=libdir p11-kit-1)
shipped=$(dirname "$0")/../../conf/kms-pkcs11.module

# p11-kit reads no user's configuration as root: there, an ordinary user runs the tools.
user() {
    local drop=()
    [ "$(id -u)" -ne 0 ] || drop=(setpriv --reuid=65534 --regid=65534 --clear-groups)
    "${drop[@]}" env HOME="$folder" XDG_CONFIG_HOME="$folder/config" \
        XDG_RUNTIME_DIR="$folder/run" "$@"
}

start_server
configure 'token_objects = memory'
mkdir -p "$folder/config/pkcs11/modules" "$folder/run"
chmod 777 "$folder/run"
cp "$module" "$folder/kms-pkcs11.so"
printf 'user-config: only\n' >"$folder/config/pkcs11/pkcs11.conf"
# The file as it is shipped, with the place where this test has the module.
sed "s|^module: .*|module: $folder/kms-pkcs11.so|" "$shipped" \
    >"$folder/config/pkcs11/modules/kms-pkcs11.module"
cd "$folder/run"

# Registered
user p11-kit list-modules >list 2>&1
expect "$folder/kms-pkcs11.so" list
expect 'library-description: AWS KMS keys in the EU' list
expect 'token: kms' list

# Through the proxy
proxy() {
    user pkcs11-tool --module "$libraries/p11-kit-proxy.so" "$@"
}

proxy --list-objects >objects 2>&1
expect 'label:      matbakh-ai' objects
id=$(sed -n 's/^ *ID: *//p' objects)
openssl rand -out key 32
by_openssl -encrypt key key.wrapped
chmod 644 key.wrapped
proxy --mechanism 0xCB4D5301 --id "$id" --unwrap --key-type AES:32 --sensitive \
    --input-file key.wrapped --wrap --application-id 01 --output-file key.proxy >proxy.log 2>&1 ||
    fail "$(cat proxy.log)"
by_openssl -decrypt key.proxy key.back
cmp key key.back

# Served to another process. Of the mechanisms p11-kit carries only those whose parameters it knows,
# and no wrapping by KMS is among them.
user p11-kit server -f -n "$folder/run/socket" --provider "$folder/kms-pkcs11.so" \
    'pkcs11:model=AWS%20KMS' >server.log 2>&1 &
remote=$!
wait_for test -S "$folder/run/socket"

client() {
    user env "P11_KIT_SERVER_ADDRESS=unix:path=$folder/run/socket" \
        pkcs11-tool --module "$libraries/pkcs11/p11-kit-client.so" "$@"
}

client --list-objects >objects 2>&1
expect 'label:      matbakh-ai' objects
client --keygen --key-type AES:32 --sensitive --label mine >made 2>&1
expect 'sensitive, always sensitive, never extractable, local' made
refused 'CKR_MECHANISM_INVALID' client --mechanism 0xCB4D5301 --id "$id" --unwrap --key-type AES:32 \
    --sensitive --input-file key.wrapped --wrap --application-id 01 --output-file none
