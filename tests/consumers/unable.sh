#!/usr/bin/env bash
# Programs that cannot use a key reference, and what they say: docs/consumers.md has the reasons.
# usage: unable.sh MODULES-FOLDER KMS-LOCAL [USER]
set -euo pipefail
# shellcheck source=tests/consumers/lib.sh
. "$(dirname "$0")/lib.sh"

consumer_start 480 "$@"
start_kms p256:ECC_NIST_P256 rsa:RSA_2048
reference p256 rsa
for key in p256 rsa; do
    chmod 600 $key.pem
    works "certificate of $key" with_kms "$openssl" req -x509 -new -key $key.pem -subj /CN=web.test \
        -out $key.crt
    before=$(requests any)

    # GnuTLS has its own keys, and looks at the PEM labels that it knows.
    refused "GnuTLS, $key" 'import error: The requested data were not available.' \
        with_kms /usr/bin/certtool --load-privkey $key.pem --key-info

    # Takes the numbers of the key out of it, with OpenSSL's legacy calls.
    refused "Python's cryptography, $key" 'keymgmt export failure' with_kms "$python" -I -c \
        "from cryptography.hazmat.primitives.serialization import load_pem_private_key
load_pem_private_key(open('$key.pem', 'rb').read(), None)"

    # Does the same, and before version 10 does not look whether it got any: it ends by a
    # segmentation fault.
    code=0
    with_kms /usr/bin/ssh-keygen -y -f $key.pem >stdout 2>stderr || code=$?
    case $(/usr/bin/ssh -V 2>&1) in
    OpenSSH_9*) equal "OpenSSH, $key: exit" 139 "$code" ;;
    *) equal "OpenSSH, $key: exit" 255 "$code" ;;
    esac
    equal "OpenSSH, $key: output" '' "$(cat stdout)"
    equal "$key: requests" "$before" "$(requests any)"
done
consumer_end
