#!/usr/bin/env bash
# The stock openssl command with the provider, against a kms-local of its own: what a user types,
# and what is said when it is wrong.
# usage: openssl.sh MODULES-FOLDER KMS-LOCAL [SANITIZER-RUNTIME]
set -euo pipefail

# shellcheck source=tests/provider/command.sh
. "$(dirname "$0")/command.sh"

K=kms:alias/matbakh-ai
C=(-pkeyopt context:dataType=credentials -pkeyopt context:operationId=op-1)
encrypt=(pkeyutl -encrypt -in plain -out out)
decrypt=(pkeyutl -decrypt -in wrapped -out out)

round_trips() {
    local size
    for size in 1 32 4096; do
        head -c "$size" /dev/urandom >random
        works "wrap $size bytes" pkeyutl -encrypt "${P[@]}" -inkey $K "${C[@]}" -in random -out w
        works "unwrap $size bytes" pkeyutl -decrypt "${P[@]}" -inkey $K "${C[@]}" -in w -out back
        same "$size bytes" random back
    done
    works 'wrap by JSON' "${encrypt[@]}" "${P[@]}" -inkey $K \
        -pkeyopt 'context:{"operationId":"op:1","dataType":"credentials"}'
    works 'unwrap what has a colon' pkeyutl -decrypt "${P[@]}" -inkey $K -in out -out back \
        -pkeyopt context:operationId=op:1 -pkeyopt context:dataType=credentials
    same 'JSON or pairs' plain back
    works 'wrap by the address' "${encrypt[@]}" "${P[@]}" \
        -inkey "$K?region=eu-central-1&context.dataType=credentials&context.operationId=op-1"
    works 'unwrap by the options' pkeyutl -decrypt "${P[@]}" -inkey $K "${C[@]}" -in out -out back
    same 'address or options' plain back
}

activation() {
    cat >openssl.cnf <<END
openssl_conf = init
[init]
providers = providers
[providers]
default = default_provider
kms = kms_provider
[default_provider]
activate = 1
[kms_provider]
activate = 1
region = eu-central-1
config = $work/kms.conf
END
    printf '[context]\ndataType = credentials\noperationId = op-1\n' >kms.conf
    unset AWS_REGION
    export OPENSSL_CONF=$work/openssl.cnf
    works 'wrap by openssl.cnf' "${encrypt[@]}" -inkey $K
    works 'unwrap by openssl.cnf' pkeyutl -decrypt -inkey $K -in out -out back
    same 'openssl.cnf' plain back
    works 'sign by openssl.cnf' dgst -sha256 -sign p256.pem -out signature message
    works 'verify by openssl.cnf' dgst -sha256 -verify p256.pub -signature signature message
    works 'list providers' list -providers
    says 'list providers' 'AWS KMS keys'
    printf 'regoin = eu-central-1\n' >kms.conf
    refused 'misspelt setting' 'unknown setting' \
        "kms.conf, line 1); did you mean \"region\"?" "${encrypt[@]}" -inkey $K "${C[@]}"
    works 'openssl without KMS goes on' rand -hex 4
    printf 'residency = world\n' >kms.conf
    refused 'wrong value' 'setting has an invalid value' 'residency' \
        "${encrypt[@]}" -inkey $K "${C[@]}"
    rm kms.conf
    refused 'missing file' 'configuration file cannot be read' "$work/kms.conf" \
        "${encrypt[@]}" -inkey $K "${C[@]}"
    : >kms.conf
    sed -i 's/^region = .*/region = eu-west-2/' openssl.cnf
    refused 'region in openssl.cnf' 'region is outside the allowed set' 'eu-west-2' \
        "${encrypt[@]}" -inkey $K "${C[@]}"
    unset OPENSSL_CONF
    export AWS_REGION=eu-central-1
}

telling() {
    works 'list the store' storeutl "${P[@]}" kms:
    says 'list the store' "Name: $K"
    says 'list the store' 'Total found: 7'
    works 'list with a query' storeutl "${P[@]}" 'kms:?region=eu-central-1'
    says 'list with a query' "Name: $K?region=eu-central-1"
    works 'one key of the store' storeutl "${P[@]}" -keys $K
    says 'one key of the store' 'Total found: 1'
    works 'no certificates there' storeutl "${P[@]}" -certs $K
    finds_nothing 'no certificates there'
    works 'no certificates anywhere' storeutl "${P[@]}" -certs kms:
    finds_nothing 'no certificates anywhere'
    local uri
    while read -r uri; do
        works "what is listed: $uri" storeutl "${P[@]}" "$uri"
        says "what is listed: $uri" 'Total found: 1'
        says "what is listed: $uri" 'BEGIN KMS KEY REFERENCE'
    done < <(ssl storeutl "${P[@]}" kms: 2>/dev/null | sed -n 's/^.*Name: //p')
    works 'public half of the store' storeutl "${P[@]}" -noout -text kms:alias/p256
    says 'public half of the store' 'ECC_NIST_P256'
    says 'public half of the store' 'ASN1 OID: prime256v1'
    works 'text of a key' pkey "${P[@]}" -in $K -text -noout
    says 'text of a key' 'ARN: arn:aws:kms:eu-central-1:000000000000:key/'
    says 'text of a key' 'SYMMETRIC_DEFAULT'
}

export_is_refused() {
    local sentence='key material of a KMS key cannot be exported'
    local key
    for key in $K kms:alias/rsa kms:alias/p256 kms:alias/ed; do
        refused "export DER of $key" "$sentence" 'arn:aws:kms:' \
            pkey "${P[@]}" -in "$key" -outform DER -out out
    done
    refused 'export the public half' "$sentence" 'arn:aws:kms:' pkey "${P[@]}" -in $K -pubout \
        -out out
}

wrong_arguments() {
    refused 'no context' 'encryption context is missing' '-pkeyopt context:' \
        "${encrypt[@]}" "${P[@]}" -inkey $K
    refused 'half a context' 'encryption context lacks a required name' 'operationId' \
        "${encrypt[@]}" "${P[@]}" -inkey $K -pkeyopt context:dataType=credentials
    refused 'pii without piiType' 'encryption context lacks a required name' 'piiType' \
        "${encrypt[@]}" "${P[@]}" -inkey $K -pkeyopt context:dataType=pii \
        -pkeyopt context:operationId=op-1
    refused 'unknown dataType' 'unknown dataType in the encryption context' 'pii' \
        "${encrypt[@]}" "${P[@]}" -inkey $K -pkeyopt context:dataType=recipes \
        -pkeyopt context:operationId=op-1
    refused 'a name twice' 'name is twice in the encryption context' 'dataType' \
        "${encrypt[@]}" "${P[@]}" -inkey $K "${C[@]}" -pkeyopt context:dataType=pii
    refused 'no pair' 'encryption context is not valid' 'NAME=VALUE' \
        "${encrypt[@]}" "${P[@]}" -inkey $K -pkeyopt context:nonsense
    refused 'a name of AWS' 'name in the encryption context is not valid' 'aws:' \
        "${encrypt[@]}" "${P[@]}" -inkey $K "${C[@]}" -pkeyopt context:aws:x=y
    fails 'unknown option' "Can't set parameter \"colour:red\"" \
        "${encrypt[@]}" "${P[@]}" -inkey $K "${C[@]}" -pkeyopt colour:red
    case $(ssl version) in
    'OpenSSL 3.0.'*)
        refused '-pubin' 'operation not supported by this key' 'without -pubin' \
            "${encrypt[@]}" "${P[@]}" -pubin -inkey $K "${C[@]}"
        ;;
    *) # later ones take the key itself where there is no public half
        works '-pubin' "${encrypt[@]}" "${P[@]}" -pubin -inkey $K "${C[@]}"
        works 'not -pubin' pkeyutl -decrypt "${P[@]}" -inkey $K "${C[@]}" -in out -out back
        same '-pubin' plain back
        ;;
    esac
    refused 'a bad address' 'key address is not valid' 'alias/NAME' \
        "${encrypt[@]}" "${P[@]}" -inkey kms:matbakh-ai "${C[@]}"
    refused 'unknown parameter' 'key address is not valid' 'colour' \
        "${encrypt[@]}" "${P[@]}" -inkey "$K?colour=red" "${C[@]}"
    refused 'no such key' 'key not found' 'request id' \
        "${encrypt[@]}" "${P[@]}" -inkey kms:alias/nobody "${C[@]}"
    refused 'no such key in the store' 'key not found' 'request id' \
        storeutl "${P[@]}" kms:alias/nobody
    fails 'signing' 'operation not supported for this keytype' \
        pkeyutl -sign "${P[@]}" -inkey $K -in plain -out out
    fails 'a search' "doesn't support the given search criteria" \
        storeutl "${P[@]}" -alias other kms:
    head -c 4097 /dev/zero >large
    refused 'too large' 'plaintext is larger than 4096 bytes, the limit of KMS' \
        'use envelope encryption' \
        pkeyutl -encrypt "${P[@]}" -inkey $K "${C[@]}" -in large -out out
    : >empty
    refused 'empty' 'plaintext is empty' '1 to 4096' \
        pkeyutl -encrypt "${P[@]}" -inkey $K "${C[@]}" -in empty -out out
}

wrong_ciphertexts() {
    works 'wrap' pkeyutl -encrypt "${P[@]}" -inkey $K "${C[@]}" -in plain -out wrapped
    refused 'another context' 'encryption context mismatch or altered ciphertext' \
        'dataType, operationId' "${decrypt[@]}" "${P[@]}" -inkey $K \
        -pkeyopt context:dataType=credentials -pkeyopt context:operationId=op-2
    refused 'another key' 'ciphertext belongs to another key' 'request id' \
        "${decrypt[@]}" "${P[@]}" -inkey kms:alias/other "${C[@]}"
    head -c 100 wrapped >short
    refused 'truncated' 'encryption context mismatch or altered ciphertext' 'is whole' \
        pkeyutl -decrypt "${P[@]}" -inkey $K "${C[@]}" -in short -out out
    refused 'no ciphertext' 'ciphertext has an impossible size' '0 bytes' \
        pkeyutl -decrypt "${P[@]}" -inkey $K "${C[@]}" -in empty -out out
}

wrong_surroundings() {
    local e=("${encrypt[@]}" "${P[@]}" -inkey "$K" "${C[@]}")
    in_env AWS_REGION=eu-west-2 refused 'London' 'region is outside the allowed set' \
        'eu-west-2' "${e[@]}"
    in_env AWS_REGION=eu-central-2 refused 'Zurich' 'region is outside the allowed set' \
        'eu-central-2' "${e[@]}"
    in_env AWS_ENDPOINT_URL_KMS=https://kms.us-east-1.amazonaws.com refused 'endpoint' \
        'endpoint is not in an allowed region' 'us-east-1' "${e[@]}"
    in_env KMS_ENCRYPTION_ENABLED=false refused 'the flag' 'KMS encryption is disabled' \
        'KMS_ENCRYPTION_ENABLED=true' "${e[@]}"
    in_env kms_encryption_enabled=false refused 'the flag in small letters' \
        'KMS encryption is disabled' '' "${decrypt[@]}" "${P[@]}" -inkey $K "${C[@]}"
    in_env AWS_SECRET_ACCESS_KEY=wrong refused 'wrong secret' \
        "AWS refused the request's signature" 'request id' "${e[@]}"
    in_env AWS_ACCESS_KEY_ID=nobody refused 'unknown credentials' \
        'AWS credentials are not valid' 'request id' "${e[@]}"
    in_env AWS_ENDPOINT_URL_KMS=http://127.0.0.1:1 refused 'nobody at home' \
        'KMS is unreachable' '127.0.0.1:1' "${e[@]}"
}

# verified TITLE FILE SIGNATURE OPTION...: the default provider alone verifies, by a public key file.
verified() {
    local title=$1 file=$2 signature=$3
    shift 3
    works "$title verified" pkeyutl -verify -pubin -in "$file" -sigfile "$signature" "$@"
    says "$title verified" 'Signature Verified Successfully'
}

A=(rsa p256 p384 p521 ed)

references() {
    local name
    for name in "${A[@]}" matbakh-ai; do
        works "reference to $name" pkey "${P[@]}" -in "kms:alias/$name" -out "$name.pem"
        works "text of the reference to $name" pkey "${P[@]}" -in "$name.pem" -text -noout
        says "text of the reference to $name" 'ARN: arn:aws:kms:eu-central-1:000000000000:key/'
    done
    for name in "${A[@]}"; do
        works "public half of $name" pkey "${P[@]}" -in "kms:alias/$name" -pubout -out "$name.pub"
        works "public half of the reference to $name" pkey "${P[@]}" -in "$name.pem" -pubout \
            -out again.pub
        same "public half of $name" "$name.pub" again.pub
        works "-pubin by the address of $name" pkey "${P[@]}" -pubin -in "kms:alias/$name" \
            -pubout -out again.pub
        same "-pubin by the address of $name" "$name.pub" again.pub
        works "check $name" pkey "${P[@]}" -in "$name.pem" -pubcheck -noout
        refused "PKCS#8 of $name" 'key material of a KMS key cannot be exported' \
            'it never leaves KMS' \
            pkcs8 "${P[@]}" -topk8 -nocrypt -in "$name.pem" -outform DER -out out
    done
    in_env AWS_ENDPOINT_URL_KMS=http://127.0.0.1:1 works 'a reference needs no network' \
        pkey "${P[@]}" -in rsa.pem -noout
    works 'encrypted, where nothing is to encrypt' pkey "${P[@]}" -in rsa.pem -aes256 \
        -passout pass:x -out out
    same 'encrypted, where nothing is to encrypt' rsa.pem out
    head -n 5 rsa.pem >damaged.pem
    refused 'damaged reference' 'key reference is damaged' 'write it again' \
        pkey "${P[@]}" -in damaged.pem -out out
}

signatures() {
    local name digest
    head -c 10000 /dev/urandom >message
    for name in rsa p256 p384 p521; do
        for digest in sha256 sha384 sha512; do
            openssl dgst "-$digest" -binary message >hashed
            works "dgst -$digest by $name" dgst "${P[@]}" "-$digest" -sign "$name.pem" \
                -out signature message
            works "dgst -$digest by $name" dgst "-$digest" -verify "$name.pub" \
                -signature signature message
            works "pkeyutl $digest by $name" pkeyutl -sign "${P[@]}" -inkey "kms:alias/$name" \
                -in hashed -out signature -pkeyopt "digest:$digest"
            verified "pkeyutl $digest by $name" hashed signature -inkey "$name.pub" \
                -pkeyopt "digest:$digest"
            works "pkeyutl verify by $name" pkeyutl -verify "${P[@]}" -inkey "$name.pem" \
                -in hashed -sigfile signature -pkeyopt "digest:$digest"
        done
    done
    works 'pkeyutl by Ed25519' pkeyutl -sign "${P[@]}" -inkey ed.pem -rawin -in plain \
        -out signature
    verified 'pkeyutl by Ed25519' plain signature -inkey ed.pub -rawin
    works 'dgst by PSS' dgst "${P[@]}" -sha256 -sign rsa.pem -sigopt rsa_padding_mode:pss \
        -sigopt rsa_pss_saltlen:digest -out signature message
    works 'dgst by PSS' dgst -sha256 -verify rsa.pub -sigopt rsa_padding_mode:pss \
        -sigopt rsa_pss_saltlen:digest -signature signature message
    refused 'SHA-1' 'KMS has no such algorithm for this key' 'sha1' \
        dgst "${P[@]}" -sha1 -sign rsa.pem -out out message
    refused 'salt of another length' 'KMS has no such algorithm for this key' \
        'rsa_pss_saltlen:digest' dgst "${P[@]}" -sha256 -sign rsa.pem \
        -sigopt rsa_padding_mode:pss -sigopt rsa_pss_saltlen:20 -out out message
    refused 'raw RSA over a bare digest' 'KMS has no such algorithm for this key' 'DigestInfo' \
        pkeyutl -sign "${P[@]}" -inkey rsa.pem -in plain -out out
    refused 'Ed25519 over 4097 bytes' 'message is larger than 4096 bytes, the limit of KMS' \
        '4097' pkeyutl -sign "${P[@]}" -inkey ed.pem -rawin -in large -out out
}

# Each key as a certificate authority, checked without kms.
certificates() {
    local name
    for name in "${A[@]}"; do
        works "request by $name" req "${P[@]}" -new -key "kms:alias/$name" -subj /CN=leaf \
            -out leaf.csr
        runs "request by $name verified" req -verify -in leaf.csr -noout
        works "self-signed by $name" req "${P[@]}" -new -x509 -key "$name.pem" -days 3 \
            -subj /CN=authority -out "$name.crt"
        runs "leaf by $name" x509 "${P[@]}" -req -in leaf.csr -CA "$name.crt" \
            -CAkey "$name.pem" -days 2 -out leaf.crt
        works "leaf by $name verified" verify -CAfile "$name.crt" leaf.crt
        runs "revocations by $name" ca "${P[@]}" -config ca.cnf -gencrl -keyfile "$name.pem" \
            -cert "$name.crt" -crldays 1 -out crl.pem
        runs "revocations by $name verified" crl -in crl.pem -CAfile "$name.crt" -noout
        runs "issued by $name" ca "${P[@]}" -config ca.cnf -batch -notext -in leaf.csr \
            -keyfile "$name.pem" -cert "$name.crt" -days 2 -out issued.crt
        works "issued by $name verified" verify -CAfile "$name.crt" issued.crt
    done
    works 'certificate by PSS' req "${P[@]}" -new -x509 -key rsa.pem -days 3 -subj /CN=pss \
        -sigopt rsa_padding_mode:pss -out pss.crt
    works 'certificate by PSS verified' verify -check_ss_sig -CAfile pss.crt pss.crt
}

# CMS and time stamps; Ed25519 has neither in OpenSSL 3.0.
messages() {
    local name
    for name in rsa p256 p384 p521; do
        works "cms by $name" cms "${P[@]}" -sign -in message -binary -nodetach -signer "$name.crt" \
            -inkey "$name.pem" -md sha256 -outform DER -out signed
        runs "cms by $name verified" cms -verify -in signed -inform DER -CAfile "$name.crt" \
            -binary -out back
        same "cms by $name" message back
        works "authority of $name" req "${P[@]}" -new -x509 -key "$name.pem" -days 3 \
            -subj /CN=clock -config tsa.cnf -out tsa.crt
        runs "time stamp by $name" ts "${P[@]}" -reply -config tsa.cnf -section tsa \
            -queryfile query -inkey "$name.pem" -signer tsa.crt -out reply
        runs "time stamp by $name verified" ts -verify -queryfile query -in reply -CAfile tsa.crt
    done
    works 'cms by PSS' cms "${P[@]}" -sign -in message -binary -nodetach -signer rsa.crt -inkey rsa.pem \
        -keyopt rsa_padding_mode:pss -outform DER -out signed
    runs 'cms by PSS verified' cms -verify -in signed -inform DER -CAfile rsa.crt -binary -out back
}

prepare_authority() {
    cat >ca.cnf <<END
[ca]
default_ca = any
[any]
database = $work/index
serial = $work/serial
new_certs_dir = $work
default_md = default
policy = policy
unique_subject = no
[policy]
commonName = supplied
END
    cat >tsa.cnf <<END
[req]
distinguished_name = name
x509_extensions = clock
[name]
[clock]
extendedKeyUsage = critical, timeStamping
basicConstraints = CA:TRUE
[tsa]
serial = $work/tsa-serial
default_policy = 1.2.3.4
digests = sha256, sha384, sha512
signer_digest = sha256
ess_cert_id_alg = sha256
END
    : >index
    echo 01 >serial
    echo 01 >tsa-serial
    ssl ts -query -data plain -sha256 -cert -out query 2>/dev/null
}

printf 'the secret' >plain
start_server --seed-key alias/matbakh-ai --seed-key alias/other \
    --seed-key alias/rsa:RSA_2048:SIGN_VERIFY --seed-key alias/p256:ECC_NIST_P256:SIGN_VERIFY \
    --seed-key alias/p384:ECC_NIST_P384:SIGN_VERIFY \
    --seed-key alias/p521:ECC_NIST_P521:SIGN_VERIFY \
    --seed-key alias/ed:ECC_NIST_EDWARDS25519:SIGN_VERIFY
round_trips
telling
export_is_refused
wrong_arguments
wrong_ciphertexts
wrong_surroundings
references
signatures
prepare_authority
certificates
messages
activation
done_checking
