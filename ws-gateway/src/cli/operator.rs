//! The commands that ask all gateways: what they know about connections, and to close those of a
//! user.

use anyhow::{Context as _, ensure};
use clap::builder::NonEmptyStringValueParser;
use shared::{audit, redis::RedisClient, user::UserId};

use crate::{
    config::Config,
    protocol::{ConnectionInfo, GatewayAnswer, OperatorAction},
    redis::{self, Answers},
};

/// Which connections to list.
#[derive(Clone, Debug, clap::Args)]
pub struct Connections {
    /// Only the connections of this user
    #[arg(long)]
    user: Option<String>,
    /// Maximum number of connections that each gateway lists
    #[arg(long, default_value = "20")]
    limit: usize,
    #[command(flatten)]
    output: Output,
}

/// Whose connections to close.
#[derive(Clone, Debug, clap::Args)]
pub struct Disconnect {
    /// The user; the clients reconnect within seconds, unless `revoke` comes first
    #[arg(long)]
    user: String,
    #[command(flatten)]
    output: Output,
}

/// How to ask, and how to print the answers.
#[derive(Clone, Debug, clap::Args)]
struct Output {
    /// Print JSON instead of a table
    #[arg(long)]
    json: bool,
    /// Who asks, for the gateways' logs; by default the user and the host of the command
    #[arg(long, value_name = "NAME", value_parser = NonEmptyStringValueParser::new())]
    by: Option<String>,
}

impl Connections {
    pub(super) async fn run(self, config: &Config) -> anyhow::Result<()> {
        let Self { user, limit, output } = self;
        if let Some(user) = &user {
            UserId::new(user)?;
        }
        output.ask(config, OperatorAction::Connections { user, limit }).await
    }
}

impl Disconnect {
    pub(super) async fn run(self, config: &Config) -> anyhow::Result<()> {
        let user = UserId::new(&self.user)?.to_string();
        self.output.ask(config, OperatorAction::Disconnect { user }).await
    }
}

impl Output {
    /// Prints the answers of all gateways.
    ///
    /// # Errors
    /// If Redis is unavailable, no gateway is connected to it, or one does not answer in time.
    async fn ask(self, config: &Config, action: OperatorAction) -> anyhow::Result<()> {
        let redis = RedisClient::new(&config.redis).context("REDIS_URL")?;
        let by = self.by.unwrap_or_else(audit::caller);
        let Answers { gateways, asked } = redis::ask(&redis, by, action).await.context("Redis")?;
        if self.json {
            println!("{}", serde_json::to_string_pretty(&gateways)?);
        } else {
            print!("{}", table(&gateways));
        }
        ensure!(asked > 0, "no gateway is connected to this Redis under this REDIS_CHANNEL_PREFIX");
        let missing = asked.saturating_sub(gateways.len());
        ensure!(missing == 0, "{missing} of {asked} gateways did not answer in time");
        Ok(())
    }
}

/// The heads of the columns.
const HEADS: [&str; 10] = [
    "USER",
    "GATEWAY",
    "TRANSPORT",
    "SINCE",
    "ADDRESS",
    "FILTER",
    "QUEUED",
    "POSITION",
    "LAST ACTIVITY",
    "ID",
];

/// Maximum number of characters of a cell, before control characters are escaped.
const MAX_CELL: usize = 60;

/// Returns a line per connection and one per gateway.
fn table(gateways: &[GatewayAnswer]) -> String {
    let rows = gateways.iter().flat_map(|GatewayAnswer { gateway, connections, .. }| {
        connections.iter().map(move |connection| row(gateway, connection))
    });
    let rows = rows.map(|row| row.map(|cell| printable(&cell)));
    let rows: Vec<_> = [HEADS.map(str::to_owned)].into_iter().chain(rows).collect();
    let widths = std::array::from_fn::<_, { HEADS.len() }, _>(|column| {
        rows.iter().map(|row| row[column].chars().count()).max().unwrap_or_default()
    });
    let line = |row: &[String; HEADS.len()]| {
        let cells = row.iter().zip(widths).map(|(cell, width)| format!("{cell:width$}  "));
        cells.collect::<String>().trim_end().to_owned()
    };
    let shown = if rows.len() > 1 { &rows[..] } else { &[] };
    let totals = gateways.iter().map(|GatewayAnswer { gateway, total, connections }| {
        format!("{}: {} of {total} connections", printable(gateway), connections.len())
    });
    shown.iter().map(line).chain(totals).map(|line| line + "\n").collect()
}

/// Returns a text of at most [`MAX_CELL`] characters that changes nothing on a terminal: clients
/// choose the names in their filters.
fn printable(text: &str) -> String {
    let escaped = |character: char| match character {
        '\'' | '"' => character.to_string(),
        _ => character.escape_debug().to_string(),
    };
    let mut cell = String::new();
    for (count, character) in text.chars().enumerate() {
        if count == MAX_CELL {
            return cell + "…";
        }
        cell += &escaped(character);
    }
    cell
}

fn row(gateway: &str, info: &ConnectionInfo) -> [String; HEADS.len()] {
    let or_dash = |text: Option<String>| text.unwrap_or_else(|| "-".into());
    [
        info.user.clone(),
        gateway.to_owned(),
        info.transport.clone(),
        format!("{:.0}", info.since),
        info.address.clone(),
        info.categories.as_ref().map_or_else(|| "all".into(), |names| names.join(",")),
        format!("{} ({} bytes)", info.queued, info.queued_bytes),
        or_dash(info.position.clone()),
        or_dash(info.last_activity.map(|time| format!("{time:.0}"))),
        info.id.to_string(),
    ]
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    fn connection(categories: Option<Vec<String>>) -> ConnectionInfo {
        ConnectionInfo {
            id: Uuid::nil(),
            user: "teacher-42".into(),
            transport: "websocket".into(),
            address: "10.0.0.7".into(),
            since: "2026-01-02T03:04:05.678Z".parse().unwrap(),
            categories,
            queued: 2,
            queued_bytes: 300,
            position: Some("7-0".into()),
            last_activity: None,
        }
    }

    #[test]
    fn a_client_writes_nothing_but_text_to_the_terminal_and_no_wide_column() {
        let (control, long) = ("\u{1b}]0;o'wned\u{7}\n\u{202e}é".to_owned(), "c".repeat(2_000));
        let connections = vec![connection(Some(vec![control])), connection(Some(vec![long]))];
        let answer = GatewayAnswer { gateway: "a:1".into(), total: 2, connections };
        let text = table(&[answer]);
        assert!(text.contains(r"\u{1b}]0;o'wned\u{7}\n\u{202e}é "), "{text}");
        assert_eq!(text.lines().count(), 4, "{text}");
        assert!(!text.contains(|c: char| c.is_control() && c != '\n'), "{text}");
        assert!(text.contains(&format!(" {}… ", "c".repeat(MAX_CELL))), "{text}");
    }

    #[test]
    fn the_table_names_each_connection_and_the_total_of_each_gateway() {
        let answer = |gateway: &str, connections| GatewayAnswer {
            gateway: gateway.into(),
            total: 50_000,
            connections,
        };
        let text = table(&[answer("a:1", vec![connection(None)]), answer("b:1", Vec::new())]);
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines.len(), 4, "{text}");
        assert!(lines[0].starts_with("USER        GATEWAY"), "{text}");
        let cells =
            ["teacher-42", "2026-01-02T03:04:05Z", "10.0.0.7", "all", "2 (300 bytes)", "7-0"];
        for cell in cells {
            assert!(lines[1].contains(cell), "{cell}: {text}");
        }
        assert_eq!(lines[2], "a:1: 1 of 50000 connections");
    }
}
