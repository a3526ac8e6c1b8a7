//! The load tester as a program: many WebSockets on a deployment, events into its Kafka, and how
//! late what arrives is. Exit code 0: nothing was lost and the run is valid.

use std::{path::PathBuf, process::ExitCode, time::Duration};

use anyhow::{Context as _, bail};
use clap::Parser;
use load::{
    events::Kind,
    plan::{Crowd, Users},
    run::{Load, Outcome, ms},
    seat,
    tally::Percentiles,
    tokens::{Claims, Tokens},
};
use rdkafka::ClientConfig;

/// Holds WebSockets, sends events, and measures how late they arrive.
///
/// The schedule is fixed beforehand: an event counts from when it was meant to be sent, not from
/// when the tester got round to it. Each socket counts the events of its user by number; one that
/// is missing, comes twice or out of order fails the run. If the tester itself is more than 5 ms
/// late (p99), the run is invalid. Events are `batch.file.added` for users that only this run has,
/// unless tokens are given; the deployment keeps their history and claims as for any other event.
#[derive(Debug, Parser)]
#[command(version, name = "load")]
struct Arguments {
    /// Addresses of gateways, `ws://host:port/ws` or `wss://`, separated by commas
    #[arg(long, value_delimiter = ',', required = true)]
    gateway: Vec<String>,
    /// Kafka brokers, `host:port`, separated by commas
    #[arg(long)]
    kafka: String,
    /// A property of the Kafka client, `name=value`; may be given several times
    #[arg(long, value_name = "NAME=VALUE")]
    kafka_property: Vec<String>,
    /// Topic of the events, if the deployment has renamed it
    #[arg(long)]
    topic: Option<String>,
    /// Secret that tokens are signed with (HS256)
    #[arg(long, env = "JWT_SECRET_KEY", hide_env_values = true)]
    secret: Option<String>,
    /// File with the private RSA key that tokens are signed with, in PEM (RS256)
    #[arg(long, conflicts_with = "secret")]
    key_file: Option<PathBuf>,
    /// File with tokens, one a line; their users are the run's
    #[arg(long, conflicts_with_all = ["secret", "key_file"])]
    tokens: Option<PathBuf>,
    /// Audience that the tokens name
    #[arg(long)]
    audience: Option<String>,
    /// Issuer that the tokens name
    #[arg(long)]
    issuer: Option<String>,
    /// WebSockets
    #[arg(long, default_value = "1000")]
    sockets: usize,
    /// Users that they belong to; unset: one for each socket, or the users of the tokens
    #[arg(long)]
    users: Option<usize>,
    /// Events a second, to all users in turn
    #[arg(long, default_value = "1000")]
    rate: u64,
    /// What is sent: its notification may wait for others if it is low
    #[arg(long, default_value = "file")]
    kind: Kind,
    /// Seconds that events are sent for
    #[arg(long, default_value = "30")]
    seconds: u64,
    /// Seconds at the beginning whose events are checked, but not timed
    #[arg(long, default_value = "3")]
    warm_up: u64,
    /// Processes that hold the sockets; unset: one for 15,000
    #[arg(long)]
    processes: Option<usize>,
    /// Sockets that a process connects at the same time; a gateway limits handshakes a second
    #[arg(long, default_value = "16")]
    at_once: usize,
    /// Seconds that everybody may take to connect
    #[arg(long, default_value = "120")]
    connect_limit: u64,
    /// Seconds that a client stays on average until it leaves and resumes; 0: for good
    #[arg(long, default_value = "0")]
    stay: u64,
    /// Every so many-th socket reads nothing; 0: none
    #[arg(long, default_value = "0")]
    stalled_every: usize,
    /// File to write the result to, as JSON
    #[arg(long)]
    json: Option<PathBuf>,
}

fn main() -> anyhow::Result<ExitCode> {
    // How this program starts itself to hold sockets.
    if std::env::args().nth(1).as_deref() == Some("seat") {
        return seat::run().map(|()| ExitCode::SUCCESS);
    }
    let arguments = Arguments::parse();
    let load = arguments.load()?;
    let runtime = tokio::runtime::Runtime::new()?;
    let outcome = runtime.block_on(load.run())?;
    print(&outcome);
    if let Some(path) = &arguments.json {
        let text = serde_json::to_string_pretty(&outcome)? + "\n";
        std::fs::write(path, text).with_context(|| format!("write {}", path.display()))?;
    }
    Ok(if outcome.passed { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

impl Arguments {
    fn load(&self) -> anyhow::Result<Load> {
        let mut crowd = Crowd::of(self.sockets, self.gateway.clone(), self.tokens()?);
        if let Tokens::Given(tokens) = &crowd.tokens {
            crowd.users = Users::Named(Tokens::users_of(tokens)?);
        } else if let Some(users) = self.users {
            crowd.users = Users::Numbered(users);
        }
        crowd.claims = Claims { audience: self.audience.clone(), issuer: self.issuer.clone() };
        crowd.seats = self.processes.unwrap_or(crowd.seats).max(1);
        crowd.at_once = self.at_once;
        crowd.stay_ms = self.stay * 1_000;
        crowd.stalled_every = self.stalled_every;
        let mut kafka = ClientConfig::new();
        kafka.set("bootstrap.servers", &self.kafka);
        for property in &self.kafka_property {
            let (name, value) = property.split_once('=').context("a property is name=value")?;
            kafka.set(name, value);
        }
        let mut load = Load::new(crowd, kafka, self.rate.max(1), Duration::from_secs(self.seconds));
        load.kind = self.kind;
        load.topic.clone_from(&self.topic);
        load.warm_up = Duration::from_secs(self.warm_up.min(self.seconds / 2));
        load.connect_limit = Duration::from_secs(self.connect_limit);
        load.tells = true;
        Ok(load)
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
            _ => bail!("one of --secret, --key-file and --tokens is needed"),
        }
    }
}

fn print(outcome: &Outcome) {
    let line = |name: &str, Percentiles { p50_us, p99_us, p999_us, max_us, count }| {
        let [p50, p99, p999, max] = [p50_us, p99_us, p999_us, max_us].map(ms);
        println!(
            "{name:<9} p50 {p50:>8.2} ms  p99 {p99:>8.2}  p99.9 {p999:>8.2}  max {max:>8.2}  \
             count {count}"
        );
    };
    line("latency", outcome.latency);
    line("connects", outcome.connects);
    line("lateness", outcome.lateness);
    println!(
        "{} sent, {} of {} received, {} missing, {} twice, {} out of order, {} disconnects",
        outcome.sent,
        outcome.received,
        outcome.expected,
        outcome.missing,
        outcome.duplicates,
        outcome.out_of_order,
        outcome.disconnects
    );
    println!("the tester itself: {:.2} processors", outcome.own_cpu);
    println!("{}", if outcome.passed { "passed".into() } else { outcome.problems.join("; ") });
}
