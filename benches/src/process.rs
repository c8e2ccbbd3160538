//! Child processes that end with the laboratory, however it ends.
//!
//! Linux sends the parent-death signal that a process chose for itself, and keeps the choice across `exec`. So the
//! laboratory starts itself as `shoal-lab tethered ...`, which makes the choice, enters a network namespace where one is
//! named, and then becomes the program. The kernel watches the *thread* that started the child, so [`spawn`] does that
//! from one thread that lives as long as the laboratory.

mod child;
mod tether;

use std::{
    io,
    process::{Child, Command},
    sync::{
        LazyLock,
        mpsc::{SyncSender, sync_channel},
    },
    thread,
};

pub(crate) use child::ended_within;
pub use child::{Process, ProcessError};
pub use tether::{TETHERED, become_tethered, launcher, tethered, use_launcher};

/// Starts `command` from the thread that children are tied to. Use it instead of `Command::spawn`, which would tie a
/// tethered child to the calling thread, to the child's surprise when that thread ends before the laboratory.
pub fn spawn(command: Command) -> io::Result<Child> {
    type Order = (Command, SyncSender<io::Result<Child>>);
    static SPAWNER: LazyLock<SyncSender<Order>> = LazyLock::new(|| {
        let (orders, inbox) = sync_channel::<Order>(1);
        thread::spawn(move || {
            for (mut command, reply) in inbox {
                // The caller waits for the answer, so it is there to take it.
                reply.send(command.spawn()).ok();
            }
        });
        orders
    });
    let (reply, answer) = sync_channel(1);
    SPAWNER.send((command, reply)).map_err(io::Error::other)?;
    answer.recv().map_err(io::Error::other)?
}
