//! The kernels a guest can run, and what each of them needs.

use std::fmt;

/// A kernel of Debian's.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum, serde::Serialize, serde::Deserialize,
)]
pub(crate) enum Kernel {
    /// Debian 13.
    #[value(name = "6.12")]
    Trixie,
    /// Debian 12; without ublk.
    #[value(name = "6.1")]
    Bookworm,
}

impl Kernel {
    /// The version by which people call it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Trixie => "6.12",
            Self::Bookworm => "6.1",
        }
    }

    /// The release of Debian that has it.
    pub(crate) fn suite(self) -> &'static str {
        match self {
            Self::Trixie => "trixie",
            Self::Bookworm => "bookworm",
        }
    }
}

impl fmt::Display for Kernel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// The modules that the initial RAM disk loads: console ports, network, random numbers, and the
/// file systems that the root is made of. Those that a kernel has built in are skipped.
pub(crate) const BOOT_MODULES: [&str; 7] = [
    "virtio_pci",
    "virtio_console",
    "virtio_net",
    "virtio_rng",
    "9p",
    "9pnet_virtio",
    "overlay",
];

/// Modules without which a guest would be of no use.
pub(crate) const NEEDED_MODULES: [&str; 4] = ["rbd", "ceph", "nbd", "dm_crypt"];

/// Modules that are taken along where the kernel has them: file systems, loop devices, ublk, the
/// ciphers of cephx and LUKS, and the fast forms of checksums.
pub(crate) const WELCOME_MODULES: [&str; 37] = [
    "ublk_drv",
    "dm_mod",
    "dm_integrity",
    "loop",
    "ext4",
    "xfs",
    "btrfs",
    "fuse",
    "aesni_intel",
    "xts",
    "gcm",
    "ccm",
    "cbc",
    "ecb",
    "ctr",
    "cts",
    "hmac",
    "md5",
    "sha1_generic",
    "sha256_generic",
    "sha512_generic",
    "sha256_ssse3",
    "sha512_ssse3",
    "crc32c_intel",
    "crc32c_generic",
    "crct10dif_pclmul",
    "algif_skcipher",
    "algif_hash",
    "algif_aead",
    "af_alg",
    "aes_generic",
    "essiv",
    "authenc",
    "echainiv",
    "ghash_clmulni_intel",
    "cryptd",
    "libcrc32c",
];
