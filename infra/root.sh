# shellcheck shell=bash
# A Debian of its own in a folder: bare, to see what happens where nothing is installed, or of
# another release. Needs infra/lib.sh. It is made from the Debian repositories that this machine's
# apt uses, with apt's own settings (proxy and the like), and kept as a tar file below build/roots.
# Needs root and mount namespaces.

# shellcheck disable=SC2154 # root: infra/lib.sh
roots=$root/build/roots

require_root() {
    [ "$(id -u)" -eq 0 ] || fail "needs root: it makes and enters a Debian root folder"
    unshare --mount --pid --fork true || fail "needs the right to make mount and pid namespaces"
    install_packages mmdebstrap
}

# debian_sources SUITE: the repositories of Debian itself among those of this machine, as lines of
# sources.list. Each has all releases under like names.
debian_sources() {
    # shellcheck disable=SC2016 # apt fills these in
    apt-get indextargets --format 'deb $(REPO_URI) $(RELEASE) $(COMPONENT)' \
        'Created-By: Packages' 'Origin: Debian' |
        sed -nE "s/ (bookworm|trixie)((-[a-z]+)?) / $1\2 /p" | sort -u
}

# base_tar SUITE [PACKAGE...]: makes the tar file if it is not there yet and prints its path.
base_tar() {
    local suite=$1 sources settings key tar
    shift
    settings=$(apt-config dump Acquire)
    sources=$(debian_sources "$suite")
    if [ -z "$sources" ]; then
        apt-get update -qq
        sources=$(debian_sources "$suite")
    fi
    [ -n "$sources" ] || fail "apt on this machine knows no Debian repository"
    key=$(printf '%s\n' "$sources" "$settings" "$@" | sha256sum | cut -c 1-16)
    tar=$roots/$suite-$key.tar
    if [ ! -f "$tar" ]; then
        mkdir -p "$roots"
        printf '%s\n' "$settings" >"$roots/apt.conf"
        printf '%s\n' "$sources" | mmdebstrap --quiet --mode=root --variant=minbase --format=tar \
            --aptopt="$roots/apt.conf" ${1:+--include="$*"} "$suite" "$tar.new" - >&2 ||
            fail "mmdebstrap could not make a Debian root"
        mv "$tar.new" "$tar"
    fi
    say "$tar"
}

# unpack_root FOLDER SUITE [PACKAGE...]: a new Debian there that has no more than these, with this
# machine's way to the network.
unpack_root() {
    local folder=$1 tar
    shift
    tar=$(base_tar "$@")
    drop_root "$folder"
    mkdir -p "$folder"
    tar -C "$folder" --numeric-owner -xpf "$tar"
    cp -L /etc/resolv.conf /etc/hosts "$folder/etc/"
    # Where a proxy on the way makes certificates of its own, npm is told so by this.
    if [ -f "${NODE_EXTRA_CA_CERTS:-}" ]; then
        cp -L "$NODE_EXTRA_CA_CERTS" "$folder/etc/network-ca.pem"
        echo NODE_EXTRA_CA_CERTS=/etc/network-ca.pem >>"$folder/etc/environment"
    fi
}

drop_root() {
    rm -rf --one-file-system "$1"
}

# in_root FOLDER COMMAND...: runs the command in there as root, with an environment of its own.
# Whatever it leaves running ends with it; its mounts are seen by nobody else.
in_root() {
    local folder=$1
    shift
    # shellcheck disable=SC2016
    unshare --mount --pid --fork --kill-child bash -euc '
        mount --bind "$1" "$1" # as on a machine, / is a mount
        mount -t proc proc "$1/proc"
        mount --rbind /dev "$1/dev"
        exec env -i PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin \
            HOME=/root TERM=dumb ${http_proxy:+http_proxy="$http_proxy"} \
            ${https_proxy:+https_proxy="$https_proxy"} chroot "$@"
    ' in_root "$folder" "$@" </dev/null
}

# install_in_root FOLDER PACKAGE...: by apt; a package may be a .deb file inside the root.
install_in_root() {
    local folder=$1
    shift
    in_root "$folder" apt-get update -qq
    in_root "$folder" env DEBIAN_FRONTEND=noninteractive \
        apt-get install -y -qq --no-install-recommends "$@" >"$folder.apt.log" 2>&1 ||
        { cat "$folder.apt.log" >&2; fail "apt could not install $*"; }
}
