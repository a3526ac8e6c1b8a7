//! Describes the machine and the versions of a measurement.

use std::process::Command;

/// Returns one line with machine, versions and date.
pub(crate) fn describe() -> String {
    let file = |path| std::fs::read_to_string(path).unwrap_or_default();
    let (cpus, memory, kernel) =
        (file("/proc/cpuinfo"), file("/proc/meminfo"), file("/proc/sys/kernel/osrelease"));
    let model = field(&cpus, "model name").unwrap_or_else(|| std::env::consts::ARCH.into());
    let count = std::thread::available_parallelism().map_or(0, usize::from);
    let kib: Option<u64> =
        field(&memory, "MemTotal").and_then(|text| text.split_whitespace().next()?.parse().ok());
    let gib = kib.map_or_else(|| "?".into(), |kib| (kib >> 20).to_string());
    let day = jiff::Timestamp::now().strftime("%Y-%m-%d");
    format!(
        "{count} processors ({model}), {gib} GiB, {} {}; {}, {}, Apache Kafka {}; version {}; {day}",
        std::env::consts::OS,
        kernel.trim(),
        first_words("rustc", 2),
        redis(),
        kafka(),
        env!("CARGO_PKG_VERSION"),
    )
}

fn field(text: &str, name: &str) -> Option<String> {
    let line = text.lines().find(|line| line.starts_with(name))?;
    Some(line.split_once(':')?.1.trim().to_owned())
}

fn version_output(program: &str) -> String {
    let output = Command::new(program).arg("--version").output();
    output
        .map_or_else(|_| "?".into(), |output| String::from_utf8_lossy(&output.stdout).into_owned())
}

fn first_words(program: &str, count: usize) -> String {
    version_output(program).split_whitespace().take(count).collect::<Vec<_>>().join(" ")
}

/// Parses `Redis server v=8.0.2 sha=…`.
fn redis() -> String {
    let output = version_output("redis-server");
    let version = output.split_whitespace().find_map(|word| word.strip_prefix("v="));
    format!("Redis {}", version.unwrap_or("?"))
}

/// Returns the version in the Maven file.
fn kafka() -> &'static str {
    let pom = include_str!("../../harness/kafka/pom.xml");
    let version = pom.split("<artifactId>kafka_2.13</artifactId>").nth(1);
    let version = version.and_then(|rest| rest.split("<version>").nth(1)?.split('<').next());
    version.unwrap_or("?")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_description_names_the_versions() {
        assert!(kafka().contains('.'), "{}", kafka());
        assert!(describe().contains("rustc "), "{}", describe());
    }
}
