# The guest's first process, on the root that its programs see: the host's files, writable in
# memory. Mounts what a system has, brings the network up, runs /guest/command.sh, leaves its exit
# code in /guest/status and switches the machine off. Only busybox is used: every dynamically
# linked program costs a fraction of a second on an emulated processor.
b=/guest/busybox
. /guest/settings.sh
export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
$b mount -t proc proc /proc
$b mount -t sysfs sysfs /sys
$b mount -t devtmpfs devtmpfs /dev
$b mkdir -p /dev/pts /dev/shm
$b mount -t devpts devpts /dev/pts
$b mount -t tmpfs tmpfs /dev/shm
$b mount -t tmpfs tmpfs /run
$b mkdir -p /run/lock
$b mount -t cgroup2 cgroup2 /sys/fs/cgroup
$b mount -t debugfs debugfs /sys/kernel/debug
$b mkdir -p "/lib/modules/$($b uname -r)"
$b mount -o bind "$MODULES" "/lib/modules/$($b uname -r)"
$b hostname guest
$b ip link set lo up
$b ip addr add "$ADDRESS" dev eth0
$b ip link set eth0 mtu 9000 up
for port in /sys/class/virtio-ports/*; do
    case $($b cat "$port/name") in
    out) out=/dev/${port##*/} ;;
    err) err=/dev/${port##*/} ;;
    esac
done
$b sh /guest/command.sh </dev/null >"$out" 2>"$err"
status=$?
$b echo $status >/guest/status.new
$b mv /guest/status.new /guest/status
$b echo o >/proc/sysrq-trigger
$b sleep 60
