#!/usr/bin/env bash
# A C program that knows only EVP signs with keys of each type in KMS, by address and by reference;
# stock openssl verifies. It is built as its first lines say.
# usage: sign.sh MODULES-FOLDER KMS-LOCAL [USER]
set -euo pipefail
# shellcheck source=tests/consumers/lib.sh
. "$(dirname "$0")/lib.sh"

source_file=$here/../../examples/sign.c

# verified KEY DIGEST: by openssl alone, with the public half.
verified() {
    if [ "$2" = none ]; then
        works "$1: verified by openssl" clean "$openssl" pkeyutl -verify -rawin -pubin \
            -inkey "$1.pub" -in message -sigfile signature
    else
        works "$1: verified by openssl" clean "$openssl" dgst "-$2" -verify "$1.pub" \
            -signature signature message
    fi
}

# signs KEY SAYS DIGEST
signs() {
    local key before
    works "public half of $1" with_kms "$openssl" pkey -in "$1.pem" -pubout -out "$1.pub"
    for key in "kms:alias/$1" "$work/$1.pem"; do
        rm -f signature
        before=$(requests Sign)
        works "sign with $key" with_kms ./sign "$key" message signature
        prints "sign with $key" "signed with $2, and verified"
        equal "sign with $key: requests to sign" 1 $(($(requests Sign) - before))
        verified "$1" "$3"
    done
}

consumer_start 480 "$@"
start_kms rsa:RSA_2048 rsa3072:RSA_3072 p256:ECC_NIST_P256 p384:ECC_NIST_P384 p521:ECC_NIST_P521 \
    secp256k1:ECC_SECG_P256K1 ed25519:ECC_NIST_EDWARDS25519
reference rsa rsa3072 p256 p384 p521 secp256k1 ed25519
command=$(sed -n 's/^ \* build: //p' "$source_file" | sed "s,sign\.c,$source_file,")
works 'build' bash -c "$command"
printf 'a message' >message
signs rsa 'RSA, SHA256' sha256
signs rsa3072 'RSA, SHA256' sha256
signs p256 'EC, SHA256' sha256
signs secp256k1 'EC, SHA256' sha256
signs p384 'EC, SHA256' sha256
signs p521 'EC, SHA256' sha256
signs ed25519 'ED25519, no digest' none
refused 'no such key' 'key not found' with_kms ./sign kms:alias/nobody message signature
refused 'without the provider' 'unsupported' clean ./sign p256.pem message signature
consumer_end
