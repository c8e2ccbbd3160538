//! What a node says when it cannot start, and how it stops.

use std::{
    fs,
    net::{SocketAddr, TcpListener, UdpSocket},
    path::Path,
};

use anyhow::Result;
use shoal_tests::{
    cluster::Cluster,
    node::{NodeOptions, ShoalNode, run_to_end},
    stage::Stage,
    wait,
};

/// Exit code for what went wrong at run time.
const FAILED: Option<i32> = Some(1);
/// Exit code for wrong usage or configuration.
const WRONG_USAGE: Option<i32> = Some(2);

#[tokio::test]
async fn a_taken_http_port_is_named() -> Result<()> {
    let Some(stage) = Stage::begin("taken-http-port", &[])? else { return Ok(()) };
    let taken = TcpListener::bind("127.0.0.1:0")?;
    let address = taken.local_addr()?;
    let (code, stderr) =
        run_to_end(&stage, "node", &NodeOptions { listen: Some(address), ..NodeOptions::default() }).await?;
    assert_eq!(code, FAILED, "{stderr}");
    assert!(stderr.contains(&address.to_string()) && stderr.contains("--listen"), "{stderr}");
    stage.passed();
    Ok(())
}

#[tokio::test]
async fn a_taken_udp_port_is_named() -> Result<()> {
    let Some(stage) = Stage::begin("taken-udp-port", &[])? else { return Ok(()) };
    let taken = UdpSocket::bind("127.0.0.1:0")?;
    let address = taken.local_addr()?;
    let options = NodeOptions { swarm_listen: Some(address), ..NodeOptions::default() };
    let (code, stderr) = run_to_end(&stage, "node", &options).await?;
    assert_eq!(code, FAILED, "{stderr}");
    assert!(stderr.contains(&address.to_string()) && stderr.contains("--swarm-listen"), "{stderr}");
    stage.passed();
    Ok(())
}

#[tokio::test]
async fn a_data_directory_that_is_not_writable_is_named() -> Result<()> {
    let Some(stage) = Stage::begin("data-dir", &[])? else { return Ok(()) };
    // A file in the way, and a file system that takes nothing: both fail for root too.
    let file = stage.write("a-file", "in the way")?;
    for (name, path) in [("file", file.clone()), ("below-file", file.join("data")), ("proc", "/proc/shoal-data".into())]
    {
        let options = NodeOptions { data_dir: Some(path.clone()), ..NodeOptions::default() };
        let (code, stderr) = run_to_end(&stage, name, &options).await?;
        assert_eq!(code, FAILED, "{stderr}");
        assert!(stderr.contains(&path.display().to_string()) && stderr.contains("--data-dir"), "{stderr}");
    }
    assert_eq!(fs::read_to_string(file)?, "in the way");
    stage.passed();
    Ok(())
}

#[tokio::test]
async fn an_invalid_registries_yaml_is_named_with_its_line_and_what_is_expected() -> Result<()> {
    let Some(stage) = Stage::begin("registries-yaml", &[])? else { return Ok(()) };
    let cases = [
        ("type", "mirrors:\n  docker.io:\n    endpoint: https://one.example\n", 3, "expected"),
        ("scheme", "mirrors:\n  docker.io:\n    endpoint:\n      - ftp://mirror.example\n", 4, "http"),
        ("host", "mirrors:\n  ok.example:\n  not/a/host:\n", 3, "expected"),
        ("syntax", "mirrors:\n\tdocker.io: {}\n", 2, ""),
    ];
    for (name, text, line, expected) in cases {
        let options = NodeOptions { registries: Some(text.to_owned()), ..NodeOptions::default() };
        let (code, stderr) = run_to_end(&stage, name, &options).await?;
        assert_eq!(code, WRONG_USAGE, "{name}: {stderr}");
        let place = format!("{}:{line}: ", stage.path().join(format!("{name}-registries.yaml")).display());
        assert!(stderr.contains(&place), "{name}: no {place} in: {stderr}");
        assert!(stderr.contains(expected), "{name}: no {expected:?} in: {stderr}");
    }
    stage.passed();
    Ok(())
}

#[tokio::test]
async fn a_malformed_secret_is_refused_without_being_shown() -> Result<()> {
    let Some(stage) = Stage::begin("secret-file", &[])? else { return Ok(()) };
    let file = stage.write("cluster.secret", "not-64-hex-digits\n")?;
    fs::set_permissions(&file, std::os::unix::fs::PermissionsExt::from_mode(0o600))?;
    let options = NodeOptions { secret_file: Some(file.clone()), ..NodeOptions::default() };
    let (code, stderr) = run_to_end(&stage, "node", &options).await?;
    assert_eq!(code, WRONG_USAGE, "{stderr}");
    assert!(stderr.contains(&file.display().to_string()), "{stderr}");
    assert!(!stderr.contains("not-64-hex-digits"), "a secret is in the log: {stderr}");
    stage.passed();
    Ok(())
}

#[tokio::test]
async fn a_node_without_any_seed_is_a_healthy_cluster_of_one() -> Result<()> {
    let Some(stage) = Stage::begin("cluster-of-one", &[])? else { return Ok(()) };
    let node = ShoalNode::start(&stage, "node", &NodeOptions::default()).await?;
    wait::until("the node is ready", wait::SOON, async || Ok(node.is_ready().await?.then_some(()))).await?;
    assert_eq!(node.members().await?, 1);
    assert_eq!(node.metric("members_alive").await?, 1);
    assert_eq!(node.status().await?["id"], node.id);
    let secret = fs::read_to_string(node.data_dir().join("cluster.secret"))?;
    assert_eq!(secret.trim().len(), 64, "{} has no secret", node.data_dir().display());
    stage.passed();
    Ok(())
}

#[tokio::test]
async fn sigterm_stops_a_node_in_order_and_leaves_no_process() -> Result<()> {
    let Some(stage) = Stage::begin("sigterm", &[])? else { return Ok(()) };
    let mut cluster = Cluster::start(&stage, "node", 2, &NodeOptions::default()).await?;
    let data_dir = cluster.nodes[1].data_dir().display().to_string();
    let (http, swarm) = (cluster.nodes[1].http, cluster.nodes[1].swarm);
    let status = cluster.nodes[1].stop().await?;
    assert_eq!(status.code(), Some(0), "{}", cluster.nodes[1].log()?);
    assert_eq!(processes_naming(&data_dir)?, Vec::<String>::new());
    assert_ports_are_free(http, swarm)?;
    cluster.nodes[0].wait_for_members(1).await?;
    stage.passed();
    Ok(())
}

fn assert_ports_are_free(http: SocketAddr, swarm: SocketAddr) -> Result<()> {
    assert!(std::net::TcpStream::connect(http).is_err(), "something still answers at {http}");
    UdpSocket::bind(swarm)?;
    Ok(())
}

/// Command lines of processes that have `text` in them.
fn processes_naming(text: &str) -> Result<Vec<String>> {
    let mut found = Vec::new();
    for entry in fs::read_dir("/proc")?.flatten() {
        // A process may end while it is looked at.
        let line = fs::read(Path::new(&entry.path()).join("cmdline")).unwrap_or_default();
        let line = String::from_utf8_lossy(&line).replace('\0', " ");
        if line.contains(text) {
            found.push(line);
        }
    }
    Ok(found)
}
