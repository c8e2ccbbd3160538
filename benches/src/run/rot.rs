//! A node whose disk turns bits: while it pulls, one bit of each block of its spool's files is flipped as soon as the
//! block is there, and again whenever the node has written it anew.
//!
//! The node serves pieces from these files, so it sends wrong bytes with the right voucher; its own check of the whole
//! blob reads them as well, so its own pull may fail. No code of the node takes part in this.

use std::{
    collections::HashMap,
    fs::{self, File},
    io,
    os::unix::fs::{FileExt, MetadataExt},
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::Context;
use tokio::{task::JoinHandle, time::interval};

/// Bytes of a block: at most the smallest piece, so that every piece is hit.
const BLOCK_BYTES: u64 = 256 * 1024;
/// Time between two passes over the files.
const PASS: Duration = Duration::from_millis(10);

/// A disk that turns bits until this is dropped.
#[derive(Debug)]
pub(crate) struct Rot {
    turning: JoinHandle<anyhow::Error>,
}

impl Rot {
    /// Begins in the spool of the node whose data is in `data`.
    pub(crate) fn begin(data: &Path) -> Self {
        let spool = data.join("spool");
        Self { turning: tokio::spawn(async move { turn_bits(&spool).await }) }
    }

    /// Says why it has stopped, if it has: then the node is not corrupt, and the run is not what it says.
    pub(crate) fn failed(&self) -> bool {
        self.turning.is_finished()
    }
}

impl Drop for Rot {
    fn drop(&mut self) {
        self.turning.abort();
    }
}

async fn turn_bits(spool: &Path) -> anyhow::Error {
    let mut turned = Turned::default();
    let mut passes = interval(PASS);
    loop {
        passes.tick().await;
        if let Err(error) = pass(spool, &mut turned) {
            return error;
        }
    }
}

/// For each file, by its inode since names change, what each of its blocks has in the place that was turned.
type Turned = HashMap<u64, Vec<Option<u8>>>;

fn pass(spool: &Path, turned: &mut Turned) -> anyhow::Result<()> {
    for path in files(spool)? {
        // A file that is renamed or removed meanwhile is met again, or not.
        let Ok(file) = File::options().read(true).write(true).open(&path) else { continue };
        let metadata = file.metadata().with_context(|| format!("cannot read {}", path.display()))?;
        let places = turned.entry(metadata.ino()).or_default();
        places.resize(usize::try_from(metadata.len() / BLOCK_BYTES).unwrap_or(usize::MAX), None);
        for (block, place) in (0..).zip(places.iter_mut()) {
            turn(&file, block, place).with_context(|| format!("cannot change {}", path.display()))?;
        }
    }
    Ok(())
}

/// Flips a bit in the middle of the block, unless it is a hole still or was flipped before.
fn turn(file: &File, block: u64, place: &mut Option<u8>) -> io::Result<()> {
    // Content is random, so a zero says that nothing is written here; one byte in 256 is spared by that.
    let offset = block * BLOCK_BYTES + BLOCK_BYTES / 2;
    let mut byte = [0];
    file.read_exact_at(&mut byte, offset)?;
    if byte[0] != 0 && *place != Some(byte[0]) {
        byte[0] ^= 0x10;
        file.write_all_at(&byte, offset)?;
        *place = Some(byte[0]);
    }
    Ok(())
}

/// `spool/<algorithm>/<file>`.
fn files(spool: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let list = |directory: &Path| match fs::read_dir(directory) {
        Ok(entries) => Ok(entries.flatten().map(|entry| entry.path()).collect::<Vec<_>>()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) => Err(error).with_context(|| format!("cannot read {}", directory.display())),
    };
    let mut files = Vec::new();
    for algorithm in list(spool)?.into_iter().filter(|path| path.is_dir()) {
        files.extend(list(&algorithm)?);
    }
    Ok(files)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_block_is_wrong_in_one_bit_also_when_it_is_written_again() {
        let data = tempfile::tempdir().unwrap();
        let directory = data.path().join("spool/sha256");
        fs::create_dir_all(&directory).unwrap();
        let path = directory.join("blob.partial");
        let content = vec![0xa5_u8; 2 * usize::try_from(BLOCK_BYTES).unwrap()];
        let wrong_bits = || {
            let bytes = fs::read(&path).unwrap();
            bytes.iter().zip(&content).map(|(left, right)| (left ^ right).count_ones()).sum::<u32>()
        };
        let mut turned = Turned::default();
        fs::write(&path, &content).unwrap();
        for _ in 0..3 {
            pass(&data.path().join("spool"), &mut turned).unwrap();
            assert_eq!(wrong_bits(), 2, "one for each block, once");
        }
        fs::write(&path, &content).unwrap();
        pass(&data.path().join("spool"), &mut turned).unwrap();
        assert_eq!(wrong_bits(), 2);
    }

    #[test]
    fn holes_and_an_absent_spool_are_left_alone() {
        let data = tempfile::tempdir().unwrap();
        let spool = data.path().join("spool");
        pass(&spool, &mut Turned::default()).unwrap();
        let directory = spool.join("sha256");
        fs::create_dir_all(&directory).unwrap();
        File::create(directory.join("blob")).unwrap().set_len(4 * BLOCK_BYTES).unwrap();
        pass(&spool, &mut Turned::default()).unwrap();
        assert!(fs::read(directory.join("blob")).unwrap().iter().all(|byte| *byte == 0));
    }
}
