#!/usr/bin/env bash
# PostgreSQL serves TLS with a key in KMS: psql verifies it in full, also with a client key in KMS;
# connections during reloads; each key type.
# usage: postgresql.sh MODULES-FOLDER KMS-LOCAL [USER]
set -euo pipefail
# shellcheck source=tests/consumers/lib.sh
. "$(dirname "$0")/lib.sh"

reloads=20
programs=$(find /usr/lib/postgresql -maxdepth 2 -name bin | sort -V | tail -n 1)

set_up() {
    start_kms ca:ECC_NIST_P384 web-rsa:RSA_2048 web-p256:ECC_NIST_P256 \
        web-ed25519:ECC_NIST_EDWARDS25519 client:ECC_NIST_P256
    authority
    served web-rsa web-p256 web-ed25519
    reference client
    certificate client somebody
    chmod 600 ./*.pem
    works initdb clean "$programs/initdb" -D data -U somebody --auth=trust --no-sync
    port=$(free_port)
    cat >data/pg_hba.conf <<END
hostssl all somebody 127.0.0.0/8 trust
hostssl all secured  127.0.0.0/8 cert map=names
END
    printf 'names somebody secured\n' >data/pg_ident.conf
    printf "unix_socket_directories = ''\nfsync = off\ninclude = '%s/postgresql.conf'\n" "$work" \
        >>data/postgresql.conf
    uses web-rsa
}

# uses KEY: the example configuration with this key.
uses() {
    configure postgresql.conf -e "s/5432/$port/" -e "s/web-rsa/$1/"
}

starts() {
    local before
    before=$(requests any)
    serve postgresql "$programs/postgres" -D data
    await postgresql "$port"
    wait_until 30 grep -q 'ready to accept connections' postgresql.log ||
        bad 'it does not start' postgresql.log
    equal 'requests while it loads' "$before" "$(requests any)"
}

# query TITLE ENVIRONMENT USER [NAME=VALUE...]: over TLS, with chain and name verified.
query() {
    local title=$1 environment=$2 user=$3
    shift 3
    works "$title" "$environment" "$programs/psql" -X -At -c \
        "select 'TLS: ' || ssl || ', ' || version || ', ' || current_user from pg_stat_ssl
         where pid = pg_backend_pid()" \
        "host=web.test hostaddr=$address port=$port user=$user dbname=postgres sslmode=verify-full
         sslrootcert=$work/ca.crt $*"
    prints "$title" "TLS: true, TLSv1.3, $user"
}

queries() {
    local before
    before=$(requests any)
    query 'psql' clean somebody
    equal 'psql: requests' 1 $(($(requests any) - before))
    works 'another user' clean "$programs/psql" -X -c 'create role secured login' \
        "host=web.test hostaddr=$address port=$port user=somebody dbname=postgres sslmode=require"
    before=$(requests any)
    query 'psql with a client key in KMS' with_kms secured "sslcert=$work/client.crt" \
        "sslkey=$work/client.pem"
    equal 'client key: requests' 2 $(($(requests any) - before))
    refused 'no client certificate' 'requires a valid client certificate' clean \
        "$programs/psql" -X -c 'select 1' \
        "host=web.test hostaddr=$address port=$port user=secured dbname=postgres sslmode=verify-full
         sslrootcert=$work/ca.crt"
}

# serves KEY: a new connection shows this key's certificate.
serves() {
    clean "$openssl" s_client -starttls postgres -connect "$address:$port" -servername web.test \
        -CAfile ca.crt -verify_return_error </dev/null 2>/dev/null |
        clean "$openssl" x509 -outform DER | cmp -s - <(clean "$openssl" x509 -in "$1.crt" -outform DER)
}

# changes_to KEY: by a reload.
changes_to() {
    uses "$1"
    kill -HUP "$daemon"
    wait_until 20 serves "$1"
}

each_key() {
    local key=$1
    checks=$((checks + 1))
    changes_to "$key" || bad "$key: not after a reload" postgresql.log
    handshake "$key" "$port" web.test "$2" -starttls postgres
    query "$key: psql" clean somebody
}

reloads_under_load() {
    local i load before other done_ fds='' rss=''
    before=$(requests Sign)
    other=$(($(requests any) - before))
    many "$port" web.test 1000000 --postgresql --threads 2 --until "$work/enough" >load.out \
        2>load.log &
    load=$!
    for i in $(seq $((reloads / 2))); do
        changes_to web-p256 || { bad 'a reload has no end' postgresql.log; exit 1; }
        changes_to web-rsa || { bad 'a reload has no end' postgresql.log; exit 1; }
        [ "$i" -ne 3 ] || fds=$(descriptors "$daemon") rss=$(resident "$daemon")
    done
    : >enough
    checks=$((checks + 1))
    wait "$load" || bad 'connections failed during reloads' load.log
    done_=$(cat load.out)
    say "  $done_ connections during $reloads reloads," \
        "and $(($(requests Sign) - before - done_)) that looked for the certificate"
    equal 'requests that sign nothing' "$other" $(($(requests any) - $(requests Sign)))
    flat 'descriptors of the server after 6 reloads and all' 0 "$fds" descriptors "$daemon"
    flat 'kB of the server after 6 reloads and all' 1024 "$rss" resident "$daemon"
}

connections_cost() {
    local before
    before=$(requests Sign)
    equal 'connections' 200 "$(many "$port" web.test 200 --postgresql 2>many.log || true)"
    equal 'requests of 200 connections' 200 $(($(requests Sign) - before))
}

# It refuses to run as root.
[ "$(id -u)" -ne 0 ] || set -- "$1" "$2" "${3:-postgres}"
consumer_start 480 "$@"
set_up
starts
queries
connections_cost
each_key web-p256 ECDSA
each_key web-ed25519 ed25519
each_key web-rsa RSA-PSS
reloads_under_load
stop postgresql INT
consumer_end
