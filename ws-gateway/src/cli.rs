//! What the process is asked to do: its work, or a task of an operator.

use std::time::Duration;

use anyhow::Context as _;
use clap::{FromArgMatches as _, Subcommand};
use shared::config::{self, ConfigError, positive_duration};
use shared::{healthcheck, redis::RedisClient, user::UserId};

use crate::{
    auth::{
        MAX_TOKEN_ID,
        revocation::{Revocation, Revoked},
        unix_seconds,
    },
    config::{Config, command},
    redis,
};

/// A task of an operator, done instead of the work.
#[derive(Clone, Debug, Subcommand)]
pub enum Task {
    /// Close the connections of a user or of one token, at every gateway, and keep them out
    Revoke(Revoke),
    /// Ask the gateway that runs here with these settings whether it is ready: exit code 0 or 1
    Healthcheck,
}

/// What is to be revoked.
#[derive(Clone, Debug, clap::Args)]
#[command(group(clap::ArgGroup::new("what").required(true).args(["user", "jti"])))]
pub struct Revoke {
    /// The user whose tokens, as issued up to now, no longer count
    #[arg(long)]
    user: Option<String>,
    /// The id (`jti`) of the token that no longer counts
    #[arg(long)]
    jti: Option<String>,
    /// How long the token, or any token of the user, may still be valid
    #[arg(long = "for", value_name = "DURATION", default_value = "24h", value_parser = positive_duration)]
    lifetime: Duration,
}

/// Reads the settings of this process and the task, if there is one.
///
/// # Errors
/// [`ConfigError`] lists everything that is wrong.
pub fn read() -> Result<(Config, Option<Task>), ConfigError> {
    let command = Task::augment_subcommands(command());
    let (config, matches) = config::read(command.subcommand_required(false), std::env::args_os())?;
    Ok((config, Task::from_arg_matches(&matches).ok()))
}

impl Task {
    /// Does it, and says so on standard output.
    ///
    /// # Errors
    /// When there is no such user or token, Redis does not answer, or the gateway is not ready.
    pub async fn run(self, config: &Config) -> anyhow::Result<()> {
        match self {
            Self::Revoke(revoke) => revoke.run(config).await,
            Self::Healthcheck => healthcheck::run(config.bind_address, config.admin_port).await,
        }
    }
}

impl Revoke {
    async fn run(self, config: &Config) -> anyhow::Result<()> {
        let revocation = self.revocation()?;
        let redis = RedisClient::new(&config.redis).context("REDIS_URL")?;
        redis::revoke(&redis, &revocation).await.context("Redis")?;
        println!("revoked: {}", revocation.to_text());
        Ok(())
    }

    fn revocation(self) -> anyhow::Result<Revocation> {
        let now = unix_seconds();
        let what = match (self.user, self.jti) {
            (Some(user), _) => Revoked::User(UserId::new(&user)?, now),
            (None, jti) => {
                let jti = jti.filter(|id| !id.is_empty() && id.len() <= MAX_TOKEN_ID);
                Revoked::Token(jti.context("a jti has 1 to 256 bytes")?.into())
            }
        };
        Ok(Revocation { what, until: now.saturating_add(self.lifetime.as_secs()) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn either_a_user_or_a_token_is_revoked() {
        let parse = |arguments: &[&str]| {
            let command = Task::augment_subcommands(clap::Command::new("ws-gateway"));
            let matches =
                command.try_get_matches_from([&["ws-gateway", "revoke"], arguments].concat());
            match Task::from_arg_matches(&matches.ok()?).ok()? {
                Task::Revoke(revoke) => revoke.revocation().ok(),
                Task::Healthcheck => None,
            }
        };
        let user = parse(&["--user", "teacher-42", "--for", "1h"]).unwrap();
        let Revoked::User(id, at) = user.what else { panic!("{user:?}") };
        assert_eq!((id.as_str(), at + 3_600), ("teacher-42", user.until));
        let token = parse(&["--jti", "0b8f"]).unwrap();
        assert_eq!(token.what, Revoked::Token("0b8f".into()));
        for bad in [&[][..], &["--user", ""], &["--jti", ""], &["--user", "u", "--jti", "t"]] {
            assert_eq!(parse(bad), None, "{bad:?}");
        }
    }
}
