#!/usr/bin/env bash
# Installs what the tests need and runs them all, or the stages named.
# usage: infra/test.sh [--list] [STAGE...]
set -euo pipefail
cd "$(dirname "$0")/.."
# shellcheck source=infra/lib.sh
. infra/lib.sh

stages=(format shell dev tidy clang release asan tsan fuzz)
passed=0
failed=0

usage() {
    say "usage: infra/test.sh [--list] [STAGE...]"
    say "stages: ${stages[*]}"
}

c_sources() {
    git ls-files '*.c' '*.h'
}

# run_ctest PRESET [ARGUMENT...]: a test that was skipped or could not run has failed.
run_ctest() {
    local preset=$1 log counts bad=0 total
    shift
    log=build/$preset-ctest.log
    (cd "build/$preset" && ctest --output-on-failure --no-tests=error "$@") >"$log" 2>&1 || bad=1
    counts=$(sed -n 's/.*tests passed, \([0-9]*\) tests failed out of \([0-9]*\)/\1 \2/p' "$log")
    if [ -z "$counts" ] || grep -qE '\*\*\*(Skipped|Not Run)|\(Disabled\)' "$log"; then
        bad=1
    fi
    total=${counts#* }
    if [ "$bad" -eq 0 ]; then
        passed=$((passed + total))
        say "  $total tests"
        return 0
    fi
    cat "$log"
    failed=$((failed + $([ -n "$counts" ] && [ "${counts% *}" -gt 0 ] && say "${counts% *}" || say 1)))
    passed=$((passed + $([ -n "$counts" ] && say $((total - ${counts% *})) || say 0)))
    return 0
}

# check COMMAND...: counts as one test.
check() {
    if "$@"; then
        passed=$((passed + 1))
    else
        failed=$((failed + 1))
    fi
}

format_is_clean() {
    c_sources | xargs clang-format --dry-run -Werror
}

scripts_are_clean() {
    git ls-files '*.sh' .ci/run | xargs shellcheck -x
}

tidy_is_clean() {
    git ls-files 'core/*.c' 'provider/*.c' 'pkcs11/*.c' 'infra/*.c' |
        xargs -P 2 -n 4 clang-tidy -p build/dev --quiet 2>build/tidy.err >build/tidy.log ||
        { cat build/tidy.log; return 1; }
}

stage_format() {
    check format_is_clean
}

stage_shell() {
    check scripts_are_clean
}

stage_dev() {
    build dev
    run_ctest dev
}

stage_tidy() {
    [ -f build/dev/compile_commands.json ] || build dev
    check tidy_is_clean
}

stage_clang() {
    check build clang
}

stage_release() {
    build release
    run_ctest release
}

stage_asan() {
    build asan
    run_ctest asan
}

stage_tsan() {
    build tsan
    run_ctest tsan -L threads
}

stage_fuzz() {
    build fuzz
    run_ctest fuzz -L fuzz
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

install_packages "${packages_build[@]}" "${packages_test[@]}"
for stage in "${chosen[@]}"; do
    start=$SECONDS
    say "== $stage"
    "stage_$stage"
    say "   $((SECONDS - start)) s"
done
say "$passed passed, $failed failed"
[ "$failed" -eq 0 ]
