//! The note that a mkfs has begun on an image and has not finished.
//!
//! ```text
//!  empty ──note──► empty, noted ──mkfs──► remains, noted ──mkfs──► made, noted ──forget──► made
//!                        └──── made anew by the next stage ───┘     └─ checked whole, forgotten
//! ```
//!
//! It stands in the image's metadata, not on the device or in a file of the node: the next attempt
//! may be made by another node, and the image may have grown by then. It says which image it is
//! about, because clones and copies take the metadata along. And it is forgotten before the device
//! is handed to anybody else, so that it never outlives its truth and becomes a licence to destroy
//! data.

use ceph::Io;
use cuttle_model::ImageId;

use crate::rbd::image::{ImageError, failed_at};
use crate::rbd::image_spec::ImageSpec;

/// The key in the image's metadata.
const KEY: &str = "cuttle.mkfs";

/// What is noted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Noted {
    /// Nothing.
    Nothing,
    /// A mkfs on this image.
    This,
    /// A mkfs on another image, of which this one is a copy.
    Another,
}

/// The note about one image.
#[derive(Debug, Clone, Copy)]
pub(crate) struct MkfsNote<'a> {
    io: &'a Io,
    id: &'a ImageId,
    spec: &'a ImageSpec,
}

impl<'a> MkfsNote<'a> {
    pub(crate) fn new(io: &'a Io, id: &'a ImageId, spec: &'a ImageSpec) -> Self {
        Self { io, id, spec }
    }

    /// The text that stands for this image and no other: cluster, pool and image by what names do
    /// not change.
    fn text(self) -> String {
        let fsid = self.spec.fsid.as_deref().unwrap_or_default();
        format!("{fsid}/{}/{}", self.io.pool_id(), self.id)
    }

    /// What is noted now.
    pub(crate) fn find(self) -> Result<Noted, ImageError> {
        let found = self.io.image_metadata_by_id(self.id, KEY);
        let found = found.map_err(failed_at("read the note of a mkfs of", self.spec))?;
        Ok(match found {
            None => Noted::Nothing,
            Some(text) if text == self.text() => Noted::This,
            Some(_) => Noted::Another,
        })
    }

    /// Notes that a mkfs begins now. The device must be positively empty, or noted before.
    pub(crate) fn make(self) -> Result<(), ImageError> {
        let text = self.text();
        let entries = [(KEY, text.as_str())];
        let made = self.io.set_image_metadata_by_id(self.id, &entries);
        made.map_err(failed_at("note a mkfs of", self.spec))
    }

    /// Takes the note back, whichever it is.
    pub(crate) fn forget(self) -> Result<(), ImageError> {
        let forgotten = self.io.remove_image_metadata_by_id(self.id, KEY);
        forgotten.map_err(failed_at("take back the note of a mkfs of", self.spec))
    }
}
