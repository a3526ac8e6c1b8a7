//! Apache Kafka: one node in KRaft mode, run from jars that Maven downloads once.

use std::{
    future::Future,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use anyhow::{Context as _, ensure};
use rdkafka::{ClientConfig, consumer::BaseConsumer, consumer::Consumer as _};
use tempfile::TempDir;
use tokio::sync::Mutex;

use crate::{
    certificates::Certificates,
    eventually, free_port,
    process::{Process, Signal},
    workspace,
};

use super::secured::Secured;

/// The oldest version of Java that Kafka 4 supports.
const JAVA_VERSION: u32 = 17;
const PROPERTIES: &str = "server.properties";
/// Permissions of scenarios: clients of the listener without TLS may do everything, others may use
/// the resources without a permission.
const AUTHORIZER: &str = "\
authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer
super.users=User:ANONYMOUS
allow.everyone.if.no.acl.found=true
";
const DATA: &str = "data";
const GC_LOG: &str = "gc.log";
const DOWNLOAD_LIMIT: Duration = Duration::from_mins(5);
const START_LIMIT: Duration = Duration::from_mins(1);

/// Options of the broker's JVM.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum JvmProfile {
    /// Short start-up, for scenarios.
    FastStart,
    /// Short garbage collection pauses, for latency measurements.
    LowPause,
}

impl JvmProfile {
    fn options(self) -> &'static [&'static str] {
        match self {
            Self::FastStart => &["-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC"],
            // Lowest latencies at most rates of the collectors tried on two processors. A larger
            // MetaspaceSize avoids full collections while classes are loaded.
            Self::LowPause => &[
                "-XX:TieredStopAtLevel=1",
                "-XX:+UseParallelGC",
                "-Xmn64m",
                "-XX:MetaspaceSize=128m",
            ],
        }
    }
}

/// A running broker and its data directory.
#[derive(Debug)]
pub(super) struct Apache {
    port: u16,
    secured: Secured,
    java: Java,
    // Declared before `folder`, so that it ends before its directory is removed.
    process: Mutex<Process>,
    folder: TempDir,
}

impl Apache {
    pub(super) async fn start(jvm: JvmProfile) -> anyhow::Result<Self> {
        let java = Java { jars: jars().await?, jvm };
        let folder = workspace::temporary("kafka-")?;
        let (port, secure_port, controller) = (free_port()?, free_port()?, free_port()?);
        let certificates = Certificates::create(folder.path())?;
        let properties = folder.path().join(PROPERTIES);
        let secured = Secured { port: secure_port, authority: certificates.authority.clone() };
        let mut text = server_properties(folder.path(), [port, secure_port, controller])
            + &secured.properties(port, &certificates);
        if jvm == JvmProfile::FastStart {
            text += AUTHORIZER;
        }
        std::fs::write(&properties, text)?;
        java.format(&properties, folder.path()).await?;
        let process = Mutex::new(launch(&java, port, folder.path()).await?);
        Ok(Self { port, secured, java, process, folder })
    }

    pub(super) fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    pub(super) fn secured(&self) -> Secured {
        self.secured.clone()
    }

    /// Returns the log of the garbage collector's pauses; none with options for a fast start.
    pub(super) fn gc_log(&self) -> Option<PathBuf> {
        (self.java.jvm == JvmProfile::LowPause).then(|| self.folder.path().join(GC_LOG))
    }

    pub(super) async fn signal(&self, signal: Signal) -> anyhow::Result<()> {
        self.process.lock().await.signal(signal)
    }

    /// Kills the broker, waits for `downtime`, and restarts it on the same port with its data.
    pub(super) async fn kill_and_restart_after(
        &self,
        downtime: impl Future<Output = anyhow::Result<()>>,
    ) -> anyhow::Result<()> {
        let mut process = self.process.lock().await;
        process.kill().await?;
        downtime.await?;
        *process = launch(&self.java, self.port, self.folder.path()).await?;
        Ok(())
    }

    /// Shuts the broker down, changes its data, and restarts it on the same port. After a graceful
    /// shutdown it does not check its data.
    pub(super) async fn stop_and_restart_after(
        &self,
        change: impl FnOnce(&Path) -> anyhow::Result<()>,
    ) -> anyhow::Result<()> {
        let mut process = self.process.lock().await;
        // The JVM ends with the code of the signal.
        process.terminate(START_LIMIT).await?;
        change(&self.folder.path().join(DATA))?;
        *process = launch(&self.java, self.port, self.folder.path()).await?;
        Ok(())
    }
}

/// Starts the broker with the properties in `folder`.
async fn launch(java: &Java, port: u16, folder: &Path) -> anyhow::Result<Process> {
    let mut command = java.command();
    if java.jvm == JvmProfile::LowPause {
        command.arg(format!("-Xlog:gc:file={}", folder.join(GC_LOG).display()));
    }
    command.args(["-Xms256m", "-Xmx512m", "kafka.Kafka"]).arg(folder.join(PROPERTIES));
    let process = Process::start("kafka", &command, &folder.join("kafka.log"))?;
    eventually("Apache Kafka is available", START_LIMIT, async || {
        ensure!(process.is_running(), "it has exited: {}", process.log_tail());
        is_available(port).await
    })
    .await?;
    Ok(process)
}

#[derive(Debug)]
struct Java {
    jars: PathBuf,
    jvm: JvmProfile,
}

impl Java {
    fn command(&self) -> Command {
        let mut command = Command::new("java");
        command.args(self.jvm.options()).arg("-cp").arg(self.jars.join("*"));
        command
    }

    async fn format(&self, properties: &Path, folder: &Path) -> anyhow::Result<()> {
        // A cluster id is 16 bytes in URL-safe base64.
        let mut command = self.command();
        command.args(["kafka.tools.StorageTool", "format", "-t", "ZTJlLWUyZS1lMmUtZTJlLQ", "-c"]);
        command.arg(properties);
        let format = Process::start("format", &command, &folder.join("format.log"))?;
        let status = format.wait_for_exit(START_LIMIT).await?;
        ensure!(status.success(), "formatting the storage failed: {}", format.log_tail());
        Ok(())
    }
}

fn server_properties(folder: &Path, [port, secure, controller]: [u16; 3]) -> String {
    format!(
        "process.roles=broker,controller
node.id=1
controller.quorum.voters=1@127.0.0.1:{controller}
listeners=PLAINTEXT://127.0.0.1:{port},SASL_SSL://127.0.0.1:{secure},\
CONTROLLER://127.0.0.1:{controller}
controller.listener.names=CONTROLLER
log.dirs={}
auto.create.topics.enable=false
log.cleaner.dedupe.buffer.size=4194304
offsets.topic.num.partitions=4
offsets.topic.replication.factor=1
transaction.state.log.num.partitions=1
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
group.initial.rebalance.delay.ms=0
group.consumer.min.heartbeat.interval.ms=500
group.consumer.heartbeat.interval.ms=500
group.consumer.min.session.timeout.ms=6000
group.consumer.session.timeout.ms=6000
",
        folder.join(DATA).display()
    )
}

async fn is_available(port: u16) -> anyhow::Result<()> {
    let query = tokio::task::spawn_blocking(move || {
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", format!("127.0.0.1:{port}"));
        // Connections are refused while the broker starts.
        config.set("log_level", "2");
        let client: BaseConsumer = config.create()?;
        let metadata = client.fetch_metadata(None, Duration::from_secs(5))?;
        ensure!(!metadata.brokers().is_empty(), "no broker is registered");
        Ok(())
    });
    query.await?
}

/// Returns the folder with Kafka's jars, downloaded on first use.
async fn jars() -> anyhow::Result<PathBuf> {
    let version = java_version().context("Java is not installed")?;
    ensure!(version >= JAVA_VERSION, "Java {version} is older than {JAVA_VERSION}");
    let jars = workspace::cache()?.join("kafka-jars");
    if jars.exists() {
        return Ok(jars);
    }
    eprintln!("Kafka: downloading Apache Kafka through Maven, once");
    // Renamed when complete, so that an interrupted download is not used.
    let download = workspace::temporary("kafka-jars-")?;
    let mut maven = Command::new("mvn");
    maven
        .args(["--quiet", "--batch-mode", "--file"])
        .arg(workspace::root().join("tests/harness/kafka/pom.xml"));
    maven.args(["dependency:copy-dependencies", "-DincludeScope=runtime"]);
    maven.arg(format!("-DoutputDirectory={}", download.path().join("jars").display()));
    let maven = Process::start("mvn", &maven, &download.path().join("mvn.log"))
        .context("Maven is not installed")?;
    let status = maven.wait_for_exit(DOWNLOAD_LIMIT).await?;
    ensure!(status.success(), "Maven failed: {}", maven.log_tail());
    std::fs::rename(download.path().join("jars"), &jars)?;
    Ok(jars)
}

fn java_version() -> Option<u32> {
    let output = Command::new("java").arg("-version").output().ok()?;
    // `openjdk version "17.0.15" 2025-04-15`
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    text.split('"').nth(1)?.split('.').next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_broker_listens_on_loopback_and_stores_data_in_its_folder() {
        let properties = server_properties(Path::new("/tmp/kafka"), [1, 2, 3]);
        for listener in
            ["PLAINTEXT://127.0.0.1:1", "SASL_SSL://127.0.0.1:2", "CONTROLLER://127.0.0.1:3"]
        {
            assert!(properties.contains(listener), "{properties}");
        }
        assert!(properties.contains("log.dirs=/tmp/kafka/data"));
    }
}
