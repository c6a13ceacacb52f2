//! How much memory the process may use: what its container or its machine has.

use std::path::{Path, PathBuf};

/// What is assumed where nothing says how much there is.
const UNKNOWN: u64 = 1024 * 1024 * 1024;

/// Files of the system, by their paths.
type Read<'a> = &'a dyn Fn(&Path) -> Option<String>;

/// The bytes that this process may use.
pub(super) fn memory() -> u64 {
    memory_by(&|path| std::fs::read_to_string(path).ok())
}

/// The least of the machine's memory, the limits of its control groups, and its limit of addresses.
fn memory_by(read: Read<'_>) -> u64 {
    let limits = [machine(read), addresses(read)].into_iter().flatten();
    limits.chain(groups(read)).filter(|bytes| *bytes > 0).min().unwrap_or(UNKNOWN)
}

fn machine(read: Read<'_>) -> Option<u64> {
    let text = read(Path::new("/proc/meminfo"))?;
    let kilobytes = text.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    kilobytes.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()?.checked_mul(1024)
}

/// The soft limit of the process's address space.
fn addresses(read: Read<'_>) -> Option<u64> {
    let text = read(Path::new("/proc/self/limits"))?;
    let limits = text.lines().find_map(|line| line.strip_prefix("Max address space"))?;
    limits.split_whitespace().next()?.parse().ok()
}

/// The limits of the process's control groups and of those around them, in both versions.
fn groups(read: Read<'_>) -> Vec<u64> {
    let text = read(Path::new("/proc/self/cgroup")).unwrap_or_default();
    let mut limits = Vec::new();
    for line in text.lines() {
        let mut parts = line.splitn(3, ':');
        let (Some(_), Some(controllers), Some(group)) = (parts.next(), parts.next(), parts.next())
        else {
            continue;
        };
        let (root, file) = match controllers {
            "" => ("/sys/fs/cgroup", "memory.max"),
            of if of.split(',').any(|one| one == "memory") => {
                ("/sys/fs/cgroup/memory", "memory.limit_in_bytes")
            }
            _ => continue,
        };
        // In a container, the group's own path may lead nowhere, and the root is the group.
        let group = PathBuf::from(format!("{root}/{}", group.trim_start_matches('/')));
        let around = group.ancestors().take_while(|path| path.starts_with(root));
        let texts = around.filter_map(|path| read(&path.join(file)));
        // Without a limit it is `max`, or a number beyond any memory.
        limits.extend(texts.filter_map(|text| text.trim().parse::<u64>().ok()));
    }
    limits
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_least_limit_counts() {
        const MEMINFO: (&str, &str) = ("/proc/meminfo", "MemTotal:  2048 kB\nMemFree: 1 kB\n");
        let limits = |bytes: &str| {
            format!("Limit  Soft Limit  Hard\nMax address space   {bytes}   unlimited   bytes\n")
        };
        let unlimited = limits("unlimited");
        let few = limits("1000");
        let v2 = ("/proc/self/cgroup", "0::/a/b\n");
        let v1 = ("/proc/self/cgroup", "3:cpu:/x\n5:memory,hugetlb:/docker/1\n");
        for (files, expected) in [
            (vec![], UNKNOWN),
            (vec![MEMINFO, ("/proc/self/limits", &*unlimited)], 2048 * 1024),
            (vec![MEMINFO, ("/proc/self/limits", &*few)], 1000),
            (vec![MEMINFO, v2, ("/sys/fs/cgroup/a/b/memory.max", "max\n")], 2048 * 1024),
            (vec![MEMINFO, v2, ("/sys/fs/cgroup/a/b/memory.max", "4096\n")], 4096),
            (vec![MEMINFO, v2, ("/sys/fs/cgroup/a/memory.max", "5000\n")], 5000),
            (vec![MEMINFO, v2, ("/sys/fs/cgroup/memory.max", "6000\n")], 6000),
            (
                vec![
                    MEMINFO,
                    v1,
                    ("/sys/fs/cgroup/memory/docker/1/memory.limit_in_bytes", "7000\n"),
                    ("/sys/fs/cgroup/memory/memory.limit_in_bytes", "9223372036854771712\n"),
                ],
                7000,
            ),
        ] {
            let read = |path: &Path| {
                let found = files.iter().find(|(name, _)| Path::new(name) == path);
                found.map(|(_, text)| (*text).to_owned())
            };
            assert_eq!(memory_by(&read), expected, "{files:?}");
        }
    }
}
