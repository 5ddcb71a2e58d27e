#!/usr/bin/env bash
# curl with a client key in KMS, given as a PEM reference, to a server that demands a certificate:
# curl and the provider share one libcurl. An address in place of the file is refused by curl.
# usage: curl.sh MODULES-FOLDER KMS-LOCAL [USER]
set -euo pipefail
# shellcheck source=tests/consumers/lib.sh
. "$(dirname "$0")/lib.sh"

set_up() {
    start_kms ca:ECC_NIST_P384 web-rsa:RSA_2048 web-p256:ECC_NIST_P256 web-p384:ECC_NIST_P384 \
        web-ed25519:ECC_NIST_EDWARDS25519
    authority
    served web-rsa web-p256 web-p384 web-ed25519
    ordinary ordinary ordinary.test
    port=$(free_port)
    start server env -i "${plain[@]}" "$openssl" s_server -accept "$address:$port" -www \
        -cert ordinary.crt -key ordinary.pem -CAfile ca.crt -Verify 1 -verify_return_error
    await server "$port"
}

# client KEY TLS: the server tells that it has verified the certificate.
client() {
    local title="$1, TLS $2" before
    before=$(requests Sign)
    works "$title" with_kms /usr/bin/curl -sS --fail --cacert ca.crt --resolve \
        "ordinary.test:$port:$address" --cert "$1.crt" --key "$1.pem" --key-type PEM \
        "--tlsv$2" --tls-max "$2" "https://ordinary.test:$port/"
    says "$title" "Protocol  : TLSv$2"
    says "$title" 'Verify return code: 0 (ok)'
    says "$title" "$(sed -n 3p "$1.crt")"
    equal "$title: requests" 1 $(($(requests Sign) - before))
}

# Where curl gets no reference.
not_by_address() {
    local address_=(--cacert ca.crt --resolve "ordinary.test:$port:$address" --cert web-p256.crt)
    refused 'an address in place of the file' "unable to set private key file: 'kms:alias/web-p256'" \
        with_kms /usr/bin/curl -sS "${address_[@]}" --key kms:alias/web-p256 \
        "https://ordinary.test:$port/"
    refused 'an address for an engine' "crypto engine not set, can" \
        with_kms /usr/bin/curl -sS "${address_[@]}" --key kms:alias/web-p256 --key-type ENG \
        "https://ordinary.test:$port/"
    refused 'a reference without the provider' 'unable to set private key file' \
        clean /usr/bin/curl -sS "${address_[@]}" --key web-p256.pem "https://ordinary.test:$port/"
}

consumer_start 480 "$@"
set_up
for key in web-rsa web-p256 web-p384 web-ed25519; do
    client $key 1.2
    client $key 1.3
done
not_by_address
stop server
consumer_end
