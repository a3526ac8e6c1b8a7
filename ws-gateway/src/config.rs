//! Settings of the gateway: parsed and validated as text. No file is opened here.

mod limits;
mod tls;
mod tokens;

use std::net::IpAddr;
use std::time::Duration;

use clap::{CommandFactory, Parser};
use shared::config::{Validate, duration, positive_duration};
use shared::{redis::RedisSettings, telemetry::TelemetrySettings, trace::TraceSettings};

pub(crate) use limits::LimitSettings;
pub(crate) use tls::TlsSettings;
pub(crate) use tokens::TokenSettings;

use crate::auth::Origins;

/// What the program is, as `--help` prints it.
pub(crate) const ABOUT: &str =
    "WebSocket gateway: delivers each user's notifications from Redis to that user's connections";

/// All settings.
#[derive(Clone, Debug, Parser)]
#[command(name = "ws-gateway", version, about = ABOUT)]
pub struct Config {
    /// Address to listen on, for both ports
    #[arg(long, env = "BIND_ADDRESS", default_value = "0.0.0.0")]
    pub(crate) bind_address: IpAddr,
    /// Port for clients; 0: a free port, which the log names
    #[arg(long, env = "WEBSOCKET_PORT", default_value = "8080")]
    pub(crate) websocket_port: u16,
    /// Port for probes and metrics; 0: a free port, which the log names
    #[arg(long, env = "ADMIN_PORT", default_value = "9090")]
    pub(crate) admin_port: u16,
    /// TLS for clients.
    #[command(flatten)]
    pub(crate) tls: TlsSettings,
    /// Interval of WebSocket pings; a client that is silent for two intervals is disconnected
    #[arg(long, env = "WEBSOCKET_PING_INTERVAL", default_value = "30s", value_parser = positive_duration)]
    pub(crate) websocket_ping_interval: Duration,
    /// How long a client may be silent: no pong and no message
    #[arg(long, env = "WEBSOCKET_IDLE_TIMEOUT", default_value = "300s", value_parser = positive_duration)]
    pub(crate) websocket_idle_timeout: Duration,
    /// Limits for clients.
    #[command(flatten)]
    pub(crate) limits: LimitSettings,
    /// Time over which connections are closed on shutdown, so that clients reconnect spread over it
    #[arg(long, env = "DRAIN_WINDOW", default_value = "10s", value_parser = duration)]
    pub(crate) drain_window: Duration,
    /// Tokens and keys.
    #[command(flatten)]
    pub(crate) tokens: TokenSettings,
    /// Browser origins that may connect, a JSON list; unset: any
    #[arg(long, env = "CORS_ORIGINS")]
    pub(crate) cors_origins: Option<Origins>,
    /// Name of the environment in logs and health responses; `production` refuses weak secrets
    #[arg(long, env = "ENVIRONMENT", default_value = "development")]
    pub(crate) environment: String,
    /// Name of the service in health responses
    #[arg(long, env = "SERVICE_NAME", default_value = "ws-gateway")]
    pub(crate) service_name: String,
    /// Redis.
    #[command(flatten)]
    pub(crate) redis: RedisSettings,
    /// Logs.
    #[command(flatten)]
    pub telemetry: TelemetrySettings,
    /// Traces.
    #[command(flatten)]
    pub(crate) trace: TraceSettings,
}

impl Validate for Config {
    fn problems(&self) -> Vec<String> {
        let mut problems = self.tokens.problems(self.is_production());
        problems.extend(self.tls.problem());
        problems.extend(self.redis.problems());
        if self.websocket_idle_timeout < self.websocket_ping_interval {
            problems.push(
                "WEBSOCKET_IDLE_TIMEOUT: shorter than WEBSOCKET_PING_INTERVAL, so that every idle \
                 client would be disconnected"
                    .into(),
            );
        }
        problems
    }
}

impl Config {
    /// Whether `ENVIRONMENT` is `production`, where weak secrets are refused.
    #[must_use]
    pub(crate) fn is_production(&self) -> bool {
        self.environment.eq_ignore_ascii_case("production")
    }
}

/// Returns the command line, the source of `--help` and of the settings table in the README.
#[must_use]
pub fn command() -> clap::Command {
    Config::command()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_readme_lists_every_setting() {
        let readme = shared::config::extract_table(include_str!("../README.md"), "ws-gateway");
        assert_eq!(readme.trim(), shared::config::markdown_table(&command()).trim());
    }

    #[test]
    fn an_idle_timeout_below_the_ping_interval_is_refused() {
        let problems = |idle: &str| {
            let arguments = ["ws-gateway", "--websocket-idle-timeout", idle];
            let mut config = Config::try_parse_from(arguments).unwrap();
            config.tokens.jwt_secret_key = Some("a-secret".into());
            config.problems().join("; ")
        };
        assert!(problems("29s").contains("WEBSOCKET_IDLE_TIMEOUT"));
        assert_eq!(problems("30s"), "");
    }

    #[test]
    fn the_defaults_are_those_of_the_contract() {
        let config = Config::try_parse_from(["ws-gateway"]).unwrap();
        assert_eq!((config.websocket_port, config.admin_port), (8080, 9090));
        assert_eq!(config.websocket_ping_interval, Duration::from_secs(30));
        assert_eq!(config.websocket_idle_timeout, Duration::from_mins(5));
        assert_eq!(config.tokens.jwt_algorithm, [jsonwebtoken::Algorithm::HS256]);
        command().debug_assert();
    }
}
