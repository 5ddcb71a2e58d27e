#!/usr/bin/env bash
# The Debian packages install into a clean Debian 12, work there for an ordinary user, and leave
# nothing behind when purged. Needs root. usage: deb.sh PACKAGE-FOLDER
set -euo pipefail
packages=$(cd "$1" && pwd)
cd "$(dirname "$0")/../.."
# shellcheck source=infra/lib.sh
. infra/lib.sh
# shellcheck source=infra/root.sh
. infra/root.sh

machine=$roots/deb
require_root
unpack_root "$machine" bookworm
trap 'drop_root "$machine"' EXIT

# What installing and purging could leave, apart from apt's and dpkg's own books and from what
# programs keep in a home.
files_of_root() {
    in_root "$machine" find / -xdev \( -path /proc -o -path /dev -o -path /tmp -o -path /home \
        -o -path /var/lib/apt -o -path /var/lib/dpkg -o -path /var/cache -o -path /var/log \) \
        -prune -o -print | sort
}

install_in_root "$machine" openssl opensc p11-kit man-db ca-certificates
in_root "$machine" useradd --create-home user
files_of_root >"$machine.before"

debs=()
for deb in "$packages"/kms-provider_*.deb "$packages"/kms-local_*.deb; do
    cp "$deb" "$machine/tmp/"
    debs+=("/tmp/$(basename "$deb")")
done
install_in_root "$machine" "${debs[@]}"
cp tests/packaging/inside.sh "$machine/tmp/"
in_root "$machine" su - user -c 'bash /tmp/inside.sh'

in_root "$machine" env DEBIAN_FRONTEND=noninteractive \
    apt-get purge -y -qq --autoremove kms-provider kms-local >/dev/null
files_of_root >"$machine.after"
diff "$machine.before" "$machine.after" || fail "purge left or took files (listed above)"
say "deb.sh: the packages install, work and leave nothing"
