#!/usr/bin/env bash
# `cmake --install` puts exactly the files of installed.txt in place, below
# DESTDIR or another prefix; they carry no path of the build and work from there.
# usage: install.sh BUILD-FOLDER SOURCE-FOLDER
set -euo pipefail
# shellcheck source=tests/packaging/check.sh
. "$(dirname "$0")/check.sh"

build=$1
source=$2
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
arch=$(gcc -print-multiarch)
umask 002

by_path() {
    LC_ALL=C sort -k 2
}

# list FOLDER: mode and path of each file and link; folders that are not open to all are listed too.
list() {
    (cd "$1" && find . -mindepth 1 \( ! -type d -o ! -perm 755 \) -printf '%m %P\n' | by_path)
}

install_to() {
    cmake --install "$build" "$@" >"$work/log" 2>&1 || wrong "cmake --install $*: $(cat "$work/log")"
}

# Below DESTDIR, for the system's own prefix.
mkdir "$work/dest"
DESTDIR=$work/dest install_to --prefix /usr
expected=$(sed "s/@arch@/$arch/" "$(dirname "$0")/installed.txt")
same_lines "files below DESTDIR" "$(sed 's, , usr/,; s,usr/etc/,etc/,' <<<"$expected" | by_path)" \
    "$(list "$work/dest")"
module_dir=$work/dest$(pkg-config --variable=modulesdir libcrypto)
[ -f "$module_dir/kms.so" ] || wrong "kms.so is not in OpenSSL's module folder"
[ -f "$work/dest$(pkg-config --variable=p11_module_path p11-kit-1)/kms-pkcs11.so" ] ||
    wrong "kms-pkcs11.so is not where p11-kit looks"
[ -f "$work/dest$(pkg-config --variable=p11_module_configs p11-kit-1)/kms-pkcs11.module" ] ||
    wrong "kms-pkcs11.module is not where p11-kit looks"
! grep -rlF "$source" "$work/dest" || wrong "these files name the build's folder"

# Another prefix has the same layout; settings that were edited stay.
install_to --prefix "$work/other"
same_lines "files below another prefix" "$expected" "$(list "$work/other")"
echo "# mine" >"$work/other/etc/kms-provider/kms.conf"
install_to --prefix "$work/other"
[ "$(cat "$work/other/etc/kms-provider/kms.conf")" = "# mine" ] || wrong "an edited kms.conf was lost"

# The settings as shipped, and the modules from where they were installed.
export KMS_PROVIDER_CONF=$work/dest/etc/kms-provider/kms.conf OPENSSL_MODULES=$module_dir
OPENSSL_CONF=$work/dest/etc/kms-provider/openssl.cnf openssl list -providers >"$work/out" 2>&1 ||
    wrong "openssl with the installed provider: $(cat "$work/out")"
same_lines "providers, in order" $'  default\n  kms' "$(grep -E '^  [a-z]' "$work/out")"

# The fragment also fits at the end of the system's openssl.cnf.
system=$(openssl version -d | sed 's/.*"\(.*\)"/\1/')/openssl.cnf
{ cat "$system"; echo ".include = $work/dest/etc/kms-provider/openssl.cnf"; } >"$work/system.cnf"
OPENSSL_CONF=$work/system.cnf openssl list -providers >"$work/out" 2>&1 ||
    wrong "openssl with the fragment included: $(cat "$work/out")"
same_lines "providers by the system's file" $'  default\n  kms' "$(grep -E '^  [a-z]' "$work/out")"
finish
