#!/bin/busybox sh
# The guest's first process, on the first root: loads the drivers it needs to see the host's files,
# lays a writable layer in memory over them and goes on there with /guest/start.sh.
b=/bin/busybox
fail() {
    $b echo "guest: $*"
    $b echo o >/proc/sysrq-trigger
    $b sleep 60
}
$b mount -t proc proc /proc
$b mount -t sysfs sysfs /sys
$b mount -t devtmpfs devtmpfs /dev
for module in /modules/*; do
    $b insmod "$module" || fail "cannot load $module"
done
$b mount -t 9p -o ro,trans=virtio,version=9p2000.L,cache=loose,msize=512000,access=client \
    host /lower || fail "cannot mount the host's root"
$b mount -t tmpfs -o size=75% tmpfs /over
$b mkdir /over/upper /over/work
$b mount -t overlay -o lowerdir=/lower,upperdir=/over/upper,workdir=/over/work,xino=off \
    overlay /root || fail "cannot lay a writable layer over the host's root"
$b mkdir -p /root/guest
$b mount -t 9p -o trans=virtio,version=9p2000.L,cache=none,msize=512000,access=client \
    run /root/guest || fail "cannot mount the run's directory"
$b umount /dev /sys
exec $b switch_root /root /guest/busybox sh /guest/start.sh
