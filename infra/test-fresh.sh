#!/usr/bin/env bash
# The two commands of the README on a fresh machine: a bare Debian 12 and a clean clone of what is
# committed, first as an ordinary user with sudo, then as root. Needs root.
# usage: infra/test-fresh.sh
set -euo pipefail
cd "$(dirname "$0")/.."
# shellcheck source=infra/lib.sh
. infra/lib.sh
# shellcheck source=infra/root.sh
. infra/root.sh

machine=$roots/fresh
work=kms-provider

# clone_into HOME: what is committed, below that folder of the root.
clone_into() {
    git clone --quiet --no-hardlinks "file://$root" "$machine$1/$work"
}

# What both users do: the quickstart, again beside its running server, its way on, and its refusal
# of an argument it does not know.
# shellcheck disable=SC2016
try_quickstart='
    set -eu
    cd kms-provider
    ./infra/quickstart.sh
    ./infra/quickstart.sh >second.log || { cat second.log; exit 1; }
    (
        . build/quickstart/env
        openssl pkeyutl -encrypt -provider default -provider kms -inkey kms:alias/matbakh-ai \
            -pkeyopt context:dataType=credentials -pkeyopt context:operationId=op-2 \
            -in LICENSE -out /dev/null 2>refusal && exit 1
        grep -q "4096 bytes" refusal
    ) || { echo "the env file does not work: $(cat refusal)"; exit 1; }
    ./infra/quickstart.sh --stop
    [ "$(./infra/quickstart.sh --stop)" = "kms-local does not run." ]
    ./infra/quickstart.sh --no-such-option >/dev/null 2>&1 && exit 1 || [ $? -eq 2 ]
'

# The stages that another stage does not make likely to work, without the slow ones.
# shellcheck disable=SC2016
try_tests='
    set -eu
    cd kms-provider
    ./infra/test.sh --no-such-stage >/dev/null 2>&1 && exit 1 || [ $? -eq 2 ]
    ./infra/test.sh format shell dev clang packaging readme
'

# run_as_user KIB COMMANDS: in a login of the user's own, with so much lockable memory.
run_as_user() {
    # shellcheck disable=SC2016
    in_root "$machine" bash -c 'ulimit -l "$1"; exec su - user -c "$2"' run_as_user "$@"
}

# An ordinary user: with sudo and without a locale. The quickstart gets as little lockable memory as
# systems allow that are older than Debian 12, the tests what Debian 12 allows.
as_user() {
    unpack_root "$machine" bookworm
    install_in_root "$machine" sudo
    in_root "$machine" useradd --create-home --shell /bin/bash --groups sudo user
    clone_into /home/user
    echo 'user ALL=(ALL) NOPASSWD: ALL' >"$machine/etc/sudoers.d/user"
    in_root "$machine" chown -R user:user /home/user
    run_as_user 64 "$try_quickstart"
    run_as_user 8192 "$try_tests"
}

as_root_user() {
    unpack_root "$machine" bookworm
    clone_into /root
    in_root "$machine" bash -c "cd; $try_quickstart"
}

require_root
trap 'drop_root "$machine"' EXIT
start=$SECONDS
say "== fresh machine, ordinary user: quickstart, test.sh"
as_user
say "   $((SECONDS - start)) s"
start=$SECONDS
say "== fresh machine, root: quickstart"
as_root_user
say "   $((SECONDS - start)) s"
