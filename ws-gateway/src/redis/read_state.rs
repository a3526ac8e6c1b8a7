//! Serves the requests for read states: each runs one script, which publishes the state to all
//! gateways. The channel of the user carries it to every connection.

use std::time::Duration;

use redis::{Cmd, cmd};
use shared::{
    backoff::Backoff,
    keys::{Keys, READ_LIFETIME},
    time,
    user::UserId,
};
use tokio::{sync::watch, time::sleep};
use tracing::debug;

use super::{
    history::StreamReader,
    reply::{text, user_reply},
};
use crate::{
    hub::read_requests::{ReadRequest, ReadRequests},
    metrics::Metrics,
    protocol::Position,
};

const READ_STATE: &str = include_str!("read_state.lua");

/// The maximum number of users that are served in one round trip: the script reads the history, and
/// Redis must serve others in between.
const MAX_USERS: usize = 16;

/// The delays between attempts to serve requests.
const BACKOFF: Backoff = Backoff::new(Duration::from_millis(50), Duration::from_secs(1));

/// Serves requests with the reader of the present session, until it is dropped. A request is tried
/// again until Redis replies.
pub(super) async fn serve(
    requests: &ReadRequests,
    mut readers: watch::Receiver<Option<StreamReader>>,
    keys: &Keys,
    metrics: &Metrics,
) {
    let mut backoff = BACKOFF;
    loop {
        requests.added().await;
        let reader = readers.wait_for(Option::is_some).await.ok().and_then(|r| r.clone());
        let Some(reader) = reader else { return };
        let taken = requests.take(MAX_USERS);
        let commands = taken.iter().map(|(user, request)| command(keys, user, request.up_to));
        let replies = match reader.run(commands.collect()).await {
            Ok(replies) => replies.into_iter().map(user_reply).collect(),
            Err(error) => Err(error),
        };
        match replies {
            Ok(replies) => {
                backoff.reset();
                for ((_, request), reply) in taken.into_iter().zip::<Vec<_>>(replies) {
                    match reply {
                        Ok(state) => answer(request, text(&state).unwrap_or_default()),
                        Err(kind) => metrics.redis_user_errors.of(kind).inc(),
                    }
                }
            }
            Err(error) => {
                debug!(%error, "requesting read states failed, retrying");
                for (user, request) in taken {
                    requests.add(&user, request);
                }
                sleep(backoff.next_delay()).await;
            }
        }
    }
}

fn answer(request: ReadRequest, state: &str) {
    for answer in request.answers {
        // The client may have disconnected.
        answer.send(state.to_owned()).ok();
    }
}

fn command(keys: &Keys, user: &UserId, up_to: Option<Position>) -> Cmd {
    let mut script = cmd("EVAL");
    script.arg(READ_STATE).arg(4);
    script.arg(keys.stream(user)).arg(keys.start(user)).arg(keys.position(user));
    script.arg(keys.read(user)).arg(keys.channel(user));
    script.arg(up_to.map(|position| position.to_string()).unwrap_or_default());
    script.arg(time::millis(READ_LIFETIME));
    script
}
