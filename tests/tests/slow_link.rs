//! Nodes behind slow links.

use anyhow::Result;
use shoal_tests::{
    client::Mirror,
    cluster::write_secret,
    image::Image,
    mock::{Behaviour, MockRegistry},
    node::{NodeOptions, ShoalNode},
    stage::Stage,
};

/// The layer takes 8 s at this rate.
const LINK: &str = "20mbit";
const LAYER_BYTES: u64 = 20_000_000;

#[tokio::test(flavor = "multi_thread")]
async fn the_thread_of_a_node_rests_while_pieces_trickle_in_and_several_do_not() -> Result<()> {
    let Some(stage) = Stage::begin("slow-link", &[])? else { return Ok(()) };
    let image = Image::generate(&stage.path().join("image"), 9, &[LAYER_BYTES])?;
    let mock = MockRegistry::start(&image, Behaviour::default()).await?;
    let options = NodeOptions {
        secret_file: Some(write_secret(&stage, "cluster", 1)?),
        threads: Some(1),
        ..NodeOptions::mirroring(&mock.host())
    };
    let rests_of_pull = async |node: &ShoalNode| -> Result<u64> {
        let digest = Mirror::new(&node.url(), &mock.host(), "team/app")?.pull().await?;
        assert_eq!(digest, image.target().digest);
        node.metric("rests_total").await
    };
    let holder = ShoalNode::start(&stage, "holder", &options).await?;
    assert_eq!(rests_of_pull(&holder).await?, 0, "no peer sends it anything, or asks");

    let slow = NodeOptions { join: vec![holder.swarm], link: Some(LINK.to_owned()), ..options };
    let resting = ShoalNode::start(&stage, "resting", &slow).await?;
    resting.wait_for_members(2).await?;
    assert!(rests_of_pull(&resting).await? > 0, "it never rested");
    assert!(resting.metric("peer_received_bytes_total").await? > LAYER_BYTES / 2);
    drop(resting);

    let restless = ShoalNode::start(&stage, "restless", &NodeOptions { threads: Some(2), ..slow }).await?;
    restless.wait_for_members(2).await?;
    assert_eq!(rests_of_pull(&restless).await?, 0, "one of two threads would not be woken while the other rests");
    assert!(restless.metric("peer_received_bytes_total").await? > LAYER_BYTES / 2);
    stage.passed();
    Ok(())
}
