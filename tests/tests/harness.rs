//! The ground that the other tests stand on, without any node: containerd daemons pull from docker-registry.

use anyhow::Result;
use futures_util::future::try_join_all;
use shoal_tests::{
    client::Mirror,
    containerd::{self, Containerd},
    image::Image,
    mock::{Behaviour, MockRegistry},
    nginx::{self, Nginx},
    registry::{self, Registry},
    stage::Stage,
};

#[tokio::test]
async fn five_containerds_pull_at_once_through_a_mirror_and_the_registry_logs_each_copy() -> Result<()> {
    let needs = [&registry::NEEDS[..], &containerd::NEEDS].concat();
    let Some(stage) = Stage::begin("harness-containerd", &needs)? else { return Ok(()) };
    let registry = Registry::start(&stage).await?;
    let image = Image::generate_with_index(&stage.path().join("image"), 1, &[1_000, 5_000_000])?;
    registry.push(&image, "team/app").await?;
    let reference = format!("images.example/team/app:{}", Image::TAG);
    let mut daemons = Vec::new();
    for number in 0..5 {
        let daemon = Containerd::start(&stage, &format!("containerd-{number}")).await?;
        // The registry of the reference does not exist, so the bytes can only come by way of the mirror.
        daemon.mirror("images.example", &registry.url())?;
        daemons.push(daemon);
    }
    try_join_all(daemons.iter().map(|daemon| daemon.pull(&reference))).await?;
    for daemon in &daemons {
        daemon.check(&reference, &image).await?;
    }
    for layer in &image.layers {
        registry.wait_for_log(&[&layer.digest], 5 * layer.size).await?;
        assert_eq!(registry.sent_bytes(&layer.digest)?, 5 * layer.size);
        assert!(registry.gets_of(&layer.digest)?.iter().all(|get| get.user_agent.starts_with("containerd/")));
    }
    // HEAD of the tag, GET of the index and of the manifest, for each containerd.
    assert_eq!(registry.manifest_requests("team/app")?.len(), 5 * 3);
    stage.passed();
    Ok(())
}

#[tokio::test]
async fn the_plain_client_pulls_from_docker_registry_behind_nginx() -> Result<()> {
    let needs = [&registry::NEEDS[..], &[nginx::NEED]].concat();
    let Some(stage) = Stage::begin("harness-nginx", &needs)? else { return Ok(()) };
    let registry = Registry::start(&stage).await?;
    let image = Image::generate(&stage.path().join("image"), 2, &[1_000_000])?;
    registry.push(&image, "team/app").await?;
    let nginx = Nginx::start(&stage, &registry.url(), "").await?;
    let client = Mirror::new(&nginx.url(), &nginx.host(), "team/app")?;
    assert_eq!(client.pull().await?, image.manifest.digest);
    assert_eq!(client.received_bytes(), image.layer_bytes() + image.config.size);
    stage.passed();
    Ok(())
}

#[tokio::test]
async fn the_plain_client_refuses_what_is_wrong() -> Result<()> {
    let Some(stage) = Stage::begin("harness-mock", &[])? else { return Ok(()) };
    let image = Image::generate_with_index(&stage.path().join("image"), 3, &[300_000])?;
    let mock = MockRegistry::start(&image, Behaviour::default()).await?;
    let client = Mirror::new(&mock.url(), &mock.host(), "team/app")?;
    assert_eq!(client.pull().await?, image.target().digest);
    mock.set(Behaviour { fail_with: Some((503, Vec::new())), ..Behaviour::default() });
    assert!(client.pull().await.is_err_and(|error| error.to_string().contains("503")));
    mock.set(Behaviour { token_for: Some("user:password".to_owned()), ..Behaviour::default() });
    assert!(client.pull().await.is_err_and(|error| error.to_string().contains("401")));
    assert_eq!(mock.asked().last().map(|asked| asked.status), Some(401));
    stage.passed();
    Ok(())
}
