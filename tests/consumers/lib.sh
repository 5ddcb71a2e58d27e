# shellcheck shell=bash
# What the consumer tests share: a kms-local with seeded keys, PEM references and certificates made
# with them, one program under test, handshakes checked by stock clients that know nothing of KMS,
# and an end to all of it however the script ends.
#
# usage of each script: NAME.sh MODULES-FOLDER KMS-LOCAL [USER]
#   USER  run everything as this user (only root can)
#
# A script sources this file, calls consumer_start "$@", and consumer_end as its last line.

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
conf=$here/../../conf
openssl=/usr/bin/openssl
python=/usr/bin/python3
work=
address=
failures=0
checks=0
daemons=()

# --- life ---

# consumer_start SECONDS "$@": after this many seconds the script ends, and has failed.
consumer_start() {
    local deadline=$1
    modules=$2
    local_server=$3
    if [ -n "${4:-}" ] && [ "$(id -un)" != "$4" ]; then
        become "$4" "$deadline"
    fi
    work=$(mktemp -d "${TMPDIR:-/tmp}/kms-consumer.XXXXXX")
    trap consumer_cleanup EXIT
    trap 'say "FAILED: ended by a signal, or no end within $SECONDS s"; exit 1' TERM INT HUP PIPE
    # Ends by itself with the script, and does not keep ctest's pipe open.
    { timeout "$deadline" tail --pid=$$ -f /dev/null || kill -TERM $$; } >/dev/null 2>&1 </dev/null &
    # An address of this script alone: no other test has its ports.
    address=127.$((64 + ($$ >> 16) % 64)).$((($$ >> 8) % 256)).$((1 + $$ % 254))
    cd "$work" || exit 1
    plain=(PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME="$work" LC_ALL=C.UTF-8)
    # A module folder as it is where the provider is installed: OpenSSL's own are there too.
    mkdir modules
    ln -s "$("$openssl" version -m | sed 's/^MODULESDIR: "\(.*\)"$/\1/')"/*.so "$modules/kms.so" modules
    activation=(OPENSSL_CONF="$conf/openssl.cnf" OPENSSL_MODULES="$work/modules"
        KMS_PROVIDER_CONF="$work/kms.conf")
    # The servers change to another user: they must get through to their files.
    chmod 711 "$work"
    say "$(basename "$0") as $(id -un), $(. /etc/os-release && say "$PRETTY_NAME"), $("$openssl" version)"
}

# become USER: starts the script again as USER, with copies, since the build folder may be closed to it.
become() {
    copy=$(mktemp -d "${TMPDIR:-/tmp}/kms-consumer.XXXXXX")
    mkdir -p "$copy/tests" "$copy/modules"
    cp -r "$here" "$copy/tests/consumers"
    cp -r "$conf" "$here/../../examples" "$copy"
    cp "$modules/kms.so" "$copy/modules"
    cp "$local_server" "$copy/kms-local"
    chown -R "$1:" "$copy"
    trap 'rm -rf "$copy"' EXIT
    setpriv --reuid "$1" --regid "$(id -g "$1")" --clear-groups --pdeathsig TERM \
        "$copy/tests/consumers/$(basename "$0")" "$copy/modules" "$copy/kms-local"
    exit
}

consumer_cleanup() {
    local code=$? name
    trap - EXIT
    trap '' TERM INT HUP PIPE
    set +e
    if [ "$code" -ne 0 ]; then
        for name in "$work"/*.log; do
            [ -s "$name" ] && say "--- the end of $(basename "$name")" && tail -n 12 "$name"
        done
    fi
    for name in "${daemons[@]}"; do
        end_daemon "${name#*=}" TERM || kill_group "${name#*=}"
    done
    cd /
    rm -rf "$work"
    exit "$code"
}

consumer_end() {
    say "$checks checks, $failures failed"
    [ "$checks" -gt 0 ] && [ "$failures" -eq 0 ]
}

say() {
    printf '%s\n' "$*"
}

# --- checks ---

# bad TITLE [FILE...]: the check has failed; shows the files.
bad() {
    local file
    failures=$((failures + 1))
    say "FAILED: $1"
    shift
    for file in "$@"; do
        tail -n 12 "$file" | sed 's/^/    /'
    done
}

# works TITLE COMMAND...: the command succeeds. Its output is in the files stdout and stderr.
works() {
    local title=$1 code=0
    shift
    checks=$((checks + 1))
    "$@" >stdout 2>stderr </dev/null || code=$?
    [ "$code" -eq 0 ] || bad "$title: exit $code" stdout stderr
}

# refused TITLE TEXT COMMAND...: the command fails, and says so with this text.
refused() {
    local title=$1 text=$2
    shift 2
    checks=$((checks + 1))
    if "$@" >stdout 2>stderr </dev/null; then
        bad "$title: was not refused" stdout stderr
    elif ! grep -qF -- "$text" stdout stderr; then
        bad "$title: does not say '$text'" stdout stderr
    fi
}

# says TITLE TEXT [FILE]: the command before, or the file, has said it.
says() {
    local files=("${3:-stdout}")
    [ -n "${3:-}" ] || files+=(stderr)
    checks=$((checks + 1))
    grep -qF -- "$2" "${files[@]}" || bad "$1: does not say '$2'" "${files[@]}"
}

# prints TITLE LINE: the command before has printed this line.
prints() {
    checks=$((checks + 1))
    grep -qxF -- "$2" stdout stderr || bad "$1: does not print '$2'" stdout stderr
}

# equal TITLE EXPECTED FOUND
equal() {
    checks=$((checks + 1))
    [ "$2" = "$3" ] || bad "$1: $3 where $2 was due"
}

# wait_until SECONDS COMMAND...: true as soon as the command succeeds, false after the time.
wait_until() {
    local end=$((SECONDS + $1))
    shift
    until "$@" >/dev/null 2>&1; do
        [ "$SECONDS" -lt "$end" ] || return 1
        sleep 0.02
    done
}

# --- programs that stay ---

# start NAME COMMAND...: in a session of its own, its output in NAME.log; ends with the script,
# even if that is killed. Its process id is in the variable daemon.
start() {
    local name=$1
    shift
    setsid setpriv --pdeathsig TERM "$@" >>"$work/$name.log" 2>&1 </dev/null &
    daemon=$!
    daemons+=("$name=$daemon")
}

gone() {
    ! kill -0 "$1" 2>/dev/null || grep -q '^State:.*Z' "/proc/$1/status"
}

kill_group() {
    kill -KILL -- "-$1" 2>/dev/null || true
}

# end_daemon PID SIGNAL: false if it is still there 15 s later.
end_daemon() {
    kill "-$2" "$1" 2>/dev/null || true
    wait_until 15 gone "$1"
}

# stop NAME [SIGNAL]: must end in time, and takes its children with it.
stop() {
    local name pid='' others=()
    for name in "${daemons[@]}"; do
        if [ "${name%=*}" = "$1" ]; then pid=${name#*=}; else others+=("$name"); fi
    done
    daemons=("${others[@]}")
    checks=$((checks + 1))
    end_daemon "$pid" "${2:-TERM}" || bad "$1 does not end" "$1.log"
    kill_group "$pid"
}

# free_port: prints a port that nothing uses on this script's address.
free_port() {
    "$python" -c 'import socket, sys
s = socket.socket()
s.bind((sys.argv[1], 0))
print(s.getsockname()[1])' "$address"
}

# listens PORT: something does on this script's address. Asks the kernel: no connection is made.
listens() {
    local a b c d
    IFS=. read -r a b c d <<<"$address"
    grep -q "$(printf ' %02X%02X%02X%02X:%04X 00000000:0000 0A ' "$d" "$c" "$b" "$a" "$1")" \
        /proc/net/tcp
}

# await NAME PORT: the daemon NAME listens, or the script ends.
await() {
    if ! wait_until 20 listens "$2"; then
        bad "$1 does not listen" "$1.log"
        exit 1
    fi
}

# children PID: prints the process ids of its children.
children() {
    pgrep -P "$1" | sort -n
}

# descriptors PID, resident PID: how many are open; kB of memory in use.
descriptors() {
    find "/proc/$1/fd" -mindepth 1 2>/dev/null | wc -l
}

resident() {
    sed -n 's/^VmRSS:[[:space:]]*\([0-9]*\) kB/\1/p' "/proc/$1/status"
}

# most MEASURE PID...: the largest value of the measure.
most() {
    local measure=$1 pid value best=0
    shift
    for pid in "$@"; do
        value=$("$measure" "$pid" || true)
        [ "${value:-0}" -le "$best" ] || best=$value
    done
    say "$best"
}

# within BOUND MEASURE PID...: the most of them is no more, and is something.
within() {
    local bound=$1 now
    shift
    now=$(most "$@")
    [ "$now" -gt 0 ] && [ "$now" -le "$bound" ]
}

# flat TITLE GROWTH BEFORE MEASURE PID...: it has grown by no more than that, as soon as the server
# has closed what its clients have left.
flat() {
    local title=$1 growth=$2 before=$3 after grown=false
    shift 3
    checks=$((checks + 1))
    wait_until 10 within $((before + growth)) "$@" || grown=true
    after=$(most "$@")
    say "  $title: $before before, $after after, may grow by $growth"
    [ "$grown" = false ] || bad "$title: $after where $before was"
}

# --- KMS, and what is made with its keys ---

# clean COMMAND...: in an environment that knows nothing of KMS, with a deadline.
clean() {
    timeout -k 5 60 env -i "${plain[@]}" "$@"
}

# with_kms COMMAND...: in one that activates the provider, and holds nothing else.
with_kms() {
    timeout -k 5 60 env -i "${plain[@]}" "${activation[@]}" "$@"
}

# serve NAME COMMAND...: starts it in that environment.
serve() {
    local name=$1
    shift
    start "$name" env -i "${plain[@]}" "${activation[@]}" "$@"
}

# configure NAME [SED-ARGUMENT...]: writes the example configuration of this name, with the folder and
# the address of this script.
configure() {
    local name=$1
    shift
    sed -e "s,/etc/kms-provider/tls,$work,g" -e "s,127\.0\.0\.1,$address,g" "$@" \
        "$conf/examples/$name" >"$name"
}

# start_kms NAME:SPEC...: starts kms-local with these keys for signing, and configures the provider
# for it as an administrator would: kms.conf, and credentials in the shared AWS file.
start_kms() {
    local seeds=() key
    for key in "$@"; do
        seeds+=(--seed-key "alias/$key:SIGN_VERIFY")
    done
    start kms-local "$local_server" --port 0 "${seeds[@]}"
    if ! wait_until 60 grep -q '^kms-local ready on ' kms-local.log; then
        bad 'kms-local does not start' kms-local.log
        exit 1
    fi
    url=$(sed -n 's/^kms-local ready on //p' kms-local.log)
    printf 'region = eu-central-1\nendpoint = %s\nlog = stderr\n' "$url" >kms.conf
    mkdir .aws
    printf '[default]\naws_access_key_id = local\naws_secret_access_key = local\n' \
        >.aws/credentials
}

# readable_by GROUP: what a server that has given up root needs to read.
readable_by() {
    [ "$(id -u)" -eq 0 ] || return 0
    chgrp -R "$1" .aws
    chmod -R g+rX,o= .aws
}

# requests OPERATION: how many KMS has seen of it, or of any.
requests() {
    clean curl -sf "$url/_admin/requests" | "$python" -c 'import json, sys
counts = json.load(sys.stdin)["operations"]
print(sum(counts.values()) if sys.argv[1] == "any" else counts.get(sys.argv[1], 0))' "$1"
}

# reference NAME...: writes NAME.pem, the reference of alias/NAME.
reference() {
    local name
    for name in "$@"; do
        works "reference of $name" with_kms "$openssl" pkey -in "kms:alias/$name" -out "$name.pem"
        grep -q 'BEGIN KMS KEY REFERENCE' "$name.pem" || bad "$name.pem is no reference" "$name.pem"
    done
}

# authority: one whose key is alias/ca: ca.pem, ca.crt.
authority() {
    reference ca
    works 'certificate of the authority' with_kms "$openssl" req -x509 -new -key ca.pem \
        -subj /CN=authority -days 2 -addext keyUsage=critical,keyCertSign,cRLSign \
        -addext basicConstraints=critical,CA:TRUE -out ca.crt
}

# certificate NAME HOST: NAME.crt for HOST, requested by the key NAME.pem, which may be an ordinary
# one, and signed by the authority in KMS. Verified by stock openssl.
certificate() {
    works "request of $1" with_kms "$openssl" req -new -key "$1.pem" -subj "/CN=$2" \
        -addext "subjectAltName=DNS:$2" -out "$1.csr"
    works "certificate of $1" with_kms "$openssl" x509 -req -in "$1.csr" -CA ca.crt -CAkey ca.pem \
        -days 1 -copy_extensions copy -out "$1.crt"
    works "the certificate of $1 verifies" clean "$openssl" verify -CAfile ca.crt "$1.crt"
}

# served NAME...: reference and certificate for web.test of each.
served() {
    local name
    for name in "$@"; do
        reference "$name"
        certificate "$name" web.test
    done
}

# ordinary NAME HOST: an ordinary key, NAME.pem, and its certificate by the same authority.
ordinary() {
    works "ordinary key $1" clean "$openssl" genpkey -algorithm EC -pkeyopt group:P-256 -out "$1.pem"
    certificate "$1" "$2"
}

# --- stock clients ---

# signature_is TITLE TYPE: what the s_client before said. OpenSSL 3.5 says the name of TLS instead.
signature_is() {
    local name=$2
    case $2 in
    RSA) name='rsa_pkcs1_[a-z0-9]*' ;;
    RSA-PSS) name='rsa_pss_rsae_[a-z0-9]*' ;;
    ECDSA) name='ecdsa_[a-z0-9]*_[a-z0-9]*' ;;
    esac
    checks=$((checks + 1))
    grep -qxE "Signature type: ($2|$name)" stdout stderr ||
        bad "$1: does not print 'Signature type: $2'" stdout stderr
}

# handshake TITLE PORT HOST SIGNATURE [ARGUMENT...]: stock s_client in a clean environment verifies
# chain and name, and says that the server's signature is of this type (RSA, RSA-PSS, ECDSA, ed25519).
handshake() {
    local title=$1 port=$2 host=$3 signature=$4
    shift 4
    works "$title" clean "$openssl" s_client -connect "$address:$port" -servername "$host" \
        -verify_hostname "$host" -CAfile ca.crt -verify_return_error -brief "$@"
    prints "$title" 'Verification: OK'
    signature_is "$title" "$signature"
}

# many PORT HOST COUNT [ARGUMENT...]: verified handshakes by Python's ssl in a clean environment, 8
# at a time; prints how many succeeded.
many() {
    local port=$1 host=$2 count=$3
    shift 3
    timeout -k 5 300 env -i "$python" -I "$here/handshakes.py" --ca "$work/ca.crt" \
        --count "$count" "$@" "$address" "$port" "$host"
}
