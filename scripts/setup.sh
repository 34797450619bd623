#!/bin/sh
# Installs what building and trying Cuttle needs on Debian 12, Debian 13 and Ubuntu 24.04: Ceph's
# daemons and libraries, file system tools, compilers, Rust. Says what it installs, asks for sudo
# only if it is not root, and does nothing when all is there.
#
#   scripts/setup.sh             for building and for the demo
#   scripts/setup.sh test        for the tests also: cargo-nextest, QEMU and what guests need
#   scripts/setup.sh ceph-18     for the tests with a newer Ceph also: debootstrap
#   scripts/setup.sh packages    the packages alone, no Rust
set -eu
cd "$(dirname "$0")/.."

purpose=${1:-build}
case $purpose in
build | test | ceph-18 | packages) ;;
*)
    echo "setup: unknown word: $purpose" >&2
    exit 2
    ;;
esac

NEXTEST_VERSION=0.9.143

# The installer of Rust for distributions without a package of rustup, and its SHA-256 by machine.
RUSTUP_VERSION=1.29.0
RUSTUP_SUMS='
x86_64  4acc9acc76d5079515b46346a485974457b5a79893cfb01112423c89aeb5aa10
aarch64 9732d6c5e2a098d3521fca8145d826ae0aaa067ef2385ead08e6feac88fa5792
'

# rustup's cargo goes before a distribution's.
PATH="${CARGO_HOME:-$HOME/.cargo}/bin:$PATH"

say() {
    echo "setup: $*"
}

die() {
    for line in "$@"; do
        echo "setup: $line" >&2
    done
    exit 1
}

# The package, and a file whose presence proves it.
wanted() {
    cat <<'LIST'
build-essential /usr/bin/cc
build-essential /usr/bin/c++
make /usr/bin/make
util-linux /usr/bin/setpriv
mount /usr/bin/mount
fuse3 /usr/bin/fusermount3
e2fsprogs /sbin/mkfs.ext4
xfsprogs /sbin/mkfs.xfs
xfsprogs /usr/sbin/xfs_growfs
ceph-mon /usr/bin/ceph-mon
ceph-mgr /usr/bin/ceph-mgr
ceph-mgr-modules-core /usr/share/ceph/mgr/rbd_support/module.py
ceph-osd /usr/bin/ceph-osd
ceph-mds /usr/bin/ceph-mds
ceph-common /usr/bin/rbd
python3-rados /usr/lib/python3/dist-packages/rados.*.so
python3-rbd /usr/lib/python3/dist-packages/rbd.*.so
python3-cephfs /usr/lib/python3/dist-packages/cephfs.*.so
ceph-fuse /usr/bin/ceph-fuse
librados-dev /usr/include/rados/librados.h
librbd-dev /usr/include/rbd/librbd.h
libcephfs-dev /usr/include/cephfs/libcephfs.h
LIST
    # Guests, for the tests of the kernel's own clients.
    if [ "$purpose" = test ]; then
        cat <<'LIST'
rbd-nbd /usr/bin/rbd-nbd
qemu-system-x86 /usr/bin/qemu-system-x86_64
busybox-static /bin/busybox
kmod /sbin/depmod
iproute2 /sbin/ip
xz-utils /usr/bin/xz
zstd /usr/bin/zstd
debian-archive-keyring /usr/share/keyrings/debian-archive-keyring.gpg
LIST
    fi
    if [ "$purpose" = ceph-18 ]; then
        echo "debootstrap /usr/sbin/debootstrap"
        echo "debian-archive-keyring /usr/share/keyrings/debian-archive-keyring.gpg"
    fi
    # Ubuntu's manager module `volumes` imports it, but its package does not ask for it.
    if grep -q '^ID=ubuntu$' /etc/os-release; then
        echo "python3-setuptools /usr/lib/python3/dist-packages/setuptools/__init__.py"
    fi
}

missing_packages() {
    wanted | while read -r package proof; do
        # Unquoted: a proof may be a pattern.
        # shellcheck disable=SC2086
        ls $proof >/dev/null 2>&1 || echo "$package"
    done | sort -u | tr '\n' ' '
}

as_root() {
    if [ "$(id -u)" = 0 ]; then
        "$@"
    elif command -v sudo >/dev/null; then
        sudo "$@"
    else
        die "need root for: $*" "run this script as root, or install sudo"
    fi
}

# A fresh machine may be busy with its own updates: wait for apt's lock.
apt() {
    as_root env DEBIAN_FRONTEND=noninteractive apt-get -q -o DPkg::Lock::Timeout=300 "$@"
}

install_packages() {
    missing=$(missing_packages)
    [ -n "$missing" ] || return 0
    command -v apt-get >/dev/null ||
        die "this system has no apt-get; install these (Debian's names) by hand: $missing"
    say "installing with apt-get: $missing"
    apt update
    # shellcheck disable=SC2086
    apt install -y --no-install-recommends $missing
    still=$(missing_packages)
    [ -z "$still" ] || die "still missing after the installation: $still"
}

channel=$(sed -n 's/^channel = "\(.*\)"/\1/p' rust-toolchain.toml)

# Whether the cargo in PATH works and is new enough. rustup's obeys rust-toolchain.toml; a
# distribution's own may be too old.
cargo_is_new_enough() {
    # rustup would download a missing toolchain at cargo's first call, without a word.
    if command -v rustup >/dev/null && ! rustup toolchain list | grep -q "^$channel-"; then
        return 1
    fi
    needed=$(sed -n 's/^rust-version = "\(.*\)"/\1/p' Cargo.toml)
    found=$(cargo --version 2>/dev/null | cut -d' ' -f2)
    oldest=$(printf '%s\n%s\n' "$needed" "$found" | sort -V | head -n 1)
    [ "$oldest" = "$needed" ]
}

# With the distribution's package, unless that would remove the distribution's own compiler.
install_rustup_package() {
    apt-cache show rustup >/dev/null 2>&1 || return 1
    apt install --simulate --no-remove rustup >/dev/null 2>&1 || return 1
    say "installing rustup with apt-get"
    apt install -y --no-install-recommends rustup
}

install_rustup_itself() {
    machine=$(uname -m)
    sum=$(echo "$RUSTUP_SUMS" | sed -n "s/^$machine  *//p")
    [ -n "$sum" ] || die "install Rust by hand, see https://rustup.rs: no installer known for $machine"
    say "installing rustup $RUSTUP_VERSION for this user, as https://rustup.rs does"
    command -v curl >/dev/null || apt install -y --no-install-recommends curl ca-certificates
    place=$(mktemp -d)
    trap 'rm -rf "$place"' EXIT
    curl --proto '=https' --tlsv1.2 --silent --show-error --fail --output "$place/rustup-init" \
        "https://static.rust-lang.org/rustup/archive/$RUSTUP_VERSION/$machine-unknown-linux-gnu/rustup-init"
    echo "$sum  $place/rustup-init" | sha256sum --check --quiet
    chmod +x "$place/rustup-init"
    # An older compiler of the distribution may stay.
    RUSTUP_INIT_SKIP_PATH_CHECK=yes \
        "$place/rustup-init" -y --quiet --profile minimal --default-toolchain none
}

install_rust() {
    cargo_is_new_enough && return 0
    if ! command -v rustup >/dev/null; then
        install_rustup_package || install_rustup_itself
    fi
    say "installing Rust $channel for this user with rustup"
    components=$(sed -n 's/^components = //p' rust-toolchain.toml | tr -d '[]" ')
    # The toolchain's name first: some versions take all that follows for components.
    rustup toolchain install "$channel" --profile minimal --component "$components"
    cargo_is_new_enough || die "cargo is still missing or too old; see https://rustup.rs"
}

install_nextest() {
    if cargo nextest --version >/dev/null 2>&1; then
        return 0
    fi
    say "building cargo-nextest $NEXTEST_VERSION, once (about 5 minutes on two cores)"
    cargo install --quiet --locked --version "$NEXTEST_VERSION" cargo-nextest
}

install_packages
[ "$purpose" = packages ] || install_rust
case $purpose in
test | ceph-18) install_nextest ;;
esac
