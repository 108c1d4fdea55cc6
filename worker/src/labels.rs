//! What a worker is and has, as far as it can find out by itself.

use std::collections::BTreeMap;
use std::path::Path;

/// Finds out `os`, `arch`, `cores`, `memory` (whole GiB), `kernel`, and by what steps can be kept apart
/// (`isolation.bubblewrap`, `isolation.docker`, `isolation.podman`, each `true`). What cannot be found out is left out.
pub fn detect() -> BTreeMap<String, String> {
    let mut labels = BTreeMap::from([
        ("os".to_owned(), std::env::consts::OS.to_owned()),
        ("arch".to_owned(), std::env::consts::ARCH.to_owned()),
    ]);
    if let Ok(cores) = std::thread::available_parallelism() {
        labels.insert("cores".to_owned(), cores.to_string());
    }
    let meminfo = std::fs::read_to_string(Path::new("/proc/meminfo")).unwrap_or_default();
    if let Some(memory) = memory_gib(&meminfo) {
        labels.insert("memory".to_owned(), memory.to_string());
    }
    if let Ok(kernel) = std::fs::read_to_string(Path::new("/proc/sys/kernel/osrelease")) {
        labels.insert("kernel".to_owned(), kernel.trim().to_owned());
    }
    labels.extend(crate::isolation::detect().into_iter().map(|label| (label.to_owned(), "true".to_owned())));
    labels
}

/// Gives the free bytes of the disk below a folder, in whole GiB.
pub(crate) fn free_gib(folder: &Path) -> Option<u64> {
    let disk = nix::sys::statvfs::statvfs(folder).ok()?;
    Some(disk.blocks_available().saturating_mul(disk.fragment_size()) >> 30)
}

/// Reads the total of `/proc/meminfo`, rounded to the nearest GiB.
fn memory_gib(meminfo: &str) -> Option<u64> {
    let line = meminfo.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some((kib + (1 << 19)) >> 20)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_read_in_whole_gib() {
        assert_eq!(memory_gib("MemTotal:       24590220 kB\nMemFree: 1 kB\n"), Some(23));
        assert_eq!(memory_gib("nothing"), None);
    }

    #[test]
    fn this_machine_has_an_os_and_cores() {
        let labels = detect();
        assert!(labels.contains_key("os") && labels.contains_key("arch") && labels.contains_key("cores"));
    }
}
