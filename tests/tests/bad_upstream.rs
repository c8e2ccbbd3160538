//! Upstreams that are down or refuse, and requests that are malformed: clear statuses that containerd takes well.

use anyhow::{Context, Result};
use reqwest::Method;
use shoal_tests::{
    client::{Answer, Mirror},
    image::{Image, digest_of},
    mock::{Behaviour, MockRegistry},
    node::{NodeOptions, ShoalNode},
    process::free_port,
    stage::Stage,
    wait,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

/// containerd would repeat 408 and 429 at once on the same host, and hand over pull secrets after a challenge.
fn assert_containerd_goes_on(what: &str, answer: &Answer) {
    let status = answer.status.as_u16();
    assert!((400..600).contains(&status) && ![401, 408, 429].contains(&status), "{what}: {status}");
    assert!(!answer.headers.contains_key("www-authenticate"), "{what}: a challenge: {:?}", answer.headers);
}

/// Asks by HEAD and GET for a tag and for a digest that nobody has, and checks status and error code of each answer.
async fn assert_refused(what: &str, client: &Mirror, status: u16, code: &str) -> Result<()> {
    let digest = digest_of(what.as_bytes());
    for path in [client.manifest_path("v1"), client.manifest_path(&digest), client.blob_path(&digest)] {
        let what = format!("{what}, {path}");
        let answer = client.ask(Method::GET, &path, &[]).await?;
        assert_containerd_goes_on(&what, &answer);
        assert_eq!(
            (answer.status.as_u16(), answer.error_code()?.as_str()),
            (status, code),
            "{what}: {}",
            answer.text()
        );
        let head = client.ask(Method::HEAD, &path, &[]).await?;
        assert_containerd_goes_on(&what, &head);
        assert_eq!(head.status.as_u16(), status, "HEAD: {what}");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn each_refusal_of_an_upstream_has_its_status_and_the_node_recovers() -> Result<()> {
    let Some(stage) = Stage::begin("upstream-refusals", &[])? else { return Ok(()) };
    let image = Image::generate(&stage.path().join("image"), 8, &[600_000])?;
    let mock = MockRegistry::start(&image, Behaviour::default()).await?;
    let node = ShoalNode::start(&stage, "node", &NodeOptions::mirroring(&mock.host())).await?;
    let header = |name: &str, value: &str| vec![(name.to_owned(), value.to_owned())];
    let cases = [
        ("401-basic", 401, header("www-authenticate", "Basic realm=\"r\""), 403, "DENIED"),
        ("401-without-challenge", 401, Vec::new(), 403, "DENIED"),
        ("403", 403, Vec::new(), 403, "DENIED"),
        ("429", 429, header("retry-after", "1"), 503, "UNAVAILABLE"),
        ("500", 500, Vec::new(), 503, "UNAVAILABLE"),
        ("503", 503, Vec::new(), 503, "UNAVAILABLE"),
    ];
    for (name, status, headers, expected, code) in cases {
        let counted = node.upstream_answers(&status.to_string()).await?;
        mock.set(Behaviour { fail_with: Some((status, headers)), ..Behaviour::default() });
        // A repository of its own, so that no case meets what another one left behind.
        assert_refused(name, &Mirror::new(&node.url(), &mock.host(), &format!("team/{name}"))?, expected, code).await?;
        assert!(node.upstream_answers(&status.to_string()).await? > counted, "{name} is not counted");
    }
    mock.set(Behaviour::default());
    let client = Mirror::new(&node.url(), &mock.host(), "team/app")?;
    wait::until("the node pulls again once the upstream is well", wait::SOON, async || Ok(client.pull().await.ok()))
        .await?;
    stage.passed();
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upstream_that_is_down_is_503_and_the_node_stays_ready() -> Result<()> {
    let Some(stage) = Stage::begin("upstream-down", &[])? else { return Ok(()) };
    let host = format!("127.0.0.1:{}", free_port()?);
    let node = ShoalNode::start(&stage, "node", &NodeOptions::mirroring(&host)).await?;
    assert_refused("down", &Mirror::new(&node.url(), &host, "team/app")?, 503, "UNAVAILABLE").await?;
    assert!(node.upstream_answers("error").await? > 0);
    assert!(node.is_ready().await?);
    stage.passed();
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upstream_that_fails_between_manifest_and_layer_is_counted_and_the_layer_comes_later() -> Result<()> {
    let Some(stage) = Stage::begin("upstream-fails-late", &[])? else { return Ok(()) };
    let cases = [(401, 403), (403, 403), (429, 503), (500, 503)];
    for (seed, (status, expected)) in (20..).zip(cases) {
        let image = Image::generate(&stage.path().join(format!("image-{status}")), seed, &[600_000])?;
        let mock = MockRegistry::start(&image, Behaviour::default()).await?;
        let node = ShoalNode::start(&stage, &format!("node-{status}"), &NodeOptions::mirroring(&mock.host())).await?;
        let client = Mirror::new(&node.url(), &mock.host(), "team/app")?;
        let answer = client.ask(Method::GET, &client.manifest_path(&image.manifest.digest), &[]).await?;
        answer.expect_status("the manifest", reqwest::StatusCode::OK)?;

        mock.set(Behaviour { fail_with: Some((status, Vec::new())), ..Behaviour::default() });
        let answer = client.ask(Method::GET, &client.blob_path(&image.layers[0].digest), &[]).await?;
        assert_containerd_goes_on(&format!("a layer after {status}"), &answer);
        assert_eq!(answer.status.as_u16(), expected, "{status}: {}", answer.text());
        assert!(node.metric("upstream_failures_total").await? > 0, "{status} is not counted");

        mock.set(Behaviour::default());
        let what = format!("the pull succeeds after {status}");
        wait::until(&what, wait::SOON, async || Ok(client.pull().await.ok())).await?;
    }
    stage.passed();
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn malformed_names_and_digests_are_refused_without_asking_the_upstream() -> Result<()> {
    let Some(stage) = Stage::begin("malformed-urls", &[])? else { return Ok(()) };
    let image = Image::generate(&stage.path().join("image"), 9, &[1000])?;
    let mock = MockRegistry::start(&image, Behaviour::default()).await?;
    let node = ShoalNode::start(&stage, "node", &NodeOptions::mirroring(&mock.host())).await?;
    let digest = digest_of(b"valid");
    let long_tag = "t".repeat(129);
    let long_name = "n".repeat(256);
    let cases = [
        ("/v2/UPPER/manifests/v1".to_owned(), "NAME_INVALID"),
        ("/v2/a//b/manifests/v1".to_owned(), "NAME_INVALID"),
        ("/v2/../../etc/passwd/manifests/v1".to_owned(), "NAME_INVALID"),
        ("/v2/%2e%2e/%2e%2e/manifests/v1".to_owned(), "NAME_INVALID"),
        (format!("/v2/{long_name}/manifests/v1"), "NAME_INVALID"),
        ("/v2/a/manifests/.hidden".to_owned(), "NAME_INVALID"),
        (format!("/v2/a/manifests/{long_tag}"), "NAME_INVALID"),
        ("/v2/a/blobs/sha256:00".to_owned(), "DIGEST_INVALID"),
        ("/v2/a/blobs/latest".to_owned(), "DIGEST_INVALID"),
        (format!("/v2/a/blobs/{}", digest.to_uppercase()), "DIGEST_INVALID"),
        (format!("/v2/a/blobs/{}", digest.replace("sha256", "md5")), "DIGEST_INVALID"),
        (format!("/v2/a/manifests/{digest}00"), "DIGEST_INVALID"),
    ];
    for (path, code) in cases {
        let answer = raw_get(&node, &format!("{path}?ns={}", mock.host())).await?;
        assert_eq!((answer.0, answer.1.contains(&format!("{code:?}"))), (400, true), "{path}: {}", answer.1);
    }
    let answer = raw_get(&node, "/v2/a/manifests/v1?ns=user@host/path").await?;
    assert_eq!(answer.0, 400, "{}", answer.1);
    let answer = raw_get(&node, "/v2/a/tags/list").await?;
    assert_eq!(answer.0, 404, "{}", answer.1);
    assert_eq!(mock.asked(), []);
    assert!(node.is_ready().await?);
    stage.passed();
    Ok(())
}

/// Sends a request target as it is: clients would tidy it up. Returns status and body.
async fn raw_get(node: &ShoalNode, target: &str) -> Result<(u16, String)> {
    let mut stream = TcpStream::connect(node.http).await?;
    stream.write_all(format!("GET {target} HTTP/1.1\r\nHost: node\r\nConnection: close\r\n\r\n").as_bytes()).await?;
    let mut answer = String::new();
    let read = async { Ok(stream.read_to_string(&mut answer).await?) };
    wait::within(&format!("an answer to {target}"), wait::SOON, read).await?;
    let (head, body) = answer.split_once("\r\n\r\n").with_context(|| format!("no answer: {answer:?}"))?;
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok());
    Ok((status.with_context(|| format!("no status: {head:?}"))?, body.to_owned()))
}
