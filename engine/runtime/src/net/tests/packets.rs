//! How large packets become.

use std::time::Duration;

use shoal_wire::control::{ControlMessage, Load};
use tokio::time::timeout;

use super::hostile::Member;
use crate::{
    net::{endpoint::MTU_MAX, tls},
    testing::TestNode,
};

/// Waits until discovery has found that `connection` carries packets of `bytes`.
async fn carries(connection: &quinn::Connection, bytes: u16) {
    let found = async {
        while connection.stats().path.current_mtu != bytes {
            tokio::task::yield_now().await;
        }
    };
    let waited = timeout(Duration::from_secs(30), found).await;
    assert!(waited.is_ok(), "stopped at {} bytes", connection.stats().path.current_mtu);
}

#[tokio::test]
async fn who_dials_over_loopback_sends_packets_larger_than_frames_of_ethernet() {
    let peer = TestNode::start().await;
    let member = Member::beside(&peer);
    let own = peer.stack.table.own();
    let dialled = member.quic.dial(own.address, &tls::server_name(own.id())).expect("dialled");
    carries(&dialled.await.expect("connected"), MTU_MAX).await;
}

#[tokio::test]
async fn so_does_who_was_dialled() {
    let peer = TestNode::start().await;
    let member = Member::beside(&peer);
    peer.stack.peers.send(member.record.id(), ControlMessage::SlotFree { load: Load { active: 0, queued: 0 } });
    let incoming = member.quic.endpoint.accept().await.expect("open");
    let connection = member.quic.accept(incoming).expect("accepted").await.expect("connected");
    carries(&connection, MTU_MAX).await;
}
