# For the shell tests of the provider, to be sourced with their arguments
# MODULES-FOLDER KMS-LOCAL [SANITIZER-RUNTIME]: a kms-local of their own, the stock openssl command
# in the environment of a user who has set up nothing else, and checks that count.
# shellcheck shell=bash disable=SC2034
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
cd "$work" || exit 1

# start_server OPTION...: of kms-local.
start_server() {
    : >server.log # its reader may be faster than its writer
    "$local_server" --port 0 "$@" >server.log 2>&1 &
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

# runs TITLE OPENSSL-ARGUMENT...: the same for commands that tell on standard error how they get on.
runs() {
    local title=$1
    shift
    checks=$((checks + 1))
    ssl "$@" >stdout 2>stderr </dev/null || { bad "$title: exit $?"; return 0; }
    ! grep -q ':kms:' stderr || bad "$title: an error of kms"
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

# in_env NAME=VALUE CHECK...: a check with one variable set otherwise.
in_env() {
    local name=${1%%=*} value=${1#*=} before
    shift
    before=${!name-}
    export "$name=$value"
    "$@"
    if [ -n "$before" ]; then export "$name=$before"; else unset "$name"; fi
}

# done_checking: says the sum, and fails where a check did.
done_checking() {
    printf '%d checks, %d failed\n' "$checks" "$failures"
    [ "$failures" -eq 0 ]
}

P=(-provider default -provider kms)
