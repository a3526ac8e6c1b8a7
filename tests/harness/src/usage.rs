//! Processor time and memory of a process, read from `/proc`; not available outside Linux.

use std::time::Duration;

use anyhow::Context as _;

/// Ticks per second in `/proc`, on every architecture.
const TICKS_PER_SECOND: u64 = 100;

/// Resource usage of a process.
#[derive(Clone, Copy, Debug, Default)]
pub struct Usage {
    /// Processor time since the start of the process.
    pub cpu: Duration,
    /// Resident memory, in KiB.
    pub rss_kib: u64,
    /// Peak resident memory, in KiB.
    pub peak_kib: u64,
}

/// Returns the usage of a process.
///
/// # Errors
/// When it is not running, or this is not Linux.
pub fn of(pid: i32) -> anyhow::Result<Usage> {
    read(&pid.to_string())
}

/// Returns the usage of this process; zeros outside Linux.
///
/// # Errors
/// When `/proc` cannot be parsed.
pub fn of_this_process() -> anyhow::Result<Usage> {
    if cfg!(target_os = "linux") { read("self") } else { Ok(Usage::default()) }
}

/// Resets the peak of resident memory.
///
/// # Errors
/// When the process belongs to another user, or this is not Linux.
pub fn reset_peak(pid: i32) -> anyhow::Result<()> {
    std::fs::write(format!("/proc/{pid}/clear_refs"), "5").context("reset the peak of memory")
}

/// Returns the processor time of those threads of a process that run and whose names begin with
/// `prefix`.
///
/// # Errors
/// When it is not running, or this is not Linux.
pub fn cpu_of_threads(pid: i32, prefix: &str) -> anyhow::Result<Duration> {
    let mut sum = Duration::ZERO;
    for thread in std::fs::read_dir(format!("/proc/{pid}/task")).context("list the threads")? {
        // A thread may have ended meanwhile.
        let Ok(stat) = std::fs::read_to_string(thread?.path().join("stat")) else { continue };
        if name(&stat).is_some_and(|name| name.starts_with(prefix)) {
            sum += cpu(&stat).context("no processor time in /proc")?;
        }
    }
    Ok(sum)
}

fn read(process: &str) -> anyhow::Result<Usage> {
    let file = |name: &str| {
        let path = format!("/proc/{process}/{name}");
        std::fs::read_to_string(&path).with_context(|| format!("read {path}"))
    };
    let (stat, status) = (file("stat")?, file("status")?);
    let kib = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name))?;
        line.split_whitespace().next()?.parse().ok()
    };
    Ok(Usage {
        cpu: cpu(&stat).context("no processor time in /proc")?,
        rss_kib: kib("VmRSS:").context("no VmRSS in /proc")?,
        peak_kib: kib("VmHWM:").unwrap_or_default(),
    })
}

/// Parses the name of a program or thread.
fn name(stat: &str) -> Option<&str> {
    Some(stat.split_once('(')?.1.rsplit_once(')')?.0)
}

/// Parses user and system time; the program's name in parentheses may have spaces.
fn cpu(stat: &str) -> Option<Duration> {
    let (_, rest) = stat.rsplit_once(')')?;
    let mut fields = rest.split_whitespace().skip(11);
    let mut ticks = || fields.next()?.parse::<u64>().ok();
    let ticks = ticks()? + ticks()?;
    Some(Duration::from_millis(ticks * 1_000 / TICKS_PER_SECOND))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cpu_is_the_sum_of_user_and_system_time() {
        let stat = "1 (a b) c) S 1 1 1 0 -1 4194560 9 9 9 9 150 25 0 0 20 0 1 0";
        assert_eq!(cpu(stat), Some(Duration::from_millis(1_750)));
        assert_eq!(name(stat), Some("a b) c"));
        assert_eq!((cpu("nothing"), name("nothing")), (None, None));
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn threads_of_other_names_are_left_out() {
        let pid = i32::try_from(std::process::id()).unwrap();
        assert!(cpu_of_threads(pid, "").is_ok());
        assert_eq!(cpu_of_threads(pid, "no such thread").unwrap(), Duration::ZERO);
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn a_running_process_has_memory() {
        let usage = of_this_process().unwrap();
        assert!(usage.rss_kib > 0 && usage.peak_kib >= usage.rss_kib / 2, "{usage:?}");
    }
}
