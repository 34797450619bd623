//! Whether a volume that exists is the one that is requested.

use cuttle_model::{ByteSize, ImageFeatures};

use super::{CreateError, Creation};
use crate::rbd::header::Header;

/// The features that a StorageClass can ask for; librbd adds others by itself.
const REQUESTABLE: ImageFeatures = ImageFeatures::from_bits(0b111_1101);

impl Creation<'_> {
    /// Compares what the request demands with what the image's header says.
    ///
    /// The size has to lie in the requested range: ceph-csi takes any that is large enough, which
    /// breaks a limit.
    pub(super) fn check_fit(&self, header: &Header) -> Result<(), CreateError> {
        self.check_size(header.size)?;
        let parameters = &self.request.parsed.parameters;
        if let Some(wanted) = parameters.features {
            let has = ImageFeatures::from_bits(header.features.bits() & REQUESTABLE.bits());
            // librbd adds the one to the other.
            let missing = wanted.without(has);
            let extra = has.without(wanted).without(ImageFeatures::FAST_DIFF);
            if !missing.is_empty() || !extra.is_empty() {
                return self.incompatible("features", &has, &wanted);
            }
        }
        if let (Some(wanted), Some(order)) = (parameters.object_size, header.order)
            && wanted.order() != order
        {
            let has = format!("2^{order} bytes");
            return self.incompatible("object size", &has, &wanted.size());
        }
        if let Some(wanted) = &parameters.data_pool {
            let id = self.cluster.pool_id(wanted);
            let id = id.map_err(|error| self.refused("look for the data pool", error))?;
            if id.map(|id| id.get()) != header.data_pool {
                let has = header
                    .data_pool
                    .map_or_else(|| "none".to_owned(), |id| format!("number {id}"));
                return self.incompatible("data pool", &has, wanted);
            }
        }
        Ok(())
    }

    fn check_size(&self, size: ByteSize) -> Result<(), CreateError> {
        let range = self.request.range;
        let least = range.required.unwrap_or(ByteSize::ZERO);
        if size < least {
            return self.incompatible("size", &size, &format!("at least {least}"));
        }
        match range.limit {
            Some(most) if size > most => {
                self.incompatible("size", &size, &format!("at most {most}"))
            }
            Some(_) | None => Ok(()),
        }
    }

    fn incompatible(
        &self,
        property: &'static str,
        existing: &dyn std::fmt::Display,
        requested: &dyn std::fmt::Display,
    ) -> Result<(), CreateError> {
        Err(CreateError::Incompatible {
            name: self.request.name.clone(),
            property,
            existing: existing.to_string(),
            requested: requested.to_string(),
        })
    }
}
