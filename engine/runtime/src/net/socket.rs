//! One UDP port for gossip and QUIC.
//!
//! quinn reads the port. A datagram whose first byte has the bit 0x40 set is QUIC's (RFC 9000, section 17, the fixed
//! bit, which this node never greases); any other is taken out of what quinn receives and goes to the pump through a
//! bounded channel. The kernel may put several datagrams of one sender into one buffer (GRO), so each is looked at.

use std::{
    fmt,
    io::{self, IoSliceMut},
    net::SocketAddr,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU16, AtomicUsize, Ordering::Relaxed},
    },
    task::{Context, Poll},
};

use quinn::{
    AsyncUdpSocket, Runtime, TokioRuntime, UdpPoller,
    udp::{RecvMeta, Transmit},
};
use shoal_wire::version::is_quic;
use socket2::{Domain, Protocol, Socket, Type};
use tokio::sync::{mpsc, oneshot};

use crate::{metrics::Metrics, net::seal::DATAGRAM_BYTES_MAX};

/// Receive buffer that is asked for, in bytes. The default of 208 KiB loses up to 5 % of packets when several peers
/// send at once.
const RECEIVE_BUFFER_BYTES: usize = 4 * 1024 * 1024;

/// Send buffer that is asked for, in bytes. It bounds what stands in this machine's own queue to the link: a larger one
/// lets bursts overflow that queue, which drops whole batches of packets (docs/benchmarks.md).
const SEND_BUFFER_BYTES: usize = 128 * 1024;

/// Gossip datagrams that wait for the pump; more are dropped, as the network would.
const GOSSIP_QUEUE: usize = 1024;

/// Largest UDP payload that the kernel hands over at once.
const RECEIVE_BYTES_MAX: usize = 65_536;

/// Bytes that are taken out of the kernel at once while datagrams are as large as those that came last; the first large
/// ones after small ones may be more. quinn copies each buffer once more, and these are still in the processor's second
/// cache then (measured: docs/benchmarks.md).
const RECEIVE_BATCH_BYTES: usize = 256 * 1024;

/// Most bytes that the kernel takes at once, in one packet or several (GSO). What is more is not sent, in silence.
const SEND_BYTES_MAX: usize = 65_507;

/// A gossip datagram as it came, still sealed.
#[derive(Debug)]
pub(crate) struct GossipDatagram {
    /// Address that it came from.
    pub(crate) from: SocketAddr,
    /// All of it.
    pub(crate) bytes: Vec<u8>,
}

/// The port, shared by quinn and gossip.
pub(crate) struct SharedSocket {
    inner: Arc<dyn AsyncUdpSocket>,
    address: SocketAddr,
    gossip: mpsc::Sender<GossipDatagram>,
    metrics: Arc<Metrics>,
    /// Size of the largest QUIC packet that any connection may come to send, in bytes.
    largest_packet: AtomicU16,
    /// Buffers that are filled at once: [`RECEIVE_BATCH_BYTES`] by the largest that came last, at least one.
    receive_batch: AtomicUsize,
    /// Tells by its end that the port is free again.
    _open: oneshot::Sender<()>,
}

/// A bound port, and what comes out of it.
pub(crate) struct Bound {
    pub(crate) socket: Arc<SharedSocket>,
    /// Gossip that arrives while quinn polls the socket.
    pub(crate) gossip: mpsc::Receiver<GossipDatagram>,
    /// Ends once the port is closed.
    pub(crate) closed: oneshot::Receiver<()>,
}

impl SharedSocket {
    /// Binds `address`.
    ///
    /// # Errors
    /// The address is taken, not local or not allowed.
    pub(crate) fn bind(address: SocketAddr, metrics: Arc<Metrics>) -> io::Result<Bound> {
        let socket = Socket::new(Domain::for_address(address), Type::DGRAM, Some(Protocol::UDP))?;
        if address.is_ipv6() {
            socket.set_only_v6(false)?;
        }
        socket.set_nonblocking(true)?;
        socket.bind(&address.into())?;
        size_buffers(&socket);
        let inner = TokioRuntime.wrap_udp_socket(socket.into())?;
        let address = inner.local_addr()?;
        let (gossip, datagrams) = mpsc::channel(GOSSIP_QUEUE);
        let (open, closed) = oneshot::channel();
        let (largest_packet, receive_batch) = (AtomicU16::new(1), AtomicUsize::new(1));
        let socket = Arc::new(Self { inner, address, gossip, metrics, largest_packet, receive_batch, _open: open });
        Ok(Bound { socket, gossip: datagrams, closed })
    }

    /// The bound address, with the port that it got.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// From now on QUIC may send packets of `bytes`: to be told before the connection is made that may. quinn gives all
    /// connections of a port the same number of packets that it may send at once, so the largest decides for all.
    pub(crate) fn expect_packets_of(&self, bytes: u16) {
        self.largest_packet.fetch_max(bytes, Relaxed);
    }

    /// Sends a sealed gossip datagram. It may be lost: a full socket buffer drops it like a full queue on the way.
    pub(crate) fn send_gossip(&self, to: SocketAddr, datagram: &[u8]) {
        let destination = match to {
            SocketAddr::V4(v4) if self.address.is_ipv6() => (v4.ip().to_ipv6_mapped(), v4.port()).into(),
            other => other,
        };
        let transmit = Transmit { destination, ecn: None, contents: datagram, segment_size: None, src_ip: None };
        match self.inner.try_send(&transmit) {
            Ok(()) => self.metrics.gossip_sent_packets.increment(),
            Err(error) => {
                self.metrics.gossip_dropped_packets.increment();
                tracing::debug!(%to, %error, "a gossip datagram was not sent");
            }
        }
    }

    /// Sends several datagrams of `segment` bytes at once, which the kernel may hand over at once as well.
    #[cfg(test)]
    pub(super) fn send_segmented(&self, destination: SocketAddr, contents: &[u8], segment: usize) {
        let transmit = Transmit { destination, ecn: None, contents, segment_size: Some(segment), src_ip: None };
        self.inner.try_send(&transmit).expect("the socket has room");
    }

    fn deliver(&self, from: SocketAddr, datagram: &[u8]) {
        if datagram.len() > DATAGRAM_BYTES_MAX {
            self.metrics.gossip_rejected_packets.increment();
            return;
        }
        let from = SocketAddr::new(from.ip().to_canonical(), from.port());
        if self.gossip.try_send(GossipDatagram { from, bytes: datagram.to_vec() }).is_err() {
            self.metrics.gossip_dropped_packets.increment();
        }
    }
}

/// Asks for large buffers and says what the kernel granted; less only costs retransmissions.
fn size_buffers(socket: &Socket) {
    let asked = socket.set_recv_buffer_size(RECEIVE_BUFFER_BYTES).and(socket.set_send_buffer_size(SEND_BUFFER_BYTES));
    let receive_bytes = socket.recv_buffer_size().unwrap_or(0);
    let send_bytes = socket.send_buffer_size().unwrap_or(0);
    if asked.is_err() || receive_bytes < RECEIVE_BUFFER_BYTES {
        tracing::info!(
            receive_bytes,
            send_bytes,
            wanted_bytes = RECEIVE_BUFFER_BYTES,
            "the system grants a smaller UDP receive buffer than wanted; raise net.core.rmem_max for less loss"
        );
    } else {
        tracing::debug!(receive_bytes, send_bytes, "UDP buffers");
    }
}

/// Hands every gossip datagram in `buffer` to `deliver` and keeps QUIC's, in order. All datagrams in it have `stride`
/// bytes but the last, which may be shorter.
fn take_gossip(buffer: &mut [u8], meta: &mut RecvMeta, mut deliver: impl FnMut(SocketAddr, &[u8])) {
    let received = meta.len.min(buffer.len());
    let stride = meta.stride.max(1);
    if buffer[..received].iter().step_by(stride).all(|&first| is_quic(first)) {
        return;
    }
    let mut kept = 0;
    for start in (0..received).step_by(stride) {
        let end = (start + stride).min(received);
        if is_quic(buffer[start]) {
            buffer.copy_within(start..end, kept);
            kept += end - start;
        } else {
            deliver(meta.addr, &buffer[start..end]);
        }
    }
    meta.len = kept;
}

impl AsyncUdpSocket for SharedSocket {
    fn create_io_poller(self: Arc<Self>) -> Pin<Box<dyn UdpPoller>> {
        self.inner.clone().create_io_poller()
    }

    fn try_send(&self, transmit: &Transmit<'_>) -> io::Result<()> {
        self.inner.try_send(transmit)
    }

    fn poll_recv(
        &self,
        context: &mut Context<'_>,
        buffers: &mut [IoSliceMut<'_>],
        meta: &mut [RecvMeta],
    ) -> Poll<io::Result<usize>> {
        let batch = self.receive_batch.load(Relaxed).min(buffers.len());
        let (buffers, meta) = (&mut buffers[..batch], &mut meta[..batch]);
        let received = std::task::ready!(self.inner.poll_recv(context, buffers, meta))?;
        let largest = meta[..received].iter().map(|meta| meta.len).max().unwrap_or(0);
        self.receive_batch.store((RECEIVE_BATCH_BYTES / largest.max(1)).max(1), Relaxed);
        for (buffer, meta) in buffers.iter_mut().zip(meta.iter_mut()).take(received) {
            take_gossip(buffer, meta, |from, datagram| self.deliver(from, datagram));
        }
        Poll::Ready(Ok(received))
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        Ok(self.address)
    }

    fn max_transmit_segments(&self) -> usize {
        let fitting = SEND_BYTES_MAX / usize::from(self.largest_packet.load(Relaxed));
        self.inner.max_transmit_segments().min(fitting).max(1)
    }

    /// quinn reserves this many times the largest packet for each buffer; the kernel never fills more than 64 KiB.
    fn max_receive_segments(&self) -> usize {
        let needed = RECEIVE_BYTES_MAX.div_ceil(usize::from(super::endpoint::MTU_MAX));
        self.inner.max_receive_segments().min(needed)
    }

    fn may_fragment(&self) -> bool {
        self.inner.may_fragment()
    }
}

impl fmt::Debug for SharedSocket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SharedSocket").field("address", &self.address).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Splits `segments` coalesced as the kernel does; returns the gossip and what is left for QUIC.
    fn split(segments: &[Vec<u8>]) -> (Vec<Vec<u8>>, Vec<u8>) {
        let mut buffer = segments.concat();
        let mut meta =
            RecvMeta { len: buffer.len(), stride: segments.first().map_or(0, Vec::len), ..RecvMeta::default() };
        buffer.extend([0xff; 10]);
        let mut gossip = Vec::new();
        take_gossip(&mut buffer, &mut meta, |_, datagram| gossip.push(datagram.to_vec()));
        (gossip, buffer[..meta.len].to_vec())
    }

    #[test]
    fn coalesced_gossip_is_taken_out_between_quic_packets() {
        let quic = |fill| [vec![0x40], vec![fill; 4]].concat();
        let gossip = |fill| [vec![0x01], vec![fill; 4]].concat();
        let short = vec![0x01, 9];
        let (taken, left) = split(&[quic(1), gossip(2), quic(3), short.clone()]);
        assert_eq!(taken, [gossip(2), short]);
        assert_eq!(left, [quic(1), quic(3)].concat());
    }

    #[test]
    fn an_empty_datagram_is_nobodys() {
        assert_eq!(split(&[]), (vec![], vec![]));
    }

    #[tokio::test]
    async fn no_more_goes_to_the_kernel_at_once_than_it_takes() {
        let bound = SharedSocket::bind(([127, 0, 0, 1], 0).into(), Arc::default()).expect("a port");
        let usual = bound.socket.max_transmit_segments();
        for bytes in [1200, 1472, 8972, super::super::endpoint::MTU_MAX, 1472] {
            bound.socket.expect_packets_of(bytes);
            let segments = bound.socket.max_transmit_segments();
            assert!((1..=usual).contains(&segments), "{segments} packets of {bytes} bytes");
            assert!(segments * usize::from(bytes) <= SEND_BYTES_MAX, "{segments} packets of {bytes} bytes");
        }
        let largest = usize::from(super::super::endpoint::MTU_MAX);
        assert_eq!(bound.socket.max_transmit_segments(), usual.min(SEND_BYTES_MAX / largest), "the largest stays");
    }

    /// Sends one datagram of `bytes` to a new port, and when it has come `count` more; returns how many bytes each call
    /// takes from the port. All of them fit into the receive buffer that any system grants.
    async fn received_at_once(count: usize, bytes: usize) -> Vec<usize> {
        let bound = SharedSocket::bind(([127, 0, 0, 1], 0).into(), Arc::default()).expect("a port");
        let sender = std::net::UdpSocket::bind("127.0.0.1:0").expect("a port");
        let mut calls = Vec::new();
        for count in [1, count] {
            for _ in 0..count {
                sender.send_to(&vec![0x40; bytes], bound.socket.address()).expect("the port has room");
            }
            let mut missing = count;
            while missing > 0 {
                let lengths = receive(&bound.socket, bytes).await;
                missing -= lengths.len();
                calls.push(lengths.iter().sum());
            }
        }
        assert_eq!(calls.iter().sum::<usize>(), (1 + count) * bytes, "all of them");
        calls
    }

    /// The lengths of the datagrams of at most `bytes` that one call takes.
    async fn receive(socket: &SharedSocket, bytes: usize) -> Vec<usize> {
        let mut memory = vec![vec![0; bytes]; quinn::udp::BATCH_SIZE];
        let mut meta = [RecvMeta::default(); quinn::udp::BATCH_SIZE];
        let mut buffers: Vec<_> = memory.iter_mut().map(|buffer| IoSliceMut::new(buffer)).collect();
        let call = std::future::poll_fn(|context| socket.poll_recv(context, &mut buffers, &mut meta));
        let received = call.await.expect("the socket works");
        meta[..received].iter().map(|meta| meta.len).collect()
    }

    #[tokio::test]
    async fn what_comes_at_once_fits_into_the_processors_cache() {
        let calls = received_at_once(5, 60_000).await;
        assert!(calls.iter().all(|&bytes| bytes <= RECEIVE_BATCH_BYTES), "{calls:?}");
    }

    #[tokio::test]
    async fn small_datagrams_come_many_at_once() {
        let calls = received_at_once(40, 1200).await;
        assert!(calls.iter().any(|&bytes| bytes > 16 * 1200), "{calls:?}");
    }

    proptest! {
        #[test]
        fn every_datagram_goes_to_one_side_unchanged(
            stride in 1usize..20,
            firsts in proptest::collection::vec(any::<u8>(), 0..12),
            last in 1usize..20,
        ) {
            let count = firsts.len();
            let segments: Vec<Vec<u8>> = firsts.iter().zip(0u8..).map(|(&first, index)| {
                let length = if usize::from(index) + 1 == count { last.min(stride) } else { stride };
                [vec![first], vec![index; length - 1]].concat()
            }).collect();
            let quic = |segment: &&Vec<u8>| is_quic(segment[0]);
            let (taken, left) = split(&segments);
            prop_assert_eq!(taken, segments.iter().filter(|segment| !quic(segment)).cloned().collect::<Vec<_>>());
            prop_assert_eq!(left, segments.iter().filter(quic).cloned().collect::<Vec<_>>().concat());
        }
    }
}
