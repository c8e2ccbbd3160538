//! Latency: a process that passes frames on after a fixed time, because not every kernel can.
//!
//! Both ends of a host's link are TAP devices of the relay, one in the host's namespace, one in that of the switches. A
//! frame between two hosts passes two links, so each delays it by half. One thread serves all devices: what it reads is
//! due after what it has read before, so a single queue keeps all frames in order.

mod forward;

use std::{
    fs::File,
    io::{self, BufRead, BufReader, Read, Seek},
    os::unix::process::CommandExt,
    process::{Child, ChildStdout, Stdio},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
        mpsc::{Receiver, RecvTimeoutError, channel},
    },
    thread,
    time::Duration,
};

pub use forward::run;

use super::{error::NetworkError, names::Names, plan::NetworkPlan};
use crate::process;

/// First argument of `shoal-lab` by which it becomes a relay.
pub const RELAY: &str = "relay";

/// How long a relay may take to make its devices.
const START: Duration = Duration::from_secs(20);
/// What the relay says when its devices are there.
const READY: &str = "ready";
/// Most of the relay's log that an error shows.
const LOG_BYTES: u64 = 16 * 1024;

/// A running relay. It ends when it is dropped.
#[derive(Debug)]
pub(super) struct Relay {
    child: Child,
    log: File,
    heard: Arc<Heard>,
}

/// What a relay has said.
#[derive(Debug, Default)]
struct Heard {
    dropped: AtomicU64,
    ended: AtomicBool,
}

impl Relay {
    /// Starts a relay for all hosts of a plan and waits until its devices are there.
    pub(super) fn start(names: &Names, plan: &NetworkPlan) -> Result<Self, NetworkError> {
        let mut command = process::tethered(None, process::launcher().as_os_str());
        command.arg(RELAY).arg((plan.latency / 2).as_micros().to_string()).arg(names.switch_file());
        for host in plan.hosts() {
            command.arg(names.file(host)).arg(host.to_string());
        }
        let (log, stderr) = unnamed_file().map_err(NetworkError::system("make a log for the relay"))?;
        // In a group of its own, so that the terminal's Ctrl-C does not cut the links before what runs on them has ended.
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(stderr).process_group(0);
        let mut child = process::spawn(command).map_err(NetworkError::system("start the relay"))?;
        let heard = Arc::new(Heard::default());
        let ready = child.stdout.take().map(|stdout| listen(stdout, Arc::clone(&heard)));
        // From here on it is ended in any case.
        let relay = Self { child, log, heard };
        match ready.map(|ready| ready.recv_timeout(START)) {
            Some(Ok(())) => Ok(relay),
            Some(Err(RecvTimeoutError::Timeout)) => {
                Err(NetworkError::Relay { what: "does not start", message: format!("not ready within {START:?}") })
            }
            Some(Err(RecvTimeoutError::Disconnected)) | None => {
                Err(NetworkError::Relay { what: "does not start", message: relay.log_text() })
            }
        }
    }

    /// Frames that it has dropped, as of half a second ago.
    pub(super) fn dropped_frames(&self) -> Result<u64, NetworkError> {
        if self.heard.ended.load(Ordering::Relaxed) {
            return Err(NetworkError::Relay { what: "has ended, and the links with it", message: self.log_text() });
        }
        Ok(self.heard.dropped.load(Ordering::Relaxed))
    }

    fn log_text(&self) -> String {
        let mut text = String::new();
        let read = (&self.log).rewind().and_then(|()| (&self.log).take(LOG_BYTES).read_to_string(&mut text));
        match read {
            Ok(0) => "it said nothing about it".to_owned(),
            Ok(_) => text.trim_end().to_owned(),
            Err(error) => format!("its log cannot be read: {error}"),
        }
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        // It has nothing to finish; an error means that it has ended already.
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

/// Hears what a relay says until it ends. The receiver gets one message, when the relay is ready.
fn listen(stdout: ChildStdout, heard: Arc<Heard>) -> Receiver<()> {
    let (announce, ready) = channel();
    thread::spawn(move || {
        let mut announce = Some(announce);
        for line in BufReader::new(stdout).lines().map_while(Result::ok) {
            if line == READY {
                // Whoever started it may have stopped waiting.
                announce.take().map(|announce| announce.send(()));
            } else if let Ok(dropped) = line.parse() {
                heard.dropped.store(dropped, Ordering::Relaxed);
            }
        }
        heard.ended.store(true, Ordering::Relaxed);
    });
    ready
}

/// A file without a name, which goes with its last handle, and a second handle.
fn unnamed_file() -> io::Result<(File, File)> {
    let file = tempfile::tempfile()?;
    Ok((file.try_clone()?, file))
}
