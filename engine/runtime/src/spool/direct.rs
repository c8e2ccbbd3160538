//! Writing past the kernel's page cache, straight from the memory in which a piece was gathered.
//!
//! A piece that only local readers want leaves from memory and is seldom read again soon, but its pages in the cache cost
//! more than all else that is done to it where memory is virtual: a fresh page has to come from the host. They also push
//! out what other programs have there. So such pieces are written directly, as long as the disk keeps up; the cache is for
//! what peers ask for, for disks that are slower than what arrives, and for file systems that know no other way.

use std::{
    fs::{File, OpenOptions},
    os::unix::fs::OpenOptionsExt,
    path::Path,
    sync::Arc,
    time::Duration,
};

use rustix::fs::OFlags;
use tokio::time::Instant;

use super::blob::Blob;
use crate::{clock, memory::PieceBytes};

/// A disk is too slow when it was busy for more than three quarters of the time.
const BUSY_SHARE_MAX: (u32, u32) = (3, 4);

/// Writes before which it is not judged, and about how many of the last count: what arrives comes in bursts.
const WRITES_JUDGED: u32 = 8;

/// Time in writes after which two are enough, because eight pieces on a memory card are seconds for which a reader waits.
/// From one alone there is no telling how long the disk rests.
const BUSY_JUDGED: Duration = Duration::from_millis(500);

/// A file that is written directly until that turns out to be of no use.
pub(super) struct DirectFile {
    file: Arc<File>,
    load: DiskLoad,
}

impl DirectFile {
    /// Opens a file once more; `None` where the file system cannot do without the cache. Blocking.
    pub(super) fn open(path: &Path) -> Option<Self> {
        let flags = OFlags::DIRECT.bits().cast_signed();
        OpenOptions::new().write(true).custom_flags(flags).open(path).ok().map(Self::of)
    }

    /// One that writes to `file`.
    pub(super) fn of(file: File) -> Self {
        Self { file: Arc::new(file), load: DiskLoad::default() }
    }

    /// What to write to.
    fn file(&self) -> Arc<File> {
        self.file.clone()
    }

    /// Notes a write; says whether the disk keeps up with what arrives.
    fn note(&mut self, begin: Instant, end: Instant) -> bool {
        self.load.note(begin, end);
        !self.load.is_excessive()
    }
}

impl Blob {
    /// Writes a piece past the page cache, where that is of use; says whether it is written. Blocking.
    pub(super) fn write_directly(&self, file: &Arc<File>, bytes: &PieceBytes, offset: u64) -> bool {
        if self.is_asked() || !bytes.is_aligned() {
            return false;
        }
        let state = self.state();
        let Some(direct) = state.direct.as_ref().filter(|_| state.is_current(file)).map(DirectFile::file) else {
            return false;
        };
        drop(state);
        let begin = clock::now();
        let is_written = write(&direct, bytes, offset);
        let mut state = self.state();
        // Where the blob began again meanwhile, that file's time is not the new one's.
        if state.is_current(file)
            && let Some(direct) = &mut state.direct
        {
            let keeps_up = direct.note(begin, clock::now());
            if !is_written || !keeps_up {
                state.direct = None;
            }
        }
        if is_written {
            self.metrics.spool_direct_bytes.add(bytes.len());
        }
        is_written
    }
}

/// Writes a piece directly; says whether it is written. If not, its place has undefined bytes, and the cache is the way to
/// try. Blocking.
fn write(file: &File, bytes: &PieceBytes, offset: u64) -> bool {
    bytes.write_at_once(file, offset).inspect_err(|error| tracing::debug!(%error, "not written directly")).is_ok()
}

/// For how much of the time a disk was busy with writes of late.
#[derive(Debug, Default)]
struct DiskLoad {
    writes: u32,
    busy: Duration,
    elapsed: Duration,
    last: Option<Instant>,
}

impl DiskLoad {
    /// Earlier writes fade: each time their part becomes smaller by one in [`WRITES_JUDGED`].
    fn note(&mut self, begin: Instant, end: Instant) {
        let since = self.last.map_or(begin, |last| last.min(begin));
        let fade = |sum: Duration| sum * (WRITES_JUDGED - 1) / WRITES_JUDGED;
        self.busy = fade(self.busy) + end.saturating_duration_since(begin);
        self.elapsed = fade(self.elapsed) + end.saturating_duration_since(since);
        self.last = Some(end);
        self.writes = self.writes.saturating_add(1);
    }

    fn is_excessive(&self) -> bool {
        let (part, whole) = BUSY_SHARE_MAX;
        let is_judged = self.writes >= WRITES_JUDGED || self.writes > 1 && self.busy >= BUSY_JUDGED;
        is_judged && self.busy * whole > self.elapsed * part
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whether the disk is too slow after writes that take `write` and arrive `every` so often, or as soon as they can.
    fn is_excessive(load: &mut DiskLoad, writes: u32, write: Duration, every: Duration) -> bool {
        let mut begin = load.last.unwrap_or_else(clock::now);
        for _ in 0..writes {
            begin = load.last.map_or(begin, |last| last.max(begin + every));
            load.note(begin, begin + write);
        }
        load.is_excessive()
    }

    #[test]
    fn a_disk_is_too_slow_when_it_hardly_rests() {
        let ms = Duration::from_millis;
        assert!(!is_excessive(&mut DiskLoad::default(), 100, ms(70), ms(100)));
        assert!(is_excessive(&mut DiskLoad::default(), 100, ms(80), ms(100)));
        assert!(is_excessive(&mut DiskLoad::default(), 100, ms(5), ms(1)), "it is the slower one, however fast it is");
    }

    #[test]
    fn few_writes_say_nothing_and_a_burst_is_forgotten() {
        let ms = Duration::from_millis;
        let mut load = DiskLoad::default();
        assert!(!is_excessive(&mut load, WRITES_JUDGED - 1, ms(5), ms(0)), "a burst at the start");
        assert!(!is_excessive(&mut load, 10, ms(5), ms(20)));
        assert!(is_excessive(&mut load, 40, ms(50), ms(20)), "a disk that becomes slow");
        assert!(!is_excessive(&mut load, 40, ms(5), ms(20)), "and fast again");
    }

    #[test]
    fn a_very_slow_disk_is_found_out_by_its_first_writes() {
        let ms = Duration::from_millis;
        assert!(is_excessive(&mut DiskLoad::default(), 2, ms(800), ms(0)), "10 MB/s");
        for writes in 1..=8 {
            assert!(!is_excessive(&mut DiskLoad::default(), writes, ms(800), ms(5000)), "10 MB/s behind a slow link");
        }
        assert!(!is_excessive(&mut DiskLoad::default(), 2, ms(200), ms(0)));
        assert!(is_excessive(&mut DiskLoad::default(), 3, ms(200), ms(0)), "40 MB/s");
    }
}
