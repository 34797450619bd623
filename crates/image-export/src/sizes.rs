//! The image's size: asked of librbd by one thread, so that no reader of requests waits for Ceph.
//!
//! When the image is resized, every client that has it open is notified. From then on librbd knows
//! that its header is stale and reads it again when asked for the size. So attributes are answered
//! by asking librbd each time (free while nothing has changed), and a notification makes the
//! kernel forget the attributes it may hold.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::JoinHandle;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use std::{io, thread};

use fuser::{FileAttr, FileType, INodeNo, Notifier, ReplyAttr, ReplyStatfs};
use rustix::process::{getgid, getuid};
use tracing::{info, warn};

use crate::backend::Backend;

/// What the kernel takes for the smallest useful discard (a loop device takes it from `statfs`):
/// what an OSD can free inside an object. krbd uses the same.
const DISCARD_GRANULARITY: u32 = 64 << 10;

/// A question to the thread that knows the size.
#[derive(Debug)]
pub(crate) enum Question {
    /// The kernel wants the file's attributes.
    Attributes(ReplyAttr),
    /// The kernel wants the file system's figures.
    FileSystem(ReplyStatfs),
    /// The image's header changed.
    HeaderChanged,
    /// The mount is there: from now on the kernel can be told to forget.
    Mounted(Notifier),
    /// The export is closing: the thread ends.
    Closing,
}

/// The thread that answers [`Question`]s.
#[derive(Debug)]
pub(crate) struct Sizes {
    pub(crate) questions: Sender<Question>,
    thread: JoinHandle<()>,
}

impl Sizes {
    /// Starts the thread.
    ///
    /// # Errors
    /// When the system has no room for another thread.
    pub(crate) fn start(backend: Arc<Backend>, read_only: bool) -> io::Result<Self> {
        let (questions, asked) = channel();
        let answers = Answers {
            backend,
            perm: if read_only { 0o400 } else { 0o600 },
            started: SystemTime::now(),
            notifier: None,
        };
        let thread = thread::Builder::new()
            .name("export-sizes".to_owned())
            .spawn(move || answers.serve(&asked))?;
        Ok(Self { questions, thread })
    }

    /// Asks the thread.
    pub(crate) fn ask(&self, question: Question) {
        if self.questions.send(question).is_err() {
            warn!("the thread that answers attributes has ended");
        }
    }

    /// Ends the thread and waits for it to let go of the image.
    pub(crate) fn end(self) {
        self.ask(Question::Closing);
        if self.thread.join().is_err() {
            warn!("the thread that answers attributes panicked");
        }
    }
}

struct Answers {
    backend: Arc<Backend>,
    perm: u16,
    started: SystemTime,
    notifier: Option<Notifier>,
}

impl Answers {
    fn serve(mut self, asked: &Receiver<Question>) {
        while let Ok(question) = asked.recv() {
            match question {
                Question::Attributes(reply) => {
                    self.refresh();
                    reply.attr(&Duration::ZERO, &self.attributes());
                }
                Question::FileSystem(reply) => self.figures(reply),
                Question::HeaderChanged => self.refresh(),
                Question::Mounted(notifier) => self.notifier = Some(notifier),
                Question::Closing => return,
            }
        }
    }

    /// Asks librbd for the size. If it cannot tell, the last known size stands: I/O will say why.
    fn refresh(&self) {
        match self.backend.image.size() {
            Ok(size) if self.backend.resized(size.bytes()) => {
                info!(%size, "the image has a new size");
                self.forget_attributes();
            }
            Ok(_) => {}
            Err(error) => warn!(%error, "could not read the image's size, keeping the last one"),
        }
    }

    fn forget_attributes(&self) {
        let Some(notifier) = &self.notifier else {
            return;
        };
        // A negative offset names no data, only the attributes: nothing to wait for in the kernel.
        if let Err(error) = notifier.inval_inode(INodeNo::ROOT, -1, 0) {
            warn!(%error, "could not tell the kernel of the new size");
        }
    }

    fn attributes(&self) -> FileAttr {
        let size = self.backend.size();
        FileAttr {
            ino: INodeNo::ROOT,
            size,
            blocks: size.div_ceil(512),
            atime: UNIX_EPOCH,
            mtime: self.started,
            ctime: self.started,
            crtime: self.started,
            kind: FileType::RegularFile,
            perm: self.perm,
            nlink: 1,
            uid: getuid().as_raw(),
            gid: getgid().as_raw(),
            rdev: 0,
            blksize: 4096,
            flags: 0,
        }
    }

    fn figures(&self, reply: ReplyStatfs) {
        let granularity = DISCARD_GRANULARITY;
        let blocks = self.backend.size().div_ceil(u64::from(granularity));
        reply.statfs(blocks, 0, 0, 1, 0, granularity, 255, granularity);
    }
}
