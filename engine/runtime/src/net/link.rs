//! The task behind a link: gets a connection, then writes control messages to it until either ends.
//!
//! A link that makes room for another ends without a loss. Its side writes what is queued and ends its control stream. The
//! peer reads that, writes what it has queued, waits for its own transfers and ends its control stream too. Whoever has read
//! the other's end first closes the connection.

use std::{sync::Arc, time::Duration};

use bytes::BytesMut;
use shoal_core::event::Input;
use shoal_wire::{control::ControlMessage, frame::encode_frame, ids::MemberId};
use tokio::{
    sync::{mpsc, watch},
    time::timeout_at,
};
use tokio_util::{sync::CancellationToken, task::task_tracker::TaskTrackerToken};

use crate::{
    clock,
    identity::random_u64,
    net::{
        links::LinkState,
        peers::{DialError, Established, Peers, close, code},
    },
};

/// A peer may learn of this node a moment later by gossip, so a refused handshake is tried again for this long.
const PATIENCE: Duration = Duration::from_secs(2);
/// A peer that says that it is busy is alive. The patience counts from its last such word, and ends after this in all.
const PATIENCE_WITH_BUSY: Duration = Duration::from_secs(20);
const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_millis(400);
/// Many wait for one that is busy, and each of their dials is work for it.
const LONGEST_PAUSE_BUSY: Duration = Duration::from_secs(1);

/// Time for messages and transfers that are under way when a link makes room for another.
const PARTING: Duration = Duration::from_secs(30);

/// Messages written at once.
const BATCH: usize = 64;

/// The link's side of its channels.
pub(crate) struct Ends {
    pub(crate) id: MemberId,
    pub(crate) serial: u64,
    pub(crate) messages: mpsc::Receiver<ControlMessage>,
    pub(crate) offered: mpsc::Receiver<Established>,
    pub(crate) states: watch::Sender<LinkState>,
    pub(crate) end: CancellationToken,
    pub(crate) _running: TaskTrackerToken,
}

/// Runs a link to its end, and reports where messages may be lost.
pub(crate) async fn run(peers: Arc<Peers>, mut ends: Ends) {
    let (id, end) = (ends.id, ends.end.clone());
    let mut is_delivered = false;
    match end.run_until_cancelled(connect(&peers, id, &mut ends.offered)).await {
        Some(Ok(established)) => {
            let line = established.line.clone();
            ends.states.send_replace(LinkState::Up(line.clone()));
            match end.run_until_cancelled(write_messages(&peers, &mut ends, established)).await {
                Some(delivered) => is_delivered = delivered,
                None => close(&line.connection, code::OVERFLOW, "the link is given up"),
            }
        }
        Some(Err(error)) => tracing::debug!(peer = %id, %error, "a member is not reached"),
        None => {}
    }
    peers.forget(id, ends.serial);
    ends.states.send_replace(LinkState::Down);
    if !is_delivered {
        // The node may be stopping, and then nobody is left to tell.
        let _ = peers.inputs.send(Input::ControlLost { to: id }).await;
    }
}

/// Dials until it succeeds or patience ends; takes the peer's own dial instead where that is the one to keep.
async fn connect(
    peers: &Arc<Peers>,
    id: MemberId,
    offered: &mut mpsc::Receiver<Established>,
) -> Result<Established, DialError> {
    let start = clock::now();
    let mut deadline = start + PATIENCE;
    let mut pause = FIRST_PAUSE;
    // When both dial at once, the connection of the lower id is kept by both.
    let theirs_wins = id < peers.table.own_id();
    loop {
        if let Ok(established) = offered.try_recv() {
            return Ok(established);
        }
        let dialled = tokio::select! {
            biased;
            Some(established) = offered.recv(), if theirs_wins => return Ok(established),
            dialled = peers.dial(id) => dialled,
        };
        let error = match dialled {
            Ok(established) => return Ok(established),
            Err(error) => error,
        };
        let is_busy = error.is_busy();
        if is_busy {
            deadline = (clock::now() + PATIENCE).min(start + PATIENCE_WITH_BUSY);
        }
        if matches!(error, DialError::Version(_)) || clock::now() + pause >= deadline {
            return offered.try_recv().map_err(|_| error);
        }
        tokio::select! {
            Some(established) = offered.recv() => return Ok(established),
            () = tokio::time::sleep(jittered(pause)) => {}
        }
        pause = (pause * 2).min(if is_busy { LONGEST_PAUSE_BUSY } else { LONGEST_PAUSE });
    }
}

/// Between half of `pause` and all of it, so that those who were refused together do not come back together.
fn jittered(pause: Duration) -> Duration {
    // Without randomness they do, which is no reason to give up.
    let part = random_u64().unwrap_or_default() % 512;
    pause.mul_f64(0.5 + part as f64 / 1024.0)
}

/// Writes messages in batches until the connection is lost or the link makes room. Returns whether the peer has them all.
async fn write_messages(peers: &Arc<Peers>, ends: &mut Ends, mut established: Established) -> bool {
    let line = established.line.clone();
    let mut batch = Vec::with_capacity(BATCH);
    let mut is_forgotten = false;
    loop {
        tokio::select! {
            biased;
            _ = line.connection.closed() => return false,
            () = line.finished.cancelled(), if !is_forgotten => {
                // Nothing is queued here from now on, and what is queued goes first.
                peers.hand_over(ends.id, ends.serial, &mut ends.offered);
                is_forgotten = true;
                continue;
            }
            count = ends.messages.recv_many(&mut batch, BATCH) => if count == 0 { break },
        }
        let mut bytes = BytesMut::new();
        for message in batch.drain(..) {
            match encode_frame(&message) {
                Ok(frame) => bytes.extend_from_slice(&frame),
                Err(error) => {
                    peers.metrics.control_dropped_messages.increment();
                    tracing::error!(%error, "a control message could not be encoded");
                }
            }
        }
        if established.control.write_chunk(bytes.freeze()).await.is_err() {
            return false;
        }
    }
    part(established).await
}

/// Ends a link whose messages are all written. Returns whether the peer has them all.
async fn part(established: Established) -> bool {
    let Established { line, control } = established;
    let deadline = clock::now() + PARTING;
    line.transfers.close();
    let deliver = async {
        // The peer closes the connection when it reads the end of this stream, and may not know yet of a transfer that
        // has just begun.
        if line.finished.is_cancelled() {
            line.transfers.wait().await;
        }
        control.deliver().await
    };
    let is_delivered = timeout_at(deadline, deliver).await.unwrap_or(false);
    let rest = async {
        line.finished.cancelled().await;
        line.transfers.wait().await;
    };
    let is_quiet = timeout_at(deadline, rest).await.is_ok();
    if is_delivered && is_quiet {
        close(&line.connection, code::IDLE, "the link makes room for another");
    } else {
        close(&line.connection, code::CLOSED, "the link ends before all of it was delivered");
    }
    is_delivered
}
