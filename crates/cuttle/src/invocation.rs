//! What the program was called to do.

use std::ffi::OsString;
use std::path::Path;

use crate::share::Caller;

/// One way of calling the program.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Invocation {
    /// Serve drivers, with these flags.
    Serve(Vec<String>),
    /// Export one image as a file; started by the driver itself.
    ImageExport,
    /// Keep one ceph-fuse mount; started by the driver itself where the small program for it is
    /// not installed.
    Keeper,
    /// Have the session of a dead CephFS client ended; started by a keeper.
    EndSession,
    /// Work on shares of the old CephFS provisioner, with these arguments.
    Share(Caller, Vec<String>),
    /// Look at a cluster, a node or classes, with these arguments.
    Doctor(Vec<String>),
    /// Tell how to call it.
    Help,
    /// Called in a way that means nothing.
    Unknown(String),
}

/// The text that tells how to call the program.
pub const USAGE: &str = "\
Usage: cuttle serve --type=rbd --drivername=<name> --nodeid=<node> [flags]
       cuttle serve --help
       cuttle share create|delete|list [arguments]
       cuttle doctor cluster|node|class [arguments]
       cuttle --version

Flags may also come first (cuttle --type=rbd …), and a program called cephcsi takes flags alone:
both are `serve`. docs/flags.md explains every flag, docs/shares.md what `share` does, docs/doctor.md
what `doctor` looks at; a program called cephfs_provisioner takes the arguments of that tool.
";

impl Invocation {
    /// Reads the program's name and its arguments.
    pub fn read(program: &Path, arguments: impl IntoIterator<Item = OsString>) -> Self {
        // Values that are no text are shown in messages with their odd bytes replaced.
        let mut arguments: Vec<String> = arguments
            .into_iter()
            .map(|argument| argument.to_string_lossy().into_owned())
            .collect();
        let is_ceph_csi = program.file_name().is_some_and(|name| name == "cephcsi");
        if program
            .file_stem()
            .is_some_and(|name| name == "cephfs_provisioner")
        {
            return Self::Share(Caller::OldTool, arguments);
        }
        match arguments.first().map(String::as_str) {
            Some("serve") => Self::Serve(arguments.split_off(1)),
            Some("image-export") if arguments.len() == 1 => Self::ImageExport,
            Some("doctor") => Self::Doctor(arguments.split_off(1)),
            Some("keeper") if arguments.len() == 1 => Self::Keeper,
            Some("end-session") if arguments.len() == 1 => Self::EndSession,
            Some("share") => Self::Share(Caller::Cuttle, arguments.split_off(1)),
            Some("help" | "-h" | "--help" | "-help") => Self::Help,
            Some(first) if first.starts_with('-') => Self::Serve(arguments),
            _ if is_ceph_csi => Self::Serve(arguments),
            Some(other) => Self::Unknown(cuttle_model::names::shorten(other)),
            None => Self::Help,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(program: &str, arguments: &[&str]) -> Invocation {
        Invocation::read(Path::new(program), arguments.iter().map(OsString::from))
    }

    fn serve(flags: &[&str]) -> Invocation {
        Invocation::Serve(flags.iter().map(|&flag| flag.to_owned()).collect())
    }

    #[test]
    fn serving_has_three_spellings() {
        assert_eq!(read("/bin/cuttle", &["serve", "--v=1"]), serve(&["--v=1"]));
        assert_eq!(read("cuttle", &["-type=rbd"]), serve(&["-type=rbd"]));
        assert_eq!(
            read("/usr/local/bin/cephcsi", &["--v=1"]),
            serve(&["--v=1"])
        );
        assert_eq!(read("cephcsi", &[]), serve(&[]));
        assert_eq!(read("cuttle", &["--version"]), serve(&["--version"]));
    }

    #[test]
    fn helpers_are_started_whatever_the_program_is_called() {
        assert_eq!(read("cephcsi", &["image-export"]), Invocation::ImageExport);
        assert_eq!(read("cuttle", &["image-export"]), Invocation::ImageExport);
        assert_eq!(read("cephcsi", &["keeper"]), Invocation::Keeper);
        assert_eq!(read("cuttle", &["end-session"]), Invocation::EndSession);
    }

    #[test]
    fn shares_are_asked_for_by_a_word_or_by_the_old_tool_s_name() {
        let arguments = vec!["-n".to_owned(), "a".to_owned()];
        let share = |caller| Invocation::Share(caller, arguments.clone());
        let new = read("cuttle", &["share", "-n", "a"]);
        assert_eq!(new, share(Caller::Cuttle));
        for program in ["cephfs_provisioner", "/usr/local/bin/cephfs_provisioner.py"] {
            assert_eq!(read(program, &["-n", "a"]), share(Caller::OldTool));
        }
    }

    #[test]
    fn the_doctor_is_called_by_name() {
        let arguments = vec!["node".to_owned()];
        assert_eq!(
            read("cephcsi", &["doctor", "node"]),
            Invocation::Doctor(arguments)
        );
    }

    #[test]
    fn anything_else_is_answered_with_help() {
        assert_eq!(read("cuttle", &[]), Invocation::Help);
        assert_eq!(read("cuttle", &["--help"]), Invocation::Help);
        assert_eq!(
            read("cuttle", &["sreve"]),
            Invocation::Unknown("sreve".to_owned())
        );
    }
}
