//! The relay's own program.

use std::{
    collections::VecDeque,
    ffi::{OsStr, OsString},
    io::{self, Write},
    path::Path,
    time::{Duration, Instant},
};

use anyhow::{Context, bail};
use rustix::{
    buffer::spare_capacity,
    event::{PollFd, PollFlags, Timespec, epoll, poll},
    fd::OwnedFd,
    io::Errno,
};
use tun_rs::{DeviceBuilder, Layer, SyncDevice};

use super::{
    super::{links::HOST_INTERFACE, namespace::inside},
    READY, RELAY,
};

/// Most frames that wait; 100 MB when all are full.
const MAX_WAITING: usize = 65_536;
/// Room for a frame: 1,500 bytes of packet, 14 of header, 4 of a VLAN tag.
const FRAME_BYTES: usize = 1_518;
/// Frames that are read from one device before the next has its turn.
const TURN: usize = 32;
/// Devices that are served before what is due is sent.
const EVENTS: usize = 64;
/// Time between two reports of dropped frames.
const REPORT: Duration = Duration::from_millis(500);

/// Relays frames until the process is killed. `arguments` are those after [`RELAY`]: the delay in microseconds, the file
/// of the switches' namespace, and for each host the file of its namespace and the name of its port at the switches.
pub fn run(arguments: &[OsString]) -> anyhow::Result<()> {
    let [delay, switch, hosts @ ..] = arguments else {
        bail!("`{RELAY}` is for the laboratory's own use: <microseconds> <namespace> [<namespace> <port>]...");
    };
    let microseconds = delay.to_str().and_then(|text| text.parse().ok()).context("the delay is no number")?;
    let mut devices = Vec::with_capacity(hosts.len());
    for pair in hosts.chunks_exact(2) {
        devices.push(open(Path::new(&pair[0]), OsStr::new(HOST_INTERFACE))?);
        devices.push(open(Path::new(switch), &pair[1])?);
    }
    let mut forwarder = Forwarder::new(Duration::from_micros(microseconds), devices)?;
    println!("{READY}");
    forwarder.forward()
}

fn open(namespace: &Path, name: &OsStr) -> anyhow::Result<SyncDevice> {
    let name = name.to_str().context("the name of a device is no text")?;
    let build = || DeviceBuilder::new().name(name).layer(Layer::L2).enable(false).build_sync();
    let device = inside(namespace, build)
        .with_context(|| format!("cannot make the TAP device {name}; is there /dev/net/tun?"))?;
    device.set_nonblocking(true)?;
    Ok(device)
}

/// A frame on its way.
#[derive(Debug)]
struct Frame {
    due: Instant,
    /// Index of the device that it leaves by.
    to: usize,
    bytes: Vec<u8>,
}

/// Devices in pairs: what comes in at one leaves by the other.
struct Forwarder {
    delay: Duration,
    devices: Vec<SyncDevice>,
    poll: OwnedFd,
    /// In the order in which they are due.
    waiting: VecDeque<Frame>,
    /// Buffers to use again.
    spare: Vec<Vec<u8>>,
    dropped: u64,
    reported: u64,
    last_report: Instant,
}

impl Forwarder {
    fn new(delay: Duration, devices: Vec<SyncDevice>) -> io::Result<Self> {
        let poll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        for (index, device) in devices.iter().enumerate() {
            epoll::add(&poll, device, epoll::EventData::new_u64(index as u64), epoll::EventFlags::IN)?;
        }
        let (waiting, spare, last_report) = (VecDeque::new(), Vec::new(), Instant::now());
        Ok(Self { delay, devices, poll, waiting, spare, dropped: 0, reported: 0, last_report })
    }

    fn forward(&mut self) -> anyhow::Result<()> {
        let mut events = Vec::with_capacity(EVENTS);
        loop {
            self.send_due();
            self.report()?;
            let timeout = self.until_next().map(Timespec::try_from).transpose()?;
            events.clear();
            match self.wait(timeout.as_ref(), &mut events) {
                Ok(()) | Err(Errno::INTR) => {}
                Err(error) => return Err(error).context("cannot wait for frames"),
            }
            for event in &events {
                // An index of `new`, so it fits.
                let from = usize::try_from(event.data.u64()).unwrap_or(usize::MAX);
                self.receive(from)?;
            }
        }
    }

    /// epoll(7) counts whole milliseconds, and poll(2) nanoseconds, so the one waits for the other.
    fn wait(&self, timeout: Option<&Timespec>, events: &mut Vec<epoll::Event>) -> Result<(), Errno> {
        if poll(&mut [PollFd::new(&self.poll, PollFlags::IN)], timeout)? > 0 {
            epoll::wait(&self.poll, spare_capacity(events), Some(&Timespec::default()))?;
        }
        Ok(())
    }

    /// How long there is nothing to do unless a frame comes; none where none is waiting.
    fn until_next(&self) -> Option<Duration> {
        let next_frame = self.waiting.front().map(|frame| frame.due);
        let next_report = (self.dropped > self.reported).then(|| self.last_report + REPORT);
        let next = next_frame.into_iter().chain(next_report).min()?;
        Some(next.saturating_duration_since(Instant::now()))
    }

    fn receive(&mut self, from: usize) -> anyhow::Result<()> {
        let Some(device) = self.devices.get(from) else { return Ok(()) };
        for _ in 0..TURN {
            let mut bytes = self.spare.pop().unwrap_or_default();
            bytes.resize(FRAME_BYTES, 0);
            match device.recv(&mut bytes) {
                Ok(length) => bytes.truncate(length),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    self.spare.push(bytes);
                    return Ok(());
                }
                // A device that is still down, or going.
                Err(error) if error.raw_os_error() == Some(Errno::BADFD.raw_os_error()) => return Ok(()),
                Err(error) => return Err(error).context("cannot read a frame"),
            }
            if self.waiting.len() < MAX_WAITING {
                self.waiting.push_back(Frame { due: Instant::now() + self.delay, to: from ^ 1, bytes });
            } else {
                self.dropped += 1;
                self.spare.push(bytes);
            }
        }
        Ok(())
    }

    fn send_due(&mut self) {
        let now = Instant::now();
        while self.waiting.front().is_some_and(|frame| frame.due <= now) {
            let Some(frame) = self.waiting.pop_front() else { return };
            let sent = self.devices.get(frame.to).map(|device| device.send(&frame.bytes));
            // A device that is down, or whose queue in the kernel is full.
            self.dropped += u64::from(!matches!(sent, Some(Ok(_))));
            self.spare.push(frame.bytes);
        }
    }

    fn report(&mut self) -> io::Result<()> {
        if self.dropped > self.reported && self.last_report.elapsed() >= REPORT {
            println!("{}", self.dropped);
            io::stdout().flush()?;
            (self.reported, self.last_report) = (self.dropped, Instant::now());
        }
        Ok(())
    }
}
