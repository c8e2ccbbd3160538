//! QUIC's parameters, with the reason for each.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use quinn::{
    AckFrequencyConfig, ClientConfig, ConnectError, Connecting, ConnectionError, Endpoint, EndpointConfig, IdleTimeout,
    Incoming, MtuDiscoveryConfig, ServerConfig, TokioRuntime, TransportConfig, VarInt,
    crypto::rustls::{QuicClientConfig, QuicServerConfig},
};

use crate::{
    engine::StartError,
    identity::Identity,
    metrics::Metrics,
    net::{
        path,
        socket::SharedSocket,
        tls,
        uplink::{Shares, Uplink},
    },
    table::PeerTable,
};

/// Largest UDP payload of a QUIC packet, in bytes, where the path carries it, as loopback does. Two of them go to the
/// kernel at once; one of 65,500 bytes is no cheaper (docs/benchmarks.md), and peers on usual links would have their
/// packets sent one by one beside it.
pub(crate) const MTU_MAX: u16 = 32_752;
/// Every path of QUIC carries this (RFC 9000, section 14); overlays may not carry more.
const MTU_INITIAL: u16 = 1200;
/// What is searched for at most where the kernel does not know the path: a frame of Ethernet with IPv6.
const MTU_USUAL: u16 = 1452;
/// Time after which larger packets are tried again where only those were lost. quinn takes some bursts of ordinary losses
/// for a path that has become narrow, and falls back to 1,200 bytes. For a minute, as it would by itself, a blob would
/// pass at twice the processor time at the puller and four times at the holder (docs/benchmarks.md).
const MTU_RETRY: Duration = Duration::from_secs(5);

/// Requests that a peer may have open at once, served, queued or about to be refused.
const REQUESTS_MAX: u32 = 64;
/// Bytes of one stream that are buffered before they are read: several pieces of a usual blob.
const STREAM_WINDOW_BYTES: u32 = 2 * 1024 * 1024;
/// Streams of one connection whose windows may be full at once without holding back the control stream: the six requests
/// of a node on a slow link (`SwarmConfig::requests_max`), were they all to one peer, one for a hedge, and control itself.
const FULL_STREAMS: u32 = 8;
/// Bytes of one connection that are buffered before they are read, because a limit or the disk holds the reader up. Were
/// it no more than the streams of pieces fill, messages would wait behind pieces, as they still may where one peer sends
/// more than that at once. It is the most that one peer can make this node keep. Pieces come only where they were asked
/// for, which memory for gathering bounds for all peers together (64 MiB); what else peers send has a window of one
/// stream each.
const CONNECTION_WINDOW_BYTES: u32 = FULL_STREAMS * STREAM_WINDOW_BYTES;
/// Bytes of one connection that are written and not acknowledged: enough for 1 GB/s at 4 ms, and what a peer's receive
/// buffer (`socket`) holds while nobody reads it, where the system grants that. 1 MiB brings two thirds as much over
/// loopback; 8 MiB bring no more and overflow that buffer several times in 4 GiB.
const SEND_WINDOW_BYTES: u64 = 4 * 1024 * 1024;
/// Packets that a peer may receive before it acknowledges them (draft-ietf-quic-ack-frequency-04). Every second packet,
/// the default, costs half a percent of a link of 50 Mbit/s that carries pieces both ways. Losses are still
/// told at once, by the gap that they leave.
pub(super) const PACKETS_PER_ACK: u32 = 8;
/// Longest that a peer waits with an acknowledgement of fewer. Below the 25 ms that are the default without the extension.
const ACK_DELAY: Duration = Duration::from_millis(20);
/// Guess before the first measurement: a lost first packet is sent again after three times this.
const INITIAL_RTT: Duration = Duration::from_millis(100);
const IDLE_TIMEOUT: Duration = Duration::from_secs(10);
const KEEP_ALIVE: Duration = Duration::from_secs(3);

/// A QUIC endpoint that accepts and dials members.
pub(crate) struct Quic {
    /// The endpoint, on the shared socket.
    pub(crate) endpoint: Endpoint,
    /// How to dial.
    pub(crate) client: ClientConfig,
    server: ServerConfig,
    socket: Arc<SharedSocket>,
    uplink: Arc<Uplink>,
}

impl Quic {
    /// Dials the peer at `address`, whose certificate has `name`.
    ///
    /// # Errors
    /// The endpoint is closed, or the address cannot be dialled from it.
    pub(crate) fn dial(&self, address: SocketAddr, name: &str) -> Result<Connecting, ConnectError> {
        let mut client = self.client.clone();
        client.transport_config(self.transport_to(address));
        self.endpoint.connect_with(client, address, name)
    }

    /// Goes on with a handshake that a peer began.
    ///
    /// # Errors
    /// Its first packet is not one that begins a connection.
    pub(crate) fn accept(&self, incoming: Incoming) -> Result<Connecting, ConnectionError> {
        let mut server = self.server.clone();
        server.transport_config(self.transport_to(incoming.remote_address()));
        incoming.accept_with(Arc::new(server))
    }

    fn transport_to(&self, address: SocketAddr) -> Arc<TransportConfig> {
        let payload = path::largest_payload(address).unwrap_or_else(|error| {
            tracing::debug!(%address, %error, "the kernel does not know how much a packet to this peer may carry");
            MTU_USUAL
        });
        let mtu = payload.min(MTU_MAX);
        self.socket.expect_packets_of(mtu);
        Arc::new(transport(&self.uplink, mtu))
    }
}

/// Opens the endpoint on `socket`.
pub(crate) fn open(
    identity: &Identity,
    table: &Arc<PeerTable>,
    metrics: &Arc<Metrics>,
    socket: Arc<SharedSocket>,
    uplink: &Arc<Uplink>,
) -> Result<Quic, StartError> {
    let other = |error: &dyn std::fmt::Display| StartError::Other(format!("cannot set up QUIC: {error}"));
    let (client, server) = tls::configs(identity, table, metrics)?;
    let client = QuicClientConfig::try_from(client).map_err(|error| other(&error))?;
    let server = QuicServerConfig::try_from(server).map_err(|error| other(&error))?;
    let transport = Arc::new(transport(uplink, MTU_USUAL));
    let mut client = ClientConfig::new(Arc::new(client));
    client.transport_config(transport.clone());
    let mut server = ServerConfig::with_crypto(Arc::new(server));
    server.transport_config(transport).migration(false);
    let mut endpoint = EndpointConfig::default();
    endpoint.grease_quic_bit(false);
    endpoint.max_udp_payload_size(MTU_MAX).map_err(|error| other(&error))?;
    let runtime = Arc::new(TokioRuntime);
    let endpoint = Endpoint::new_with_abstract_socket(endpoint, Some(server.clone()), socket.clone(), runtime)
        .map_err(|error| other(&error))?;
    Ok(Quic { endpoint, client, server, socket, uplink: uplink.clone() })
}

fn transport(uplink: &Arc<Uplink>, mtu_max: u16) -> TransportConfig {
    let mut mtu = MtuDiscoveryConfig::default();
    mtu.upper_bound(mtu_max).black_hole_cooldown(MTU_RETRY);
    let mut acknowledgements = AckFrequencyConfig::default();
    acknowledgements.ack_eliciting_threshold(VarInt::from_u32(PACKETS_PER_ACK)).max_ack_delay(Some(ACK_DELAY));
    let mut transport = TransportConfig::default();
    transport
        .max_concurrent_bidi_streams(VarInt::from_u32(REQUESTS_MAX))
        .max_concurrent_uni_streams(VarInt::from_u32(1))
        .stream_receive_window(VarInt::from_u32(STREAM_WINDOW_BYTES))
        .receive_window(VarInt::from_u32(CONNECTION_WINDOW_BYTES))
        .send_window(SEND_WINDOW_BYTES)
        .datagram_receive_buffer_size(None)
        .initial_rtt(INITIAL_RTT)
        .initial_mtu(MTU_INITIAL)
        .mtu_discovery_config(Some(mtu))
        .ack_frequency_config(Some(acknowledgements))
        .max_idle_timeout(Some(IdleTimeout::try_from(IDLE_TIMEOUT).expect("10 s fit into a QUIC variable integer")))
        .keep_alive_interval(Some(KEEP_ALIVE))
        // quinn's BBR halves throughput and loses up to half of the packets behind a shaper.
        .congestion_controller_factory(Arc::new(Shares { uplink: uplink.clone(), packet_bytes_max: mtu_max }));
    transport
}
