//! Every setting that the gateway reads.

mod origin;

use std::net::IpAddr;
use std::num::{NonZeroU32, NonZeroUsize};
use std::time::Duration;

use clap::{CommandFactory, Parser, ValueEnum};
use jsonwebtoken::{Algorithm, AlgorithmFamily};
use shared::config::{Secret, Settings, duration, positive_duration};
use shared::{redis::RedisSettings, telemetry::TelemetrySettings};

pub use origin::Origins;

/// Fans the notifications of each user out to that user's WebSockets.
#[derive(Clone, Debug, Parser)]
#[command(name = "ws-gateway", version)]
pub struct Config {
    /// Address that both ports listen on
    #[arg(long, env = "BIND_ADDRESS", default_value = "0.0.0.0")]
    pub bind_address: IpAddr,
    /// Port for clients; 0: any free one, which the log names
    #[arg(long, env = "WEBSOCKET_PORT", default_value = "8080")]
    pub websocket_port: u16,
    /// Port for probes and metrics; 0: any free one, which the log names
    #[arg(long, env = "ADMIN_PORT", default_value = "9090")]
    pub admin_port: u16,
    /// How often a client is pinged; silent for two intervals, it is disconnected
    #[arg(long, env = "WEBSOCKET_PING_INTERVAL", default_value = "30s", value_parser = positive_duration)]
    pub websocket_ping_interval: Duration,
    /// How long a client may neither answer pings nor send
    #[arg(long, env = "WEBSOCKET_IDLE_TIMEOUT", default_value = "300s", value_parser = positive_duration)]
    pub websocket_idle_timeout: Duration,
    /// Most connections of one user
    #[arg(long, env = "WEBSOCKET_MAX_CONNECTIONS_PER_USER", default_value = "5")]
    pub websocket_max_connections_per_user: NonZeroUsize,
    /// Largest message of a client, in bytes
    #[arg(long, env = "WEBSOCKET_MAX_MESSAGE_SIZE", default_value = "4096")]
    pub websocket_max_message_size: NonZeroUsize,
    /// Which connection goes when a user has too many
    #[arg(long, env = "CONNECTION_LIMIT_POLICY", default_value = "reject")]
    pub connection_limit_policy: LimitPolicy,
    /// Most WebSockets of this process; above, clients get 503
    #[arg(long, env = "MAX_CONNECTIONS", default_value = "50000")]
    pub max_connections: NonZeroUsize,
    /// Most WebSocket handshakes a second; above, clients get 503 with Retry-After
    #[arg(long, env = "MAX_HANDSHAKES_PER_SECOND", default_value = "1000")]
    pub max_handshakes_per_second: NonZeroU32,
    /// Longest wait for a client to complete its request
    #[arg(long, env = "HANDSHAKE_TIMEOUT", default_value = "10s", value_parser = positive_duration)]
    pub handshake_timeout: Duration,
    /// Most frames that wait for one client; above, it is disconnected as too slow
    #[arg(long, env = "OUTBOX_CAPACITY", default_value = "1024")]
    pub outbox_capacity: NonZeroUsize,
    /// Longest wait of a low-priority notification to share a write with others
    #[arg(long, env = "LOW_PRIORITY_MAX_DELAY", default_value = "500ms", value_parser = duration)]
    pub low_priority_max_delay: Duration,
    /// Time over which connections are closed, and asked to come back, when the gateway stops
    #[arg(long, env = "DRAIN_WINDOW", default_value = "10s", value_parser = duration)]
    pub drain_window: Duration,
    /// Secret that tokens are signed with
    #[arg(long, env = "JWT_SECRET_KEY", hide_env_values = true)]
    pub jwt_secret_key: Option<Secret>,
    /// Accepted signature algorithms, a comma list of HS256, HS384, HS512
    #[arg(long, env = "JWT_ALGORITHM", default_value = "HS256", value_delimiter = ',', value_parser = algorithm)]
    pub jwt_algorithm: Vec<Algorithm>,
    /// Audience that tokens must name; unset: any
    #[arg(long, env = "JWT_AUDIENCE")]
    pub jwt_audience: Option<String>,
    /// Issuer that tokens must name; unset: any
    #[arg(long, env = "JWT_ISSUER")]
    pub jwt_issuer: Option<String>,
    /// Tolerated difference between the clocks of issuer and gateway
    #[arg(long, env = "JWT_LEEWAY", default_value = "0s", value_parser = leeway)]
    pub jwt_leeway: Duration,
    /// Web origins that may connect, a JSON list; unset: any
    #[arg(long, env = "CORS_ORIGINS")]
    pub cors_origins: Option<Origins>,
    /// Where this runs, for logs and health; `production` insists on strong secrets
    #[arg(long, env = "ENVIRONMENT", default_value = "development")]
    pub environment: String,
    /// Name of the service in health answers
    #[arg(long, env = "SERVICE_NAME", default_value = "ws-gateway")]
    pub service_name: String,
    /// Redis.
    #[command(flatten)]
    pub redis: RedisSettings,
    /// Logs.
    #[command(flatten)]
    pub telemetry: TelemetrySettings,
}

/// Which connection goes when a user has too many.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
#[value(rename_all = "snake_case")]
pub enum LimitPolicy {
    /// The newest is refused.
    Reject,
    /// The oldest is closed.
    EvictOldest,
}

/// HMAC keys shorter than the hash invite guessing (RFC 7518, 3.2).
const MIN_SECRET_BYTES: usize = 32;

/// A longer tolerance would mean that tokens do not end.
const MAX_LEEWAY: Duration = Duration::from_mins(10);

impl Settings for Config {
    fn problems(&self) -> Vec<String> {
        let mut problems = Vec::new();
        match &self.jwt_secret_key {
            None => problems.push(
                "there is no key to check tokens with: set JWT_SECRET_KEY, the shared secret of \
                 JWT_ALGORITHM HS256, HS384 or HS512"
                    .into(),
            ),
            Some(secret)
                if self.environment.eq_ignore_ascii_case("production")
                    && secret.expose().len() < MIN_SECRET_BYTES =>
            {
                problems.push(format!(
                    "JWT_SECRET_KEY: at least {MIN_SECRET_BYTES} bytes with ENVIRONMENT=production"
                ));
            }
            Some(_) => {}
        }
        problems
    }
}

/// The command line, from which `--help` and the table of settings come.
#[must_use]
pub fn command() -> clap::Command {
    Config::command()
}

fn algorithm(name: &str) -> Result<Algorithm, String> {
    match name.trim().parse::<Algorithm>() {
        Ok(algorithm) if algorithm.family() == AlgorithmFamily::Hmac => Ok(algorithm),
        _ => Err("one of HS256, HS384, HS512".into()),
    }
}

fn leeway(text: &str) -> Result<Duration, String> {
    match duration(text)? {
        leeway if leeway > MAX_LEEWAY => Err("at most 10m".into()),
        leeway => Ok(leeway),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problems(arguments: &[&str]) -> Vec<String> {
        let mut config = Config::try_parse_from([&["ws-gateway"], arguments].concat()).unwrap();
        config.jwt_secret_key = Some("short".into());
        config.problems()
    }

    #[test]
    fn the_readme_lists_every_setting() {
        let readme = shared::config::table_in(include_str!("../../README.md"), "ws-gateway");
        assert_eq!(readme.trim(), shared::config::markdown_table(&command()).trim());
    }

    #[test]
    fn the_defaults_are_those_of_the_contract() {
        let config = Config::try_parse_from(["ws-gateway"]).unwrap();
        assert_eq!((config.websocket_port, config.admin_port), (8080, 9090));
        assert_eq!(config.websocket_ping_interval, Duration::from_secs(30));
        assert_eq!(config.websocket_idle_timeout, Duration::from_mins(5));
        assert_eq!(config.jwt_algorithm, [Algorithm::HS256]);
        command().debug_assert();
    }

    #[test]
    fn without_a_key_the_settings_that_would_give_one_are_named() {
        let mut config = Config::try_parse_from(["ws-gateway"]).unwrap();
        config.jwt_secret_key = None;
        assert!(config.problems().iter().any(|problem| problem.contains("JWT_SECRET_KEY")));
    }

    #[test]
    fn a_short_secret_is_refused_in_production_only() {
        assert_eq!(problems(&["--environment", "development"]), Vec::<String>::new());
        assert_eq!(problems(&["--environment", "Production"]).len(), 1);
    }

    #[test]
    fn only_algorithms_that_the_key_can_have_are_accepted() {
        assert_eq!(algorithm(" HS512"), Ok(Algorithm::HS512));
        for other in ["none", "RS256", "hs256", "ES256", ""] {
            assert!(algorithm(other).is_err(), "{other}");
        }
    }
}
