#!/usr/bin/env bash
# Installs what the tests need and runs them all, or the stages named.
# usage: infra/test.sh [--list] [STAGE...]
set -euo pipefail
cd "$(dirname "$0")/.."
# shellcheck source=infra/lib.sh
. infra/lib.sh

stages=(format shell dev tidy clang release asan tsan fuzz packaging readme)
passed=0
failed=0

usage() {
    say "usage: infra/test.sh [--list] [STAGE...]"
    say "stages: ${stages[*]}"
}

c_sources() {
    git ls-files '*.c' '*.h'
}

# check COMMAND...: counts as one test, also where the command gives up by `fail`.
check() {
    if ("$@"); then
        passed=$((passed + 1))
    else
        say "FAILED: $*"
        failed=$((failed + 1))
    fi
}

# count_of PATTERN LOG: the number that the pattern's group matches in ctest's last lines, or 0.
count_of() {
    local count
    count=$(sed -n "s/$1/\\1/p" "$2" | tail -n 1)
    say "${count:-0}"
}

# test_preset PRESET [CTEST-ARGUMENT...]: builds, then counts each test of ctest. One that was
# skipped, as a whole or in part, or that could not run has failed.
test_preset() {
    local preset=$1 folder=build/$1 log=build/$1-ctest.log result=0 total bad
    shift
    build "$preset" || { failed=$((failed + 1)); return 0; }
    (cd "$folder" && "${runner[@]}" ctest --output-on-failure --no-tests=error -j "$(nproc)" "$@") \
        >"$log" 2>&1 || result=$?
    total=$(count_of '.* tests failed out of \([0-9]*\)$' "$log")
    bad=$(count_of '.*tests passed, \([0-9]*\) tests failed out of .*' "$log")
    if [ "$bad" -eq 0 ] && { [ "$result" -ne 0 ] || [ "$total" -eq 0 ] || skipped "$folder" "$log"; }; then
        bad=1
        total=$((total > 0 ? total : 1))
    fi
    [ "$bad" -eq 0 ] || cat "$log"
    passed=$((passed + total - bad))
    failed=$((failed + bad))
    say "   $total tests, $bad failed"
}

# skipped FOLDER LOG: whether ctest skipped a test, or cmocka one inside a test.
skipped() {
    grep -E '\*\*\*(Skipped|Not Run)|\(Disabled\)' "$2" ||
        grep -F '[  SKIPPED ]' "$1/Testing/Temporary/LastTest.log"
}

format_is_clean() {
    c_sources | xargs clang-format --dry-run -Werror
}

scripts_are_clean() {
    git ls-files '*.sh' .ci/run | xargs shellcheck -x
}

# tidy PRESET: clang-tidy on the C files named on standard input, as that preset builds them. One
# file at a time: version 14 mixes up variable arguments between files.
tidy() {
    cmake --preset "$1" >"build/tidy-$1.err" || return 1
    xargs -P "$(nproc)" -n 1 clang-tidy -p "build/$1" --quiet \
        2>>"build/tidy-$1.err" >"build/tidy-$1.log" || { cat "build/tidy-$1.log"; return 1; }
}

# What needs a later OpenSSL than Debian 12 has is not among them.
sources_are_tidy() {
    git ls-files '*.c' ':!tests/fuzz' ':!*/test_openssl35_*.c' | tidy dev
}

fuzzers_are_tidy() {
    git ls-files 'tests/fuzz/*.c' | tidy fuzz
}

stage_format() {
    check format_is_clean
}

stage_shell() {
    check scripts_are_clean
}

# Consumers are tried with what is released.
stage_dev() {
    test_preset dev -LE consumers
}

stage_tidy() {
    check sources_are_tidy
    check fuzzers_are_tidy
}

stage_clang() {
    check build clang
}

stage_release() {
    test_preset release -LE interop
}

# Of the foreign clients one is enough here: they judge kms-local, and aws starts slowly.
stage_asan() {
    test_preset asan -E '^interop\.aws$'
}

# gcc 12's thread sanitizer cannot start where the kernel spreads addresses more than it expects.
stage_tsan() {
    local runner=()
    if [ "$(cat /proc/sys/vm/mmap_rnd_bits 2>/dev/null || say 0)" -gt 28 ]; then
        runner=(setarch --addr-no-randomize)
    fi
    test_preset tsan -L threads
}

stage_fuzz() {
    test_preset fuzz -L fuzz
}

# The Debian packages, in a clean Debian 12.
stage_packaging() {
    check build release
    check make_packages
    check as_root tests/packaging/deb.sh build/packages
}

make_packages() {
    rm -rf build/packages
    cpack --preset release >build/cpack.log 2>&1 || { cat build/cpack.log; return 1; }
}

# The commands that README.md shows.
stage_readme() {
    check tests/packaging/readme.sh
}

chosen=()
for argument in "$@"; do
    case $argument in
    --list)
        printf '%s\n' "${stages[@]}"
        exit 0
        ;;
    --help)
        usage
        exit 0
        ;;
    *)
        if [[ " ${stages[*]} " != *" $argument "* ]]; then
            say "test.sh: no stage '$argument'" >&2
            usage >&2
            exit 2
        fi
        chosen+=("$argument")
        ;;
    esac
done
[ "${#chosen[@]}" -gt 0 ] || chosen=("${stages[@]}")

install_packages "${packages_build[@]}" "${packages_suites[@]}" "${packages_test[@]}"
make_build_folder
runner=()
for stage in "${chosen[@]}"; do
    start=$SECONDS
    say "== $stage"
    "stage_$stage"
    say "   $((SECONDS - start)) s"
done
say "$passed passed, $failed failed"
[ "$failed" -eq 0 ]
