#!/usr/bin/env bash
# The openssl command as authority, server and client: certificates and TLS with keys of each type
# in KMS, verified by stock openssl that knows nothing of KMS.
# usage: openssl.sh MODULES-FOLDER KMS-LOCAL [USER]
set -euo pipefail
# shellcheck source=tests/consumers/lib.sh
. "$(dirname "$0")/lib.sh"

# with_server NAME ARGUMENT...: a server with the key NAME.pem on $port.
with_server() {
    local name=$1
    shift
    port=$(free_port)
    serve "$name" "$openssl" s_server -accept "$address:$port" -cert "$name.crt" -key "$name.pem" \
        -cert_chain ca.crt -www "$@"
    await "$name" "$port"
}

# serving NAME SIGNATURE TLS SIGALGS [ARGUMENT...]: one handshake, for which KMS signs once.
serving() {
    local title="$1, TLS $3, $4" before
    before=$(requests any)
    handshake "$title" "$port" web.test "$2" "-tls$3" -sigalgs "$4" "${@:5}"
    prints "$title" "Protocol version: TLSv${3/_/.}"
    equal "$title: requests" 1 $(($(requests any) - before))
}

servers() {
    local tls hash
    with_server web-rsa
    for hash in 256 384 512; do
        serving web-rsa RSA 1_2 "rsa_pkcs1_sha$hash"
        serving web-rsa RSA-PSS 1_2 "rsa_pss_rsae_sha$hash"
        serving web-rsa RSA-PSS 1_3 "rsa_pss_rsae_sha$hash"
    done
    stop web-rsa
    with_server web-p256
    serving web-p256 ECDSA 1_2 ecdsa_secp256r1_sha256
    serving web-p256 ECDSA 1_3 ecdsa_secp256r1_sha256
    stop web-p256
    with_server web-p384
    serving web-p384 ECDSA 1_2 ecdsa_secp384r1_sha384
    serving web-p384 ECDSA 1_3 ecdsa_secp384r1_sha384
    stop web-p384
    with_server web-p521
    serving web-p521 ECDSA 1_2 ecdsa_secp521r1_sha512
    serving web-p521 ECDSA 1_3 ecdsa_secp521r1_sha512
    stop web-p521
    with_server web-ed25519
    for tls in 1_2 1_3; do
        serving web-ed25519 ed25519 $tls ed25519
    done
    for hash in P-256 P-384 X25519; do
        serving web-ed25519 ed25519 1_3 ed25519 -groups $hash
    done
    stop web-ed25519
}

# mutual KEY TLS: an ordinary server demands a certificate; the client's key is in KMS.
mutual() {
    local title="client $1, TLS $2" port before
    port=$(free_port)
    start mutual env -i "${plain[@]}" "$openssl" s_server -accept "$address:$port" \
        -cert ordinary.crt -key ordinary.pem -CAfile ca.crt -Verify 1 -verify_return_error \
        -www -naccept 1
    await mutual "$port"
    before=$(requests Sign)
    works "$title" with_kms "$openssl" s_client -connect "$address:$port" "-tls$2" \
        -servername ordinary.test -verify_hostname ordinary.test -CAfile ca.crt \
        -verify_return_error -cert "$1.crt" -key "$1.pem" -brief
    checks=$((checks + 1))
    wait_until 20 gone "$daemon" || bad "$title: the server has not finished" mutual.log
    # One step of the chain is followed by "verify return:1".
    equal "$title: verified by the server" 'verify return:1' \
        "$(grep -A 1 -xE 'depth=0 CN ?= ?web.test' mutual.log | tail -n 1)"
    equal "$title: requests" 1 $(($(requests Sign) - before))
    stop mutual
    rm mutual.log
}

# Both sides in KMS.
both_sides() {
    with_server web-rsa -Verify 1 -verify_return_error -CAfile ca.crt
    works 'both sides in KMS' with_kms "$openssl" s_client -connect "$address:$port" -tls1_3 \
        -CAfile ca.crt -verify_return_error -cert web-p256.crt -key web-p256.pem -brief
    prints 'both sides in KMS' 'Verification: OK'
    stop web-rsa
}

# Certificates signed in other ways than served does.
certificates() {
    works 'PSS certificate' with_kms "$openssl" req -x509 -new -key web-rsa.pem -subj /CN=pss \
        -sigopt rsa_padding_mode:pss -sigopt rsa_pss_saltlen:digest -sha384 -out pss.crt
    works 'PSS certificate verifies' clean "$openssl" verify -check_ss_sig -CAfile pss.crt pss.crt
    works 'text of it' clean "$openssl" x509 -in pss.crt -noout -text
    says 'text of it' 'rsassaPss'
    works 'certificate by the address' with_kms "$openssl" req -x509 -new \
        -key kms:alias/web-p521 -subj /CN=p521 -sha512 -out p521.crt
    works 'it verifies' clean "$openssl" verify -check_ss_sig -CAfile p521.crt p521.crt
}

revocation() {
    local serial
    serial=$(clean "$openssl" x509 -in web-p256.crt -noout -serial | sed 's/serial=//')
    printf 'V\t491231235959Z\t\t%s\tunknown\t/CN=web.test\n' "$serial" >index.txt
    works 'ocsp answers' with_kms "$openssl" ocsp -index index.txt -CA ca.crt -rsigner ca.crt \
        -rkey ca.pem -issuer ca.crt -cert web-p256.crt -ndays 1 -no_nonce -respout response.der
    works 'the OCSP response verifies' clean "$openssl" ocsp -respin response.der -issuer ca.crt \
        -cert web-p256.crt -CAfile ca.crt -no_nonce
    says 'the OCSP response verifies' 'Response verify OK'
    says 'the OCSP response verifies' 'web-p256.crt: good'
    printf '[ca]\ndatabase = index.txt\ndefault_md = sha384\n' >ca.cnf
    works 'ca -gencrl' with_kms "$openssl" ca -config ca.cnf -name ca -gencrl -keyfile ca.pem \
        -cert ca.crt -crldays 1 -out ca.crl
    works 'the CRL verifies' clean "$openssl" crl -in ca.crl -CAfile ca.crt -noout
    says 'the CRL verifies' 'verify OK'
}

# openssl's own CMP server, in the process of the client; both protect messages with KMS keys.
enrolment() {
    works 'cmp' with_kms "$openssl" cmp -use_mock_srv -srv_cert web-p256.crt -srv_key web-p256.pem \
        -srv_trusted ca.crt -rsp_cert web-rsa.crt -rsp_capubs ca.crt -cmd ir \
        -recipient /CN=web.test -newkey web-rsa.pem -subject /CN=web.test -trusted ca.crt \
        -cert web-p384.crt -key web-p384.pem -certout enrolled.crt
    works 'the enrolled certificate verifies' clean "$openssl" verify -CAfile ca.crt enrolled.crt
}

consumer_start 480 "$@"
start_kms ca:ECC_NIST_P384 web-rsa:RSA_2048 web-p256:ECC_NIST_P256 web-p384:ECC_NIST_P384 \
    web-p521:ECC_NIST_P521 web-ed25519:ECC_NIST_EDWARDS25519
authority
served web-rsa web-p256 web-p384 web-p521 web-ed25519
ordinary ordinary ordinary.test
servers
for key in web-rsa web-p256 web-p384 web-p521 web-ed25519; do
    mutual $key 1_2
    mutual $key 1_3
done
both_sides
certificates
revocation
enrolment
consumer_end
