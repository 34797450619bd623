//! The keeper's life after the first order.
//!
//! ```text
//!            order                    ceph-fuse ends, mounts are left
//!  Starting ───────────────▶ Serving ───────────────────────────────▶ Dead
//!     │ fails, or the driver     │ ▲                                    │ │
//!     │ hangs up                 │ └────────────────────────────────────┘ │ retired, or the
//!     ▼                          ▼ ceph-fuse ends with its last mount     ▼ volume is gone
//!    end                        end                                      end
//! ```

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

use cuttle_host::{DeviceNumber, Exit, Host, MountWatch, RunningProgram};
use cuttle_model::chain;

use crate::conversation::{Audience, Said};
use crate::log::Log;
use crate::order::{Adopted, Order};
use crate::post::Post;
use crate::session;
use crate::start::{self, StartFailure, Started};
use crate::status::{Answer, Phase, Question, Refused, Running, Status};
use crate::surroundings::Parts;
use crate::sweep::Sweep;
use crate::waiting::poll;

/// How long a failed start is waited out before the next one: the n-th of these, then the last.
const BACKOFF: [Duration; 6] = [
    Duration::ZERO,
    Duration::from_millis(200),
    Duration::from_secs(1),
    Duration::from_secs(2),
    Duration::from_secs(5),
    Duration::from_secs(10),
];

/// How long after a finding it is looked again.
const CONFIRM: Duration = Duration::from_secs(1);

/// The process behind the mount.
#[derive(Debug)]
pub(crate) enum Client {
    /// Our child.
    Child(RunningProgram),
    /// Somebody else's, held by a descriptor where the kernel can.
    Stranger(Running, Option<OwnedFd>),
    /// Not known: only the mount tells whether it lives.
    Unknown,
}

/// One volume's keeper.
#[derive(Debug)]
pub(crate) struct Keeper {
    pub(crate) host: Host,
    pub(crate) order: Order,
    pub(crate) log: Log,
    pub(crate) status: Status,
    pub(crate) client: Option<Client>,
    pub(crate) shut_out: u32,
    post: Post,
    pub(crate) audience: Audience,
    watch: MountWatch,
    /// Covering dead mounts in other namespaces, which may take its time.
    pub(crate) sweep: Option<Sweep>,
    /// Who waits for the outcome of the order.
    origin: Option<u64>,
    /// Who has asked to hold or retire the keeper and is answered when nothing is being started.
    pub(crate) waiting: Vec<(u64, Question)>,
    attempts: usize,
    next_attempt: Instant,
    next_look: Instant,
    /// Whether the mount at the mountpoint was taken away by us, to make room for a new one.
    pub(crate) has_made_room: bool,
}

impl Keeper {
    /// Takes an order; `early` is what others have said before it came.
    ///
    /// # Errors
    /// The audience and what is wrong.
    pub(crate) fn new(
        audience: Audience,
        origin: u64,
        order: Order,
        early: &[Said],
    ) -> Result<Self, (Audience, String)> {
        let parts = Parts::of(&order);
        let parts = match parts {
            Ok(parts) => parts,
            Err(why) => return Err((audience, why)),
        };
        let now = Instant::now();
        let mut keeper = Self {
            log: Log::new(order.json_log, &order.volume),
            status: parts.status,
            client: None,
            shut_out: 0,
            post: parts.post,
            audience,
            watch: parts.watch,
            sweep: None,
            origin: Some(origin),
            waiting: Vec::new(),
            attempts: 0,
            next_attempt: now,
            next_look: now,
            has_made_room: false,
            host: parts.host,
            order,
        };
        for said in early {
            keeper.reply(said);
        }
        Ok(keeper)
    }

    /// Carries the order out and keeps the mount until it is not needed any more.
    pub(crate) fn run(mut self) {
        self.tell();
        let begun = match self.order.adopted.clone() {
            Some(adopted) => self.adopt(adopted),
            None => self.first_start(),
        };
        if begun {
            while self.step() {}
        }
        if let Err(error) = self.post.clear(&self.host) {
            self.log
                .warn("the keeper's files are left", &[("error", &chain(&error))]);
        }
    }

    /// The first start, whose outcome somebody waits for; answers whether the mount is kept.
    fn first_start(&mut self) -> bool {
        let within = Duration::from_millis(self.order.start_within_ms);
        let outcome = self.start(within);
        match outcome {
            Ok(started) => {
                self.serve(Client::Child(started.program), started.device);
                self.status.dead.extend(&self.order.heals);
                self.cover_the_dead();
            }
            Err(StartFailure::Refused(refused)) => {
                self.log.warn(
                    "not mounted",
                    &[("error", &refused.why), ("said", &refused.said)],
                );
                self.answer_origin(&Answer::Refused(refused));
                return false;
            }
            Err(StartFailure::Disturbed) => return false,
        }
        let answer = Answer::Status(Box::new(self.status.clone()));
        if self.answer_origin(&answer) {
            return true;
        }
        // Whoever wanted the mount is gone and does not know of it.
        if let Some(Client::Child(program)) = &mut self.client {
            program.kill();
        }
        if let Err(error) = self.host.unmount_lazily(&self.order.mountpoint) {
            self.log.warn(
                "a mount that nobody wants is left",
                &[("error", &chain(&error))],
            );
        }
        false
    }

    fn adopt(&mut self, adopted: Adopted) -> bool {
        self.status.session = adopted.session;
        let client = match adopted.client {
            None => Client::Unknown,
            Some(process) => {
                let held = self.host.hold_process(process.into());
                Client::Stranger(process, held.ok().flatten())
            }
        };
        self.status.client = match &client {
            Client::Stranger(process, _) => Some(*process),
            Client::Child(_) | Client::Unknown => None,
        };
        self.serve(client, adopted.device);
        let answer = Answer::Status(Box::new(self.status.clone()));
        self.answer_origin(&answer);
        true
    }

    /// Notes that the mount works.
    pub(crate) fn serve(&mut self, client: Client, device: DeviceNumber) {
        if let Client::Child(program) = &client {
            let process = self.host.process_identity(program.pid()).ok().flatten();
            self.status.client = process.map(Running::from);
        }
        self.client = Some(client);
        self.status.phase = Phase::Serving;
        self.status.device = Some(device);
        self.status.trouble = None;
        self.attempts = 0;
        self.shut_out = 0;
        self.has_made_room = false;
        self.next_look = Instant::now() + Duration::from_millis(self.order.look_every_ms);
        self.tell();
    }

    fn answer_origin(&mut self, answer: &Answer) -> bool {
        // One who has hung up is known by it.
        self.hear();
        match self.origin.take() {
            Some(origin) => self.audience.answer(origin, answer),
            None => true,
        }
    }

    /// Waits for the next thing to happen and deals with it; false when the keeper is to end.
    fn step(&mut self) -> bool {
        let until = match self.status.phase {
            Phase::Dead if !self.audience.is_held() => self.next_attempt.min(self.next_look),
            Phase::Dead | Phase::Serving | Phase::Starting => self.next_look,
        };
        if self.waiting.is_empty() {
            self.wait(None, until);
        }
        if self.is_ended() {
            self.died();
        }
        if self.status.phase == Phase::Dead && !self.is_wanted() {
            return false;
        }
        for (visitor, question) in std::mem::take(&mut self.waiting) {
            if question == Question::Hold {
                self.audience.let_hold(visitor);
            }
            let answer = Answer::Status(Box::new(self.status.clone()));
            self.audience.answer(visitor, &answer);
            if question == Question::Retire && self.status.phase == Phase::Dead {
                self.log.info("retired", &[]);
                return false;
            }
        }
        self.take_sweep();
        let now = Instant::now();
        if self.status.phase == Phase::Dead && now >= self.next_attempt && !self.audience.is_held()
        {
            self.attempt();
        }
        if now >= self.next_look {
            self.next_look = now + Duration::from_millis(self.order.look_every_ms);
            self.look();
        }
        true
    }

    /// One attempt to mount anew.
    fn attempt(&mut self) {
        self.attempts += 1;
        let outcome = self.mount_anew();
        match outcome {
            Ok(started) => {
                self.status.healed = self.status.healed.saturating_add(1);
                self.serve(Client::Child(started.program), started.device);
                self.log.info("mounted anew", &[]);
                self.cover_the_dead();
            }
            Err(failure) => {
                if let StartFailure::Refused(refused) = failure {
                    let trouble = match refused.said.as_str() {
                        "" => refused.why,
                        said => format!("{} ({said})", refused.why),
                    };
                    self.log
                        .warn("could not mount anew", &[("error", &trouble)]);
                    self.status.trouble = Some(format!(
                        "ceph-fuse has died and cannot be started anew: {trouble}"
                    ));
                    self.tell();
                }
                let last = BACKOFF.len() - 1;
                let pause = BACKOFF.get(self.attempts.min(last)).copied();
                self.next_attempt = Instant::now() + pause.unwrap_or_default();
            }
        }
    }

    /// Starts ceph-fuse, after the session of one that has died was ended.
    pub(crate) fn start(&mut self, within: Duration) -> Result<Started, StartFailure> {
        let (host, order) = (self.host.clone(), self.order.clone());
        if let (Some(ender), Some(dead)) = (&order.ender, self.status.session.take())
            && let Err(error) = ender.end(&host, &order.key, &dead)
        {
            let facts = [("error", error.as_str())];
            self.log
                .warn("the dead client's session lives on for a while", &facts);
        }
        self.status.session = session::fresh_uuid(&host);
        let session = self.status.session.clone();
        start::start(&host, &order, session.as_deref(), within, self)
    }

    /// Whether the process behind a working mount has ended.
    fn is_ended(&mut self) -> bool {
        match &mut self.client {
            None | Some(Client::Unknown) => false,
            Some(Client::Child(program)) => {
                program.listen();
                program.ended().is_some()
            }
            Some(Client::Stranger(process, _)) => self
                .host
                .is_running((*process).into())
                .is_ok_and(|runs| !runs),
        }
    }

    /// Deals with the end of the process behind the mount.
    pub(crate) fn died(&mut self) {
        let how = match &mut self.client {
            Some(Client::Child(program)) => {
                let exit = program.ended().unwrap_or(Exit::Code(-1));
                let said = start::said(&self.order, program);
                (exit.to_string(), said)
            }
            Some(Client::Stranger(..) | Client::Unknown) | None => {
                ("has ended".to_owned(), String::new())
            }
        };
        self.client = None;
        self.status.client = None;
        self.status.phase = Phase::Dead;
        self.status.dead.extend(self.status.device.take());
        self.next_attempt = Instant::now();
        if self.is_wanted() {
            let (exit, said) = &how;
            self.log
                .warn("ceph-fuse has died", &[("exit", exit), ("said", said)]);
            self.status.trouble = Some(format!("ceph-fuse {exit} and is being started anew"));
            self.tell();
        }
    }

    /// A finding is to be confirmed.
    pub(crate) fn look_again_soon(&mut self) {
        self.next_look = self.next_look.min(Instant::now() + CONFIRM);
    }

    /// Writes the status into its file.
    pub(crate) fn tell(&mut self) {
        if let Err(error) = self.post.tell(&self.host, &self.status) {
            self.log.warn(
                "the status could not be written",
                &[("error", &chain(&error))],
            );
        }
    }

    /// Hears what visitors say, and answers what can be answered at once.
    pub(crate) fn hear(&mut self) {
        for said in self.audience.hear() {
            self.reply(&said);
        }
        if self
            .origin
            .is_some_and(|origin| !self.audience.is_there(origin))
        {
            self.origin = None;
            if self.status.phase == Phase::Starting {
                // Known by `is_disturbed`.
                self.waiting.push((u64::MAX, Question::Retire));
            }
        }
    }

    fn reply(&mut self, said: &Said) {
        let answer = match said.question() {
            Some(Question::Status) => Answer::Status(Box::new(self.status.clone())),
            Some(question @ (Question::Hold | Question::Retire)) => {
                self.waiting.push((said.visitor, question));
                return;
            }
            None => Answer::Refused(Refused {
                why: "this is no question that a keeper knows".to_owned(),
                said: String::new(),
                late: false,
            }),
        };
        self.audience.answer(said.visitor, &answer);
    }

    /// Waits until something happens: to a program that is being started or to the one behind the
    /// mount, to the mounts, or on the socket. Hears visitors.
    pub(crate) fn wait(&mut self, starting: Option<&RunningProgram>, until: Instant) {
        let mut fds: Vec<(BorrowedFd<'_>, bool)> = Vec::new();
        fds.extend(self.audience.ears().map(|ear| (ear, false)));
        fds.push((self.watch.as_fd(), true));
        fds.extend(self.sweep.iter().map(|sweep| (sweep.end(), false)));
        let own = match &self.client {
            Some(Client::Child(program)) => Some(program),
            Some(Client::Stranger(_, held)) => {
                fds.extend(held.as_ref().map(|held| (held.as_fd(), false)));
                None
            }
            Some(Client::Unknown) | None => None,
        };
        for program in starting.into_iter().chain(own) {
            fds.extend(
                program
                    .end()
                    .into_iter()
                    .chain(program.voice())
                    .map(|fd| (fd, false)),
            );
        }
        // A kernel that cannot hold a process makes it a matter of looking often.
        let cannot_hold = starting
            .into_iter()
            .chain(own)
            .any(|program| program.end().is_none());
        let until = if cannot_hold {
            until.min(Instant::now() + Duration::from_millis(100))
        } else {
            until
        };
        if let Err(error) = poll(fds, until) {
            self.log
                .warn("polling failed", &[("error", &error.to_string())]);
            std::thread::sleep(Duration::from_millis(100));
        }
        self.hear();
    }
}
