//! Serves the requests for read states: each runs one script, which publishes the state to all
//! gateways. The channel of the user carries it to every connection.

use redis::{Cmd, cmd};
use shared::{
    keys::{Keys, POSITION_LIFETIME},
    time,
    user::UserId,
};
use tokio::sync::watch;
use tracing::debug;

use super::{
    reply::{text, user_reply},
    stream_reader::StreamReader,
};
use crate::{
    hub::read_requests::{ReadRequest, ReadRequests, TakenRequest},
    metrics::Metrics,
};

const READ_STATE: &str = include_str!("read_state.lua");

/// The maximum number of users that are served in one round trip: the script may read a part of the
/// history, and Redis must serve others in between.
const MAX_USERS: usize = 8;

/// Serves requests with the reader of the present session, until it is dropped. What Redis refuses
/// for a user is tried again until it succeeds, and delays no other user.
pub(super) async fn serve(
    requests: &ReadRequests,
    mut readers: watch::Receiver<Option<StreamReader>>,
    keys: &Keys,
    metrics: &Metrics,
) {
    loop {
        requests.due().await;
        let reader = readers.wait_for(Option::is_some).await.ok().and_then(|r| r.clone());
        let Some(reader) = reader else { return };
        let taken = requests.take(MAX_USERS);
        let command = |taken: &TakenRequest| command(keys, &taken.user, &taken.request);
        match reader.run(taken.iter().map(command).collect()).await {
            Ok(replies) => {
                for (taken, reply) in taken.into_iter().zip(replies) {
                    match user_reply(reply) {
                        Ok(Ok(state)) => answer(taken.request, text(&state).unwrap_or_default()),
                        Ok(Err(kind)) => {
                            metrics.redis_user_errors.of(kind).inc();
                            requests.retry(taken);
                        }
                        Err(error) => {
                            debug!(%error, "requesting a read state failed, retrying");
                            requests.retry(taken);
                        }
                    }
                }
            }
            Err(error) => {
                debug!(%error, "requesting read states failed, retrying");
                for taken in taken {
                    requests.retry(taken);
                }
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

fn command(keys: &Keys, user: &UserId, request: &ReadRequest) -> Cmd {
    let mut script = cmd("EVAL");
    script.arg(READ_STATE).arg(4);
    script.arg(keys.stream(user)).arg(keys.start(user)).arg(keys.position(user));
    script.arg(keys.read(user));
    script.arg(if request.is_silent { String::new() } else { keys.channel(user) });
    script.arg(request.up_to.map(|position| position.to_string()).unwrap_or_default());
    script.arg(time::millis(POSITION_LIFETIME));
    script
}
