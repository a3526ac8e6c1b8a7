//! What the command `check` finds out about Redis: whether a service can use it, the version, the
//! eviction policy, and commands that the access rules (ACL) deny.

use std::collections::HashMap;

use redis::{Cmd, ErrorKind, RedisError, RedisResult, Value, cmd, from_redis_value};
use tokio::time::timeout;
use uuid::Uuid;

use super::{RedisClient, RedisConnection};
use crate::{
    findings::{Findings, PART_LIMIT},
    keys::Keys,
    user::UserId,
};

/// What the findings are about.
pub const SUBJECT: &str = "Redis";

/// The oldest version with all commands and ACL rules in use.
const OLDEST_VERSION: (u32, u32) = (6, 2);

/// Returns a rule that is written for the default prefix, for the present one.
fn rule_for(rule: &str, keys: &Keys) -> String {
    rule.replace("ws:", &format!("{}:", keys.prefix()))
        .replace("ws/", &format!("{}/", keys.prefix()))
}

/// Returns a user that no notification is for.
///
/// # Panics
/// Never: the id is a valid one.
#[must_use]
pub fn unused_user() -> UserId {
    UserId::new(&format!("check-{}", Uuid::new_v4())).expect("letters, digits and hyphens")
}

/// Connects and runs the checks that both services have in common, then `more`.
pub async fn check(
    client: &RedisClient,
    more: impl AsyncFnOnce(&RedisConnection, &mut Findings) -> RedisResult<()>,
) -> Findings {
    let mut findings = Findings::default();
    let checks = async {
        let connection = client.connect().await?;
        connection.check().await?;
        findings.ok(SUBJECT, format!("connected to {connection:?}"));
        check_version(&connection, &mut findings).await?;
        check_eviction(&connection, &mut findings).await;
        more(&connection, &mut findings).await
    };
    match timeout(PART_LIMIT, checks).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => findings.failed(SUBJECT, error.to_string(), cure(&error)),
        Err(_) => findings.failed(
            SUBJECT,
            format!("no answer within {PART_LIMIT:?}"),
            "check REDIS_URL, the server and the network",
        ),
    }
    findings
}

fn cure(error: &RedisError) -> &'static str {
    match (error.kind(), error.code()) {
        (ErrorKind::AuthenticationFailed, _) | (_, Some("NOAUTH" | "WRONGPASS")) => {
            "check the user and the password in REDIS_URL"
        }
        (_, Some("LOADING")) => "wait until the server has loaded its data",
        (_, Some("NOPERM")) => "compare the rules of its user with shared/README.md, ACLs",
        (ErrorKind::Io, _) => "check REDIS_URL, the server and the network",
        _ => "check REDIS_URL and the log of the server",
    }
}

async fn check_version(connection: &RedisConnection, findings: &mut Findings) -> RedisResult<()> {
    for reply in connection.run_on_all_nodes(&cmd("HELLO")).await? {
        let hello: HashMap<String, Value> = from_redis_value(reply)?;
        let version = hello.get("version").cloned().map(from_redis_value::<String>);
        let version = version.and_then(Result::ok).unwrap_or_default();
        if parse_version(&version).is_some_and(|version| version >= OLDEST_VERSION) {
            findings.ok(SUBJECT, format!("version {version}"));
        } else {
            let (major, minor) = OLDEST_VERSION;
            let cure = format!("update the server to {major}.{minor} or later");
            findings.failed(SUBJECT, format!("version {version}"), &cure);
        }
    }
    Ok(())
}

fn parse_version(text: &str) -> Option<(u32, u32)> {
    let mut parts = text.split('.').map(str::parse);
    Some((parts.next()?.ok()?, parts.next()?.ok()?))
}

async fn check_eviction(connection: &RedisConnection, findings: &mut Findings) {
    let info = match connection.run_on_all_nodes(cmd("INFO").arg("memory")).await {
        Ok(info) => info,
        Err(error) => {
            let text = format!("eviction policy not read ({})", error.code().unwrap_or("no reply"));
            let cure = "see CONFIG GET maxmemory-policy: it should be noeviction";
            return findings.note(SUBJECT, text, cure);
        }
    };
    for info in info.into_iter().filter_map(|info| from_redis_value::<String>(info).ok()) {
        let policy = info.lines().find_map(|line| line.strip_prefix("maxmemory_policy:"));
        match policy.map(str::trim) {
            Some("noeviction") | None => findings.ok(SUBJECT, "evicts no keys"),
            Some(policy) => findings.note(
                SUBJECT,
                format!("may evict keys (maxmemory-policy {policy})"),
                "evicted claims cost duplicates, evicted histories resumes: prefer noeviction",
            ),
        }
    }
}

/// Runs commands that change nothing, each with the rule that permits it, and reports those that
/// the access rules deny. A rule is written for the default prefix of key and channel names, as in
/// `+get ~ws:seen:*`.
///
/// # Errors
/// If Redis does not reply.
pub async fn check_permissions(
    connection: &RedisConnection,
    keys: &Keys,
    permissions: Vec<(&str, Cmd)>,
    findings: &mut Findings,
) -> RedisResult<()> {
    let (rules, commands): (Vec<_>, _) = permissions.into_iter().unzip();
    let replies = connection.run_where_moved(commands).await?;
    let denied = replies.iter().zip(rules).filter(|(reply, _)| is_denied(reply));
    report_denied(denied.map(|(_, rule)| rule), keys, findings);
    Ok(())
}

/// Returns whether the access rules have denied a command.
pub fn is_denied<T>(reply: &RedisResult<T>) -> bool {
    reply.as_ref().is_err_and(|error| error.code() == Some("NOPERM"))
}

/// Reports each rule that the user lacks; they are written for the default prefix.
pub fn report_denied<'r>(
    rules: impl IntoIterator<Item = &'r str>,
    keys: &Keys,
    findings: &mut Findings,
) {
    for rule in rules {
        let rule = rule_for(rule, keys);
        let cure = format!("add ({rule}) to its user, see shared/README.md, ACLs");
        findings.failed(SUBJECT, "a command is denied", &cure);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rule_names_the_prefix_of_the_deployment() {
        let rule = rule_for("+get ~ws:seen:* &ws/probe*", &Keys::new("staging"));
        assert_eq!(rule, "+get ~staging:seen:* &staging/probe*");
    }

    #[test]
    fn versions_are_compared_by_number() {
        assert_eq!(parse_version("7.0.15"), Some((7, 0)));
        assert!(parse_version("6.10.1") > Some(OLDEST_VERSION));
        assert!(parse_version("6.0.9") < Some(OLDEST_VERSION));
        assert_eq!(parse_version(""), None);
    }
}
