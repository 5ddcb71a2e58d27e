# shellcheck shell=bash
# What the scripts share: packages, and words on the terminal.

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)

# To build and run.
packages_build=(
    gcc cmake ninja-build pkg-config openssl libssl-dev libcurl4-openssl-dev libcjson-dev
    libp11-kit-dev libsqlite3-dev libmicrohttpd-dev libcmocka-dev opensc
)
# To test: other compilers, analysers, foreign AWS clients, consumers.
packages_test=(
    clang clang-format clang-tidy libclang-rt-14-dev shellcheck p11-kit p11-kit-modules
    awscli python3-botocore nodejs npm curl binutils valgrind
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
    for name in "$@"; do
        is_installed "$name" || missing+=("$name")
    done
    [ "${#missing[@]}" -eq 0 ] && return 0
    say "Installing: ${missing[*]}"
    as_root apt-get update -qq </dev/null
    as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends \
        "${missing[@]}" </dev/null >/dev/null
}

# build PRESET: configures and builds, quietly unless it fails.
build() {
    local log
    mkdir -p "$root/build"
    log=$root/build/$1.log
    if ! { cmake --preset "$1" -S "$root" && cmake --build --preset "$1"; } >"$log" 2>&1; then
        tail -n 50 "$log" >&2
        fail "building preset $1 failed; the whole log is $log"
    fi
}

# wait_for_server LOG: waits for the ready line of kms-local and prints its URL.
wait_for_server() {
    local url='' _
    for _ in $(seq 100); do
        url=$(sed -n 's/^kms-local ready on //p' "$1")
        [ -n "$url" ] && break
        sleep 0.05
    done
    [ -n "$url" ] || fail "kms-local did not start: $(cat "$1")"
    say "$url"
}
