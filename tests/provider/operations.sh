#!/usr/bin/env bash
# What keys in KMS do beside signing, by the stock openssl command: decrypt, agree on secrets,
# authenticate, give random bytes; and making keys. Each result is checked by openssl alone.
# usage: operations.sh MODULES-FOLDER KMS-LOCAL [SANITIZER-RUNTIME]
set -euo pipefail

# shellcheck source=tests/provider/command.sh
. "$(dirname "$0")/command.sh"

REFUSED='KMS has no such algorithm for this key'

# certificate NAME: of the KMS key of that alias, by an authority of the test's own.
certificate() {
    works "public half of $1" pkey "${P[@]}" -in "kms:alias/$1" -pubout -out "$1.pub"
    runs "certificate of $1" x509 -req -in request.pem -CA ca.pem -CAkey ca.key -set_serial 2 \
        -force_pubkey "$1.pub" -out "$1.pem"
}

authority() {
    printf '[req]\ndistinguished_name = dn\n[dn]\n' >req.cnf
    ssl req -x509 -newkey rsa:2048 -nodes -keyout ca.key -out ca.pem -subj /CN=ca \
        -config req.cnf 2>/dev/null
    ssl req -new -newkey rsa:2048 -nodes -keyout other.key -out request.pem -subj /CN=user \
        -config req.cnf 2>/dev/null
    certificate rsa
    certificate ec
}

rsa() {
    local oaep=(-pkeyopt rsa_padding_mode:oaep) digest
    for digest in sha1 sha256; do
        works "OAEP $digest" pkeyutl -encrypt -pubin -inkey rsa.pub "${oaep[@]}" \
            -pkeyopt rsa_oaep_md:$digest -in plain -out sealed
        works "decrypt $digest" pkeyutl -decrypt "${P[@]}" -inkey kms:alias/rsa "${oaep[@]}" \
            -pkeyopt rsa_oaep_md:$digest -in sealed -out back
        same "OAEP $digest" plain back
    done
    works 'PKCS#1 is encrypted' pkeyutl -encrypt "${P[@]}" -inkey kms:alias/rsa -in plain -out sealed
    refused 'PKCS#1 is not decrypted' "$REFUSED" 'KMS decrypts OAEP alone' \
        pkeyutl -decrypt "${P[@]}" -inkey kms:alias/rsa -in sealed -out out
    refused 'a label' "$REFUSED" 'an OAEP label' pkeyutl -decrypt "${P[@]}" -inkey kms:alias/rsa \
        "${oaep[@]}" -pkeyopt rsa_oaep_label:aabb -in sealed -out out
}

cms() {
    local key digest
    for digest in sha1 sha256; do
        works "CMS to RSA, $digest" cms -encrypt -in plain -out message -recip rsa.pem \
            -keyopt rsa_padding_mode:oaep -keyopt rsa_oaep_md:$digest
        works "CMS by RSA, $digest" cms -decrypt "${P[@]}" -in message -recip rsa.pem \
            -inkey kms:alias/rsa -out back
        same "CMS RSA $digest" plain back
    done
    works 'reference' pkey "${P[@]}" -in kms:alias/ec -out ec.ref
    for digest in sha1 sha256 sha384; do
        works "CMS to EC, $digest" cms -encrypt -binary -in plain -out message -recip ec.pem \
            -aes256 -keyopt ecdh_kdf_md:$digest
        for key in kms:alias/ec ec.ref; do
            works "CMS by $key, $digest" cms -decrypt "${P[@]}" -in message -recip ec.pem \
                -inkey $key -out back
            same "CMS EC $digest" plain back
        done
    done
    works 'CMS with the cofactor' cms -encrypt -in plain -out message -recip ec.pem \
        -keyopt ecdh_cofactor_mode:1
    works 'CMS by the cofactor' cms -decrypt "${P[@]}" -in message -recip ec.pem \
        -inkey kms:alias/ec -out back
    same 'CMS EC cofactor' plain back
    # openssl drops the reason of a failed key transport, unless -debug_decrypt is given.
    works 'CMS to RSA by PKCS#1' cms -encrypt -in plain -out message -recip rsa.pem
    refused 'CMS by PKCS#1' "$REFUSED" 'KMS decrypts OAEP alone' cms -decrypt "${P[@]}" \
        -debug_decrypt -in message -recip rsa.pem -inkey kms:alias/rsa -out out
    fails 'CMS by PKCS#1, without -debug_decrypt' 'kms: EVP_PKEY_decrypt: KMS has no such' \
        cms -decrypt "${P[@]}" -in message -recip rsa.pem -inkey kms:alias/rsa
}

agreement() {
    local group alias
    for group in P-256:ec P-384:ec384; do
        alias=${group#*:}
        ssl genpkey -algorithm EC -pkeyopt "group:${group%:*}" -out peer.key
        ssl pkey -in peer.key -pubout -out peer.pub
        works "public half of $alias" pkey "${P[@]}" -in "kms:alias/$alias" -pubout -out ours.pub
        works "derive by $alias" pkeyutl -derive "${P[@]}" -inkey "kms:alias/$alias" \
            -peerkey peer.pub -out ours
        works "derive by the peer of $alias" pkeyutl -derive -inkey peer.key -peerkey ours.pub \
            -out theirs
        same "$group" ours theirs
    done
    refused 'another curve' "peer's public key does not fit" 'ECC_NIST_P256' \
        pkeyutl -derive "${P[@]}" -inkey kms:alias/ec -peerkey peer.pub -out out
    refused 'a signing key' 'key is made for another use' 'SIGN_VERIFY' \
        pkeyutl -derive "${P[@]}" -inkey kms:alias/ecsign -peerkey ec.pub -out out
}

authentication() {
    works 'mac' mac "${P[@]}" -macopt key-address:kms:alias/mac -binary -in plain -out tag KMS-HMAC
    works 'dgst -sign' dgst "${P[@]}" -sign kms:alias/mac -out tag2 plain
    same 'two doors' tag tag2
    works 'dgst -prverify' dgst "${P[@]}" -prverify kms:alias/mac -signature tag plain
    says 'dgst -prverify' 'Verified OK'
    works 'pkeyutl -verify' pkeyutl -verify "${P[@]}" -inkey kms:alias/mac -rawin -in plain \
        -sigfile tag
    refused 'another message' 'MAC is not right' 'request id' pkeyutl -verify "${P[@]}" \
        -inkey kms:alias/mac -rawin -in ca.pem -sigfile tag
    refused 'no address' 'no key is configured' 'key-address' mac "${P[@]}" -in plain KMS-HMAC
    refused 'another digest' "$REFUSED" 'HMAC with SHA512' mac "${P[@]}" \
        -macopt key-address:kms:alias/mac -macopt digest:SHA512 -in plain KMS-HMAC
}

random_bytes() {
    cat >rand.cnf <<END
openssl_conf = init
[init]
providers = providers
random = random
[providers]
default = default_provider
kms = kms_provider
[default_provider]
activate = 1
[kms_provider]
activate = 1
[random]
random = KMS-RAND
properties = provider=kms
END
    export OPENSSL_CONF=$work/rand.cnf
    works 'random bytes' rand -hex 3000
    works 'instances' list -random-instances
    says 'instances' 'KMS-RAND @ kms'
    in_env AWS_SECRET_ACCESS_KEY=wrong refused 'random bytes without permission' \
        "AWS refused the request's signature" 'GenerateRandom' rand -out out 32
    unset OPENSSL_CONF
}

making() {
    local make=(genpkey -provider kms -algorithm EC -pkeyopt group:P-256)
    refused 'not allowed' 'creating keys is not allowed' 'allow_key_creation' \
        "${make[@]}" -pkeyopt alias:web -out out
    printf 'allow_key_creation = yes\n' >kms.conf
    printf '{"Version":"2012-10-17","Statement":[]}\n' >policy.json
    export KMS_PROVIDER_CONF=$work/kms.conf
    # With kms alone it says that default is missing; the key is made all the same.
    checks=$((checks + 1))
    ssl "${make[@]}" -pkeyopt alias:web -pkeyopt tags:team=web -pkeyopt policy-file:policy.json \
        -out web.pem >stdout 2>stderr </dev/null || bad 'genpkey'
    works 'sign by the new reference' dgst "${P[@]}" -sha256 -sign web.pem -out signature plain
    works 'its public half' pkey "${P[@]}" -in kms:alias/web -pubout -out web.pub
    works 'verify' dgst -sha256 -verify web.pub -signature signature plain
    works 'with default, by -propquery' genpkey "${P[@]}" -propquery provider=kms -algorithm RSA \
        -pkeyopt rsa_keygen_bits:3072 -pkeyopt alias:rsa3072 -out rsa3072.pem
    works 'a symmetric key' genpkey "${P[@]}" -algorithm KMS -pkeyopt alias:symmetric
    says 'a symmetric key' 'BEGIN KMS KEY REFERENCE'
    works 'an HMAC key' genpkey "${P[@]}" -algorithm KMS-HMAC -pkeyopt bits:384 -pkeyopt alias:mac3 \
        -out mac3.pem
    works 'MAC by its reference' dgst "${P[@]}" -sign mac3.pem -out tag plain
    refused 'without alias' 'key address is not valid' 'only with an alias' "${make[@]}" -out out
    refused 'an alias twice' 'alias is taken' 'alias/web' "${make[@]}" -pkeyopt alias:web -out out
    works 'an ordinary key' genpkey "${P[@]}" -algorithm EC -pkeyopt group:P-256 -out ordinary.pem
    checks=$((checks + 1))
    grep -q 'BEGIN PRIVATE KEY' ordinary.pem || bad 'the ordinary key is not one'
    unset KMS_PROVIDER_CONF
    in_env KMS_PROVIDER_CONF=/nonexistent refused 'settings that are refused, kms alone' \
        'configuration file cannot be read' '/nonexistent' \
        genpkey -provider kms -algorithm KMS -pkeyopt alias:x -out out
}

# What came with OpenSSL 3.5: ML-DSA, ML-KEM, and AES data keys as opaque objects.
later_openssl() {
    local key id iv=000102030405060708090a0b0c0d0e0f
    head -c 10000 /dev/zero >long
    for key in ml44 ml65 ml87; do
        works "reference of $key" pkey "${P[@]}" -in "kms:alias/$key" -out "$key.pem"
        works "public half of $key" pkey "${P[@]}" -in "$key.pem" -pubout -out "$key.pub"
        works "sign by $key" pkeyutl -sign "${P[@]}" -inkey "$key.pem" -rawin -in long \
            -pkeyopt context-string:letters -out signature
        works "verify $key" pkeyutl -verify -pubin -inkey "$key.pub" -rawin -in long \
            -pkeyopt context-string:letters -sigfile signature
        fails "another context of $key" '' pkeyutl -verify -pubin -inkey "$key.pub" -rawin \
            -in long -pkeyopt context-string:other -sigfile signature
        works "certificate by $key" req -x509 -new "${P[@]}" -key "$key.pem" -subj /CN=ca -days 2 \
            -out "$key.crt"
        works "the certificate by $key verifies" verify -CAfile "$key.crt" "$key.crt"
    done
    for key in kem512 kem768 kem1024; do
        works "public half of $key" pkey "${P[@]}" -in "kms:alias/$key" -pubout -out "$key.pub"
        works "encapsulate to $key" pkeyutl -encap -pubin -inkey "$key.pub" -secret sent -out sealed
        works "decapsulate by $key" pkeyutl -decap "${P[@]}" -inkey "kms:alias/$key" -in sealed \
            -secret received
        same "$key" sent received
    done
    local skey=(-skeymgmt KMS-AES -skeyopt key-address:kms:alias/matbakh-ai
        -skeyopt context:dataType=credentials -skeyopt context:operationId=op-1)
    works 'an opaque data key' skeyutl "${P[@]}" -genkey "${skey[@]}"
    says 'an opaque data key' 'Key management: KMS-AES'
    id=$(grep -oE '[0-9A-F]{60,}' stdout) || bad 'no identifier'
    skey+=(-skeyopt "hexwrapped-key:$id")
    works 'encrypt by it' enc -e "${P[@]}" -KMS-AES-256-CBC "${skey[@]}" -iv "$iv" -in plain -out sealed
    works 'decrypt by it' enc -d "${P[@]}" -KMS-AES-256-CBC "${skey[@]}" -iv "$iv" -in sealed -out back
    same 'opaque data key' plain back
}

seeds=()
is_3_5=false
if ssl skeyutl -help >/dev/null 2>&1; then
    is_3_5=true
    seeds=(--seed-key alias/matbakh-ai --seed-key alias/ml44:ML_DSA_44 --seed-key alias/ml65:ML_DSA_65
        --seed-key alias/ml87:ML_DSA_87 --seed-key alias/kem512:ML_KEM_512
        --seed-key alias/kem768:ML_KEM_768 --seed-key alias/kem1024:ML_KEM_1024)
fi
printf 'the secret' >plain
start_server "${seeds[@]}" --seed-key alias/rsa:RSA_2048:ENCRYPT_DECRYPT \
    --seed-key alias/ec:ECC_NIST_P256:KEY_AGREEMENT \
    --seed-key alias/ec384:ECC_NIST_P384:KEY_AGREEMENT \
    --seed-key alias/ecsign:ECC_NIST_P256:SIGN_VERIFY --seed-key alias/mac:HMAC_256
authority
rsa
cms
agreement
authentication
random_bytes
making
if $is_3_5; then later_openssl; fi
done_checking
