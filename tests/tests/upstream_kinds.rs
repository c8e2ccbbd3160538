//! Upstreams as they come: without ranges, behind a password, behind tokens.

use anyhow::Result;
use futures_util::future::try_join_all;
use reqwest::Method;
use shoal_tests::{
    client::Mirror,
    cluster::Cluster,
    image::Image,
    mock::{Behaviour, MockRegistry},
    nginx::{self, Nginx},
    node::{NodeOptions, ShoalNode},
    registry::{self, Registry},
    stage::{Need, Stage},
};

const CREDENTIALS: (&str, &str) = ("puller", "pass word/1");

fn needs() -> Vec<Need> {
    [&registry::NEEDS[..], &[nginx::NEED]].concat()
}

async fn pull_on_all(cluster: &Cluster, host: &str, image: &Image) -> Result<()> {
    let pull = async |node: &ShoalNode| Mirror::new(&node.url(), host, "team/app")?.pull().await;
    for digest in try_join_all(cluster.nodes.iter().map(pull)).await? {
        assert_eq!(digest, image.target().digest);
    }
    Ok(())
}

/// A node without the right credentials answers 403, so that containerd neither repeats nor hands over its own.
async fn assert_denied(node: &ShoalNode, host: &str) -> Result<()> {
    let client = Mirror::new(&node.url(), host, "team/app")?;
    let answer = client.ask(Method::GET, &client.manifest_path(Image::TAG), &[]).await?;
    assert_eq!((answer.status.as_u16(), answer.error_code()?.as_str()), (403, "DENIED"), "{}", answer.text());
    assert!(!answer.headers.contains_key("www-authenticate"));
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upstream_without_ranges_gives_one_stream_and_all_nodes_finish() -> Result<()> {
    let Some(stage) = Stage::begin("without-ranges", &needs())? else { return Ok(()) };
    let registry = Registry::start(&stage).await?;
    let image = Image::generate(&stage.path().join("image"), 11, &[64 * 1024 * 1024])?;
    registry.push(&image, "team/app").await?;
    let nginx =
        Nginx::start(&stage, &registry.url(), "proxy_set_header Range \"\"; proxy_hide_header Accept-Ranges;").await?;
    let options = NodeOptions::mirroring(&nginx.host());
    let cluster = Cluster::start(&stage, "node", 4, &options).await?;
    pull_on_all(&cluster, &nginx.host(), &image).await?;
    let layer = image.largest_layer();
    registry.wait_for_log(&[&layer.digest], layer.size).await?;
    let copies = registry.sent_bytes(&layer.digest)? as f64 / layer.size as f64;
    assert!((1.0..=1.1).contains(&copies), "{copies:.3} copies: {:#?}", registry.gets_of(&layer.digest)?);
    let received = cluster.metric("upstream_received_bytes_total").await? as f64 / layer.size as f64;
    assert!((1.0..=1.1).contains(&received), "the nodes received {received:.3} copies from the upstream");
    stage.passed();
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upstream_with_basic_auth_is_pulled_with_the_credentials_of_registries_yaml() -> Result<()> {
    let Some(stage) = Stage::begin("basic-auth", &needs())? else { return Ok(()) };
    let registry = Registry::start(&stage).await?;
    let image = Image::generate_with_index(&stage.path().join("image"), 12, &[5_000_000])?;
    registry.push(&image, "team/app").await?;
    let (username, password) = CREDENTIALS;
    let users = stage.write("users", format!("{username}:{{PLAIN}}{password}\n"))?;
    let directives = format!("auth_basic \"registry\"; auth_basic_user_file {};", users.display());
    let nginx = Nginx::start(&stage, &registry.url(), &directives).await?;
    let host = nginx.host();

    let without = ShoalNode::start(&stage, "without", &NodeOptions::mirroring(&host)).await?;
    assert_denied(&without, &host).await?;
    let wrong =
        ShoalNode::start(&stage, "wrong", &NodeOptions::mirroring_with_password(&host, username, "wrong")).await?;
    assert_denied(&wrong, &host).await?;
    let cluster =
        Cluster::start(&stage, "node", 2, &NodeOptions::mirroring_with_password(&host, username, password)).await?;
    pull_on_all(&cluster, &host, &image).await?;
    for node in cluster.nodes.iter().chain([&without, &wrong]) {
        assert!(!node.log()?.contains(password), "{} logs the password", node.name);
    }
    stage.passed();
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upstream_with_tokens_is_pulled_with_one_token_for_many_requests() -> Result<()> {
    let Some(stage) = Stage::begin("bearer-token", &[])? else { return Ok(()) };
    let image = Image::generate_with_index(&stage.path().join("image"), 13, &[5_000_000, 2_000_000])?;
    let (username, password) = CREDENTIALS;
    let behaviour = Behaviour { token_for: Some(format!("{username}:{password}")), ..Behaviour::default() };
    let mock = MockRegistry::start(&image, behaviour).await?;
    let host = mock.host();

    let without = ShoalNode::start(&stage, "without", &NodeOptions::mirroring(&host)).await?;
    assert_denied(&without, &host).await?;
    let asked_before = mock.asked().len();
    let cluster =
        Cluster::start(&stage, "node", 2, &NodeOptions::mirroring_with_password(&host, username, password)).await?;
    pull_on_all(&cluster, &host, &image).await?;
    let tokens = mock.asked()[asked_before..].iter().filter(|asked| asked.path == "/token").count();
    assert!((1..=cluster.nodes.len()).contains(&tokens), "{tokens} tokens: {:#?}", mock.asked());
    stage.passed();
    Ok(())
}
