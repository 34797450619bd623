#!/bin/sh
# Installs what building, testing and trying Cuttle needs on Debian 12, Debian 13 and Ubuntu 24.04:
# Ceph's daemons and libraries, file system tools, compilers, Rust, cargo-nextest. Says what it
# installs, asks for sudo only if it is not root, and does nothing when all is there.
set -eu
cd "$(dirname "$0")/.."

NEXTEST_VERSION=0.9.143

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
}

missing_packages() {
    wanted | while read -r package proof; do
        # Unquoted: a proof may be a pattern.
        # shellcheck disable=SC2086
        ls $proof >/dev/null 2>&1 || echo "$package"
    done | sort -u
}

as_root() {
    if [ "$(id -u)" = 0 ]; then
        "$@"
    elif command -v sudo >/dev/null; then
        sudo "$@"
    else
        echo "setup: need root for: $*" >&2
        echo "setup: run this script as root, or install sudo" >&2
        exit 1
    fi
}

install_packages() {
    missing=$(missing_packages)
    [ -n "$missing" ] || return 0
    if ! command -v apt-get >/dev/null; then
        echo "setup: this system has no apt-get; install these (Debian's names) by hand:" $missing >&2
        exit 1
    fi
    echo "setup: installing" $missing
    as_root apt-get update -q
    # shellcheck disable=SC2086
    as_root env DEBIAN_FRONTEND=noninteractive \
        apt-get install -q -y --no-install-recommends $missing
    still=$(missing_packages)
    if [ -n "$still" ]; then
        echo "setup: still missing after the installation:" $still >&2
        exit 1
    fi
}

# Whether the cargo in PATH is new enough. rustup's obeys rust-toolchain.toml; a distribution's own
# may be too old.
cargo_is_new_enough() {
    command -v cargo >/dev/null || return 1
    needed=$(sed -n 's/^rust-version = "\(.*\)"/\1/p' Cargo.toml)
    found=$(cargo --version | cut -d' ' -f2)
    oldest=$(printf '%s\n%s\n' "$needed" "$found" | sort -V | head -n 1)
    [ "$oldest" = "$needed" ]
}

install_rust() {
    # rustup's cargo goes before a distribution's.
    PATH="$HOME/.cargo/bin:$PATH"
    cargo_is_new_enough && return 0
    echo "setup: installing Rust for this user with rustup (into $HOME/.cargo and $HOME/.rustup)"
    if ! command -v curl >/dev/null; then
        as_root env DEBIAN_FRONTEND=noninteractive \
            apt-get install -q -y --no-install-recommends curl ca-certificates
    fi
    curl --proto '=https' --tlsv1.2 --silent --show-error --fail https://sh.rustup.rs |
        sh -s -- -y --quiet --profile minimal --default-toolchain none
    # The version and the components of rust-toolchain.toml.
    rustup toolchain install
    if ! cargo_is_new_enough; then
        echo "setup: cargo is still missing or too old; see https://rustup.rs" >&2
        exit 1
    fi
}

install_nextest() {
    if cargo nextest --version >/dev/null 2>&1; then
        return 0
    fi
    echo "setup: building cargo-nextest $NEXTEST_VERSION (a few minutes, once)"
    cargo install --quiet --locked --version "$NEXTEST_VERSION" cargo-nextest
}

install_packages
install_rust
install_nextest
