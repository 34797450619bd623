//! Making the image of a clone: by plan, or by librbd where the clone is not an everyday one.

use std::collections::BTreeMap;

use ceph::{CloneParent, ClonePlan, ImageOptions, Io, OpenMode};
use cuttle_model::{ByteSize, ImageId, ImageName};

/// A clone to be made.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Clone<'c> {
    /// Where.
    pub(crate) io: &'c Io,
    /// The identifier it gets if it is made by plan.
    pub(crate) id: &'c ImageId,
    pub(crate) image: &'c ImageName,
    pub(crate) size: ByteSize,
    pub(crate) options: &'c ImageOptions,
    /// All of its metadata, inherited and its own.
    pub(crate) metadata: &'c [(String, String)],
    /// Of what.
    pub(crate) parent: &'c CloneParent,
    /// The names of the parent's image and snapshot.
    pub(crate) parent_name: (&'c ImageName, &'c str),
}

impl Clone<'_> {
    /// The writes that make it; `None` when librbd must.
    pub(crate) fn plan(&self) -> Result<Option<ClonePlan>, ceph::Error> {
        let metadata: Vec<(&str, &str)> = self
            .metadata
            .iter()
            .map(|(key, value)| (key.as_str(), value.as_str()))
            .collect();
        let (io, parent) = (self.io, self.parent);
        io.plan_clone_as(
            self.id,
            self.image,
            self.size,
            self.options,
            &metadata,
            parent,
        )
    }

    /// Makes it, one way or the other.
    pub(crate) fn make(&self) -> Result<ImageId, ceph::Error> {
        match self.plan()? {
            Some(plan) => {
                self.io.create_planned_clone(&plan)?;
                Ok(plan.image.id().clone())
            }
            None => self.by_librbd(),
        }
    }

    /// Makes it by librbd, which gives it the parent's size and all of the parent's metadata.
    pub(crate) fn by_librbd(&self) -> Result<ImageId, ceph::Error> {
        let (parent, snapshot) = self.parent_name;
        let from = (&self.parent.io, parent, snapshot);
        self.io.clone_image(self.image, self.options, from)?;
        let opened = self.io.open_image(self.image, OpenMode::ReadWrite)?;
        if opened.size()? < self.size {
            opened.resize(self.size, false)?;
        }
        let wanted: BTreeMap<&str, &str> = self
            .metadata
            .iter()
            .map(|(key, value)| (key.as_str(), value.as_str()))
            .collect();
        let present = opened.metadata()?;
        for key in present.keys() {
            if !wanted.contains_key(key.as_str()) {
                opened.remove_metadata(key)?;
            }
        }
        for (key, value) in wanted {
            if present.get(key).map(String::as_str) != Some(value) {
                opened.set_metadata(key, value)?;
            }
        }
        let id = opened.id()?;
        opened.close()?;
        Ok(id)
    }
}
