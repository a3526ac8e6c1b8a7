//! A process that holds sockets: it does what it is told on standard input, a line of JSON each,
//! and says on standard output how it stands. It ends with its input.

use std::{
    io::{BufRead as _, Write as _},
    sync::Arc,
    time::Duration,
};

use anyhow::{Context as _, bail};
use tokio::{
    sync::mpsc,
    time::{MissedTickBehavior, interval, sleep},
};

use super::{
    now,
    plan::{Order, Word},
    room::Room,
};

/// How often it says how it stands, if that has changed.
const TELL: Duration = Duration::from_millis(50);
/// The pause after an attempt to connect that failed, at least; at most twice as long.
const PAUSE_MS: u64 = 50;

/// Runs until it is told to finish, or its input ends.
///
/// # Errors
/// When it is told something else than what a seat is told.
pub fn run() -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let result = runtime.block_on(obey());
    // Sockets are not closed one by one.
    runtime.shutdown_background();
    result
}

async fn obey() -> anyhow::Result<()> {
    let (sender, mut orders) = mpsc::unbounded_channel();
    std::thread::spawn(move || {
        for line in std::io::stdin().lock().lines().map_while(Result::ok) {
            if sender.send(line).is_err() {
                break;
            }
        }
    });
    let first = orders.recv().await.context("nothing was said")?;
    let Order::Sit(crowd, seat) = serde_json::from_str(&first)? else { bail!("sit down first") };
    let room = Arc::new(Room::new(*crowd, seat).await?);
    say(&Word::Ready)?;
    let mut ticks = interval(TELL);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        let line = tokio::select! {
            _ = ticks.tick() => {
                if let Some(progress) = room.news() {
                    say(&Word::Progress(progress))?;
                }
                continue;
            }
            line = orders.recv() => line,
        };
        let Some(line) = line else { return Ok(()) };
        match serde_json::from_str(&line)? {
            Order::Connect => {
                for socket in room.sockets() {
                    tokio::spawn(sit(Arc::clone(&room), socket));
                }
            }
            Order::Record(from) => room.record_from(from),
            Order::Finish(events) => return say(&Word::Done(Box::new(room.tally(events)?))),
            Order::Sit(..) => bail!("sitting already"),
        }
    }
}

fn say(word: &Word) -> anyhow::Result<()> {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{}", serde_json::to_string(word)?)?;
    Ok(out.flush()?)
}

/// The life of one socket.
async fn sit(room: Arc<Room>, socket: usize) {
    let (mut position, mut lost) = (None, None);
    let mut turn = if room.crowd.at_first { 0 } else { socket };
    loop {
        let Ok(mut wire) = room.open(socket, turn, &mut position, lost).await else {
            turn += 1;
            room.count_refused();
            sleep(Duration::from_millis(rand::random_range(PAUSE_MS..2 * PAUSE_MS))).await;
            continue;
        };
        room.enter(lost);
        if room.crowd.is_stalled(socket) {
            return room.hold(wire).await;
        }
        let left = room.listen(&mut wire, socket, &mut position).await;
        drop(wire);
        room.leave(left);
        if !left && !room.crowd.come_back {
            return;
        }
        lost = (!left).then(now);
        turn += 1;
    }
}
