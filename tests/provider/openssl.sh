#!/usr/bin/env bash
# The stock openssl command with the provider, against a kms-local of its own: what a user types,
# and what is said when it is wrong.
# usage: openssl.sh MODULES-FOLDER KMS-LOCAL [SANITIZER-RUNTIME]
set -euo pipefail

modules=$1
local_server=$2
runtime=${3:-}
openssl=/usr/bin/openssl
work=$(mktemp -d)
server=
failures=0
checks=0

finish() {
    [ -z "$server" ] || kill "$server" 2>/dev/null || true
    rm -rf "$work"
}
trap finish EXIT
cd "$work"

start_server() {
    : >server.log
    "$local_server" --port 0 --seed-key alias/matbakh-ai --seed-key alias/other \
        --seed-key alias/rsa:RSA_2048:SIGN_VERIFY >server.log 2>&1 &
    server=$!
    local url='' _
    for _ in $(seq 200); do
        url=$(sed -n 's/^kms-local ready on //p' server.log)
        [ -n "$url" ] && break
        sleep 0.05
    done
    [ -n "$url" ] || { cat server.log; exit 1; }
    export AWS_ENDPOINT_URL_KMS=$url
}

# The environment of a user who has set up nothing else.
unset OPENSSL_CONF KMS_PROVIDER_CONF KMS_PROVIDER_LOG KMS_ENCRYPTION_ENABLED kms_encryption_enabled
unset AWS_PROFILE AWS_SESSION_TOKEN AWS_CA_BUNDLE AWS_ENDPOINT_URL
export HOME=$work AWS_REGION=eu-central-1 AWS_ACCESS_KEY_ID=local AWS_SECRET_ACCESS_KEY=local
export OPENSSL_MODULES=$modules

# ssl ARGUMENT...: the openssl command, sanitized where the module is.
ssl() {
    if [ -n "$runtime" ]; then
        env LD_PRELOAD="$runtime" "$openssl" "$@"
    else
        "$openssl" "$@"
    fi
}

bad() {
    failures=$((failures + 1))
    printf 'FAILED: %s\n' "$1"
    sed 's/^/    /' stderr stdout
}

# works TITLE OPENSSL-ARGUMENT...
works() {
    local title=$1
    shift
    checks=$((checks + 1))
    ssl "$@" >stdout 2>stderr </dev/null || { bad "$title: exit $?"; return 0; }
    [ ! -s stderr ] || grep -q '^writing' stderr || bad "$title: something on standard error"
}

# says TITLE TEXT: the command before printed it.
says() {
    checks=$((checks + 1))
    grep -qF -- "$2" stdout || bad "$1: does not print '$2'"
}

# refused TITLE SENTENCE DETAIL OPENSSL-ARGUMENT...: exit code, one entry of ours in the error
# stack, and no output. The file "out" is where each command would write.
refused() {
    local title=$1 sentence=$2 detail=$3
    shift 3
    checks=$((checks + 1))
    rm -f out
    if ssl "$@" >stdout 2>stderr </dev/null; then
        bad "$title: was not refused"
    elif [ "$(grep -c ':kms::' stderr)" -ne 1 ]; then
        bad "$title: not one entry of kms"
    elif ! grep -F ":kms::$sentence:" stderr | grep -qF -- "$detail"; then
        bad "$title: not '$sentence' with '$detail'"
    elif [ -s out ] || grep -q 'the secret' stdout; then
        bad "$title: left output"
    fi
}

# fails TITLE TEXT OPENSSL-ARGUMENT...: openssl itself refuses.
fails() {
    local title=$1 text=$2
    shift 2
    checks=$((checks + 1))
    rm -f out
    if ssl "$@" >stdout 2>stderr </dev/null; then
        bad "$title: was not refused"
    elif ! grep -qF -- "$text" stderr; then
        bad "$title: not '$text'"
    elif [ -s out ]; then
        bad "$title: left output"
    fi
}

# same TITLE FILE FILE
same() {
    checks=$((checks + 1))
    cmp -s "$2" "$3" || { : >stdout; : >stderr; bad "$1: $3 differs from $2"; }
}

P=(-provider default -provider kms)
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
    says 'list the store' 'Total found: 3'
    works 'list with a query' storeutl "${P[@]}" 'kms:?region=eu-central-1'
    says 'list with a query' "Name: $K?region=eu-central-1"
    works 'one key of the store' storeutl "${P[@]}" -keys $K
    says 'one key of the store' 'Total found: 1'
    works 'no certificates there' storeutl "${P[@]}" -certs $K
    says 'no certificates there' 'Total found: 0'
    works 'text of a key' pkey "${P[@]}" -in $K -text -noout
    says 'text of a key' 'ARN: arn:aws:kms:eu-central-1:000000000000:key/'
    says 'text of a key' 'SYMMETRIC_DEFAULT'
}

export_is_refused() {
    local sentence='key material of a KMS key cannot be exported'
    refused 'export PEM' "$sentence" 'it never leaves KMS' pkey "${P[@]}" -in $K -out out
    refused 'export DER' "$sentence" 'arn:aws:kms:' pkey "${P[@]}" -in $K -outform DER -out out
    refused 'export encrypted' "$sentence" 'arn:aws:kms:' \
        pkey "${P[@]}" -in $K -aes256 -passout pass:x -out out
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
    refused '-pubin' 'operation not supported by this key' 'without -pubin' \
        "${encrypt[@]}" "${P[@]}" -pubin -inkey $K "${C[@]}"
    refused 'a bad address' 'key address is not valid' 'alias/NAME' \
        "${encrypt[@]}" "${P[@]}" -inkey kms:matbakh-ai "${C[@]}"
    refused 'unknown parameter' 'key address is not valid' 'colour' \
        "${encrypt[@]}" "${P[@]}" -inkey "$K?colour=red" "${C[@]}"
    refused 'no such key' 'key not found' 'request id' \
        "${encrypt[@]}" "${P[@]}" -inkey kms:alias/nobody "${C[@]}"
    refused 'no such key in the store' 'key not found' 'request id' \
        storeutl "${P[@]}" kms:alias/nobody
    refused 'a signing key' 'operation not supported by this key' 'RSA_2048' \
        "${encrypt[@]}" "${P[@]}" -inkey kms:alias/rsa "${C[@]}"
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

# in_env NAME=VALUE CHECK...: a check with one variable set otherwise.
in_env() {
    local name=${1%%=*} value=${1#*=} before
    shift
    before=${!name-}
    export "$name=$value"
    "$@"
    if [ -n "$before" ]; then export "$name=$before"; else unset "$name"; fi
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

printf 'the secret' >plain
start_server
round_trips
telling
export_is_refused
wrong_arguments
wrong_ciphertexts
wrong_surroundings
activation
printf '%d checks, %d failed\n' "$checks" "$failures"
[ "$failures" -eq 0 ]
