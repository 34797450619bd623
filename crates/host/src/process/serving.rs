//! Programs that stay and are spoken to through a socket, which they are given as their standard
//! input: it listens from before the program starts, so that there is no instant at which the
//! program runs and cannot be found.

use std::fs::File;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixListener;
use std::process::Stdio;

use super::{Program, pid_of};
use crate::syscalls::lead_session;
use crate::{AbsolutePath, Error, Host};

impl Host {
    /// Starts a program in its own session, with a listening socket as standard input; answers its
    /// process id at once. Its standard error goes to the end of `log`, or where this process's
    /// goes.
    ///
    /// The program outlives this process. When it ends while this process lives, it is reaped by a
    /// later call that starts a child, by [`Host::wait_process_gone`] or [`Host::reap`].
    ///
    /// # Errors
    /// [`Error::ProgramMissing`], or the errno of starting it or of opening the log.
    pub fn spawn_serving(
        &self,
        call: &'static str,
        program: &Program,
        socket: UnixListener,
        log: Option<&AbsolutePath>,
    ) -> Result<u32, Error> {
        let name = program.name();
        self.door.call(call, &name, || {
            self.children.reap();
            let mut command = program.command()?;
            command
                .stdin(Stdio::from(OwnedFd::from(socket)))
                .stdout(Stdio::null());
            match log {
                None => command.stderr(Stdio::inherit()),
                Some(path) => {
                    let file = super::detached::open_log(path);
                    let file: File = file.map_err(|error| Error::io(call, path, "open", &error))?;
                    command.stderr(file)
                }
            };
            lead_session(&mut command);
            let child = command.spawn();
            let child = child.map_err(|error| Error::io(call, &name, "execve", &error))?;
            if let Some(pid) = pid_of(child.id()) {
                self.children.leave(pid, call, &format!("{name} {pid:?}"));
            }
            Ok(child.id())
        })
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;
    use std::os::unix::net::UnixStream;
    use std::time::Duration;

    use super::*;
    use crate::fixture::{Place, host};

    #[test]
    fn the_program_has_the_socket_and_nobody_else() {
        let place = Place::new();
        let path = place.path().join("socket").unwrap();
        let listener = UnixListener::bind(&path).unwrap();
        let script = "exec python3 -c 'import socket; s = socket.socket(fileno=0); \
                      s.accept()[0].sendall(b\"here\")'";
        let program = Program::new("sh").args(["-c", script]);
        let pid = host()
            .spawn_serving("test.serve", &program, listener, None)
            .unwrap();
        let mut stream = UnixStream::connect(&path).unwrap();
        let mut said = String::new();
        stream.read_to_string(&mut said).unwrap();
        assert_eq!(said, "here");
        let limit = Duration::from_secs(10);
        assert!(host().wait_process_gone(pid, limit).unwrap());
        UnixStream::connect(&path).unwrap_err();
    }
}
