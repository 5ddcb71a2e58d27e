#!/usr/bin/env bash
# The module under the stock pkcs11-tool: what a user types, and what he is told.
# usage: pkcs11_tool.sh MODULE KMS-LOCAL
set -euo pipefail
# shellcheck source=tests/pkcs11/tools.sh
. "$(dirname "$0")/tools.sh"

wrapping=0xCB4D5301 # CKM_KMS_WRAP

tool() {
    pkcs11-tool --module "$module" "$@"
}

start_server
cd "$folder"
configure 'token_objects = memory'

# What there is
tool --list-slots >slots 2>&1
expect 'token label        : kms' slots
tool --list-mechanisms >mechanisms 2>&1
expect 'mechtype-0xCB4D5301, keySize={32,32}, hw, wrap, unwrap' mechanisms
expect 'mechtype-0xCB4D5302, keySize={32,32}, hw, encrypt, decrypt' mechanisms
expect 'AES-GCM, keySize={16,32}, encrypt, decrypt' mechanisms
tool --list-objects >objects 2>&1
expect 'Secret Key Object; AES length 32' objects
expect 'label:      matbakh-ai' objects
expect 'encrypt, decrypt, wrap, unwrap' objects
expect 'sensitive, always sensitive, never extractable' objects
expect 'arn:aws:kms:eu-central-1:000000000000:key/' objects
id=$(sed -n 's/^ *ID: *//p' objects)

# Keys of the token's own
for size in 16 24 32; do
    tool --keygen --key-type "AES:$size" --label mine --sensitive >made 2>&1
    expect "Secret Key Object; AES length $size" made
    expect 'sensitive, always sensitive, never extractable, local' made
done
refused 'CKA_SENSITIVE false needs allow_extractable = yes' tool --keygen --key-type AES:32
refused 'CKR_KEY_SIZE_RANGE' tool --keygen --key-type AES:20 --sensitive

# A data key, from OpenSSL into the token and back
rewrap() {
    tool --mechanism "$wrapping" --id "$id" --unwrap --key-type "$1" --sensitive \
        --input-file "$2" --wrap --application-id 01 --output-file "$3"
}

for size in 16 24 32; do
    openssl rand -out key "$size"
    by_openssl -encrypt key key.wrapped
    rewrap "AES:$size" key.wrapped key.rewrapped >rewrap.log 2>&1 || fail "$(cat rewrap.log)"
    if cmp -s key.wrapped key.rewrapped; then
        fail "wrapping gave the same ciphertext twice"
    fi
    by_openssl -decrypt key.rewrapped key.back
    cmp key key.back
done
printf 'a secret that is no key' >secret
by_openssl -encrypt secret secret.wrapped
rewrap "GENERIC:$(wc -c <secret)" secret.wrapped secret.rewrapped >rewrap.log 2>&1 ||
    fail "$(cat rewrap.log)"
by_openssl -decrypt secret.rewrapped secret.back
cmp secret secret.back

# Refusals: a message, a status, and no output
head -c 100 key.wrapped >short
refused 'altered ciphertext' rewrap AES:32 short none
refused 'CKR_WRAPPED_KEY_LEN_RANGE' rewrap AES:32 secret.wrapped none
sed -i 's/op-1/op-2/' kms.conf
refused 'encryption context mismatch or altered ciphertext: sent dataType' \
    rewrap AES:32 key.wrapped none
printf 'token_objects = memory\n' >kms.conf
refused 'encryption context is missing' rewrap AES:32 key.wrapped none
configure 'token_objects = refuse'
refused 'CKA_TOKEN needs token_objects = memory' rewrap AES:32 key.wrapped none
configure 'token_objects = memory'
refused 'region is outside the allowed set' env AWS_REGION=eu-west-2 \
    pkcs11-tool --module "$module" --list-objects
refused 'KMS encryption is disabled' env KMS_ENCRYPTION_ENABLED=false \
    pkcs11-tool --module "$module" --list-objects
refused 'key not found' env KMS_KEY_ALIAS=alias/nobody \
    pkcs11-tool --module "$module" --list-objects
refused 'KMS is unreachable' env AWS_ENDPOINT_URL_KMS=http://127.0.0.1:1 \
    pkcs11-tool --module "$module" --list-objects
[ ! -s none ] || fail "a refused operation left output"
