//! How often the port is read while packets trickle in.
//!
//! On a slow link packets arrive one at a time, and waking up for each costs several times what the packet itself
//! costs. Network cards moderate their interrupts for the same reason. Here a wake-up takes a token, tokens come back at
//! a steady rate, and without one the port rests for a moment, in which the kernel gathers packets. Sparse packets, as
//! of a question and its answer, find tokens and are read at once; large batches need none.

use std::{
    future::Future,
    pin::Pin,
    sync::{Mutex, PoisonError},
    task::{Context, Poll},
    time::Duration,
};

use tokio::time::{Instant, Sleep, sleep};

use crate::clock;

/// Time in which a token comes back, and about how long the port rests without one: small beside the queue of a
/// link on which packets trickle.
const REST: Duration = Duration::from_millis(1);
/// Most tokens: so many packets of an exchange in a row are read without a rest.
const TOKENS: u32 = 16;
/// A batch of at least this many bytes needs no token: waking up is cheap beside it.
const LARGE_BYTES: usize = 32 * 1024;

/// Decides when the port is read.
#[derive(Debug)]
pub(super) struct Moderation(Mutex<State>);

#[derive(Debug)]
struct State {
    /// When all tokens are back: the later, the fewer there are.
    full_at: Instant,
    /// The rest, where one is taken.
    rest: Option<Pin<Box<Sleep>>>,
}

impl Moderation {
    /// With all tokens.
    pub(super) fn new() -> Self {
        Self(Mutex::new(State { full_at: clock::now(), rest: None }))
    }

    /// Ready when the port may be read.
    pub(super) fn poll_ready(&self, context: &mut Context<'_>) -> Poll<()> {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(rest) = &mut state.rest {
            std::task::ready!(rest.as_mut().poll(context));
            state.rest = None;
        }
        Poll::Ready(())
    }

    /// The port was read, with `bytes`, and is empty now as far as is known.
    pub(super) fn drained(&self, bytes: usize) {
        if bytes >= LARGE_BYTES {
            return;
        }
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let now = clock::now();
        let full_at = state.full_at.max(now) + REST;
        if full_at.duration_since(now) > REST * TOKENS {
            state.rest = Some(Box::pin(sleep(REST)));
        } else {
            state.full_at = full_at;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use super::*;

    /// Reads `count` small packets that are there whenever the port may be read; returns the time that it took.
    async fn read_small(moderation: &Moderation, count: u32) -> Duration {
        let start = clock::now();
        for _ in 0..count {
            poll_fn(|context| moderation.poll_ready(context)).await;
            moderation.drained(1200);
        }
        clock::now().duration_since(start)
    }

    #[tokio::test(start_paused = true)]
    async fn a_few_packets_are_read_at_once_and_a_trickle_in_turns() {
        let moderation = Moderation::new();
        assert_eq!(read_small(&moderation, TOKENS).await, Duration::ZERO);
        let trickle = read_small(&moderation, 100).await;
        assert!(trickle >= REST * 50, "100 wake-ups took {trickle:?}");
        tokio::time::sleep(REST * TOKENS).await;
        assert_eq!(read_small(&moderation, TOKENS).await, Duration::ZERO, "after a pause it is quick again");
    }

    #[tokio::test(start_paused = true)]
    async fn large_batches_never_rest() {
        let moderation = Moderation::new();
        let start = clock::now();
        for _ in 0..1000 {
            poll_fn(|context| moderation.poll_ready(context)).await;
            moderation.drained(LARGE_BYTES);
        }
        assert_eq!(clock::now(), start);
    }
}
