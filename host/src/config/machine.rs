//! The size of the machine that a host runs on, for defaults.

use std::path::Path;

/// The processors that this process may use.
pub(super) fn processors() -> usize {
    std::thread::available_parallelism().map_or(1, std::num::NonZero::get)
}

/// The memory of the machine, or of the control group if that has less, in bytes; `u64::MAX` if the system does not say.
pub fn memory_bytes() -> u64 {
    let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
    let meminfo = read("/proc/meminfo");
    let groups = control_groups(&read("/proc/self/cgroup"));
    groups.iter().map(|group| memory_of(&meminfo, &read(&format!("{group}/memory.max")))).min().unwrap_or(u64::MAX)
}

/// The smallest number that a file of this process's control group, or of a group above it, has. Others say `max`.
pub fn group_limit(file: &str) -> Option<u64> {
    let groups = control_groups(&std::fs::read_to_string("/proc/self/cgroup").unwrap_or_default());
    let limit = |group: &String| std::fs::read_to_string(format!("{group}/{file}")).ok()?.trim().parse().ok();
    groups.iter().filter_map(limit).min()
}

/// The folders of a process's control group and of those above it, by the content of its `cgroup` file. In a container the
/// group is the root of all that can be seen.
fn control_groups(own: &str) -> Vec<String> {
    let path = own.lines().find_map(|line| line.strip_prefix("0::")).unwrap_or("/");
    let above = Path::new(path.trim()).ancestors();
    above.map(|group| format!("/sys/fs/cgroup{}", group.display()).trim_end_matches('/').to_owned()).collect()
}

fn memory_of(meminfo: &str, control_group: &str) -> u64 {
    let total = meminfo.lines().find_map(|line| line.strip_prefix("MemTotal:")?.trim().strip_suffix(" kB"));
    let total = total.and_then(|kib| kib.trim().parse::<u64>().ok()).map(|kib| kib.saturating_mul(1024));
    // A group without a limit says "max".
    let group = control_group.trim().parse::<u64>().ok();
    total.into_iter().chain(group).min().unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(meminfo: &str, control_group: &str, bytes: u64) {
        assert_eq!(memory_of(meminfo, control_group), bytes, "{meminfo:?}, {control_group:?}");
    }

    #[test]
    fn the_groups_above_a_process_count_too() {
        let groups = ["/sys/fs/cgroup/system.slice/sandbar.service", "/sys/fs/cgroup/system.slice", "/sys/fs/cgroup"];
        assert_eq!(control_groups("0::/system.slice/sandbar.service\n"), groups);
        assert_eq!(control_groups("0::/\n"), ["/sys/fs/cgroup"]);
        assert_eq!(control_groups("1:name=systemd:/x\n"), ["/sys/fs/cgroup"]);
        assert_eq!(control_groups(""), ["/sys/fs/cgroup"]);
    }

    #[test]
    fn the_smaller_of_machine_and_group_counts() {
        let meminfo = "MemTotal:       24576 kB\nMemFree:         1000 kB\n";
        check(meminfo, "max\n", 24 << 20);
        check(meminfo, "1048576\n", 1 << 20);
        check(meminfo, "1099511627776\n", 24 << 20);
        check(meminfo, "", 24 << 20);
        check("", "1048576", 1 << 20);
        check("", "", u64::MAX);
        check("MemTotal: much kB", "max", u64::MAX);
    }
}
