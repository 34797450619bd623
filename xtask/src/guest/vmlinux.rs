//! The kernel itself out of Debian's compressed image.
//!
//! QEMU boots the bare ELF file by its PVH note, which spares the guest the firmware and the
//! decompression, seconds on an emulated processor. The image's setup header says where the
//! compressed kernel lies (Documentation/arch/x86/boot.rst, `payload_offset`).

use std::time::Duration;

use cuttle_testbed::Program;

use crate::Failure;

/// How long the decompression may take on a loaded machine.
const PATIENCE: Duration = Duration::from_secs(300);

const SETUP_SECTORS: usize = 0x1f1;
const MAGIC: usize = 0x202;
const PAYLOAD: usize = 0x248;
const SECTOR: usize = 512;

/// How the kernel is packed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Packing {
    Xz,
    Zstd,
}

/// The ELF file in a bootable kernel image.
pub(crate) fn extract(image: &[u8]) -> Result<Vec<u8>, Failure> {
    let payload = payload(image)
        .ok_or_else(|| Failure::new("the kernel's image has no boot header that makes sense"))?;
    let (packing, packed) = packing(payload).ok_or_else(|| {
        Failure::new("the kernel is packed neither with xz nor with zstd, which is new")
    })?;
    let program = match packing {
        Packing::Xz => "xz",
        Packing::Zstd => "zstd",
    };
    let output = Program::new(program)
        .args(["--decompress", "--stdout"])
        .input(packed)
        .limit(PATIENCE)
        .ok()?;
    if !output.stdout.starts_with(b"\x7fELF") {
        return Err(Failure::new("what the kernel's image holds is no ELF file"));
    }
    Ok(output.stdout)
}

/// The compressed kernel in an image.
fn payload(image: &[u8]) -> Option<&[u8]> {
    if image.get(MAGIC..MAGIC + 4)? != b"HdrS" {
        return None;
    }
    let number = |at: usize| {
        let bytes = image.get(at..at + 4)?.try_into().ok()?;
        usize::try_from(u32::from_le_bytes(bytes)).ok()
    };
    let sectors = usize::from(*image.get(SETUP_SECTORS)?);
    let start = (sectors + 1) * SECTOR + number(PAYLOAD)?;
    image.get(start..start.checked_add(number(PAYLOAD + 4)?)?)
}

/// How it is packed, and the packed bytes alone: the kernel's build appends the unpacked size, four
/// bytes, which neither program takes for its own.
fn packing(payload: &[u8]) -> Option<(Packing, Vec<u8>)> {
    let packing = if payload.starts_with(b"\xfd7zXZ") {
        Packing::Xz
    } else if payload.starts_with(&[0x28, 0xb5, 0x2f, 0xfd]) {
        Packing::Zstd
    } else {
        return None;
    };
    let end = payload.len().checked_sub(4)?;
    Some((packing, payload.get(..end)?.to_vec()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn image(payload: &[u8]) -> Vec<u8> {
        let mut image = vec![0_u8; 2 * SECTOR];
        image[SETUP_SECTORS] = 1;
        image[MAGIC..MAGIC + 4].copy_from_slice(b"HdrS");
        image[PAYLOAD] = 16;
        image[PAYLOAD + 4..PAYLOAD + 8]
            .copy_from_slice(&u32::try_from(payload.len()).unwrap().to_le_bytes());
        image.extend_from_slice(&[0; 16]);
        image.extend_from_slice(payload);
        image
    }

    #[test]
    fn the_payload_lies_where_the_header_says() {
        let packed = [0x28, 0xb5, 0x2f, 0xfd, 1, 2, 9, 9, 9, 9];
        let image = image(&packed);
        let found = payload(&image).unwrap();
        assert_eq!(found, packed);
        let (packing, bytes) = packing(found).unwrap();
        assert_eq!(packing, Packing::Zstd);
        assert_eq!(bytes, [0x28, 0xb5, 0x2f, 0xfd, 1, 2]);
    }

    #[test]
    fn what_is_no_kernel_is_refused() {
        assert!(payload(b"").is_none());
        assert!(payload(&[0; 4096]).is_none());
        let mut cut = image(&[0xfd; 100]);
        cut.truncate(1100);
        assert!(payload(&cut).is_none());
        assert!(packing(b"gzip").is_none());
        extract(&image(b"\xfd7zXZ broken")).unwrap_err();
    }
}
