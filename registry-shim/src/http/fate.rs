//! How a connection ends when a body cannot be finished.
//!
//! A client that was promised `Content-Length` bytes learns of a failure only by how the connection ends. containerd
//! resumes elsewhere after a clean end (FIN) and discards what it has after a reset (RST). hyper knows one way only: it
//! drops the connection, together with bytes that it has not yet written. So the body and the socket share a
//! [`ConnectionFate`]: the body says how it must end, waits until everything before is with the kernel, and then fails;
//! the socket ends as it was told.

use std::{
    sync::{Mutex, PoisonError},
    task::{Context, Poll, Waker},
};

/// The end of one connection, shared by the body that is being sent and the socket that sends it.
#[derive(Debug, Default)]
pub struct ConnectionFate {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
enum State {
    /// Nothing special: requests may follow on this connection.
    #[default]
    Open,
    /// The body cannot go on; what was sent is right. Waiting until it is with the kernel.
    Draining(Waker),
    /// As `Draining`, and all of it is with the kernel.
    Drained,
    /// What was sent is wrong.
    Reset,
}

impl ConnectionFate {
    /// Called by a body that cannot go on after bytes that are right. Ready once the socket has passed on everything
    /// before; the connection then ends cleanly.
    pub fn poll_drained(&self, context: &Context<'_>) -> Poll<()> {
        let mut state = self.lock();
        match *state {
            State::Drained | State::Reset => Poll::Ready(()),
            State::Open | State::Draining(_) => {
                *state = State::Draining(context.waker().clone());
                Poll::Pending
            }
        }
    }

    /// Called by a body when bytes that were sent are wrong: the connection is reset, whatever is still on its way.
    pub fn reset(&self) {
        *self.lock() = State::Reset;
    }

    /// Called by the socket whenever everything that was written to it is with the kernel.
    pub fn flushed(&self) {
        let mut state = self.lock();
        if let State::Draining(_) = *state
            && let State::Draining(waker) = std::mem::replace(&mut *state, State::Drained)
        {
            drop(state);
            waker.wake();
        }
    }

    /// Whether the connection must be reset.
    pub fn must_reset(&self) -> bool {
        matches!(*self.lock(), State::Reset)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
