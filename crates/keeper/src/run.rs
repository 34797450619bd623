//! The keeper's process from its start to the first order.

use std::os::fd::AsFd;
use std::os::unix::net::UnixListener;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use rustix::stdio::{dup2_stdin, stdin};

use crate::conversation::{Audience, Said};
use crate::keeper::Keeper;
use crate::order::Order;
use crate::status::{Answer, Refused};
use crate::waiting::poll;

/// How long the first order may take to come.
const ORDER: Duration = Duration::from_secs(10);

/// Runs a keeper whose listening socket is standard input.
///
/// # Blocking
/// For the life of the mount.
#[must_use]
pub fn main_from_stdin() -> ExitCode {
    // Refused only in odd sandboxes; keeping the volume alive matters more.
    let _refused = cuttle_host::keep_memory_private();
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(_told) => ExitCode::FAILURE,
    }
}

fn run() -> std::io::Result<()> {
    let mut audience = Audience::of(own_socket()?)?;
    let Some((visitor, order, early)) = first_order(&mut audience)? else {
        return Ok(());
    };
    match Keeper::new(audience, visitor, order, &early) {
        Ok(keeper) => keeper.run(),
        Err((mut audience, why)) => {
            let refused = Refused {
                why,
                said: String::new(),
                late: false,
            };
            audience.answer(visitor, &Answer::Refused(refused));
        }
    }
    Ok(())
}

/// The socket, taken away from standard input so that no program inherits it.
fn own_socket() -> std::io::Result<UnixListener> {
    let socket = stdin().try_clone_to_owned()?;
    let null = std::fs::File::open("/dev/null")?;
    dup2_stdin(null.as_fd())?;
    Ok(UnixListener::from(socket))
}

/// Waits for the order, and answers who sent it and what others have said by then; `None` when
/// none comes.
fn first_order(audience: &mut Audience) -> std::io::Result<Option<(u64, Order, Vec<Said>)>> {
    let deadline = Instant::now() + ORDER;
    let mut early = Vec::new();
    loop {
        let (questions, orders): (Vec<Said>, Vec<Said>) = audience
            .hear()
            .into_iter()
            .partition(|said| said.question().is_some());
        early.extend(questions);
        if let Some(said) = orders.into_iter().next() {
            match Order::from_line(&said.line) {
                Ok(order) => return Ok(Some((said.visitor, order, early))),
                Err(error) => {
                    let refused = Refused {
                        why: error.to_string(),
                        said: String::new(),
                        late: false,
                    };
                    audience.answer(said.visitor, &Answer::Refused(refused));
                    return Ok(None);
                }
            }
        }
        if Instant::now() >= deadline {
            return Ok(None);
        }
        poll(audience.ears().map(|fd| (fd, false)).collect(), deadline)?;
    }
}
