//! What is on a device: blkid's word and our own reading together.

use crate::process::{Exit, Program};
use crate::{AbsolutePath, Error, Host};

use super::survey::{Reading, Survey};

/// What was found on a device.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Probe {
    /// Positively nothing: blkid recognises nothing, and all that was read is zero.
    Empty,
    /// What a mkfs that was cut off may have left: content that nothing recognises, with an empty
    /// start; or an XFS that says that it is not finished. Others may have written it just as well.
    Remains {
        /// What is known of it.
        found: String,
    },
    /// A file system.
    Filesystem {
        /// Its kind, as the kernel names it.
        kind: String,
        /// Its label, if it has one.
        label: Option<String>,
    },
    /// A partition table.
    PartitionTable {
        /// Its kind, such as `gpt`.
        kind: String,
    },
    /// Something else that is recognised, such as LUKS or a RAID member.
    Signature {
        /// Its kind, such as `crypto_LUKS`.
        kind: String,
        /// What it is for, such as `crypto`.
        usage: String,
    },
    /// Something that is not recognised.
    Unknown {
        /// What is known of it.
        found: String,
    },
}

impl Probe {
    /// The finding in words, for messages.
    #[must_use]
    pub fn words(&self) -> String {
        match self {
            Self::Empty => "nothing".to_owned(),
            Self::Filesystem { kind, .. } => format!("file system {kind}"),
            Self::PartitionTable { kind } => format!("partition table {kind}"),
            Self::Signature { kind, usage } => format!("{kind}, used for {usage}"),
            Self::Remains { found } | Self::Unknown { found } => found.clone(),
        }
    }
}

/// What blkid says of a device.
#[derive(Debug, Default, PartialEq, Eq)]
struct Recognised {
    kind: Option<String>,
    usage: Option<String>,
    label: Option<String>,
    table: Option<String>,
}

/// blkid's answer.
#[derive(Debug, PartialEq, Eq)]
enum Blkid {
    Nothing,
    Ambivalent,
    Found(Recognised),
}

impl Host {
    /// Finds out what is on a device. Nothing is written.
    ///
    /// # Blocking
    /// At most [`Limits::look`](crate::Limits::look) for each of the two ways of looking.
    ///
    /// # Errors
    /// A device that cannot be read is an error, never empty; [`Error::NotABlockDevice`],
    /// [`Error::Hung`], [`Error::ProgramFailed`] for an answer of blkid that is not known.
    pub fn probe(&self, device: &AbsolutePath) -> Result<Probe, Error> {
        let survey = self.survey(device, Reading::Fresh)?;
        let blkid = self.blkid(device)?;
        Ok(judge(&survey, blkid))
    }

    fn blkid(&self, device: &AbsolutePath) -> Result<Blkid, Error> {
        let program = Program::new("blkid")
            .args(["-p", "-o", "export"])
            .args([
                "-s", "TYPE", "-s", "USAGE", "-s", "LABEL", "-s", "PTTYPE", "--",
            ])
            .arg(device.as_path())
            .about(device)
            .within(self.limits.look);
        let finished = self.run("host.blkid", &program)?;
        match finished.exit {
            Exit::Code(0) => Ok(Blkid::Found(parse(&finished.stdout.text()))),
            // Also the answer for a device that cannot be opened, which is why it is read first.
            Exit::Code(2) if finished.stdout.bytes.is_empty() => Ok(Blkid::Nothing),
            Exit::Code(8) => Ok(Blkid::Ambivalent),
            Exit::Code(_) | Exit::Signal(_) => Err(match finished.expect_success("blkid") {
                Err(error) => error,
                Ok(finished) => Error::ProgramFailed {
                    program: "blkid".to_owned(),
                    exit: finished.exit,
                    stderr: String::new(),
                },
            }),
        }
    }
}

/// Reads blkid's export form: lines `KEY=value`, in which odd characters are escaped by `\`.
fn parse(text: &str) -> Recognised {
    let mut found = Recognised::default();
    for line in text.lines() {
        let Some((key, value)) = line.split_once('=') else {
            continue;
        };
        let value = Some(unescape(value));
        match key {
            "TYPE" => found.kind = value,
            "USAGE" => found.usage = value,
            "LABEL" => found.label = value,
            "PTTYPE" => found.table = value,
            _ => {}
        }
    }
    found
}

fn unescape(value: &str) -> String {
    let mut plain = String::with_capacity(value.len());
    let mut characters = value.chars();
    while let Some(character) = characters.next() {
        match character {
            '\\' => plain.extend(characters.next()),
            _ => plain.push(character),
        }
    }
    plain
}

fn judge(survey: &Survey, blkid: Blkid) -> Probe {
    let found = match blkid {
        Blkid::Nothing => Recognised::default(),
        Blkid::Ambivalent => {
            let found = "signatures of several file systems".to_owned();
            return Probe::Unknown { found };
        }
        Blkid::Found(found) => found,
    };
    if let Some(kind) = found.kind {
        let usage = found.usage.unwrap_or_default();
        if kind == "xfs" && survey.is_xfs_in_progress() {
            let found = "an xfs that mkfs did not finish".to_owned();
            return Probe::Remains { found };
        }
        return if usage == "filesystem" {
            Probe::Filesystem {
                kind,
                label: found.label,
            }
        } else {
            Probe::Signature { kind, usage }
        };
    }
    if let Some(kind) = found.table {
        return Probe::PartitionTable { kind };
    }
    match survey.content_at {
        None if survey.size.bytes() > 0 => Probe::Empty,
        None => Probe::Unknown {
            found: "a device of no size".to_owned(),
        },
        Some(at) => {
            let found = format!("content that blkid does not recognise, at byte {at}");
            if survey.has_empty_start() {
                Probe::Remains { found }
            } else {
                Probe::Unknown { found }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use cuttle_model::ByteSize;

    use super::*;

    fn survey() -> Survey {
        let (size, head) = (ByteSize::GIB, vec![0; 2048]);
        Survey {
            size,
            content_at: None,
            head,
        }
    }

    fn recognised(text: &str) -> Blkid {
        Blkid::Found(parse(text))
    }

    #[test]
    fn only_two_agreeing_answers_are_empty() {
        assert_eq!(judge(&survey(), Blkid::Nothing), Probe::Empty);
        let content = Survey {
            content_at: Some(7),
            head: vec![7; 2048],
            ..survey()
        };
        assert!(
            matches!(judge(&content, Blkid::Nothing), Probe::Unknown { found } if found.contains("byte 7"))
        );
        let nothing = Survey {
            size: ByteSize::ZERO,
            ..survey()
        };
        assert!(matches!(
            judge(&nothing, Blkid::Nothing),
            Probe::Unknown { .. }
        ));
        assert!(matches!(
            judge(&survey(), Blkid::Ambivalent),
            Probe::Unknown { .. }
        ));
        let ext4 = judge(
            &survey(),
            recognised("TYPE=ext4\nUSAGE=filesystem\nLABEL=a\\ b\n"),
        );
        let (kind, label) = ("ext4".to_owned(), Some("a b".to_owned()));
        assert_eq!(ext4, Probe::Filesystem { kind, label });
    }

    #[test]
    fn content_behind_an_empty_start_may_be_the_remains_of_a_mkfs() {
        let behind = Survey {
            content_at: Some(4096),
            ..survey()
        };
        assert!(matches!(
            judge(&behind, Blkid::Nothing),
            Probe::Remains { .. }
        ));
        let mut head = vec![0; 2048];
        head[1500] = 1;
        let at_the_start = Survey {
            head,
            content_at: Some(1500),
            ..survey()
        };
        assert!(matches!(
            judge(&at_the_start, Blkid::Nothing),
            Probe::Unknown { .. }
        ));
        for text in [
            "TYPE=ext4\nUSAGE=filesystem",
            "TYPE=crypto_LUKS\nUSAGE=crypto",
            "PTTYPE=gpt",
        ] {
            let found = judge(&behind, recognised(text));
            assert!(!matches!(found, Probe::Remains { .. }), "{text}");
        }
        assert!(matches!(
            judge(&behind, Blkid::Ambivalent),
            Probe::Unknown { .. }
        ));
    }

    #[test]
    fn an_unfinished_xfs_is_no_file_system() {
        let mut head = vec![0; 2048];
        head[..4].copy_from_slice(b"XFSB");
        head[126] = 1;
        let found = || recognised("TYPE=xfs\nUSAGE=filesystem");
        let half = Survey {
            head,
            content_at: Some(0),
            ..survey()
        };
        assert!(matches!(judge(&half, found()), Probe::Remains { .. }));
    }
}
