//! The task behind a link: gets a connection, then writes control messages to it until either ends.

use std::{sync::Arc, time::Duration};

use bytes::BytesMut;
use shoal_core::event::Input;
use shoal_wire::{control::ControlMessage, frame::encode_frame, ids::MemberId};
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;

use crate::{
    clock,
    net::peers::{DialError, Established, LinkState, Peers, close, code},
};

/// A peer may learn of this node a moment later by gossip, so a refused handshake is tried again for this long.
const PATIENCE: Duration = Duration::from_secs(2);
const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_millis(400);

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
}

/// Runs a link to its end, and reports that messages may be lost.
pub(crate) async fn run(peers: Arc<Peers>, mut ends: Ends) {
    let (id, end) = (ends.id, ends.end.clone());
    match end.run_until_cancelled(connect(&peers, id, &mut ends.offered)).await {
        Some(Ok(established)) => {
            let connection = established.connection.clone();
            ends.states.send_replace(LinkState::Up(connection.clone()));
            let written = write_messages(&peers, established, &mut ends.messages);
            if end.run_until_cancelled(written).await.is_none() {
                close(&connection, code::OVERFLOW, "the link is given up");
            }
        }
        Some(Err(error)) => tracing::debug!(peer = %id, %error, "a member is not reached"),
        None => {}
    }
    peers.forget(id, ends.serial);
    ends.states.send_replace(LinkState::Down);
    // The node may be stopping, and then nobody is left to tell.
    let _ = peers.inputs.send(Input::ControlLost { to: id }).await;
}

/// Dials until it succeeds or patience ends; takes the peer's own dial instead where that is the one to keep.
async fn connect(
    peers: &Arc<Peers>,
    id: MemberId,
    offered: &mut mpsc::Receiver<Established>,
) -> Result<Established, DialError> {
    let deadline = clock::now() + PATIENCE;
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
        if matches!(error, DialError::Version(_)) || clock::now() + pause >= deadline {
            return offered.try_recv().map_err(|_| error);
        }
        tokio::select! {
            Some(established) = offered.recv() => return Ok(established),
            () = tokio::time::sleep(pause) => {}
        }
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}

/// Writes messages in batches until the connection is lost.
async fn write_messages(peers: &Peers, mut established: Established, messages: &mut mpsc::Receiver<ControlMessage>) {
    let mut batch = Vec::with_capacity(BATCH);
    loop {
        tokio::select! {
            biased;
            _ = established.connection.closed() => return,
            count = messages.recv_many(&mut batch, BATCH) => if count == 0 { return },
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
            return;
        }
    }
}
