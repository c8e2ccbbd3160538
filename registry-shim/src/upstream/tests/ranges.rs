use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::*;

const CONTENT: &[u8] = b"0123456789";

async fn fetch(registry: &FakeRegistry, range: std::ops::Range<u64>) -> Result<UpstreamBody, UpstreamFailure> {
    client().fetch(&registry.source(), &any_digest(), range).await
}

/// An answer of status 206 that claims this range and has this body.
fn partial(content_range: &'static str, body: &'static [u8]) -> impl Fn(&Asked) -> Response + Clone {
    move |_: &Asked| {
        Response::builder().status(206).header(header::CONTENT_RANGE, content_range).body(Body::from(body)).unwrap()
    }
}

#[tokio::test]
async fn a_range_is_fetched() {
    let registry = FakeRegistry::start(|asked| serve_range(CONTENT, asked)).await;
    let body = fetch(&registry, 2..7).await.unwrap();
    assert!(!body.whole);
    assert_eq!(read(body).await.unwrap(), b"23456");
    let asked = &registry.asked()[0];
    assert_eq!(asked.path, format!("/v2/a/b/blobs/{}", any_digest()));
    assert_eq!((asked.method.as_str(), asked.header(header::RANGE)), ("GET", "bytes=2-6"));
}

#[tokio::test]
async fn an_empty_range_asks_nothing() {
    let registry = FakeRegistry::start(|_| status(500)).await;
    let body = fetch(&registry, 0..0).await.unwrap();
    assert_eq!(read(body).await.unwrap(), b"");
    assert!(registry.asked().is_empty());
}

#[tokio::test]
async fn a_registry_without_ranges_sends_the_whole() {
    let registry = FakeRegistry::start(|_| Response::new(Body::from(CONTENT))).await;
    let body = fetch(&registry, 2..7).await.unwrap();
    assert!(body.whole);
    assert_eq!(read(body).await.unwrap(), CONTENT);

    let body = fetch(&registry, 0..5).await.unwrap();
    assert!(body.whole);
    let body = fetch(&registry, 0..10).await.unwrap();
    assert!(!body.whole, "the whole is what was asked for");
    assert_eq!(read(body).await.unwrap(), CONTENT);
}

#[tokio::test]
async fn manifests_are_fetched_without_a_range_header() {
    let registry = FakeRegistry::start(|asked| {
        assert_eq!(asked.header(header::RANGE), "");
        // Of unknown length, as some registries send manifests.
        let parts = futures_util::stream::iter([Ok::<_, std::io::Error>(CONTENT)]);
        Response::new(Body::from_stream(parts))
    })
    .await;
    let mut source = registry.source();
    source.kind = ContentKind::Manifest;
    source.media_type = "application/vnd.oci.image.index.v1+json".to_owned();
    let body = client().fetch(&source, &any_digest(), 0..10).await.unwrap();
    assert!(!body.whole);
    assert_eq!(read(body).await.unwrap(), CONTENT);
    let asked = &registry.asked()[0];
    assert_eq!(asked.path, format!("/v2/a/b/manifests/{}", any_digest()));
    assert_eq!(asked.header(header::ACCEPT), "application/vnd.oci.image.index.v1+json, */*");
}

#[tokio::test]
async fn another_range_than_asked_for_is_refused() {
    for content_range in ["bytes 0-4/10", "bytes 2-7/10", "bytes 2-5/10", "nonsense"] {
        let registry = FakeRegistry::start(partial(content_range, b"23456")).await;
        assert_eq!(fetch(&registry, 2..7).await.err(), Some(UpstreamFailure::Unavailable), "{content_range}");
    }
    let without = |_: &Asked| Response::builder().status(206).body(Body::from("23456")).unwrap();
    let registry = FakeRegistry::start(without).await;
    assert_eq!(fetch(&registry, 2..7).await.err(), Some(UpstreamFailure::Unavailable));
}

#[tokio::test]
async fn a_body_shorter_than_its_range_fails_and_a_longer_one_is_cut() {
    let registry = FakeRegistry::start(partial("bytes 2-6/10", b"234")).await;
    let body = fetch(&registry, 2..7).await.unwrap();
    assert_eq!(read(body).await, Err(UpstreamFailure::Unavailable));

    let registry = FakeRegistry::start(partial("bytes 2-6/10", b"23456789")).await;
    let body = fetch(&registry, 2..7).await.unwrap();
    assert_eq!(read(body).await.unwrap(), b"23456");
}

#[tokio::test]
async fn a_body_shorter_than_its_content_length_fails() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let source = source_at(&listener.local_addr().unwrap().to_string());
    tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        stream.read_exact(&mut [0; 16]).await.unwrap();
        stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 20\r\n\r\n0123456789").await.unwrap();
        stream.shutdown().await.unwrap();
        // Closing with unread input would reset the connection.
        let _ = stream.read_to_end(&mut Vec::new()).await;
    });
    let body = client().fetch(&source, &any_digest(), 5..15).await.unwrap();
    assert!(body.whole);
    assert_eq!(read(body).await, Err(UpstreamFailure::Unavailable));
}

#[tokio::test]
async fn each_refusal_is_told_apart() {
    for (code, failure) in [
        (401, UpstreamFailure::Denied),
        (403, UpstreamFailure::Denied),
        (404, UpstreamFailure::NotFound),
        (416, UpstreamFailure::Unavailable),
        (500, UpstreamFailure::Unavailable),
        (502, UpstreamFailure::Unavailable),
    ] {
        let registry = FakeRegistry::start(move |_| status(code)).await;
        assert_eq!(fetch(&registry, 0..5).await.err(), Some(failure), "{code}");
    }
    let limited =
        |_: &Asked| Response::builder().status(429).header(header::RETRY_AFTER, 7).body(Body::empty()).unwrap();
    let registry = FakeRegistry::start(limited).await;
    assert_eq!(fetch(&registry, 0..5).await.err(), Some(UpstreamFailure::RateLimited { retry_after_s: 7 }));
}

#[tokio::test]
async fn a_registry_that_never_answers_is_given_up() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let source = source_at(&listener.local_addr().unwrap().to_string());
    let fetched = patient_only_for_a_moment().fetch(&source, &any_digest(), 0..5).await;
    assert_eq!(fetched.err(), Some(UpstreamFailure::Unavailable));
}

#[tokio::test]
async fn a_body_that_stalls_is_given_up() {
    let registry = FakeRegistry::start(|_| {
        let parts = futures_util::stream::iter([Ok::<_, std::io::Error>(&CONTENT[..4])]);
        let stalls = parts.chain(futures_util::stream::pending());
        Response::builder().header(header::CONTENT_LENGTH, 10).body(Body::from_stream(stalls)).unwrap()
    })
    .await;
    let body = patient_only_for_a_moment().fetch(&registry.source(), &any_digest(), 0..10).await.unwrap();
    assert_eq!(read(body).await, Err(UpstreamFailure::Unavailable));
}
