//! Which hosts are asked: redirects, and endpoints in order.

use super::*;
use crate::testing::tag;

const CONTENT: &[u8] = b"0123456789";

fn redirect_to(code: u16, location: String) -> impl Fn(&Asked) -> Response + Clone {
    move |_: &Asked| Response::builder().status(code).header(header::LOCATION, &location).body(Body::empty()).unwrap()
}

async fn fetch(client: &RegistryClient, registry: &str) -> Result<Vec<u8>, UpstreamFailure> {
    read(client.fetch(&source_at(registry), &any_digest(), 2..6).await?).await
}

#[tokio::test]
async fn a_redirect_is_followed_with_the_range_and_without_the_login() {
    let storage = FakeRegistry::start(|asked| serve_range(CONTENT, asked)).await;
    let to = format!("http://{}/bucket/key?signature=s", storage.name());
    let registry = FakeRegistry::start(move |asked| {
        if asked.authorization().is_empty() {
            let basic = Response::builder().status(401).header(header::WWW_AUTHENTICATE, "Basic realm=x");
            return basic.body(Body::empty()).unwrap();
        }
        redirect_to(307, to.clone())(asked)
    })
    .await;
    let configs = format!("configs:\n  {}: {{auth: {{username: user, password: secret}}}}\n", registry.name());
    assert_eq!(fetch(&client_with(&configs), &registry.name()).await.unwrap(), b"2345");
    let asked = storage.asked();
    assert_eq!(asked.len(), 1);
    assert_eq!((asked[0].path.as_str(), asked[0].query.as_str()), ("/bucket/key", "signature=s"));
    assert_eq!((asked[0].header(header::RANGE), asked[0].authorization()), ("bytes=2-5", ""));
}

#[tokio::test]
async fn a_challenge_of_another_host_gets_no_login() {
    let storage = FakeRegistry::start(|_| {
        Response::builder().status(401).header(header::WWW_AUTHENTICATE, "Basic realm=x").body(Body::empty()).unwrap()
    })
    .await;
    let registry = FakeRegistry::start(redirect_to(302, format!("http://{}/x", storage.name()))).await;
    let configs = format!("configs:\n  {}: {{auth: {{username: user, password: secret}}}}\n", registry.name());
    assert_eq!(fetch(&client_with(&configs), &registry.name()).await, Err(UpstreamFailure::Denied));
    assert!(storage.asked().iter().all(|asked| asked.authorization().is_empty()));
}

#[tokio::test]
async fn a_redirect_on_the_same_host_keeps_the_login() {
    let registry = FakeRegistry::start(|asked| match (asked.authorization(), asked.path.as_str()) {
        ("", _) => Response::builder()
            .status(401)
            .header(header::WWW_AUTHENTICATE, "Basic realm=x")
            .body(Body::empty())
            .unwrap(),
        (_, "/moved") => serve_range(CONTENT, asked),
        _ => redirect_to(301, "/moved".to_owned())(asked),
    })
    .await;
    let configs = format!("configs:\n  {}: {{auth: {{username: user, password: secret}}}}\n", registry.name());
    assert_eq!(fetch(&client_with(&configs), &registry.name()).await.unwrap(), b"2345");
}

#[tokio::test]
async fn redirects_in_a_circle_end() {
    let registry = FakeRegistry::start(redirect_to(307, "/again".to_owned())).await;
    assert_eq!(fetch(&client(), &registry.name()).await, Err(UpstreamFailure::Unavailable));
    assert_eq!(registry.asked().len(), 11);
}

#[tokio::test]
async fn endpoints_are_tried_in_order_and_the_registry_last() {
    let first = FakeRegistry::start(|_| status(404)).await;
    let second = FakeRegistry::start(|_| status(500)).await;
    let itself = FakeRegistry::start(|asked| serve_range(CONTENT, asked)).await;
    let registries = format!(
        "mirrors:\n  {}:\n    endpoint: ['http://{}', 'http://{}/v2/proxy']\n    rewrite: {{'^a/': 'rewritten/'}}\n",
        itself.name(),
        first.name(),
        second.name()
    );
    let client = client_for(&registries);
    assert_eq!(fetch(&client, &itself.name()).await.unwrap(), b"2345");
    let path_at = |registry: &FakeRegistry| registry.asked()[0].path.clone();
    assert_eq!(path_at(&first), format!("/v2/rewritten/b/blobs/{}", any_digest()));
    assert_eq!(path_at(&second), format!("/v2/proxy/rewritten/b/blobs/{}", any_digest()));
    assert_eq!(path_at(&itself), format!("/v2/a/b/blobs/{}", any_digest()));
}

#[tokio::test]
async fn the_last_answer_counts() {
    let mirror = FakeRegistry::start(|_| status(403)).await;
    let itself = FakeRegistry::start(|_| status(404)).await;
    let registries = format!("mirrors:\n  {}:\n    endpoint: ['http://{}']\n", itself.name(), mirror.name());
    assert_eq!(fetch(&client_for(&registries), &itself.name()).await, Err(UpstreamFailure::NotFound));
}

#[tokio::test]
async fn while_the_registry_itself_rests_a_mirror_without_the_content_proves_nothing() {
    let dead = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let mirror = FakeRegistry::start(|_| status(404)).await;
    let registries = format!("mirrors:\n  {dead}:\n    endpoint: ['http://{}']\n", mirror.name());
    let client = client_for(&registries);
    for _ in 0..2 {
        let resolved = client.resolve(&tag(&dead.to_string(), "a", "1")).await;
        assert_eq!(resolved, Err(UpstreamFailure::Unavailable));
    }
    assert_eq!(mirror.asked().len(), 2);
}

#[tokio::test(start_paused = true)]
async fn an_endpoint_that_is_not_reached_rests() {
    // Taken and given back, so that nobody listens there.
    let dead = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let itself = FakeRegistry::start(|_| status(404)).await;
    let registries = format!("mirrors:\n  {}:\n    endpoint: ['http://{dead}']\n", itself.name());
    let requests = UpstreamRequests::default();
    let client = RegistryClient::new(
        Arc::new(Registries::parse("registries.yaml", &registries).unwrap()),
        UpstreamTimeouts::default(),
        requests.clone(),
    );
    let failed = || requests.counted(&itself.name(), "HEAD", "error");
    for _ in 0..3 {
        let resolved = client.resolve(&tag(&itself.name(), "a", "1")).await;
        assert_eq!(resolved, Err(UpstreamFailure::NotFound));
    }
    assert_eq!(failed(), 1, "tried once, then left out");
    tokio::time::advance(Duration::from_secs(11)).await;
    client.resolve(&tag(&itself.name(), "a", "1")).await.unwrap_err();
    assert_eq!(failed(), 2, "tried again after its rest");
}

#[tokio::test(start_paused = true)]
async fn one_request_at_a_time_finds_out_whether_an_endpoint_is_back() {
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = silent.local_addr().unwrap();
    let itself = FakeRegistry::start(|_| status(404)).await;
    let registries = format!("mirrors:\n  {}:\n    endpoint: ['http://{address}']\n", itself.name());
    let requests = UpstreamRequests::default();
    let client = RegistryClient::new(
        Arc::new(Registries::parse("registries.yaml", &registries).unwrap()),
        UpstreamTimeouts::default(),
        requests.clone(),
    );
    let name = tag(&itself.name(), "a", "1");
    let waited_for_mirror = || requests.counted(&itself.name(), "HEAD", "error");
    // Nobody answers, and who asks has less patience than the connection.
    let given_up = tokio::time::timeout(Duration::from_secs(3), client.resolve(&name)).await;
    assert!(given_up.is_err(), "the mirror is waited for");
    for _ in 0..3 {
        assert_eq!(client.resolve(&name).await, Err(UpstreamFailure::NotFound), "it rests, and the registry is asked");
    }
    assert_eq!(waited_for_mirror(), 0, "nobody waits for it to the end");
    tokio::time::advance(Duration::from_secs(11)).await;
    let (probe, other) = tokio::join!(tokio::time::timeout(Duration::from_secs(3), client.resolve(&name)), async {
        // The other comes once the first is on its way.
        silent.accept().await.unwrap();
        client.resolve(&name).await
    });
    assert!(probe.is_err(), "one finds out");
    assert_eq!(other, Err(UpstreamFailure::NotFound), "and nobody else waits for it");
    assert_eq!(client.resolve(&name).await, Err(UpstreamFailure::NotFound), "nor afterwards");
    assert_eq!(waited_for_mirror(), 0);
}
