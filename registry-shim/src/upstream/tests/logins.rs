use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::json;

use super::*;

/// A registry that wants a token of its own token service, which `service` answers.
async fn token_registry(service: impl Fn(&Asked) -> Response + Clone + Send + Sync + 'static) -> FakeRegistry {
    FakeRegistry::start(move |asked| {
        if asked.path == "/token" {
            return service(asked);
        }
        if asked.authorization() == "Bearer good" {
            return serve_range(b"0123456789", asked);
        }
        let host = asked.header(header::HOST);
        let challenge =
            format!(r#"Bearer realm="http://{host}/token",service="registry.example",scope="repository:a/b:pull""#);
        Response::builder().status(401).header(header::WWW_AUTHENTICATE, challenge).body(Body::empty()).unwrap()
    })
    .await
}

fn token(text: &str) -> Response {
    Response::new(Body::from(json!({"token": text, "expires_in": 300}).to_string()))
}

fn requests_to(registry: &FakeRegistry, path: &str) -> Vec<Asked> {
    registry.asked().into_iter().filter(|asked| asked.path == path).collect()
}

async fn fetch(client: &RegistryClient, registry: &FakeRegistry) -> Result<Vec<u8>, UpstreamFailure> {
    read(client.fetch(&registry.source(), &any_digest(), 0..4).await?).await
}

#[tokio::test]
async fn a_token_is_fetched_once_and_used_by_all_requests() {
    let registry = token_registry(|_| token("good")).await;
    let client = client();
    let fetches = (0..20).map(|_| fetch(&client, &registry));
    for fetched in futures_util::future::join_all(fetches).await {
        assert_eq!(fetched.unwrap(), b"0123");
    }
    assert_eq!(fetch(&client, &registry).await.unwrap(), b"0123");
    let tokens = requests_to(&registry, "/token");
    assert_eq!(tokens.len(), 1);
    assert_eq!(tokens[0].query, "scope=repository%3Aa%2Fb%3Apull&service=registry.example");
    assert_eq!((tokens[0].method.as_str(), tokens[0].authorization()), ("GET", ""));
    let last = registry.asked().pop().unwrap();
    assert_eq!(last.authorization(), "Bearer good", "a known token is sent at once");
}

#[tokio::test]
async fn credentials_go_to_the_token_service_only() {
    let registry = token_registry(|asked| {
        let right = asked.authorization() == "Basic dXNlcjpzZWNyZXQ=";
        if right { token("good") } else { status(401) }
    })
    .await;
    let configs = format!("configs:\n  {}: {{auth: {{username: user, password: secret}}}}\n", registry.name());
    assert_eq!(fetch(&client_with(&configs), &registry).await.unwrap(), b"0123");
    assert!(registry.asked().iter().all(|asked| asked.path == "/token" || !asked.authorization().starts_with("Basic")));
    assert_eq!(fetch(&client(), &registry).await, Err(UpstreamFailure::Denied));
}

#[tokio::test]
async fn an_identity_token_is_exchanged() {
    let registry = token_registry(|asked| {
        let fields: Vec<_> = url::form_urlencoded::parse(asked.body.as_bytes()).into_owned().collect();
        let field = |key: &str| fields.iter().find(|(name, _)| name == key).map(|(_, value)| value.as_str());
        assert_eq!((asked.method.as_str(), field("grant_type")), ("POST", Some("refresh_token")));
        assert_eq!((field("refresh_token"), field("scope")), (Some("identity"), Some("repository:a/b:pull")));
        Response::new(Body::from(json!({"access_token": "good"}).to_string()))
    })
    .await;
    let configs = format!("configs:\n  {}: {{auth: {{identity_token: identity}}}}\n", registry.name());
    assert_eq!(fetch(&client_with(&configs), &registry).await.unwrap(), b"0123");
}

#[tokio::test]
async fn a_token_that_is_no_longer_accepted_is_renewed() {
    let tokens = Arc::new(AtomicUsize::new(0));
    let given = tokens.clone();
    let registry = FakeRegistry::start(move |asked| {
        if asked.path == "/token" {
            return token(&format!("number {}", given.fetch_add(1, Ordering::Relaxed)));
        }
        let newest = format!("Bearer number {}", given.load(Ordering::Relaxed).saturating_sub(1));
        if asked.authorization() == newest {
            return serve_range(b"0123456789", asked);
        }
        let challenge = format!("Bearer realm=\"http://{}/token\"", asked.header(header::HOST));
        Response::builder().status(401).header(header::WWW_AUTHENTICATE, challenge).body(Body::empty()).unwrap()
    })
    .await;
    let client = client();
    assert_eq!(fetch(&client, &registry).await.unwrap(), b"0123");
    // The registry forgets the token that it gave.
    tokens.fetch_add(1, Ordering::Relaxed);
    assert_eq!(fetch(&client, &registry).await.unwrap(), b"0123");
    assert_eq!(requests_to(&registry, "/token").len(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_token_is_used_until_it_expires() {
    let registry = token_registry(|_| token("good")).await;
    let client = client();
    fetch(&client, &registry).await.unwrap();
    tokio::time::advance(Duration::from_secs(200)).await;
    fetch(&client, &registry).await.unwrap();
    assert_eq!(requests_to(&registry, "/token").len(), 1);
    tokio::time::advance(Duration::from_secs(100)).await;
    fetch(&client, &registry).await.unwrap();
    assert_eq!(requests_to(&registry, "/token").len(), 2);
}

#[tokio::test]
async fn a_token_that_does_not_help_is_a_denial() {
    let registry = token_registry(|_| token("bad")).await;
    assert_eq!(fetch(&client(), &registry).await, Err(UpstreamFailure::Denied));
    assert_eq!(requests_to(&registry, "/token").len(), 1);
}

#[tokio::test]
async fn failures_of_the_token_service_are_told_apart() {
    for (code, failure) in [
        (401, UpstreamFailure::Denied),
        (403, UpstreamFailure::Denied),
        (429, UpstreamFailure::RateLimited { retry_after_s: 10 }),
        (500, UpstreamFailure::Unavailable),
    ] {
        let registry = token_registry(move |_| status(code)).await;
        assert_eq!(fetch(&client(), &registry).await, Err(failure), "{code}");
    }
    let registry = token_registry(|_| Response::new(Body::from("not JSON"))).await;
    assert_eq!(fetch(&client(), &registry).await, Err(UpstreamFailure::Unavailable));
}

#[tokio::test]
async fn basic_credentials_are_sent_after_a_challenge() {
    let registry = FakeRegistry::start(|asked| {
        if asked.authorization() == "Basic dXNlcjpzZWNyZXQ=" {
            return serve_range(b"0123456789", asked);
        }
        Response::builder().status(401).header(header::WWW_AUTHENTICATE, "Basic realm=x").body(Body::empty()).unwrap()
    })
    .await;
    let configs = |password: &str| {
        format!("configs:\n  {}: {{auth: {{username: user, password: {password}}}}}\n", registry.name())
    };
    let right = client_with(&configs("secret"));
    assert_eq!(fetch(&right, &registry).await.unwrap(), b"0123");
    assert_eq!(fetch(&right, &registry).await.unwrap(), b"0123");
    let sent: Vec<bool> = registry.asked().iter().map(|asked| !asked.authorization().is_empty()).collect();
    assert_eq!(sent, [false, true, true]);
    assert_eq!(fetch(&client_with(&configs("wrong")), &registry).await, Err(UpstreamFailure::Denied));
    assert_eq!(fetch(&client(), &registry).await, Err(UpstreamFailure::Denied));
}
