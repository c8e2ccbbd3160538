//! Real containerd daemons pull one image at once, each through its own node, from a real registry.

use anyhow::{Context, Result};
use futures_util::future::try_join_all;
use shoal_tests::{
    cluster::Cluster,
    containerd::{self, Containerd},
    image::Image,
    node::{NodeOptions, ShoalNode},
    registry::{self, Registry},
    stage::Stage,
};

const MIB: u64 = 1024 * 1024;

/// Most copies of a layer that the registry may send for the whole cluster.
const COPIES_MAX: f64 = 1.1;

struct Scene {
    stage: Stage,
    registry: Registry,
    options: NodeOptions,
}

impl Scene {
    async fn set(name: &str) -> Result<Option<Self>> {
        let needs = [&registry::NEEDS[..], &containerd::NEEDS].concat();
        let Some(stage) = Stage::begin(name, &needs)? else { return Ok(None) };
        let registry = Registry::start(&stage).await?;
        let options = NodeOptions::mirroring(&registry.host());
        Ok(Some(Self { stage, registry, options }))
    }

    async fn push(&self, repository: &str, seed: u64, layer_bytes: &[u64]) -> Result<Image> {
        let layout = self.stage.path().join(repository.replace('/', "-"));
        let image = Image::generate_with_index(&layout, seed, layer_bytes)?;
        self.registry.push(&image, repository).await?;
        Ok(image)
    }

    fn reference(&self, repository: &str) -> String {
        format!("{}/{repository}:{}", self.registry.host(), Image::TAG)
    }

    async fn containerd_of(&self, node: &ShoalNode) -> Result<Containerd> {
        let daemon = Containerd::start(&self.stage, &format!("containerd-of-{}", node.name)).await?;
        daemon.mirror(&self.registry.host(), &node.url())?;
        Ok(daemon)
    }

    /// Pulls at once by a containerd for each node, and checks that each has the whole image.
    async fn pull_on_all(&self, cluster: &Cluster, repository: &str, image: &Image) -> Result<()> {
        let reference = self.reference(repository);
        let daemons = try_join_all(cluster.nodes.iter().map(|node| self.containerd_of(node))).await?;
        try_join_all(daemons.iter().map(|daemon| daemon.pull(&reference))).await?;
        for daemon in &daemons {
            daemon.check(&reference, image).await?;
        }
        let layers: Vec<&str> = image.layers.iter().map(|layer| layer.digest.as_str()).collect();
        self.registry.wait_for_log(&layers, image.layer_bytes()).await
    }

    /// The registry gave about one copy of each layer, by its own log and by what the nodes count.
    async fn assert_about_one_copy(&self, cluster: &Cluster, image: &Image) -> Result<()> {
        for layer in &image.layers {
            let copies = self.registry.sent_bytes(&layer.digest)? as f64 / layer.size as f64;
            println!("{} bytes: {copies:.3} copies", layer.size);
            let answers = self.registry.gets_of(&layer.digest)?;
            assert!(
                (1.0..=COPIES_MAX).contains(&copies),
                "the registry sent {copies:.3} copies of {layer:?}: {answers:?}"
            );
        }
        let received = cluster.metric("upstream_received_bytes_total").await? as f64 / image.layer_bytes() as f64;
        assert!((1.0..=COPIES_MAX).contains(&received), "the nodes received {received:.3} copies from the registry");
        Ok(())
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn four_containerds_pull_at_once_for_one_copy_and_a_fifth_with_the_registry_stopped() -> Result<()> {
    let Some(mut scene) = Scene::set("pull_by_containerd").await? else { return Ok(()) };
    let image = scene.push("team/four", 4, &[3 * MIB, 210 * MIB, 24 * MIB]).await?;
    let mut cluster = Cluster::start(&scene.stage, "node", 4, &scene.options).await?;

    scene.pull_on_all(&cluster, "team/four", &image).await?;
    scene.assert_about_one_copy(&cluster, &image).await?;
    let direct: Vec<_> =
        scene.registry.exchanges()?.into_iter().filter(|one| one.user_agent.contains("containerd")).collect();
    assert!(direct.is_empty(), "containerd went to the registry itself: {direct:?}");

    scene.registry.stop().await?;
    cluster.add_node(&scene.stage).await?;
    cluster.wait_until_whole().await?;
    let fifth = cluster.nodes.last().context("five nodes")?;
    let daemon = scene.containerd_of(fifth).await?;
    let reference = scene.reference("team/four");
    daemon.pull(&reference).await?;
    daemon.check(&reference, &image).await?;
    assert!(fifth.metric("peer_received_bytes_total").await? >= image.layer_bytes());
    scene.stage.passed();
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn manifest_requests_do_not_grow_with_the_nodes() -> Result<()> {
    let Some(scene) = Scene::set("manifest_requests").await? else { return Ok(()) };
    let mut requests = Vec::new();
    for (count, seed) in [(1, 10), (4, 40)] {
        let repository = format!("team/by-{count}");
        let image = scene.push(&repository, seed, &[MIB, 8 * MIB]).await?;
        let cluster = Cluster::start(&scene.stage, &format!("of-{count}"), count, &scene.options).await?;
        scene.pull_on_all(&cluster, &repository, &image).await?;
        requests.push(scene.registry.manifest_requests(&repository)?);
    }
    assert!(!requests[0].is_empty(), "the registry's log has no manifest request of a single node");
    assert!(requests[1].len() <= requests[0].len(), "by 1 node: {:#?}\nby 4 nodes: {:#?}", requests[0], requests[1]);
    scene.stage.passed();
    Ok(())
}
