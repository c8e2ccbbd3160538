//! From bytes in memory to a stored piece that the core knows of; shared by downloads and leases.

use std::sync::Arc;

use shoal_core::event::Input;
use shoal_wire::{
    geometry::PieceIndex,
    ids::{PieceHash, PublicKey},
    transfer::Voucher,
};
use tokio::sync::mpsc;

use crate::{
    identity::{Identity, is_signed_by},
    metrics::Metrics,
    pool::Pool,
    spool::{
        Spool,
        blob::{Blob, Stored},
        prefix::PrefixRun,
    },
};

/// What vouches for gathered bytes.
pub(crate) enum Warrant {
    /// A voucher that came with them, and the key that it must be signed with.
    Given(Voucher, PublicKey),
    /// This node, which had them from the upstream.
    Own(Arc<Identity>),
}

/// What came of a gathered piece.
#[derive(Debug)]
pub(crate) enum Outcome {
    /// It is stored; `true` where it was not before.
    Stored(bool),
    /// It does not match its voucher, or the voucher is not good.
    Corrupt,
    /// The blob was removed or began again meanwhile.
    Stale,
    /// The disk failed, and the log says how.
    Failed,
}

/// Verifies and stores pieces, and keeps the digests going.
pub(crate) struct Store {
    pub(crate) spool: Arc<Spool>,
    pub(crate) pool: Pool,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) inputs: mpsc::Sender<Input>,
}

impl Store {
    /// Verifies and writes a piece. Returns the bytes for [`Store::tell`].
    pub(crate) async fn put(
        &self,
        blob: &Arc<Blob>,
        piece: PieceIndex,
        bytes: Vec<u8>,
        warrant: Warrant,
    ) -> (Outcome, Vec<u8>) {
        let job = {
            let blob = blob.clone();
            move || (verify_and_write(&blob, piece, &bytes, warrant), bytes)
        };
        let (outcome, bytes) = match self.pool.run(job).await {
            Ok(done) => done,
            Err(error) => {
                tracing::error!(%error, "a piece was not stored");
                (Outcome::Failed, Vec::new())
            }
        };
        if matches!(outcome, Outcome::Corrupt) {
            self.metrics.pieces_corrupt.increment();
        }
        (outcome, bytes)
    }

    /// Tells the core of a stored piece, and then hashes on along the prefix.
    pub(crate) async fn tell(&self, blob: &Arc<Blob>, piece: PieceIndex, bytes: Vec<u8>, event: Input) {
        // The node may be stopping, and then nobody is left to tell.
        let _ = self.inputs.send(event).await;
        self.hash_on(blob, piece, bytes).await;
    }

    /// Hashes on along the prefix of a blob that has a new piece.
    pub(crate) async fn hash_on(&self, blob: &Arc<Blob>, piece: PieceIndex, bytes: Vec<u8>) {
        if !blob.announce(piece) {
            return;
        }
        let (spool, blob) = (self.spool.clone(), blob.clone());
        let job = move || {
            let run = blob.run_prefix((!bytes.is_empty()).then_some((piece, &bytes[..])));
            if matches!(run, Ok(PrefixRun::Verified)) {
                spool.evict();
            }
        };
        if let Err(error) = self.pool.run(job).await {
            tracing::error!(%error, "the digest of a blob was not computed");
        }
    }
}

fn verify_and_write(blob: &Blob, piece: PieceIndex, bytes: &[u8], warrant: Warrant) -> Outcome {
    let hash = PieceHash(*blake3::hash(bytes).as_bytes());
    let voucher = match warrant {
        Warrant::Own(identity) => identity.vouch(blob.digest(), piece, hash),
        Warrant::Given(voucher, key) => {
            if voucher.hash != hash || !is_signed_by(&voucher, &key, blob.digest(), piece) {
                return Outcome::Corrupt;
            }
            voucher
        }
    };
    match blob.store(piece, bytes, &voucher) {
        Ok(Stored::New) => Outcome::Stored(true),
        Ok(Stored::Duplicate) => Outcome::Stored(false),
        Ok(Stored::Stale) => Outcome::Stale,
        // The blob has logged it.
        Err(_) => Outcome::Failed,
    }
}
