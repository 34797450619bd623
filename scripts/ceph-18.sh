#!/bin/sh
# Runs commands where Ceph 18 is installed: in a Debian 13 of its own below the build output, with
# this repository at its usual path. Needs root.
#
#   scripts/ceph-18.sh make DIR         make that system in DIR; quick when it is there
#   scripts/ceph-18.sh run DIR CMD...   run a command in it
#
# What a command mounts and starts ends with it. DIR may be removed at any time with `rm -rf`.
set -eu
repository=$(cd "$(dirname "$0")/.." && pwd)

die() {
    echo "ceph-18: $*" >&2
    exit 1
}

make_system() {
    if [ ! -d "$dir/root" ]; then
        echo "ceph-18: making a Debian 13 in $dir, once (about 1.5 GB, some minutes)" >&2
        mkdir -p "$dir"
        # An unfinished one is never taken for a whole one.
        rm -rf "$dir/unfinished"
        debootstrap --variant=minbase --include=ca-certificates trixie "$dir/unfinished" \
            >"$dir/log" 2>&1 || die "debootstrap failed, see $dir/log"
        # Throw-away: neither synced to the disk nor with documentation.
        printf 'force-unsafe-io\npath-exclude /usr/share/doc/*\npath-exclude /usr/share/man/*\n' \
            >"$dir/unfinished/etc/dpkg/dpkg.cfg.d/ceph-18"
        # Nothing is to be started by the installation.
        printf '#!/bin/sh\nexit 101\n' >"$dir/unfinished/usr/sbin/policy-rc.d"
        chmod +x "$dir/unfinished/usr/sbin/policy-rc.d"
        # The certificate authorities that this machine trusts.
        if [ -d /usr/local/share/ca-certificates ]; then
            cp -R /usr/local/share/ca-certificates "$dir/unfinished/usr/local/share/"
        fi
        mv "$dir/unfinished" "$dir/root"
    fi
    # The list of packages may have grown since.
    run_in_system "$repository/scripts/setup.sh" packages >>"$dir/log" 2>&1 ||
        die "installing packages failed, see $dir/log"
    rm -rf "$dir"/root/var/cache/apt/archives/*.deb
}

# The shell that the namespaces begin with stays, to reap what its command leaves behind.
run_in_system() {
    # shellcheck disable=SC2016
    unshare --mount --pid --fork --kill-child --propagation private -- sh -c '
        set -eu
        root=$1 repository=$2 dir=$3
        shift 3
        mount --bind "$root" "$root"
        for shared in "$repository" "$dir"; do
            mkdir -p "$root$shared"
            mount --bind "$shared" "$root$shared"
        done
        mount -t proc proc "$root/proc"
        mount --rbind /sys "$root/sys"
        mount --rbind /dev "$root/dev"
        mount -t tmpfs tmpfs "$root/run"
        cp --dereference /etc/resolv.conf /etc/hosts "$root/etc/"
        PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
        export PATH
        chroot "$root" env --chdir="$repository" "$@"
    ' ceph-18 "$dir/root" "$repository" "$dir" "$@"
}

[ "$(id -u)" = 0 ] || die "needs root"
[ $# -ge 2 ] || die "usage: $0 make DIR | run DIR CMD..."
action=$1
mkdir -p "$2"
dir=$(cd "$2" && pwd)
shift 2
case $action in
make) make_system ;;
run) run_in_system "$@" ;;
*) die "unknown action: $action" ;;
esac
