//! Keeping the node's drivers registered with kubelet.
//!
//! Kubelet takes a plugin when it sees its socket appear, and looks at all sockets when it starts.
//! So the socket is kept there: when the directory was made anew, the file was removed, or kubelet
//! refused the driver, the socket is made again, which kubelet sees.

use std::time::{Duration, Instant};

use cuttle_model::{DriverName, Explain, chain};
use cuttle_server::{Plugin, Standing, serve_registration};
use tokio::sync::{oneshot, watch};
use tokio::task::JoinSet;

use crate::listener::{self, BoundSocket, SocketFile};
use crate::settings::{DriverSettings, RegistrationSettings};

/// How often it is looked after.
const PERIOD: Duration = Duration::from_secs(1);

/// How long kubelet is left alone after it has refused a driver, or after a socket could not be
/// made.
const PATIENCE: Duration = Duration::from_secs(10);

/// The drivers that are kept registered.
#[derive(Debug)]
pub(super) struct Registrations {
    standings: Vec<(DriverName, Standing)>,
    stop: watch::Sender<bool>,
    keepers: JoinSet<()>,
}

impl Registrations {
    /// Begins to keep those drivers registered that are to be. Must be called inside the runtime.
    pub(super) fn begin(drivers: &[DriverSettings]) -> Self {
        let (stop, stopped) = watch::channel(false);
        let (mut standings, mut keepers) = (Vec::new(), JoinSet::new());
        for driver in drivers {
            if let Some(settings) = &driver.registration {
                let keeper = Keeper::new(driver.name.clone(), settings.clone());
                standings.push((keeper.name.clone(), keeper.standing.clone()));
                keepers.spawn(keeper.keep(stopped.clone()));
            }
        }
        Self {
            standings,
            stop,
            keepers,
        }
    }

    /// What kubelet has said about each driver.
    pub(super) fn standings(&self) -> Vec<(DriverName, Standing)> {
        self.standings.clone()
    }

    /// Takes the sockets away, so that kubelet does not call drivers that are gone.
    pub(super) async fn end(mut self) {
        self.stop.send_replace(true);
        while self.keepers.join_next().await.is_some() {}
    }
}

struct Keeper {
    name: DriverName,
    settings: RegistrationSettings,
    standing: Standing,
    served: Option<Served>,
    /// When the socket may be made again.
    not_before: Option<Instant>,
    /// The failure that was logged last, so that each is logged once.
    told: Option<String>,
}

/// A socket in kubelet's directory, and the server behind it, which ends with the sender.
struct Served {
    file: SocketFile,
    _end: oneshot::Sender<()>,
}

impl Keeper {
    fn new(name: DriverName, settings: RegistrationSettings) -> Self {
        Self {
            name,
            settings,
            standing: Standing::default(),
            served: None,
            not_before: None,
            told: None,
        }
    }

    async fn keep(mut self, mut stopped: watch::Receiver<bool>) {
        loop {
            self.look();
            tokio::select! {
                // An error means that the sender is gone, which is a stop as well.
                _ = stopped.wait_for(|stopped| *stopped) => break,
                () = tokio::time::sleep(PERIOD) => {}
            }
        }
        self.take_away();
    }

    fn look(&mut self) {
        let refused = self.standing.take_refusal();
        if refused {
            self.take_away();
            self.not_before = Instant::now().checked_add(PATIENCE);
        } else if self
            .served
            .as_ref()
            .is_some_and(|served| !served.file.is_ours())
        {
            tracing::warn!(
                driver = %self.name, socket = %self.settings.socket.display(),
                "the socket for kubelet was taken away; it is made again"
            );
            self.take_away();
        }
        let may = self.not_before.is_none_or(|time| Instant::now() >= time);
        if self.served.is_none() && may {
            self.offer();
        }
    }

    /// Makes the socket, which kubelet takes notice of.
    fn offer(&mut self) {
        // A few local system calls, which do not hold up the others on this thread.
        let bound = listener::bind(&self.settings.socket).map_err(|error| self.tell(&error));
        match bound.ok().and_then(|bound| self.serve(bound)) {
            Some(served) => {
                self.served = Some(served);
                (self.not_before, self.told) = (None, None);
                tracing::info!(
                    driver = %self.name, socket = %self.settings.socket.display(),
                    endpoint = %self.settings.endpoint.display(), "offered to kubelet"
                );
            }
            None => self.not_before = Instant::now().checked_add(PATIENCE),
        }
    }

    fn serve(&mut self, bound: BoundSocket) -> Option<Served> {
        let BoundSocket { listener, file } = bound;
        let listener = match tokio::net::UnixListener::from_std(listener) {
            Ok(listener) => listener,
            Err(error) => {
                tracing::warn!(driver = %self.name, %error, "the socket for kubelet is not served");
                return None;
            }
        };
        let endpoint = self.settings.endpoint.to_string_lossy();
        let plugin = Plugin::new(self.name.clone(), endpoint, self.standing.clone());
        let (end, ended) = oneshot::channel::<()>();
        let name = self.name.clone();
        tokio::spawn(async move {
            let end = async {
                let _told_or_dropped = ended.await;
            };
            if let Err(error) = serve_registration(plugin, listener, end).await {
                tracing::error!(driver = %name, error = chain(&error), "registration is not served");
            }
        });
        Some(Served { file, _end: end })
    }

    /// Removes the socket, if it is ours, and ends the server behind it.
    fn take_away(&mut self) {
        self.standing.forget();
        if let Some(served) = self.served.take()
            && let Err(error) = served.file.remove()
        {
            tracing::warn!(%error, socket = %self.settings.socket.display(), "a socket is left behind");
        }
    }

    fn tell(&mut self, error: &listener::ListenError) {
        let text = chain(error);
        if self.told.as_ref() != Some(&text) {
            tracing::error!(
                driver = %self.name, code = %error.code(), error = text,
                "kubelet cannot be told of the driver; it is tried again"
            );
            self.told = Some(text);
        }
    }
}
