//! The system calls that `rustix` does not offer safely: the only `unsafe` of the mounts and
//! children. Each function is fit for a forked child: no allocation, no lock.

#![expect(
    unsafe_code,
    reason = "the system calls are declared here once, each with its proof"
)]

use std::ffi::CStr;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::os::unix::process::CommandExt;
use std::process::Command;

use rustix::ioctl::{Getter, IntegerSetter, Ioctl, NoArg, Opcode, Setter};
use rustix::process::{Pid, Signal};

use crate::children::{Failure, Reply};

/// `MOUNT_ATTR__ATIME`: the bits that choose how access times are kept.
pub(crate) const ATTR_ATIME: u64 = 0x70;
const AT_EMPTY_PATH: u32 = 0x1000;

/// `struct mount_attr` of `linux/mount.h`.
#[repr(C)]
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct MountAttr {
    pub(crate) set: u64,
    pub(crate) clear: u64,
    pub(crate) propagation: u64,
    pub(crate) userns: u64,
}

/// The last system call's errno.
fn last_errno() -> rustix::io::Errno {
    // SAFETY: __errno_location has no preconditions and returns this thread's errno, which lives
    // as long as the thread.
    let location = unsafe { libc::__errno_location() };
    // SAFETY: the location is valid and aligned for as long as the thread runs.
    rustix::io::Errno::from_raw_os_error(unsafe { *location })
}

/// Clones the process with only the calling thread in it. `None` in the child.
///
/// The raw system call is used, not fork(3): handlers that libraries registered with
/// pthread_atfork must not run in a child that only makes system calls.
///
/// The child must make raw system calls only and end with [`exit_now`].
pub(crate) fn fork() -> Result<Option<Pid>, rustix::io::Errno> {
    let (flags, none) = (libc::c_long::from(libc::SIGCHLD), 0_usize);
    // SAFETY: clone with no flags but the exit signal and no new stack behaves like fork(2): the
    // child gets a copy of the whole address space and keeps running on a copy of this stack.
    let pid = unsafe { libc::syscall(libc::SYS_clone, flags, none, none, none, none) };
    if pid < 0 {
        return Err(last_errno());
    }
    Ok(i32::try_from(pid).ok().and_then(Pid::from_raw))
}

/// Ends the process at once, without destructors or exit handlers.
pub(crate) fn exit_now(status: i32) -> ! {
    // SAFETY: _exit has no preconditions and does not return.
    unsafe { libc::_exit(status) }
}

/// Closes every descriptor but one.
pub(crate) fn close_all_but(keep: RawFd) {
    let keep = u32::try_from(keep).unwrap_or(u32::MAX);
    let below = keep == 0 || close_range(0, keep - 1);
    let above = close_range(keep.saturating_add(1), u32::MAX);
    if below && above {
        return;
    }
    // Kernels before 5.9: one by one, as far as the usual limits reach.
    for fd in (0..65_536).filter(|fd| *fd != keep) {
        if let Ok(fd) = i32::try_from(fd) {
            // SAFETY: this runs in a forked child that owns no descriptor object it would use
            // again but `keep`; closing a number that is not open is harmless.
            unsafe { libc::close(fd) };
        }
    }
}

fn close_range(first: u32, last: u32) -> bool {
    // SAFETY: as in `close_all_but`: nothing in the child uses these descriptors again.
    let answer = unsafe { libc::syscall(libc::SYS_close_range, first, last, 0_u32) };
    answer == 0
}

/// All signals of the calling thread blocked, until dropped.
pub(crate) struct BlockedSignals {
    before: libc::sigset_t,
}

impl BlockedSignals {
    pub(crate) fn all() -> Self {
        let mut all = MaybeUninit::<libc::sigset_t>::zeroed();
        // SAFETY: the pointer is valid for a sigset_t to be written.
        unsafe { libc::sigfillset(all.as_mut_ptr()) };
        let mut before = MaybeUninit::<libc::sigset_t>::zeroed();
        // SAFETY: both pointers are valid; the set was filled above.
        unsafe { libc::pthread_sigmask(libc::SIG_SETMASK, all.as_ptr(), before.as_mut_ptr()) };
        // SAFETY: a zeroed sigset_t is a valid (empty) set, and the call above can only fail for
        // an unknown first argument.
        let before = unsafe { before.assume_init() };
        Self { before }
    }
}

impl Drop for BlockedSignals {
    fn drop(&mut self) {
        let nowhere = std::ptr::null_mut();
        // SAFETY: the set is the one the thread had before; the old set is not asked for.
        unsafe { libc::pthread_sigmask(libc::SIG_SETMASK, &raw const self.before, nowhere) };
    }
}

/// mount_setattr(2) on the mount that a descriptor stands for.
pub(crate) fn mount_setattr(
    mount: BorrowedFd<'_>,
    attributes: &MountAttr,
) -> Result<(), rustix::io::Errno> {
    let empty: &CStr = c"";
    // SAFETY: the path is a NUL-terminated static, the attributes are a `struct mount_attr` of the
    // size passed along, and both outlive the call.
    let answer = unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            mount.as_raw_fd(),
            empty.as_ptr(),
            AT_EMPTY_PATH,
            std::ptr::from_ref(attributes),
            size_of::<MountAttr>(),
        )
    };
    if answer == 0 {
        Ok(())
    } else {
        Err(last_errno())
    }
}

/// Pushes the path a descriptor stands for, as `/proc/self/fd` tells it.
pub(crate) fn reply_path_of(fd: impl AsFd, reply: &mut Reply) -> Result<(), Failure> {
    let (mut name, fd) = (
        [0_u8; 32],
        u32::try_from(fd.as_fd().as_raw_fd()).unwrap_or(0),
    );
    let name = numbered(b"/proc/self/fd/", fd, &mut name);
    let count = rustix::fs::readlinkat_raw(rustix::fs::CWD, name, reply.room())
        .map_err(Failure::at("readlink"))?;
    reply.fill(count);
    Ok(())
}

/// A name that ends in a number, written into `buffer` without allocating. A name that does not
/// fit is cut.
pub(crate) fn numbered<'a>(prefix: &[u8], number: u32, buffer: &'a mut [u8]) -> &'a CStr {
    let mut digits = [0_u8; 10];
    let (mut rest, mut used) = (number, 0);
    for slot in digits.iter_mut().rev() {
        *slot = b'0' + u8::try_from(rest % 10).unwrap_or(0);
        rest /= 10;
        used += 1;
        if rest == 0 {
            break;
        }
    }
    let digits = digits.iter().skip(digits.len() - used);
    buffer.fill(0);
    let room = buffer.len().saturating_sub(1);
    for (slot, byte) in buffer
        .iter_mut()
        .take(room)
        .zip(prefix.iter().chain(digits))
    {
        *slot = *byte;
    }
    CStr::from_bytes_until_nul(buffer).unwrap_or_default()
}

/// An ioctl without argument.
pub(crate) fn ioctl_plain<const OPCODE: Opcode>(fd: impl AsFd) -> Result<(), rustix::io::Errno> {
    // SAFETY: the opcodes passed by this crate take no argument.
    let request = unsafe { NoArg::<OPCODE>::new() };
    perform(fd, request)
}

/// An ioctl whose argument is a number.
pub(crate) fn ioctl_number<const OPCODE: Opcode>(
    fd: impl AsFd,
    number: usize,
) -> Result<(), rustix::io::Errno> {
    // SAFETY: the opcodes passed by this crate take the number itself as argument.
    let request = unsafe { IntegerSetter::<OPCODE>::new_usize(number) };
    perform(fd, request)
}

/// An ioctl that writes a value of type `T`.
pub(crate) fn ioctl_get<const OPCODE: Opcode, T: Copy>(
    fd: impl AsFd,
) -> Result<T, rustix::io::Errno> {
    // SAFETY: the opcodes passed by this crate write one whole `T`, a plain C number or struct.
    let request = unsafe { Getter::<OPCODE, T>::new() };
    perform(fd, request)
}

/// An ioctl that reads a value of type `T`.
pub(crate) fn ioctl_set<const OPCODE: Opcode, T: Copy>(
    fd: impl AsFd,
    value: T,
) -> Result<(), rustix::io::Errno> {
    // SAFETY: the opcodes passed by this crate read one whole `T`, a plain C number or struct.
    let request = unsafe { Setter::<OPCODE, T>::new(value) };
    perform(fd, request)
}

/// LOOP_CTL_GET_FREE: the number of a loop device that is free at this moment.
pub(crate) fn loop_get_free(control: BorrowedFd<'_>) -> Result<u32, rustix::io::Errno> {
    const LOOP_CTL_GET_FREE: libc::c_ulong = 0x4C82;
    // SAFETY: the request takes no argument and answers with a number.
    let answer = unsafe { libc::ioctl(control.as_raw_fd(), LOOP_CTL_GET_FREE) };
    u32::try_from(answer).map_err(|_negative| last_errno())
}

fn perform<I: Ioctl>(fd: impl AsFd, request: I) -> Result<I::Output, rustix::io::Errno> {
    // SAFETY: the callers above chose a request that fits its opcode; a descriptor of another
    // kind of file answers ENOTTY and touches nothing.
    unsafe { rustix::ioctl::ioctl(fd, request) }
}

/// Has the kernel kill a program when the thread that starts it ends.
pub(crate) fn die_with_parent(command: &mut Command) {
    let bind =
        || rustix::process::set_parent_process_death_signal(Some(Signal::KILL)).map_err(Into::into);
    // SAFETY: the closure runs in the forked child before exec and makes one system call; it
    // neither allocates nor takes a lock.
    unsafe { command.pre_exec(bind) };
}

/// Starts a program in a session of its own.
pub(crate) fn lead_session(command: &mut Command) {
    let lead = || rustix::process::setsid().map(|_| ()).map_err(Into::into);
    // SAFETY: as in `die_with_parent`.
    unsafe { command.pre_exec(lead) };
}

/// Takes this process into the mount namespace of the first descriptor, with the directory of the
/// second as its root. Only for a process with a single thread, such as a forked child.
pub(crate) fn enter_mounts(namespace: OwnedFd, root: OwnedFd) -> Result<(), rustix::io::Errno> {
    // SAFETY: setns takes a descriptor, open until the end of this function, and a kind; it fails
    // with EINVAL when the descriptor is no mount namespace.
    let answer = unsafe { libc::setns(namespace.as_raw_fd(), libc::CLONE_NEWNS) };
    if answer != 0 {
        return Err(last_errno());
    }
    drop(namespace);
    rustix::process::fchdir(&root)?;
    drop(root);
    rustix::process::chroot(c".")
}

/// Takes this process into a network namespace. Only for a process with a single thread, such as a
/// forked child.
pub(crate) fn join_network(namespace: &OwnedFd) -> Result<(), rustix::io::Errno> {
    // SAFETY: setns takes a descriptor, open until the end of this function, and a kind; it fails
    // with EINVAL when the descriptor is no network namespace.
    let answer = unsafe { libc::setns(namespace.as_raw_fd(), libc::CLONE_NEWNET) };
    if answer == 0 {
        Ok(())
    } else {
        Err(last_errno())
    }
}

/// Puts a key of Ceph's into this process's own keyring, which goes with it.
pub(crate) fn add_ceph_key(name: &CStr, key: &[u8]) -> Result<(), rustix::io::Errno> {
    const PROCESS_KEYRING: libc::c_long = -2;
    // SAFETY: type and name are NUL-terminated, the key is valid for its length; all of them
    // outlive the call, which copies what it needs.
    let answer = unsafe {
        libc::syscall(
            libc::SYS_add_key,
            c"ceph".as_ptr(),
            name.as_ptr(),
            key.as_ptr(),
            key.len(),
            PROCESS_KEYRING,
        )
    };
    if answer >= 0 {
        Ok(())
    } else {
        Err(last_errno())
    }
}

/// Starts a program in the network namespace of this descriptor.
pub(crate) fn enter_network(command: &mut Command, namespace: OwnedFd) {
    let enter = move || {
        // SAFETY: setns takes a descriptor, which is open for as long as the closure lives, and a
        // kind; it fails with EINVAL when the descriptor is no network namespace.
        let answer = unsafe { libc::setns(namespace.as_raw_fd(), libc::CLONE_NEWNET) };
        if answer == 0 {
            Ok(())
        } else {
            Err(last_errno().into())
        }
    };
    // SAFETY: as in `die_with_parent`.
    unsafe { command.pre_exec(enter) };
}
