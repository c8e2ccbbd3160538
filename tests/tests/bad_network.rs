//! Strangers, absent seeds and noise on the swarm's port.

use std::net::{SocketAddr, UdpSocket};

use anyhow::Result;
use shoal_tests::{
    client::Mirror,
    cluster::{Cluster, write_secret},
    image::{Image, SplitMix64},
    mock::{Behaviour, MockRegistry},
    node::{NodeOptions, ShoalNode},
    process::free_port,
    stage::Stage,
    wait,
};

/// A registry and the options of nodes that mirror it.
async fn upstream(stage: &Stage) -> Result<(MockRegistry, Image, NodeOptions)> {
    let image = Image::generate(&stage.path().join("image"), 6, &[3_000_000])?;
    let mock = MockRegistry::start(&image, Behaviour::default()).await?;
    let options = NodeOptions::mirroring(&mock.host());
    Ok((mock, image, options))
}

async fn assert_pulls(node: &ShoalNode, mock: &MockRegistry, image: &Image) -> Result<()> {
    assert_eq!(Mirror::new(&node.url(), &mock.host(), "team/app")?.pull().await?, image.target().digest);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn nodes_with_different_secrets_never_see_each_other_and_stay_healthy() -> Result<()> {
    let Some(stage) = Stage::begin("wrong-secret", &[])? else { return Ok(()) };
    let (mock, image, options) = upstream(&stage).await?;
    let one = NodeOptions { secret_file: Some(write_secret(&stage, "one", 1)?), ..options.clone() };
    let first = ShoalNode::start(&stage, "first", &one).await?;
    let other =
        NodeOptions { secret_file: Some(write_secret(&stage, "other", 2)?), join: vec![first.swarm], ..options };
    let second = ShoalNode::start(&stage, "second", &other).await?;

    wait::until("the first node rejects several packets of the second", wait::SOON, async || {
        Ok((first.metric("gossip_rejected_packets_total").await? >= 3).then_some(()))
    })
    .await?;
    for node in [&first, &second] {
        assert!(node.is_ready().await?, "{} is not ready", node.name);
        assert_pulls(node, &mock, &image).await?;
        assert_eq!(node.members().await?, 1, "{} took in a stranger", node.name);
    }
    assert_eq!(second.metric("peer_received_bytes_total").await?, 0);
    stage.passed();
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unreachable_seed_is_named_and_tried_again_while_the_node_serves() -> Result<()> {
    let Some(stage) = Stage::begin("unreachable-seed", &[])? else { return Ok(()) };
    let (mock, image, options) = upstream(&stage).await?;
    let options = NodeOptions { secret_file: Some(write_secret(&stage, "cluster", 1)?), ..options };
    let seed = SocketAddr::from(([127, 0, 0, 1], free_port()?));
    let node = ShoalNode::start(&stage, "node", &NodeOptions { join: vec![seed], ..options.clone() }).await?;

    wait::until("the node says that its seed does not answer", wait::SOON, async || {
        let status = node.status().await?;
        let named =
            status["seeds_unreached"].as_array().is_some_and(|seeds| seeds.iter().any(|one| *one == seed.to_string()));
        Ok((named && node.log()?.contains(&seed.to_string())).then_some(()))
    })
    .await?;
    assert!(node.is_ready().await?);
    assert_pulls(&node, &mock, &image).await?;

    let late = NodeOptions { swarm_listen: Some(seed), ..options };
    let late = ShoalNode::start(&stage, "late-seed", &late).await?;
    node.wait_for_members(2).await?;
    late.wait_for_members(2).await?;
    assert_eq!(node.status().await?["seeds_unreached"], serde_json::json!([]));
    stage.passed();
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn random_bytes_on_the_udp_port_are_counted_and_harm_nobody() -> Result<()> {
    let Some(stage) = Stage::begin("random-bytes", &[])? else { return Ok(()) };
    let (mock, image, options) = upstream(&stage).await?;
    let mut cluster = Cluster::start(&stage, "node", 2, &options).await?;
    let before = cluster.nodes[0].metric("gossip_rejected_packets_total").await?;

    let seed = 7;
    send_noise(cluster.nodes[0].swarm, seed)?;
    wait::until("noise is counted", wait::SOON, async || {
        Ok((cluster.nodes[0].metric("gossip_rejected_packets_total").await? > before).then_some(()))
    })
    .await?;
    // Health is shown by what a node can still do: keep its peer, take in a new one, and pull.
    cluster.wait_until_whole().await?;
    cluster.add_node(&stage).await?;
    cluster.wait_until_whole().await?;
    for node in &cluster.nodes {
        assert!(node.is_ready().await?, "{} is not ready after the noise of seed {seed}", node.name);
        assert_pulls(node, &mock, &image).await?;
    }
    stage.passed();
    Ok(())
}

/// Sends datagrams of all lengths, among them ones that look like gossip or like each kind of QUIC packet by their first byte.
fn send_noise(target: SocketAddr, seed: u64) -> Result<()> {
    let socket = UdpSocket::bind("127.0.0.1:0")?;
    let mut generator = SplitMix64(seed);
    let mut buffer = [0; 2048];
    for first in 0..=255 {
        for length in [0, 1, 20, 64, 1200, 1400, 2048] {
            generator.fill(&mut buffer);
            buffer[0] = first;
            socket.send_to(&buffer[..length], target)?;
        }
    }
    Ok(())
}
