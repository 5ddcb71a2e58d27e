# shellcheck shell=bash
# shellcheck disable=SC2034 # used by the scripts that read this file
# What the scripts share: packages, building, and words on the terminal.

# Output of tools is compared and searched: one language, on machines without locales too. What is
# built and packed is for everybody to read.
export LC_ALL=C.UTF-8
umask 022

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)

# To build and run.
packages_build=(
    gcc cmake ninja-build pkg-config openssl libssl-dev libcurl4-openssl-dev libcjson-dev
    libp11-kit-dev libsqlite3-dev libmicrohttpd-dev libcmocka-dev opensc
)
# To test: other compilers, analysers, foreign AWS clients, consumers.
packages_test=(
    clang clang-format clang-tidy libclang-rt-14-dev shellcheck p11-kit p11-kit-modules
    awscli python3-botocore nodejs npm curl binutils valgrind git man-db dpkg-dev file mmdebstrap
    nginx apache2-bin haproxy postgresql stunnel4 procps gnutls-bin openssh-client
    python3-cryptography
)

say() {
    printf '%s\n' "$*"
}

fail() {
    printf '%s: %s\n' "$(basename "$0")" "$*" >&2
    exit 1
}

as_root() {
    if [ "$(id -u)" -eq 0 ]; then
        "$@"
    elif command -v sudo >/dev/null; then
        sudo "$@"
    else
        fail "needs root to install packages: install sudo, or run as root: $*"
    fi
}

# is_installed NAME: itself, or provided by a package that is (as nodejs of its makers brings npm).
is_installed() {
    dpkg-query -W -f '${db:Status-Status} ${Package} ${Provides}\n' |
        awk -v name="$1" '$1 == "installed" {
            gsub(",", ""); for (i = 2; i <= NF; i++) if ($i == name) found = 1
        } END { exit !found }'
}

# install_packages NAME...: installs those that are missing, and asks apt only then.
install_packages() {
    local missing=() name
    command -v dpkg-query >/dev/null || fail "needs Debian 12 or a system like it, with apt"
    for name in "$@"; do
        is_installed "$name" || missing+=("$name")
    done
    [ "${#missing[@]}" -eq 0 ] && return 0
    say "Installing: ${missing[*]}"
    as_root apt-get update -qq </dev/null || fail "apt-get update failed"
    as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends \
        "${missing[@]}" </dev/null >/dev/null || fail "apt-get install failed"
}

# The folder for all that is made; another user's earlier run may have left it unwritable.
make_build_folder() {
    mkdir -p "$root/build" 2>/dev/null || true
    [ -w "$root/build" ] || fail "$(id -un) cannot write to $root/build: run as its owner or remove it"
}

# build PRESET: configures and builds, quietly unless it fails; then it returns 1.
build() {
    local log=$root/build/$1.log
    (cd "$root" && cmake --preset "$1" && cmake --build --preset "$1") >"$log" 2>&1 && return 0
    tail -n 50 "$log" >&2
    say "building preset $1 failed; the whole log is $log" >&2
    return 1
}

# wait_for_server LOG PID: waits for the ready line of kms-local and prints its URL.
wait_for_server() {
    local url='' _
    for _ in $(seq 200); do
        url=$(sed -n 's/^kms-local ready on //p' "$1")
        [ -z "$url" ] || break
        kill -0 "$2" 2>/dev/null || break
        sleep 0.05
    done
    [ -n "$url" ] || fail "kms-local did not start: $(cat "$1")"
    say "$url"
}
