//! The command line: runs the gateway, or one of the commands for operators.

mod check;
mod operator;

use std::time::Duration;

use anyhow::Context as _;
use clap::{FromArgMatches as _, Subcommand, builder::NonEmptyStringValueParser};
use shared::config::{self, ConfigError, positive_duration};
use shared::{audit, healthcheck, redis::RedisClient, user::UserId};

use crate::{
    auth::{
        MAX_TOKEN_ID,
        revocation::{Revocation, Revoked},
        unix_seconds,
    },
    config::{ABOUT, Config, command},
    redis,
};

use check::Check;
use operator::{Connections, Disconnect};

/// A command for operators; without one the gateway runs.
#[derive(Clone, Debug, Subcommand)]
pub enum OperatorCommand {
    /// Revoke tokens: close their connections at every gateway and refuse them from then on
    Revoke(Revoke),
    /// List connections of all gateways: of a user, or the first of each gateway
    Connections(Connections),
    /// Close the connections of a user at every gateway
    Disconnect(Disconnect),
    /// Check settings, keys, Redis and permissions; print each finding with its cure
    Check(Check),
    /// Exit with 0 if the gateway of this host is ready, with 1 if it is not
    Healthcheck,
}

/// Which tokens to revoke.
#[derive(Clone, Debug, clap::Args)]
#[command(group(clap::ArgGroup::new("target").required(true).args(["user", "jti"])))]
pub struct Revoke {
    /// Revoke all tokens of this user that are issued up to now, and all without `iat`
    #[arg(long)]
    user: Option<String>,
    /// Revoke the token with this id (`jti`)
    #[arg(long)]
    jti: Option<String>,
    /// How long to keep the revocation: at least the lifetime of the tokens
    #[arg(long = "for", value_name = "DURATION", default_value = "24h", value_parser = positive_duration)]
    lifetime: Duration,
    /// Who revokes, for the gateways' logs; by default the user and the host of the command
    #[arg(long, value_name = "NAME", value_parser = NonEmptyStringValueParser::new())]
    by: Option<String>,
}

/// Reads the settings, and the operator's command if there is one.
///
/// # Errors
/// [`ConfigError`] lists every invalid setting.
pub fn read() -> Result<(Config, Option<OperatorCommand>), ConfigError> {
    let command = OperatorCommand::augment_subcommands(command())
        .about(ABOUT)
        .long_about(None)
        .subcommand_required(false);
    let (config, matches) = config::read(command, std::env::args_os())?;
    Ok((config, OperatorCommand::from_arg_matches(&matches).ok()))
}

impl OperatorCommand {
    /// Runs the command; prints its result on standard output.
    ///
    /// # Errors
    /// If the user or token id is invalid, Redis is unavailable, a gateway does not answer, or the
    /// gateway is not ready.
    pub async fn run(self, config: &Config) -> anyhow::Result<()> {
        match self {
            Self::Revoke(revoke) => revoke.run(config).await,
            Self::Connections(connections) => connections.run(config).await,
            Self::Disconnect(disconnect) => disconnect.run(config).await,
            Self::Check(check) => check.run(config).await,
            Self::Healthcheck => healthcheck::run(config.bind_address, config.admin_port).await,
        }
    }
}

impl Revoke {
    async fn run(self, config: &Config) -> anyhow::Result<()> {
        let revocation = self.revocation(config.tokens.jwt_leeway)?;
        let redis = RedisClient::new(&config.redis).context("REDIS_URL")?;
        redis::revoke(&redis, &revocation).await.context("Redis")?;
        println!("revoked: {}", revocation.to_text());
        Ok(())
    }

    /// The clock of the issuer may be ahead by `leeway`, so a token from before this instant may
    /// have an `iat` that much later.
    fn revocation(self, leeway: Duration) -> anyhow::Result<Revocation> {
        let now = unix_seconds();
        let target = match (self.user, self.jti) {
            (Some(user), _) => {
                let leeway = leeway.as_secs() + u64::from(leeway.subsec_nanos() > 0);
                Revoked::User(UserId::new(&user)?, now + leeway)
            }
            (None, jti) => {
                let jti = jti.filter(|id| !id.is_empty() && id.len() <= MAX_TOKEN_ID);
                let rule = || format!("a jti has 1 to {MAX_TOKEN_ID} bytes");
                Revoked::Token(jti.with_context(rule)?.into())
            }
        };
        let by = Some(self.by.unwrap_or_else(audit::caller).into());
        Ok(Revocation { target, until: now.saturating_add(self.lifetime.as_secs()), by })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn revocation(arguments: &[&str], leeway: Duration) -> Option<Revocation> {
        let command = OperatorCommand::augment_subcommands(clap::Command::new("ws-gateway"));
        let matches = command.try_get_matches_from([&["ws-gateway", "revoke"], arguments].concat());
        match OperatorCommand::from_arg_matches(&matches.ok()?).ok()? {
            OperatorCommand::Revoke(revoke) => revoke.revocation(leeway).ok(),
            _ => None,
        }
    }

    #[test]
    fn either_a_user_or_a_token_is_revoked() {
        let parse = |arguments: &[&str]| revocation(arguments, Duration::ZERO);
        let user = parse(&["--user", "teacher-42", "--for", "1h"]).unwrap();
        let Revoked::User(id, at) = user.target else { panic!("{user:?}") };
        assert_eq!((id.as_str(), at + 3_600), ("teacher-42", user.until));
        let token = parse(&["--jti", "0b8f", "--by", "alice"]).unwrap();
        assert_eq!(Revocation::parse(&token.to_text()).unwrap().by.as_deref(), Some("alice"));
        assert_eq!(token.target, Revoked::Token("0b8f".into()));
        for bad in [&[][..], &["--user", ""], &["--jti", ""], &["--user", "u", "--jti", "t"]] {
            assert_eq!(parse(bad), None, "{bad:?}");
        }
    }

    #[test]
    fn a_token_from_an_issuer_whose_clock_is_ahead_is_revoked_too() {
        for (leeway, seconds) in [(Duration::from_millis(4_100), 5), (Duration::ZERO, 0)] {
            let earliest = unix_seconds() + seconds;
            let revoked = revocation(&["--user", "u"], leeway).unwrap();
            let Revoked::User(_, at) = revoked.target else { panic!("{revoked:?}") };
            assert!((earliest..=earliest + 5).contains(&at), "{at}");
        }
    }
}
