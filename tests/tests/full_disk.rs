//! A disk that is full long before the spool's limit: pulls go on, and so does the next start.

use std::{
    fs::{self, File},
    io::{ErrorKind, Write},
    path::Path,
    process::Command,
};

use anyhow::{Context, Result, ensure};
use shoal_tests::{
    client::Mirror,
    image::Image,
    mock::{Behaviour, MockRegistry},
    node::{NodeOptions, ShoalNode},
    stage::{Need, Stage},
};

const LAYER_BYTES: u64 = 10_000_000;

/// Mounts a file system of 24 MiB, enough for two of the images; the stage unmounts it.
fn mount_small(directory: &Path) -> Result<()> {
    let mut mount = Command::new("mount");
    let status = mount.args(["-t", "tmpfs", "-o", "size=24m", "tmpfs"]).arg(directory).status().context("mount")?;
    ensure!(status.success(), "mount ended with {status}");
    Ok(())
}

/// Writes a file until nothing more goes in.
fn fill(path: &Path) -> Result<()> {
    let mut file = File::create(path)?;
    loop {
        match file.write(&[1; 4096]) {
            Ok(_) => {}
            Err(error) if error.kind() == ErrorKind::StorageFull => return Ok(()),
            Err(error) => return Err(error.into()),
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_nobody_reads_makes_room_for_what_is_pulled() -> Result<()> {
    let Some(stage) = Stage::begin("full-disk", &[Need::Root])? else { return Ok(()) };
    let data_dir = stage.create_dir("small")?;
    mount_small(&data_dir)?;
    let mut mocks = Vec::new();
    for seed in 1..=4 {
        let image = Image::generate(&stage.path().join(format!("image-{seed}")), seed, &[LAYER_BYTES])?;
        mocks.push(MockRegistry::start(&image, Behaviour::default()).await?);
    }
    let entry = |mock: &MockRegistry| format!("  \"{host}\":\n    endpoint: [\"http://{host}\"]\n", host = mock.host());
    let entries: Vec<String> = mocks.iter().map(entry).collect();
    let registries = Some(format!("mirrors:\n{}", entries.concat()));
    let options = NodeOptions { registries, data_dir: Some(data_dir.clone()), ..NodeOptions::default() };

    let mut node = ShoalNode::start(&stage, "node", &options).await?;
    for mock in &mocks {
        // The pull checks length and digest of all it gets.
        Mirror::new(&node.url(), &mock.host(), "team/app")?.pull().await?;
    }
    let kept = node.metric("spool_bytes").await?;
    assert!((LAYER_BYTES..24 << 20).contains(&kept), "{kept} bytes are kept of what the disk has room for");
    assert!(node.log()?.contains("the disk is full"), "{}", node.log()?);
    node.stop().await?;

    // Full to the last byte, and by something else: it starts, and says what it could not write.
    fill(&data_dir.join("something-else"))?;
    let node = ShoalNode::start(&stage, "again", &options).await?;
    assert!(node.log()?.contains("node.generation"), "{}", node.log()?);
    fs::remove_file(data_dir.join("something-else"))?;
    Mirror::new(&node.url(), &mocks[0].host(), "team/app")?.pull().await?;
    stage.passed();
    Ok(())
}
