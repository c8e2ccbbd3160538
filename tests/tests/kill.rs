//! kill -9 of the node that serves most, and of a home, in the middle of a pull: the others finish with right digests.

use anyhow::{Context, Result, ensure};
use futures_util::future::join_all;
use shoal_core::homes_of;
use shoal_tests::{
    client::Mirror,
    cluster::Cluster,
    image::Image,
    node::NodeOptions,
    registry::{self, Registry},
    stage::Stage,
    wait,
};
use shoal_wire::ids::MemberId;

const NODES: usize = 5;

/// The pull of the layer takes about 8 s at this rate.
const LINK: &str = "100mbit";
const LAYER_BYTES: u64 = 96 * 1024 * 1024;

/// Share of all bytes that has arrived when the kill comes.
const KILL_AT: f64 = 0.3;

/// Pulls on all nodes, kills in the middle the node that `choose` picks, and checks that all others finish.
async fn pull_with_a_kill(name: &str, choose: impl AsyncFnOnce(&Cluster, &Image) -> Result<usize>) -> Result<()> {
    let Some(stage) = Stage::begin(name, &registry::NEEDS)? else { return Ok(()) };
    let registry = Registry::start(&stage).await?;
    let image = Image::generate(&stage.path().join("image"), 5, &[LAYER_BYTES])?;
    registry.push(&image, "team/app").await?;
    let options = NodeOptions { link: Some(LINK.to_owned()), ..NodeOptions::mirroring(&registry.host()) };
    let mut cluster = Cluster::start(&stage, "node", NODES, &options).await?;
    let clients: Vec<Mirror> = cluster
        .nodes
        .iter()
        .map(|node| Mirror::new(&node.url(), &registry.host(), "team/app"))
        .collect::<Result<_>>()?;
    let pulls: Vec<_> = clients
        .iter()
        .map(|client| {
            let client = client.clone();
            tokio::spawn(async move { client.pull().await })
        })
        .collect();

    wait::until("30 % of all bytes have arrived", wait::PULL, async || {
        let received: u64 = clients.iter().map(Mirror::received_bytes).sum();
        Ok((received as f64 >= KILL_AT * (LAYER_BYTES * NODES as u64) as f64).then_some(()))
    })
    .await?;
    let victim = choose(&cluster, &image).await?;
    let slowest = clients.iter().map(Mirror::received_bytes).min().context("there are clients")?;
    assert!(slowest < LAYER_BYTES, "the kill comes too late: all have finished");
    cluster.nodes[victim].kill()?;

    for (index, result) in join_all(pulls).await.into_iter().enumerate() {
        let result = result?;
        if index == victim {
            assert!(result.is_err(), "the killed node had finished its pull, so nothing was shown");
        } else {
            let digest =
                result.with_context(|| format!("node {index} did not finish after node {victim} was killed"))?;
            assert_eq!(digest, image.target().digest);
        }
    }
    for (_, node) in cluster.nodes.iter().enumerate().filter(|(index, _)| *index != victim) {
        node.wait_for_members(NODES - 1).await?;
    }
    stage.passed();
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn kill_serving_node() -> Result<()> {
    pull_with_a_kill("kill_serving_node", async |cluster, _| {
        let mut most = (0, 0);
        for (index, node) in cluster.nodes.iter().enumerate() {
            most = most.max((node.metric("peer_sent_bytes_total").await?, index));
        }
        assert!(most.0 > 0, "no node has served a byte");
        Ok(most.1)
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn kill_home() -> Result<()> {
    pull_with_a_kill("kill_home", async |cluster, image| {
        let members: Vec<MemberId> = cluster.nodes.iter().map(|node| parse_id(&node.id)).collect::<Result<_>>()?;
        let homes = homes_of(&image.largest_layer().digest.parse()?, members.clone());
        let coordinator = homes.first().context("a cluster has homes")?;
        members.iter().position(|member| member == coordinator).context("the home is one of the nodes")
    })
    .await
}

/// A member's id from the hex digits that a node prints.
fn parse_id(hex: &str) -> Result<MemberId> {
    ensure!(hex.len() == 32 && hex.is_ascii(), "{hex} is not an id of 16 bytes");
    let mut id = [0; 16];
    for (byte, digits) in id.iter_mut().zip(hex.as_bytes().chunks(2)) {
        *byte = u8::from_str_radix(std::str::from_utf8(digits)?, 16)?;
    }
    Ok(MemberId(id))
}
