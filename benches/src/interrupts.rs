//! The signals by which people and systems end a program.

use tokio::signal::unix::{Signal, SignalKind, signal};

/// Listens for them.
pub(crate) struct Interrupts {
    interrupt: Signal,
    terminate: Signal,
    hang_up: Signal,
}

/// One that came.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Interrupt {
    /// Its name.
    pub(crate) name: &'static str,
    /// 128 and its number, as a shell says it.
    pub(crate) exit_code: u8,
}

impl Interrupts {
    pub(crate) fn listen() -> std::io::Result<Self> {
        Ok(Self {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
            hang_up: signal(SignalKind::hangup())?,
        })
    }

    /// Waits for the next one. Cancel safe.
    pub(crate) async fn next(&mut self) -> Interrupt {
        tokio::select! {
            _ = self.interrupt.recv() => Interrupt { name: "SIGINT", exit_code: 130 },
            _ = self.terminate.recv() => Interrupt { name: "SIGTERM", exit_code: 143 },
            _ = self.hang_up.recv() => Interrupt { name: "SIGHUP", exit_code: 129 },
        }
    }
}
