#!/usr/bin/env bash
# Run by deb.sh inside a clean Debian 12 with the packages installed, as an ordinary user: nothing
# of the source tree is here, and nothing is named that an installed system finds by itself.
set -euo pipefail
cd "$(mktemp -d)"

fail() {
    echo "inside.sh: $*" >&2
    exit 1
}

quiet() {
    "$@" >log 2>&1 || { cat log >&2; fail "failed: $*"; }
}

touch server.log # the reader below may be faster than the server's shell
kms-local --port 0 --seed-key alias/test >server.log &
trap 'kill %1' EXIT
for _ in $(seq 100); do
    url=$(sed -n 's/^kms-local ready on //p' server.log)
    [ -n "$url" ] && break
    sleep 0.05
done
[ -n "$url" ] || fail "kms-local did not start"
export AWS_REGION=eu-central-1 AWS_ENDPOINT_URL_KMS=$url KMS_KEY_ALIAS=alias/test
export AWS_ACCESS_KEY_ID=local AWS_SECRET_ACCESS_KEY=local

# OpenSSL: by option, and by the shipped openssl.cnf.
context=(-pkeyopt context:dataType=credentials -pkeyopt context:operationId=op-1)
quiet openssl rand -out key 32
quiet openssl pkeyutl -encrypt -provider default -provider kms -inkey kms:alias/test "${context[@]}" \
    -in key -out wrapped
OPENSSL_CONF=/etc/kms-provider/openssl.cnf quiet openssl pkeyutl -decrypt -inkey kms:alias/test \
    "${context[@]}" -in wrapped -out back
cmp key back || fail "openssl: the unwrapped key differs"

# PKCS#11: found by p11-kit and by name.
p11-kit list-modules >modules 2>&1
grep -q kms-pkcs11.so modules || fail "p11-kit does not list the module: $(cat modules)"
grep -q 'token: kms' modules || fail "p11-kit shows no token: $(cat modules)"
cat >kms.conf <<END
token_objects = memory
[context]
dataType = credentials
operationId = op-1
END
export KMS_PROVIDER_CONF=$PWD/kms.conf
module=$(find /usr/lib -path '*/pkcs11/kms-pkcs11.so')
quiet pkcs11-tool --module "$module" --list-objects
id=$(sed -n 's/^ *ID: *//p' log | head -n 1)
[ -n "$id" ] || fail "pkcs11-tool lists no key: $(cat log)"
quiet pkcs11-tool --module "$module" --mechanism 0xCB4D5301 --id "$id" --unwrap --key-type AES:32 \
    --sensitive --input-file wrapped --wrap --application-id 01 --output-file rewrapped
quiet openssl pkeyutl -decrypt -provider default -provider kms -inkey kms:alias/test "${context[@]}" \
    -in rewrapped -out again
cmp key again || fail "pkcs11-tool: the rewrapped key differs"

# Man pages by name.
for page in kms.conf kms-provider kms-pkcs11 kms-local; do
    quiet man --warnings "$page"
    grep -q NAME log || fail "man $page shows nothing"
    ! grep -qi warning log || fail "man $page warns: $(cat log)"
done
