//! Extended attributes of files on volumes.

use crate::children::Failure;
use crate::paths::c_string;
use crate::{AbsolutePath, Error, Host};

impl Host {
    /// The value of an extended attribute of what is at `path`, of at most a few kilobytes; `None`
    /// when it has no such attribute (ENODATA).
    ///
    /// # Blocking
    /// At most [`Limits::look`](crate::Limits::look), even on a dead mount.
    ///
    /// # Errors
    /// [`Error::Hung`], or the errno of getxattr: EOPNOTSUPP where the file system has none.
    pub fn attribute(&self, path: &AbsolutePath, name: &str) -> Result<Option<Vec<u8>>, Error> {
        let (place, attribute) = (path.to_c(), c_string(name.as_bytes()));
        let answer = self.aside("host.getxattr", path, self.limits.look, |reply| {
            let count = rustix::fs::getxattr(place.as_c_str(), attribute.as_c_str(), reply.room());
            reply.fill(count.map_err(Failure::at("getxattr"))?);
            Ok(())
        });
        match answer {
            Ok(value) => Ok(Some(value)),
            Err(Error::Call { errno, .. }) if errno.number() == libc::ENODATA => Ok(None),
            Err(error) => Err(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::fixture::{Place, host};

    #[test]
    fn an_attribute_is_read_or_absent() {
        let place = Place::new();
        let file = place.file("file", b"x");
        let flags = rustix::fs::XattrFlags::empty();
        rustix::fs::setxattr(file.as_path(), "trusted.cuttle", b"value", flags).unwrap();
        let value = |name| host().attribute(&file, name).unwrap();
        assert_eq!(value("trusted.cuttle").as_deref(), Some(&b"value"[..]));
        assert_eq!(value("trusted.other"), None);
        let missing = file.as_path().with_file_name("missing");
        let missing = crate::fixture::path(missing);
        assert!(
            host()
                .attribute(&missing, "trusted.cuttle")
                .unwrap_err()
                .is_absent()
        );
    }
}
