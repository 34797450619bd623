//! A file whose content cannot be guessed or compressed, and its checksum.

use std::fs::File;
use std::io::{Read, Write};
use std::path::Path;

use sha2::{Digest, Sha256};

use crate::Failure;

/// How large the file is.
pub(crate) const BYTES: usize = 16 << 20;

const NAME: &str = "payload";

/// Writes the file into a mounted volume, down to the disk, and gives its checksum.
pub(crate) fn write(volume: &Path) -> Result<String, Failure> {
    let path = volume.join(NAME);
    let failed = |error| Failure::because(format!("cannot write {}", path.display()), &error);
    let mut hasher = Sha256::new();
    let mut file = File::create(&path).map_err(failed)?;
    let mut block = Sha256::digest(volume.as_os_str().as_encoded_bytes());
    let mut buffer = Vec::with_capacity(1 << 20);
    let mut left = BYTES;
    while left > 0 {
        buffer.clear();
        while buffer.len() < (1 << 20) && buffer.len() < left {
            buffer.extend_from_slice(&block);
            block = Sha256::digest(block);
        }
        hasher.update(&buffer);
        file.write_all(&buffer).map_err(failed)?;
        left -= buffer.len();
    }
    file.sync_all().map_err(failed)?;
    Ok(hex(&hasher.finalize()))
}

/// Reads the file and gives its checksum.
pub(crate) fn read(volume: &Path) -> Result<String, Failure> {
    let path = volume.join(NAME);
    let failed = |error| Failure::because(format!("cannot read {}", path.display()), &error);
    let mut hasher = Sha256::new();
    let mut file = File::open(&path).map_err(failed)?;
    let mut buffer = vec![0_u8; 1 << 20];
    loop {
        let count = file.read(&mut buffer).map_err(failed)?;
        let Some(bytes) = buffer.get(..count).filter(|bytes| !bytes.is_empty()) else {
            break;
        };
        hasher.update(bytes);
    }
    Ok(hex(&hasher.finalize()))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_written_is_what_is_read_and_a_flipped_bit_shows() {
        let dir = tempfile::tempdir().expect("a directory");
        let written = write(dir.path()).expect("a file");
        assert_eq!(read(dir.path()).expect("the file"), written);
        let path = dir.path().join(NAME);
        let mut bytes = std::fs::read(&path).expect("the file");
        assert_eq!(bytes.len(), BYTES);
        bytes[BYTES / 2] ^= 1;
        std::fs::write(&path, bytes).expect("a file");
        assert_ne!(read(dir.path()).expect("the file"), written);
    }
}
