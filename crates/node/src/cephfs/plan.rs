//! What ceph-fuse is told, decided without touching anything.

use std::path::Path;

use cuttle_host::AbsolutePath;
use cuttle_model::UserId;

use super::request::FsCluster;
use super::whereabouts::Source;

/// Where ceph-fuse finds its key: a file in memory, its standard input, which is emptied as soon
/// as the mount answers.
const KEY_FILE: &str = "--keyfile=/proc/self/fd/0";

/// A mount by ceph-fuse.
#[derive(Debug)]
pub(super) struct FusePlan<'a> {
    pub(super) mountpoint: &'a AbsolutePath,
    pub(super) cluster: &'a FsCluster,
    pub(super) user: &'a UserId,
    pub(super) source: &'a Source,
    pub(super) options: &'a [String],
    pub(super) ceph_conf: Option<&'a Path>,
}

impl FusePlan<'_> {
    /// The arguments, in ceph-csi's order; in the foreground, so that its end is noticed.
    pub(super) fn arguments(&self) -> Vec<String> {
        let conf = self.ceph_conf.unwrap_or_else(|| Path::new("/dev/null"));
        let options = ["nonempty"]
            .into_iter()
            .chain(self.options.iter().map(String::as_str));
        let options: Vec<&str> = options.collect();
        let mut arguments: Vec<String> = [
            &self.mountpoint.to_string(),
            "-f",
            "-m",
            &self.cluster.monitors.joined(),
            "-c",
            &conf.to_string_lossy(),
            "-n",
            &format!("client.{}", self.user),
            KEY_FILE,
            "-r",
            self.source.root.as_str(),
            "-o",
            &options.join(","),
        ]
        .map(str::to_owned)
        .into();
        if let Some(fs) = &self.source.fs {
            arguments.push(format!("--client_mds_namespace={fs}"));
        }
        arguments
    }
}

#[cfg(test)]
mod tests {
    use cuttle_model::{AccessMode, FsName, FsPath};

    use super::*;
    use crate::cephfs::options::tests::request;

    #[test]
    fn ceph_fuse_is_told_as_by_ceph_csi_and_never_the_key() {
        let wanted = request(&[], AccessMode::MultiNodeMultiWriter);
        let mountpoint = AbsolutePath::new("/staging").unwrap();
        let source = Source {
            fs: Some(FsName::new("my-fs_1").unwrap()),
            root: FsPath::new("/volumes/csi/a").unwrap(),
        };
        let options = ["ro".to_owned()];
        let plan = |source: &Source, ceph_conf: Option<&Path>| {
            let plan = FusePlan {
                mountpoint: &mountpoint,
                cluster: &wanted.cluster,
                user: &wanted.credentials.user,
                source,
                options: &options,
                ceph_conf,
            };
            plan.arguments().join(" ")
        };
        assert_eq!(
            plan(&source, Some(Path::new("/etc/ceph/ceph.conf"))),
            "/staging -f -m 10.0.0.1:6789 -c /etc/ceph/ceph.conf -n client.node-1_a \
             --keyfile=/proc/self/fd/0 -r /volumes/csi/a -o nonempty,ro \
             --client_mds_namespace=my-fs_1"
        );
        let source = Source { fs: None, ..source };
        assert!(plan(&source, None).ends_with("-o nonempty,ro"));
    }
}
