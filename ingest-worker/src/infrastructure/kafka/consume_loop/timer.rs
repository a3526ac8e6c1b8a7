//! The timer of the loop. Its deadline changes twice per batch, and mostly nothing waits until then.

use std::pin::Pin;

use tokio::time::{Instant, Sleep, sleep_until};

/// A timer that stays registered with the runtime between two waits. A new one that ends before all
/// others would wake the runtime by a system call, and cost it a turn.
pub(super) struct Timer(Pin<Box<Sleep>>);

impl Timer {
    pub(super) fn new() -> Self {
        Self(Box::pin(sleep_until(Instant::now())))
    }

    /// Waits until `at`. Cancel-safe.
    pub(super) async fn wait_until(&mut self, at: Instant) {
        while Instant::now() < at {
            // One that ends too early is extended when it does.
            if self.0.is_elapsed() || at < self.0.deadline() {
                self.0.as_mut().reset(at);
            }
            self.0.as_mut().await;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use futures_util::FutureExt as _;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn it_ends_at_each_deadline_whatever_deadline_was_given_up_before() {
        let begin = Instant::now();
        let at = |millis| begin + Duration::from_millis(millis);
        let mut timer = Timer::new();
        for (given_up, deadline) in [(300, 100), (200, 400), (50, 450), (2_000, 500)] {
            timer.wait_until(at(given_up)).now_or_never();
            timer.wait_until(at(deadline)).await;
            let late = Instant::now().duration_since(at(deadline));
            assert!(Instant::now() >= at(deadline) && late < Duration::from_millis(2), "{late:?}");
        }
    }
}
