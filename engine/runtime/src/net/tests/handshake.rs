//! Who is let in, control messages, and gossip beside QUIC on one port.

use std::time::Duration;

use shoal_core::event::{Input, MemberEvent};
use shoal_wire::{
    control::{ControlMessage, Load},
    ids::MemberId,
    member::MemberRecord,
};

use crate::{stack::Stack, testing::TestNode};

fn load(active: u8) -> ControlMessage {
    ControlMessage::SlotFree { load: Load { active, queued: 0 } }
}

fn id(stack: &Stack) -> MemberId {
    stack.table.own_id()
}

async fn expect_load(node: &mut TestNode, sender: MemberId, active: u8) {
    match node.input().await {
        Input::Control { from, message } => assert_eq!((from, message), (sender, load(active))),
        other => panic!("unexpected {other:?}"),
    }
}

async fn expect_lost(node: &mut TestNode, member: MemberId) {
    match node.input().await {
        Input::ControlLost { to } => assert_eq!(to, member),
        other => panic!("unexpected {other:?}"),
    }
}

#[tokio::test]
async fn members_exchange_messages_in_order_over_one_connection() {
    let (mut a, mut b) = (TestNode::start().await, TestNode::start().await);
    a.learn(&b.stack);
    b.learn(&a.stack);
    let (a_id, b_id) = (id(&a.stack), id(&b.stack));
    for number in 0..100 {
        a.stack.peers.send(b_id, load(number));
    }
    for number in 0..100 {
        expect_load(&mut b, a_id, number).await;
    }
    b.stack.peers.send(a_id, load(100));
    expect_load(&mut a, b_id, 100).await;
    assert_eq!(a.stack.peers.connections(), 1, "the answer uses the connection that is there");
}

#[tokio::test]
async fn both_may_dial_at_once() {
    let (mut a, mut b) = (TestNode::start().await, TestNode::start().await);
    a.learn(&b.stack);
    b.learn(&a.stack);
    let (a_id, b_id) = (id(&a.stack), id(&b.stack));
    a.stack.peers.send(b_id, load(1));
    b.stack.peers.send(a_id, load(2));
    tokio::join!(expect_load(&mut a, b_id, 2), expect_load(&mut b, a_id, 1));
}

#[tokio::test]
async fn a_member_that_learns_of_us_a_moment_later_is_reached() {
    let (a, mut b) = (TestNode::start().await, TestNode::start().await);
    a.learn(&b.stack);
    a.stack.peers.send(id(&b.stack), load(1));
    while b.stack.metrics.handshakes_refused.get() == 0 {
        tokio::task::yield_now().await;
    }
    b.learn(&a.stack);
    expect_load(&mut b, id(&a.stack), 1).await;
}

#[tokio::test]
async fn an_unknown_key_is_refused_and_counted() {
    let (mut a, mut b) = (TestNode::start().await, TestNode::start().await);
    a.learn(&b.stack);
    a.stack.peers.send(id(&b.stack), load(1));
    expect_lost(&mut a, id(&b.stack)).await;
    assert!(b.stack.metrics.handshakes_refused.get() > 0);
    assert!(b.events.inputs.try_recv().is_err(), "nothing of it reaches the core");
}

#[tokio::test]
async fn another_member_at_the_address_is_refused() {
    let (mut a, b, c) = (TestNode::start().await, TestNode::start().await, TestNode::start().await);
    // `a` believes that `b` is where `c` is; `c` knows `a` and would answer.
    let address = c.stack.table.own().address;
    a.stack.table.apply(&MemberEvent::Up(MemberRecord { address, ..b.stack.table.own().clone() }.into()));
    a.learn(&c.stack);
    c.learn(&a.stack);
    a.stack.peers.send(id(&b.stack), load(1));
    expect_lost(&mut a, id(&b.stack)).await;
    assert!(a.stack.metrics.handshakes_refused.get() > 0);
}

#[tokio::test]
async fn a_lost_connection_is_told_and_made_again() {
    let (mut a, mut b) = (TestNode::start().await, TestNode::start().await);
    a.learn(&b.stack);
    b.learn(&a.stack);
    let (a_id, b_id) = (id(&a.stack), id(&b.stack));
    a.stack.peers.send(b_id, load(1));
    expect_load(&mut b, a_id, 1).await;
    let connection = a.stack.peers.connection(b_id).await.expect("connected");
    connection.close(7u32.into(), b"the test cuts it");
    expect_lost(&mut a, b_id).await;
    expect_lost(&mut b, a_id).await;
    a.stack.peers.send(b_id, load(2));
    expect_load(&mut b, a_id, 2).await;
}

/// A home and members that know each other.
async fn home_of(count: usize) -> (TestNode, Vec<TestNode>) {
    let (home, mut members) = (TestNode::start().await, Vec::new());
    for _ in 0..count {
        let member = TestNode::start().await;
        home.learn(&member.stack);
        member.learn(&home.stack);
        members.push(member);
    }
    (home, members)
}

/// The member says something, and the home answers.
async fn talk(home: &mut TestNode, member: &mut TestNode, active: u8) {
    let (home_id, member_id) = (id(&home.stack), id(&member.stack));
    member.stack.peers.send(home_id, load(active));
    expect_load(home, member_id, active).await;
    home.stack.peers.send(member_id, load(active));
    expect_load(member, home_id, active).await;
}

#[tokio::test]
async fn links_that_make_room_end_without_a_loss_and_are_made_again() {
    let (mut home, mut members) = home_of(4).await;
    home.stack.peers.limit_links(2);
    for round in 0..5 {
        for member in &mut members {
            // A loss would be an unexpected input.
            talk(&mut home, member, round).await;
            assert!(home.stack.peers.links() <= 2);
        }
    }
    while home.stack.peers.connections() > 2 {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    for node in members.iter_mut().chain([&mut home]) {
        assert!(node.events.inputs.try_recv().is_err(), "nobody is told of a loss");
    }
}

#[tokio::test]
async fn messages_to_more_members_than_links_all_arrive() {
    let (mut home, mut members) = home_of(6).await;
    home.stack.peers.limit_links(3);
    for member in &members {
        home.stack.peers.send(id(&member.stack), load(1));
    }
    for member in &mut members {
        expect_load(member, id(&home.stack), 1).await;
    }
    assert!(home.events.inputs.try_recv().is_err(), "nothing is lost");
}

#[tokio::test]
async fn a_link_that_a_transfer_holds_is_not_the_one_that_makes_room() {
    let (mut home, mut members) = home_of(4).await;
    home.stack.peers.limit_links(2);
    let first = id(&members[0].stack);
    let held = home.stack.peers.connection(first).await.expect("connected");
    for member in &mut members[1..] {
        talk(&mut home, member, 1).await;
    }
    assert!(held.close_reason().is_none());
    let again = home.stack.peers.connection(first).await.expect("connected");
    assert_eq!(held.stable_id(), again.stable_id());
}

#[tokio::test]
async fn a_member_that_has_no_room_for_a_handshake_is_tried_for_longer() {
    let (a, mut b) = (TestNode::start().await, TestNode::start().await);
    a.learn(&b.stack);
    b.learn(&a.stack);
    let busy = b.stack.peers.occupy_handshakes(1);
    a.stack.peers.send(id(&b.stack), load(1));
    tokio::time::sleep(Duration::from_secs(3)).await;
    assert!(a.events.inputs.is_empty(), "it is busy, not gone");
    drop(busy);
    expect_load(&mut b, id(&a.stack), 1).await;
}

#[tokio::test]
async fn a_member_that_is_busy_and_then_dead_is_tried_no_longer() {
    let (mut a, b) = (TestNode::start().await, TestNode::start().await);
    a.learn(&b.stack);
    b.learn(&a.stack);
    let _busy = b.stack.peers.occupy_handshakes(1);
    a.stack.peers.send(id(&b.stack), load(1));
    while b.stack.metrics.handshakes_refused.get() == 0 {
        tokio::task::yield_now().await;
    }
    a.stack.peers.apply(&MemberEvent::Dead(id(&b.stack)), None);
    expect_lost(&mut a, id(&b.stack)).await;
}

#[tokio::test]
async fn gossip_arrives_beside_quic_even_when_the_kernel_coalesces_it() {
    let (a, mut b) = (TestNode::start().await, TestNode::start().await);
    a.learn(&b.stack);
    b.learn(&a.stack);
    let (a_id, to) = (id(&a.stack), b.stack.socket.address());
    let datagrams: Vec<_> = (0..20u8).map(|fill| a.stack.ring.seal(&[fill; 500]).expect("sealed")).collect();
    for batch in datagrams.chunks(10) {
        a.stack.socket.send_segmented(to, &batch.concat(), batch[0].len());
        a.stack.peers.send(id(&b.stack), load(1));
    }
    for fill in 0..20u8 {
        let mut datagram = b.events.gossip.recv().await.expect("the socket is open");
        assert_eq!(datagram.from, a.stack.socket.address());
        assert_eq!(b.stack.ring.open(&mut datagram.bytes), Ok(&[fill; 500][..]));
    }
    expect_load(&mut b, a_id, 1).await;
    expect_load(&mut b, a_id, 1).await;
}

#[tokio::test]
async fn gossip_that_nobody_reads_is_dropped_and_counted() {
    let (a, b) = (TestNode::start().await, TestNode::start().await);
    let to = b.stack.socket.address();
    while b.stack.metrics.gossip_dropped_packets.get() == 0 {
        a.stack.socket.send_gossip(to, &a.stack.ring.seal(b"news").expect("sealed"));
        tokio::task::yield_now().await;
    }
    assert!(b.events.gossip.len() <= b.events.gossip.max_capacity());
}
