#!/usr/bin/env bash
# Builds and tests on Debian 13, with its OpenSSL 3.5: the sources of this folder in a root of their
# own, warnings as errors, all of ctest but `interop`, which judges no module. Needs root.
# usage: infra/test-debian13.sh [CTEST-ARGUMENT...]
set -euo pipefail
cd "$(dirname "$0")/.."
# shellcheck source=infra/lib.sh
. infra/lib.sh
# shellcheck source=infra/root.sh
. infra/root.sh

machine=$roots/debian13
work=/root/kms-provider

# took NAME COMMAND...: says how long it took.
took() {
    local start=$SECONDS name=$1
    shift
    "$@"
    say "   $name: $((SECONDS - start)) s"
}

# The files that git knows, as they are here; a link of git's own is none of theirs.
copy_sources() {
    mkdir -p "$machine$work"
    git ls-files -z --cached --others --exclude-standard |
        tar --null --no-recursion --files-from=- -c | tar -C "$machine$work" -x --no-same-owner
}

# shellcheck disable=SC2016
run_build='cd "$1" && . infra/lib.sh && make_build_folder && build dev'

# One that was skipped has failed.
# shellcheck disable=SC2016
run_suites='
    cd "$1/build/dev"
    shift
    result=0
    ctest --output-on-failure --no-tests=error -j "$(nproc)" -LE interop "$@" || result=$?
    if grep -F "[  SKIPPED ]" Testing/Temporary/LastTest.log; then
        result=1
    fi
    exit "$result"
'

# Says no more than the sums, unless a test has failed.
test_suites() {
    local log=$machine.ctest.log
    in_root "$machine" bash -c "$run_suites" suites "$work" "$@" >"$log" 2>&1 ||
        { cat "$log"; fail "tests failed on Debian 13"; }
    sed -n '/tests passed/p; /sec\*proc/s/^/   /p' "$log"
}

require_root
trap 'drop_root "$machine"' EXIT
took "root" unpack_root "$machine" trixie "${packages_build[@]}" "${packages_suites[@]}"
copy_sources
say "== Debian $(cat "$machine/etc/debian_version"), $(in_root "$machine" openssl version)"
took "build" in_root "$machine" bash -c "$run_build" build "$work"
took "tests" test_suites "$@"
