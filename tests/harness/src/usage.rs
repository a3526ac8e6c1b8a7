//! What a process takes of the machine, as Linux counts it; elsewhere nothing is known.

use std::time::Duration;

use anyhow::Context as _;

/// How many of the kernel's ticks are a second, on every architecture.
const TICKS: u64 = 100;

/// What a process has taken.
#[derive(Clone, Copy, Debug, Default)]
pub struct Usage {
    /// Processor time since its start.
    pub cpu: Duration,
    /// Resident memory now, in KiB.
    pub rss_kib: u64,
    /// The most resident memory it has had, in KiB.
    pub peak_kib: u64,
}

/// What a process has taken so far.
///
/// # Errors
/// When it does not run, or this is not Linux.
pub fn of(pid: i32) -> anyhow::Result<Usage> {
    read(&pid.to_string())
}

/// What this process has taken so far; nothing where that is not known.
///
/// # Errors
/// When the kernel says something else than it should.
pub fn of_this_process() -> anyhow::Result<Usage> {
    if cfg!(target_os = "linux") { read("self") } else { Ok(Usage::default()) }
}

/// Has the most resident memory counted anew from now on.
///
/// # Errors
/// When the process is not ours, or this is not Linux.
pub fn forget_peak(pid: i32) -> anyhow::Result<()> {
    std::fs::write(format!("/proc/{pid}/clear_refs"), "5").context("reset the peak of memory")
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
        cpu: cpu(&stat).context("/proc says what was used")?,
        rss_kib: kib("VmRSS:").context("/proc says how much is resident")?,
        peak_kib: kib("VmHWM:").unwrap_or_default(),
    })
}

/// The name of the program, in parentheses, may have spaces.
fn cpu(stat: &str) -> Option<Duration> {
    let (_, rest) = stat.rsplit_once(')')?;
    let mut fields = rest.split_whitespace().skip(11);
    let mut ticks = || fields.next()?.parse::<u64>().ok();
    let ticks = ticks()? + ticks()?;
    Some(Duration::from_millis(ticks * 1_000 / TICKS))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn processor_time_is_that_in_the_program_and_in_the_kernel() {
        let stat = "1 (a b) c) S 1 1 1 0 -1 4194560 9 9 9 9 150 25 0 0 20 0 1 0";
        assert_eq!(cpu(stat), Some(Duration::from_millis(1_750)));
        assert_eq!(cpu("nothing"), None);
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn a_process_that_runs_has_memory() {
        let usage = of_this_process().unwrap();
        assert!(usage.rss_kib > 0 && usage.peak_kib >= usage.rss_kib / 2, "{usage:?}");
    }
}
