//! Which device and file system holds a folder. Source: proc(5), `/proc/pid/mountinfo`.

use std::path::Path;

/// Where a folder is mounted.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize, utoipa::ToSchema)]
pub struct Device {
    /// Major and minor number, such as `254:0`.
    pub number: String,
    pub mount_point: String,
    /// Such as `ext4` or `tmpfs`.
    pub file_system: String,
    /// What is mounted, such as `/dev/vda`.
    pub source: String,
}

/// The device that holds a folder; none where that cannot be told.
pub fn device_of(folder: &Path) -> Option<Device> {
    let folder = folder.canonicalize().ok()?;
    find(&folder, &std::fs::read_to_string("/proc/self/mountinfo").ok()?)
}

/// The mount that holds `folder`: the longest mount point, the last one mounted there.
pub(super) fn find(folder: &Path, mounts: &str) -> Option<Device> {
    let mut best: Option<Device> = None;
    for line in mounts.lines() {
        let Some((before, after)) = line.split_once(" - ") else { continue };
        let mut before = before.split(' ');
        let (Some(number), Some(point)) = (before.nth(2), before.nth(1)) else { continue };
        let mut after = after.split(' ');
        let Some(file_system) = after.next() else { continue };
        let mount_point = unescaped(point);
        if folder.starts_with(&mount_point) && best.as_ref().is_none_or(|b| mount_point.len() >= b.mount_point.len()) {
            best = Some(Device {
                number: number.to_owned(),
                mount_point,
                file_system: file_system.to_owned(),
                source: after.next().map(unescaped).unwrap_or_default(),
            });
        }
    }
    best
}

fn unescaped(text: &str) -> String {
    text.replace("\\040", " ").replace("\\011", "\t").replace("\\012", "\n").replace("\\134", "\\")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_mount_point_holds_a_folder() {
        let mounts = "\
22 1 254:0 / / rw,relatime shared:1 - ext4 /dev/vda rw
30 22 0:25 / /dev/shm rw,nosuid - tmpfs tmpfs rw
31 22 0:26 / /with\\040space rw - ramfs none rw
32 22 0:27 / /twice rw - ext4 /dev/b rw
33 22 0:28 / /twice rw master:7 propagate_from:2 - tmpfs none rw
nonsense
";
        let cases = [
            ("/data", Some(("254:0", "ext4", "/dev/vda"))),
            ("/dev/shm/x/y", Some(("0:25", "tmpfs", "tmpfs"))),
            ("/dev/shmx", Some(("254:0", "ext4", "/dev/vda"))),
            ("/with space/a", Some(("0:26", "ramfs", "none"))),
            ("/twice", Some(("0:28", "tmpfs", "none"))),
            ("relative", None),
        ];
        for (folder, expected) in cases {
            let found = find(Path::new(folder), mounts);
            let found = found.as_ref().map(|d| (d.number.as_str(), d.file_system.as_str(), d.source.as_str()));
            assert_eq!(found, expected, "{folder}");
        }
    }
}
