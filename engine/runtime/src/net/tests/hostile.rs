//! Members that misbehave: admitted by their keys, and yet unable to plant a byte.

use std::sync::Arc;

use shoal_core::event::{Input, MemberEvent, TransferFailure, TransferId};
use shoal_wire::{
    control::{ControlMessage, Load},
    digest::Digest,
    frame::{STREAM_OPENING, encode_frame, encode_reply, encode_request},
    geometry::{Geometry, PieceIndex},
    ids::{MemberId, PieceHash},
    member::MemberRecord,
    piece_map::PieceMap,
    transfer::{PieceReply, PieceRequest, Urgency, Voucher},
};
use tempfile::TempDir;

use crate::{
    identity::Identity,
    metrics::Metrics,
    net::{
        endpoint::{self, Quic},
        peers::{code, establish},
        socket::SharedSocket,
        tls,
        transfer::{download::Request, stream::read_request, upload::Verdict},
    },
    table::PeerTable,
    testing::{TestNode, content, gathered, piece_of, sha256},
};

/// An endpoint with a good key and hand-made behaviour.
pub(super) struct Member {
    identity: Identity,
    pub(super) record: MemberRecord,
    pub(super) quic: Quic,
    _directory: TempDir,
}

impl Member {
    /// A member that `victim` knows, and that knows `victim`.
    pub(super) fn beside(victim: &TestNode) -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let identity = Identity::open(directory.path()).expect("an identity");
        let metrics = Arc::<Metrics>::default();
        let bound = SharedSocket::bind(([127, 0, 0, 1], 0).into(), metrics.clone()).expect("a port");
        let address = bound.socket.address();
        let record = MemberRecord { address, ..crate::table::tests::record(identity.public_key(), 1) };
        let table = Arc::new(PeerTable::new(record.clone()));
        table.apply(&MemberEvent::Up(victim.stack.table.own().clone().into()));
        victim.stack.table.apply(&MemberEvent::Up(record.clone().into()));
        let quic = endpoint::open(&identity, &table, &metrics, bound.socket, &Arc::default()).expect("an endpoint");
        Self { identity, record, quic, _directory: directory }
    }

    async fn accept(&self) -> quinn::Connection {
        self.quic.endpoint.accept().await.expect("open").accept().expect("accepted").await.expect("connected")
    }

    async fn dial(&self, victim: &TestNode) -> quinn::Connection {
        let own = victim.stack.table.own();
        let dialled =
            self.quic.endpoint.connect_with(self.quic.client.clone(), own.address, &tls::server_name(own.id()));
        dialled.expect("dialled").await.expect("connected")
    }
}

/// What a hostile uploader sends after the request.
type Script = fn(&Identity, &Digest, PieceIndex, &[u8]) -> Vec<u8>;

fn vouched(identity: &Identity, digest: &Digest, piece: PieceIndex, part: &[u8]) -> Voucher {
    identity.vouch(digest, piece, PieceHash(*blake3::hash(part).as_bytes()))
}

fn reply(voucher: Voucher, part: &[u8]) -> Vec<u8> {
    [encode_reply(&PieceReply::Sending(voucher)).expect("a short header"), part.to_vec()].concat()
}

fn wrong_bytes(identity: &Identity, digest: &Digest, piece: PieceIndex, part: &[u8]) -> Vec<u8> {
    let mut wrong = part.to_vec();
    wrong[100] ^= 1;
    reply(vouched(identity, digest, piece, part), &wrong)
}

fn voucher_of_another_piece(identity: &Identity, digest: &Digest, piece: PieceIndex, part: &[u8]) -> Vec<u8> {
    reply(vouched(identity, digest, PieceIndex(piece.0 + 1), part), part)
}

fn voucher_of_another_blob(identity: &Identity, _digest: &Digest, piece: PieceIndex, part: &[u8]) -> Vec<u8> {
    reply(vouched(identity, &Digest::Sha256([0; 32]), piece, part), part)
}

fn bad_signature(identity: &Identity, digest: &Digest, piece: PieceIndex, part: &[u8]) -> Vec<u8> {
    let mut voucher = vouched(identity, digest, piece, part);
    voucher.signature[5] ^= 1;
    reply(voucher, part)
}

fn too_short(identity: &Identity, digest: &Digest, piece: PieceIndex, part: &[u8]) -> Vec<u8> {
    reply(vouched(identity, digest, piece, part), &part[..part.len() - 1])
}

fn too_long(identity: &Identity, digest: &Digest, piece: PieceIndex, part: &[u8]) -> Vec<u8> {
    reply(vouched(identity, digest, piece, part), &[part, b"x"].concat())
}

fn garbage_header(_: &Identity, _: &Digest, _: PieceIndex, _: &[u8]) -> Vec<u8> {
    vec![0, 9, 77, 77, 77, 77, 77, 77, 77, 77, 77]
}

fn endless_header(_: &Identity, _: &Digest, _: PieceIndex, _: &[u8]) -> Vec<u8> {
    vec![0xff; 4096]
}

fn half_a_header(_: &Identity, _: &Digest, _: PieceIndex, _: &[u8]) -> Vec<u8> {
    vec![0, 50, 1, 2, 3]
}

async fn serve_script(member: &Member, bytes: &[u8], script: Script) -> quinn::Connection {
    let connection = member.accept().await;
    let _control = establish(connection.clone()).await.expect("established");
    let (mut send, mut receive) = connection.accept_bi().await.expect("a request");
    let request = read_request(&mut receive).await.expect("a good request");
    let answer = script(&member.identity, &request.digest, request.piece, &piece_of(bytes, request.piece));
    // The victim may stop listening before the end.
    let _ = send.write_all(&answer).await;
    let _ = send.finish();
    connection
}

async fn attempt(script: Script) {
    let mut victim = TestNode::start().await;
    let member = Member::beside(&victim);
    let bytes = content(600_000, 1);
    let reading = victim.stack.spool.read(sha256(&bytes), 600_000, None).expect("it can be read");
    let piece = PieceIndex(1);
    let from = member.record.id();
    let request =
        Request { transfer: TransferId(1), from, digest: sha256(&bytes), piece, urgency: Urgency::Bulk, held: 0 };
    victim.stack.downloads.start(&victim.stack.peers, request);
    let _connection = serve_script(&member, &bytes, script).await;
    match victim.input().await {
        Input::PieceFailed { transfer, failure } => {
            assert_eq!((transfer, failure), (TransferId(1), TransferFailure::Corrupt));
        }
        other => panic!("unexpected {other:?}"),
    }
    assert!(!reading.blob().has(piece));
    assert_eq!(victim.stack.metrics.pieces_corrupt.get(), 1);
    assert_eq!(victim.stack.metrics.pieces_stored.get(), 0);
}

macro_rules! attempts {
    ($($name:ident: $script:ident,)*) => {
        $(#[tokio::test]
        async fn $name() {
            attempt($script).await;
        })*
    };
}

attempts! {
    a_changed_byte_is_refused: wrong_bytes,
    a_voucher_of_another_piece_is_refused: voucher_of_another_piece,
    a_voucher_of_another_blob_is_refused: voucher_of_another_blob,
    a_bad_signature_is_refused: bad_signature,
    a_short_piece_is_refused: too_short,
    a_long_piece_is_refused: too_long,
    a_garbage_header_is_refused: garbage_header,
    an_endless_header_is_refused: endless_header,
    half_a_header_is_refused: half_a_header,
}

#[tokio::test]
async fn a_malformed_control_frame_closes_the_connection() {
    let victim = TestNode::start().await;
    let member = Member::beside(&victim);
    let connection = member.dial(&victim).await;
    let (mut established, _control) = establish(connection.clone()).await.expect("established");
    established.control.write_all(&[0, 0, 0, 3, 0xff, 0xff, 0xff]).await.expect("sent");
    let closed = connection.closed().await;
    assert!(matches!(closed, quinn::ConnectionError::ApplicationClosed(_)), "{closed:?}");
    assert_eq!(victim.stack.metrics.control_malformed.get(), 1);
}

#[tokio::test]
async fn a_link_that_its_peer_ends_is_answered_and_the_next_connection_takes_its_place() {
    let mut victim = TestNode::start().await;
    let member = Member::beside(&victim);
    let id = member.record.id();
    let first = member.dial(&victim).await;
    let (ending, _control) = establish(first.clone()).await.expect("established");
    victim.stack.peers.connection(id).await.expect("the one that is there");
    let second = member.dial(&victim).await;
    let (mut staying, mut control) = establish(second.clone()).await.expect("established");
    let message = ControlMessage::SlotFree { load: Load::default() };
    let frame = encode_frame(&message).expect("a short message");
    staying.control.write_all(&frame).await.expect("sent");
    assert!(matches!(victim.input().await, Input::Control { .. }), "the second one is served too");

    assert!(ending.control.deliver().await);
    let quinn::ConnectionError::ApplicationClosed(close) = first.closed().await else { panic!("not closed") };
    assert_eq!(close.error_code, code::IDLE);
    victim.stack.peers.send(id, message);
    let mut told = vec![0; frame.len()];
    control.read_exact(&mut told).await.expect("no other connection is made");
    assert_eq!(told, frame);
    assert!(victim.events.inputs.try_recv().is_err(), "nothing is lost");
}

#[tokio::test]
async fn another_version_is_refused_by_naming_both() {
    let victim = TestNode::start().await;
    let member = Member::beside(&victim);
    let connection = member.dial(&victim).await;
    let mut control = connection.open_uni().await.expect("opened");
    control.write_all(&[STREAM_OPENING[0] + 1]).await.expect("sent");
    let reason = connection.closed().await.to_string();
    assert!(reason.contains("version 2") && reason.contains("version 1"), "{reason}");
}

#[tokio::test]
async fn a_malformed_request_is_counted_and_reset() {
    let victim = TestNode::start().await;
    let member = Member::beside(&victim);
    let connection = member.dial(&victim).await;
    let _established = establish(connection.clone()).await.expect("established");
    let (mut send, mut receive) = connection.open_bi().await.expect("opened");
    send.write_all(&[STREAM_OPENING[0], 0xff, 0xff, 1, 2, 3]).await.expect("sent");
    let reset = receive.read(&mut [0; 10]).await;
    assert!(matches!(reset, Err(quinn::ReadError::Reset(_))), "{reset:?}");
    assert_eq!(victim.stack.metrics.control_malformed.get(), 1);
}

#[tokio::test]
async fn a_member_that_reads_nothing_is_given_up() {
    let mut victim = TestNode::start().await;
    let member = Member::beside(&victim);
    let id: MemberId = member.record.id();
    let geometry = Geometry::of(1 << 40).expect("the largest blob");
    let mut have = PieceMap::empty(geometry.pieces());
    for piece in (0..geometry.pieces()).step_by(2) {
        have.insert(PieceIndex(piece));
    }
    let message = ControlMessage::Hello {
        digest: Digest::Sha256([1; 32]),
        size: geometry.size(),
        have,
        wants: true,
        reply: false,
        load: Load::default(),
    };
    victim.stack.peers.send(id, message.clone());
    let connection = member.accept().await;
    let _streams = establish(connection.clone()).await.expect("established");
    // It keeps the connection alive and never reads its control stream.
    let lost = loop {
        victim.stack.peers.send(id, message.clone());
        tokio::task::yield_now().await;
        if let Ok(input) = victim.events.inputs.try_recv() {
            break input;
        }
    };
    assert!(matches!(lost, Input::ControlLost { to } if to == id), "{lost:?}");
    let closed = connection.closed().await;
    assert!(matches!(closed, quinn::ConnectionError::ApplicationClosed(_)), "{closed:?}");
}

#[tokio::test]
async fn a_member_that_reads_nothing_of_its_piece_loses_its_slot() {
    let mut victim = TestNode::start().await;
    let mut member = Member::beside(&victim);
    let mut transport = quinn::TransportConfig::default();
    transport.stream_receive_window(1000u32.into());
    member.quic.client.transport_config(Arc::new(transport));
    let bytes = content(300_000, 1);
    let reading = victim.stack.spool.read(sha256(&bytes), 300_000, None).expect("it can be read");
    let (piece, digest) = (PieceIndex(0), sha256(&bytes));
    let part = piece_of(&bytes, piece);
    let voucher = vouched(&victim.stack.uploads.identity, &digest, piece, &part);
    reading.blob().store(piece, &gathered(&part), &voucher, &|| false).expect("stored");

    let connection = member.dial(&victim).await;
    let _established = establish(connection.clone()).await.expect("established");
    let (mut send, mut receive) = connection.open_bi().await.expect("opened");
    let request = PieceRequest { digest, piece, urgency: Urgency::Bulk, held: 0 };
    send.write_all(&encode_request(&request).expect("a short header")).await.expect("sent");
    let asked = loop {
        match victim.input().await {
            Input::PieceRequested { upload, .. } => break upload,
            other => assert!(matches!(other, Input::Control { .. }), "unexpected {other:?}"),
        }
    };
    victim.stack.uploads.decide(asked, Verdict::Serve);
    let ended = victim.input().await;
    assert!(matches!(ended, Input::UploadEnded { upload } if upload == asked), "{ended:?}");
    assert_eq!(victim.stack.metrics.uploads_active.get(), 0);
    let reset = receive.read_to_end(1_000_000).await;
    assert!(matches!(reset, Err(quinn::ReadToEndError::Read(quinn::ReadError::Reset(_)))), "{reset:?}");
}

/// The first datagram of a handshake of `member` with `victim`, which does not get it.
async fn first_datagram(member: &Member, victim: &TestNode) -> Vec<u8> {
    let trap = tokio::net::UdpSocket::bind("127.0.0.1:0").await.expect("a socket");
    let name = tls::server_name(victim.stack.table.own_id());
    let address = trap.local_addr().expect("an address");
    let _dialling = member.quic.endpoint.connect_with(member.quic.client.clone(), address, &name).expect("dialled");
    let mut datagram = vec![0; 65_536];
    let (length, _) = trap.recv_from(&mut datagram).await.expect("received");
    datagram.truncate(length);
    datagram
}

#[tokio::test]
async fn unproven_addresses_take_at_most_half_of_the_handshakes() {
    /// Header form, fixed bit and type of a long header (RFC 9000, section 17.2).
    const TYPE: u8 = 0xf0;
    const RETRY: u8 = 0xf0;
    let victim = TestNode::start().await;
    let member = Member::beside(&victim);
    let datagram = first_datagram(&member, &victim).await;
    let _half = victim.stack.peers.occupy_handshakes(2);
    let forger = tokio::net::UdpSocket::bind("127.0.0.1:0").await.expect("a socket");
    forger.send_to(&datagram, victim.stack.table.own().address).await.expect("sent");
    let mut answer = [0; 2048];
    forger.recv_from(&mut answer).await.expect("received");
    assert_eq!(answer[0] & TYPE, RETRY, "an answer that costs nothing to keep");
    let connection = member.dial(&victim).await;
    establish(connection).await.expect("who owns its address gets in");
}
