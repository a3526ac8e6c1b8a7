//! Command line of the load tester. Exit code 0: the run is valid, and every notification arrived
//! once and in order.

use std::{path::PathBuf, process::ExitCode, time::Duration};

use anyhow::{Context as _, bail};
use clap::Parser;
use load::{
    client_process,
    events::Kind,
    plan::{ClientPlan, Users},
    run::{LoadResult, LoadTest, ms},
    stats::Percentiles,
    tokens::{Claims, Tokens},
};
use rdkafka::ClientConfig;

/// Load tester: holds WebSockets, sends events to Kafka, and measures the latency end to end.
///
/// Open loop: latency counts from an event's scheduled time. Each socket checks the sequence
/// numbers of its user's events; a missing, duplicated or reordered notification fails the run. If
/// the tester itself sends late (`--max-send-delay`), the run is invalid. Events are `batch.file.added`
/// for users that only this run has, unless tokens are given; the deployment keeps their history
/// and idempotency keys like those of any other event.
#[derive(Debug, Parser)]
#[command(version, name = "load")]
struct Arguments {
    /// Gateways, `ws://host:port/ws` or `wss://host/ws`, separated by commas
    #[arg(long, value_delimiter = ',', required = true)]
    gateway: Vec<String>,
    /// Kafka brokers, `host:port`, separated by commas
    #[arg(long)]
    kafka: String,
    /// librdkafka property, `name=value`; repeatable
    #[arg(long, value_name = "NAME=VALUE")]
    kafka_property: Vec<String>,
    /// Kafka topic, if it is not the default of the event type
    #[arg(long)]
    topic: Option<String>,
    /// Secret to sign tokens with (HS256)
    #[arg(long, env = "JWT_SECRET_KEY", hide_env_values = true)]
    secret: Option<String>,
    /// PEM file with the private RSA key to sign tokens with (RS256)
    #[arg(long, conflicts_with = "secret")]
    key_file: Option<PathBuf>,
    /// File with one token per line, to use instead of signing; their `sub` are the users
    #[arg(long, conflicts_with_all = ["secret", "key_file"])]
    tokens: Option<PathBuf>,
    /// `aud` of signed tokens
    #[arg(long)]
    audience: Option<String>,
    /// `iss` of signed tokens
    #[arg(long)]
    issuer: Option<String>,
    /// Number of WebSockets
    #[arg(long, default_value = "1000")]
    sockets: usize,
    /// Number of users; default: one per socket, or the users of the tokens
    #[arg(long)]
    users: Option<usize>,
    /// Events per second, to all users in turn
    #[arg(long, default_value = "1000")]
    rate: u64,
    /// Event type, named by the priority of its notification
    #[arg(long, default_value = "file")]
    kind: Kind,
    /// Seconds for which events are sent
    #[arg(long, default_value = "30")]
    seconds: u64,
    /// Seconds at the beginning whose latencies are not recorded
    #[arg(long, default_value = "3")]
    warm_up: u64,
    /// Processes that hold the sockets; default: one per 15,000 sockets
    #[arg(long)]
    processes: Option<usize>,
    /// Handshakes that a process has in flight; gateways limit handshakes per second
    #[arg(long, default_value = "16")]
    concurrent_handshakes: usize,
    /// Seconds for all sockets to connect
    #[arg(long, default_value = "120")]
    connect_limit: u64,
    /// Mean seconds after which a client disconnects and resumes; 0: never
    #[arg(long, default_value = "0")]
    session: u64,
    /// Clients whose connection ends resume, at the next gateway if there are several
    #[arg(long)]
    reconnect: bool,
    /// Seconds without a notification after which the missing ones count as lost
    #[arg(long, default_value = "5")]
    idle_limit: u64,
    /// Highest p99 of the send delay in ms; above it the run is invalid
    #[arg(long, default_value = "5")]
    max_send_delay: u64,
    /// Every n-th socket stops reading; 0: none
    #[arg(long, default_value = "0")]
    stalled_every: usize,
    /// File for the result as JSON
    #[arg(long)]
    json: Option<PathBuf>,
    /// Print the result as a row of a Markdown table that begins with this text: events sent,
    /// received, missing, duplicates, longest time between two notifications of a socket
    #[arg(long)]
    row: Option<String>,
}

fn main() -> anyhow::Result<ExitCode> {
    // The load tester starts itself as a client process.
    if std::env::args().nth(1).as_deref() == Some("clients") {
        return client_process::run().map(|()| ExitCode::SUCCESS);
    }
    let arguments = Arguments::parse();
    let load_test = arguments.load_test()?;
    let runtime = tokio::runtime::Runtime::new()?;
    let result = runtime.block_on(load_test.run())?;
    match &arguments.row {
        Some(name) => print_row(name, &result),
        None => print(&result),
    }
    if let Some(path) = &arguments.json {
        let text = serde_json::to_string_pretty(&result)? + "\n";
        std::fs::write(path, text).with_context(|| format!("write {}", path.display()))?;
    }
    Ok(if result.passed { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

impl Arguments {
    fn load_test(&self) -> anyhow::Result<LoadTest> {
        let mut plan = ClientPlan::new(self.sockets, self.gateway.clone(), self.tokens()?);
        if let Tokens::Given(tokens) = &plan.tokens {
            plan.users = Users::Named(Tokens::users_of(tokens)?);
        } else if let Some(users) = self.users {
            plan.users = Users::Numbered(users);
        }
        plan.claims = Claims { audience: self.audience.clone(), issuer: self.issuer.clone() };
        plan.processes = self.processes.unwrap_or(plan.processes).max(1);
        plan.concurrent_handshakes = self.concurrent_handshakes;
        plan.session_ms = self.session * 1_000;
        plan.reconnect = self.reconnect;
        plan.stalled_every = self.stalled_every;
        let mut kafka = ClientConfig::new();
        kafka.set("bootstrap.servers", &self.kafka);
        for property in &self.kafka_property {
            let (name, value) = property
                .split_once('=')
                .with_context(|| format!("{property} is not name=value"))?;
            kafka.set(name, value);
        }
        let mut test =
            LoadTest::new(plan, kafka, self.rate.max(1), Duration::from_secs(self.seconds));
        test.kind = self.kind;
        test.topic.clone_from(&self.topic);
        test.warm_up = Duration::from_secs(self.warm_up.min(self.seconds / 2));
        test.connect_limit = Duration::from_secs(self.connect_limit);
        test.idle_limit = Duration::from_secs(self.idle_limit);
        test.max_send_delay = Duration::from_millis(self.max_send_delay);
        test.print_progress = true;
        Ok(test)
    }

    fn tokens(&self) -> anyhow::Result<Tokens> {
        let read = |path: &PathBuf| {
            std::fs::read_to_string(path).with_context(|| format!("read {}", path.display()))
        };
        match (&self.tokens, &self.key_file, &self.secret) {
            (Some(path), ..) => {
                Ok(Tokens::Given(read(path)?.split_whitespace().map(str::to_owned).collect()))
            }
            (_, Some(path), _) => Ok(Tokens::Rsa(read(path)?)),
            (.., Some(secret)) => Ok(Tokens::Secret(secret.clone())),
            _ => bail!("one of --secret, --key-file and --tokens is required"),
        }
    }
}

fn print_row(name: &str, result: &LoadResult) {
    let LoadResult { sent, received, missing, duplicates, longest_silence_us, .. } = result;
    let silence = ms(*longest_silence_us) / 1_000.0;
    println!("| {name} | {sent} | {received} | {missing} | {duplicates} | {silence:.1} s |");
    if !result.passed {
        eprintln!("{name}: {}", result.problems.join("; "));
    }
}

fn print(result: &LoadResult) {
    let line = |name: &str, Percentiles { p50_us, p99_us, p999_us, max_us, count }| {
        let [p50, p99, p999, max] = [p50_us, p99_us, p999_us, max_us].map(ms);
        println!(
            "{name:<10} p50 {p50:>8.2} ms  p99 {p99:>8.2}  p99.9 {p999:>8.2}  max {max:>8.2}  \
             count {count}"
        );
    };
    line("latency", result.latency);
    line("connects", result.connects);
    line("send delay", result.send_delay);
    println!(
        "{} sent, {} of {} received, {} missing, {} duplicates, {} out of order, {} disconnects",
        result.sent,
        result.received,
        result.expected,
        result.missing,
        result.duplicates,
        result.out_of_order,
        result.disconnects
    );
    println!("CPU of the tester: {:.2} processors", result.tester_cpus);
    println!("{}", if result.passed { "passed".into() } else { result.problems.join("; ") });
}
