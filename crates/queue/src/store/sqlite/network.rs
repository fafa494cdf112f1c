//! Network file systems, on which SQLite's locks and shared memory do not work.

use std::path::Path;

/// The name of the network file system on which this folder lies, where that can be told.
///
/// FUSE and 9p are let through: both are used for local folders too, and do not say which it is.
pub(super) fn network(folder: &Path) -> Option<&'static str> {
    #[cfg(target_os = "linux")]
    {
        // A folder that cannot be asked about is taken for local.
        let kind = rustix::fs::statfs(folder).ok()?.f_type;
        network_name(u32::try_from(kind).ok()?)
    }
    #[cfg(not(target_os = "linux"))]
    {
        let _ = folder;
        None
    }
}

/// By the magic numbers of statfs(2).
#[cfg(target_os = "linux")]
const fn network_name(magic: u32) -> Option<&'static str> {
    match magic {
        0x6969 => Some("NFS"),
        0x517B | 0xFF53_4D42 | 0xFE53_4D42 => Some("SMB"),
        0x564C => Some("NCP"),
        0x5346_414F | 0x6B41_4653 => Some("AFS"),
        0x00C3_6400 => Some("Ceph"),
        0x0BD0_0BD0 => Some("Lustre"),
        0x7461_636F => Some("OCFS2"),
        0x0116_1970 => Some("GFS2"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[cfg(target_os = "linux")]
    #[test]
    fn network_file_systems_are_told_by_their_magic_numbers() {
        for (magic, name) in [(0x6969, Some("NFS")), (0xFF53_4D42, Some("SMB")), (0xEF53, None), (0x0102_1994, None)] {
            assert_eq!(network_name(magic), name, "{magic:x}");
        }
    }
}
