use axum::body::to_bytes;
use serde_json::{Value, json};
use shoal_runtime::UpstreamFailure;

use super::*;
use crate::testing::{End, Memory, by_digest, digest_of, tag};

const MANIFEST_TYPE: &str = "application/vnd.oci.image.manifest.v1+json";
const INDEX_TYPE: &str = "application/vnd.oci.image.index.v1+json";

/// An endpoint over a memory, and the memory.
struct Fixture {
    memory: Arc<Memory>,
    endpoint: Endpoint,
}

/// An answer with its body read.
#[derive(Debug)]
struct Read {
    status: u16,
    headers: HeaderMap,
    body: Bytes,
}

impl Fixture {
    fn new() -> Self {
        Self::with_registries(Registries::default())
    }

    fn with_registries(registries: Registries) -> Self {
        let memory = Arc::new(Memory::default());
        Self { endpoint: Endpoint::new(memory.clone(), Arc::new(registries)), memory }
    }

    async fn ask(&self, method: &str, uri: &str) -> Read {
        self.ask_range(method, uri, None).await
    }

    async fn ask_range(&self, method: &str, uri: &str, range: Option<&str>) -> Read {
        let mut request = Request::builder().method(method).uri(uri);
        if let Some(range) = range {
            request = request.header(header::RANGE, range);
        }
        let response = self.endpoint.answer(request.body(Body::empty()).unwrap()).await;
        let (parts, body) = response.into_parts();
        Read { status: parts.status.as_u16(), headers: parts.headers, body: to_bytes(body, usize::MAX).await.unwrap() }
    }
}

impl Read {
    fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    fn error_code(&self) -> String {
        let body: Value = serde_json::from_slice(&self.body).unwrap_or_else(|_| panic!("{self:?}"));
        body["errors"][0]["code"].as_str().unwrap().to_owned()
    }
}

/// An image manifest over a config and a layer.
fn manifest_over(config: &[u8], layer: &[u8]) -> Vec<u8> {
    json!({
        "schemaVersion": 2,
        "mediaType": MANIFEST_TYPE,
        "config": {"mediaType": "application/vnd.oci.image.config.v1+json", "digest": digest_of(config).to_string(), "size": config.len()},
        "layers": [{"mediaType": "application/vnd.oci.image.layer.v1.tar", "digest": digest_of(layer).to_string(), "size": layer.len()}],
    })
    .to_string()
    .into_bytes()
}

#[tokio::test]
async fn the_base_is_answered_without_a_challenge() {
    let fixture = Fixture::new();
    for uri in ["/v2", "/v2/"] {
        for method in ["GET", "HEAD"] {
            let read = fixture.ask(method, uri).await;
            assert_eq!(read.status, 200);
            assert!(!read.headers.contains_key(header::WWW_AUTHENTICATE));
        }
    }
}

#[tokio::test]
async fn a_head_of_a_tag_has_digest_length_and_type_and_no_body() {
    let fixture = Fixture::new();
    let manifest = manifest_over(b"{}", b"layer");
    let digest = fixture.memory.publish(&tag("docker.io", "library/alpine", "3"), MANIFEST_TYPE, &manifest);
    let read = fixture.ask("HEAD", "/v2/library/alpine/manifests/3?ns=docker.io").await;
    assert_eq!(read.status, 200);
    assert_eq!(read.header("docker-content-digest"), digest.to_string());
    assert_eq!(read.header("content-length"), manifest.len().to_string());
    assert_eq!(read.header("content-type"), MANIFEST_TYPE);
    assert!(read.body.is_empty());
    assert!(fixture.memory.opened.lock().unwrap().is_empty());

    let read = fixture.ask("GET", "/v2/library/alpine/manifests/3?ns=docker.io").await;
    assert_eq!((read.status, &read.body[..]), (200, &manifest[..]));
    assert_eq!(read.header("content-type"), MANIFEST_TYPE);
}

#[tokio::test]
async fn both_hosts_of_docker_hub_are_one_registry() {
    let fixture = Fixture::new();
    fixture.memory.publish(&tag("docker.io", "library/alpine", "3"), MANIFEST_TYPE, &manifest_over(b"{}", b"x"));
    assert_eq!(fixture.ask("HEAD", "/v2/library/alpine/manifests/3?ns=registry-1.docker.io").await.status, 200);
}

#[tokio::test]
async fn without_a_registry_tags_are_unknown_and_digests_are_tried() {
    let fixture = Fixture::new();
    let held = fixture.memory.hold(b"held layer");
    let elsewhere = fixture.memory.publish(
        &by_digest("", "a", ContentKind::Blob, digest_of(b"in the cluster")),
        "",
        b"in the cluster",
    );
    let read = fixture.ask("HEAD", "/v2/a/manifests/latest").await;
    assert_eq!((read.status, fixture.memory.resolutions()), (404, 0));

    let read = fixture.ask("GET", &format!("/v2/a/blobs/{held}")).await;
    assert_eq!((read.status, &read.body[..]), (200, &b"held layer"[..]));
    let read = fixture.ask("GET", &format!("/v2/a/blobs/{elsewhere}")).await;
    assert_eq!((read.status, &read.body[..]), (200, &b"in the cluster"[..]));
    assert!(fixture.memory.opened.lock().unwrap().iter().all(|request| request.source.is_none()));
}

#[tokio::test]
async fn unknown_content_is_404_with_the_code_of_its_kind() {
    let fixture = Fixture::new();
    let digest = digest_of(b"nowhere");
    for query in ["", "?ns=docker.io"] {
        let read = fixture.ask("GET", &format!("/v2/a/blobs/{digest}{query}")).await;
        assert_eq!((read.status, read.error_code().as_str()), (404, "BLOB_UNKNOWN"));
        let read = fixture.ask("GET", &format!("/v2/a/manifests/{digest}{query}")).await;
        assert_eq!((read.status, read.error_code().as_str()), (404, "MANIFEST_UNKNOWN"));
    }
    let read = fixture.ask("GET", "/v2/a/manifests/none?ns=docker.io").await;
    assert_eq!((read.status, read.error_code().as_str()), (404, "MANIFEST_UNKNOWN"));
}

#[tokio::test]
async fn a_manifest_is_no_blob_and_a_blob_no_manifest() {
    let fixture = Fixture::new();
    let manifest = manifest_over(b"{}", b"layer");
    let digest = fixture.memory.publish(&tag("r.example", "a", "1"), MANIFEST_TYPE, &manifest);
    let layer = fixture.memory.store(b"layer");
    assert_eq!(fixture.ask("GET", "/v2/a/manifests/1?ns=r.example").await.status, 200);

    let read = fixture.ask("GET", &format!("/v2/a/blobs/{digest}?ns=r.example")).await;
    assert_eq!((read.status, read.error_code().as_str()), (404, "BLOB_UNKNOWN"));
    let read = fixture.ask("GET", &format!("/v2/a/manifests/{layer}?ns=r.example")).await;
    assert_eq!((read.status, read.error_code().as_str()), (404, "MANIFEST_UNKNOWN"));
}

#[tokio::test]
async fn held_content_is_told_apart_after_a_restart() {
    let fixture = Fixture::new();
    let manifest = manifest_over(b"{}", b"layer");
    let digest = fixture.memory.hold(&manifest);
    let index = json!({"schemaVersion": 2, "manifests": []}).to_string();
    let index_digest = fixture.memory.hold(index.as_bytes());
    let config = fixture.memory.hold(br#"{"architecture":"amd64"}"#);

    let read = fixture.ask("HEAD", &format!("/v2/a/manifests/{digest}?ns=r.example")).await;
    assert_eq!((read.status, read.header("content-type")), (200, MANIFEST_TYPE));
    let read = fixture.ask("HEAD", &format!("/v2/a/manifests/{index_digest}?ns=r.example")).await;
    assert_eq!((read.status, read.header("content-type")), (200, INDEX_TYPE));
    assert_eq!(fixture.ask("GET", &format!("/v2/a/blobs/{digest}?ns=r.example")).await.status, 404);
    assert_eq!(fixture.ask("GET", &format!("/v2/a/blobs/{config}?ns=r.example")).await.status, 200);
    assert_eq!(fixture.ask("GET", &format!("/v2/a/manifests/{config}?ns=r.example")).await.status, 404);
    assert_eq!(fixture.memory.resolutions(), 0);
}

#[tokio::test]
async fn a_digest_alone_may_be_asked_for_as_one_kind_and_then_as_the_other() {
    let fixture = Fixture::new();
    let manifest = manifest_over(b"{}", b"layer");
    let digest = fixture.memory.store(&manifest);
    // The swarm knows the size of what is asked for, not its kind.
    for kind in [ContentKind::Blob, ContentKind::Manifest] {
        fixture.memory.publish(&by_digest("r.example", "a", kind, digest), "", &manifest);
    }
    assert_eq!(fixture.ask("HEAD", &format!("/v2/a/blobs/{digest}?ns=r.example")).await.status, 200);
    let read = fixture.ask("GET", &format!("/v2/a/manifests/{digest}?ns=r.example")).await;
    assert_eq!((read.status, read.header("content-type")), (200, MANIFEST_TYPE));
    let read = fixture.ask("HEAD", &format!("/v2/a/blobs/{digest}?ns=r.example")).await;
    assert_eq!(read.status, 404, "it is known to be a manifest now");

    // What this node holds meanwhile it tells by its text, and asks nobody.
    let another = manifest_over(b"{}", b"another");
    let name = by_digest("r.example", "a", ContentKind::Blob, digest_of(&another));
    let digest = fixture.memory.publish(&name, "", &another);
    assert_eq!(fixture.ask("HEAD", &format!("/v2/a/blobs/{digest}?ns=r.example")).await.status, 200);
    fixture.memory.hold(&another);
    let asked = fixture.memory.resolutions();
    assert_eq!(fixture.ask("GET", &format!("/v2/a/manifests/{digest}?ns=r.example")).await.status, 200);
    assert_eq!(fixture.ask("HEAD", &format!("/v2/a/blobs/{digest}?ns=r.example")).await.status, 404);
    assert_eq!(fixture.memory.resolutions(), asked);
}

#[tokio::test]
async fn methods_that_change_things_are_refused() {
    let fixture = Fixture::new();
    for method in ["PUT", "POST", "PATCH", "DELETE", "OPTIONS"] {
        let read = fixture.ask(method, "/v2/a/manifests/1?ns=r.example").await;
        assert_eq!((read.status, read.error_code().as_str()), (405, "UNSUPPORTED"), "{method}");
        assert_eq!(read.header("allow"), "GET, HEAD");
    }
    assert_eq!(fixture.memory.resolutions(), 0);
}

#[tokio::test]
async fn malformed_names_are_refused_with_their_code() {
    let fixture = Fixture::new();
    for (uri, status, code) in [
        ("/v2/UPPER/manifests/1", 400, "NAME_INVALID"),
        ("/v2/a/manifests/-1", 400, "NAME_INVALID"),
        ("/v2/a/blobs/sha256:00", 400, "DIGEST_INVALID"),
        ("/v2/a/manifests/md5:00", 400, "DIGEST_INVALID"),
        ("/v2/a/manifests/1?ns=user@host", 400, "NAME_INVALID"),
        ("/v2/a/manifests/1?ns=", 400, "NAME_INVALID"),
        ("/v2/_catalog", 404, "UNSUPPORTED"),
        ("/nothing", 404, "UNSUPPORTED"),
    ] {
        let read = fixture.ask("GET", uri).await;
        assert_eq!((read.status, read.error_code().as_str()), (status, code), "{uri}");
    }
    assert_eq!(fixture.memory.resolutions(), 0);
}

#[tokio::test]
async fn what_a_manifest_names_needs_no_further_question() {
    let fixture = Fixture::new();
    let (config, layer) = (b"config".as_slice(), b"layer".as_slice());
    fixture.memory.publish(&tag("r.example", "a", "1"), MANIFEST_TYPE, &manifest_over(config, layer));
    fixture.memory.store(config);
    fixture.memory.store(layer);
    fixture.ask("GET", "/v2/a/manifests/1?ns=r.example").await;
    assert_eq!(fixture.memory.resolutions(), 1);
    for content in [config, layer] {
        let read = fixture.ask("GET", &format!("/v2/a/blobs/{}?ns=r.example", digest_of(content))).await;
        assert_eq!((read.status, &read.body[..]), (200, content));
    }
    assert_eq!(fixture.memory.resolutions(), 1);
    let opened = fixture.memory.opened.lock().unwrap();
    let source = opened.last().unwrap().source.clone().unwrap();
    assert_eq!(
        (source.registry.as_str(), source.repository.as_str(), source.kind),
        ("r.example", "a", ContentKind::Blob)
    );
    let source = opened.first().unwrap().source.clone().unwrap();
    assert_eq!((source.kind, source.media_type.as_str()), (ContentKind::Manifest, MANIFEST_TYPE));
}

#[tokio::test]
async fn one_range_of_a_blob_is_served() {
    let fixture = Fixture::new();
    let digest = fixture.memory.hold(b"0123456789");
    let uri = format!("/v2/a/blobs/{digest}?ns=r.example");
    for (range, body, content_range) in [
        ("bytes=0-", "0123456789", "bytes 0-9/10"),
        ("bytes=2-4", "234", "bytes 2-4/10"),
        ("bytes=7-100", "789", "bytes 7-9/10"),
        ("bytes=-2", "89", "bytes 8-9/10"),
    ] {
        let read = fixture.ask_range("GET", &uri, Some(range)).await;
        assert_eq!((read.status, &read.body[..]), (206, body.as_bytes()), "{range}");
        assert_eq!(read.header("content-range"), content_range);
        assert_eq!(read.header("content-length"), body.len().to_string());
    }
    let read = fixture.ask_range("GET", &uri, Some("bytes=10-")).await;
    assert_eq!((read.status, read.header("content-range")), (416, "bytes */10"));
    let read = fixture.ask_range("GET", &uri, Some("bytes=0-1,4-5")).await;
    assert_eq!((read.status, &read.body[..]), (200, &b"0123456789"[..]));
}

#[tokio::test]
async fn only_who_names_the_end_of_a_part_reads_an_excerpt() {
    let fixture = Fixture::new();
    let digest = fixture.memory.hold(b"0123456789");
    let uri = format!("/v2/a/blobs/{digest}?ns=r.example");
    for (range, excerpt) in [
        (None, false),
        (Some("bytes=0-"), false),
        (Some("bytes=5-"), false),
        (Some("bytes=0-9"), false),
        (Some("bytes=-10"), false),
        (Some("bytes=-11"), false),
        (Some("bytes=5-9"), true),
        (Some("bytes=-4"), true),
    ] {
        fixture.ask_range("GET", &uri, range).await;
        assert_eq!(fixture.memory.opened.lock().unwrap().last().unwrap().excerpt, excerpt, "{range:?}");
    }
}

#[tokio::test]
async fn a_head_of_a_blob_has_its_length_and_promises_ranges() {
    let fixture = Fixture::new();
    let digest = fixture.memory.hold(b"0123456789");
    let read = fixture.ask_range("HEAD", &format!("/v2/a/blobs/{digest}?ns=r.example"), Some("bytes=0-1")).await;
    assert_eq!((read.status, read.header("content-length"), read.header("accept-ranges")), (200, "10", "bytes"));
    assert!(read.body.is_empty());
}

#[tokio::test]
async fn a_range_of_a_manifest_is_ignored() {
    let fixture = Fixture::new();
    let manifest = manifest_over(b"{}", b"layer");
    fixture.memory.publish(&tag("r.example", "a", "1"), MANIFEST_TYPE, &manifest);
    let read = fixture.ask_range("GET", "/v2/a/manifests/1?ns=r.example", Some("bytes=0-")).await;
    assert_eq!((read.status, &read.body[..]), (200, &manifest[..]));
}

#[tokio::test]
async fn an_empty_blob_is_served() {
    let fixture = Fixture::new();
    let digest = fixture.memory.hold(b"");
    let read = fixture.ask("GET", &format!("/v2/a/blobs/{digest}")).await;
    assert_eq!((read.status, read.header("content-length"), read.body.len()), (200, "0", 0));
}

#[tokio::test]
async fn a_type_that_nobody_said_is_read_from_the_manifest() {
    let fixture = Fixture::new();
    let manifest = manifest_over(b"{}", b"layer");
    fixture.memory.publish(&tag("r.example", "a", "1"), "", &manifest);
    let read = fixture.ask("HEAD", "/v2/a/manifests/1?ns=r.example").await;
    assert_eq!((read.status, read.header("content-type")), (200, MANIFEST_TYPE));
    assert_eq!(read.header("content-length"), manifest.len().to_string());
    assert!(read.body.is_empty());
}

#[tokio::test]
async fn registries_that_are_not_listed_are_not_served() {
    let registries = Registries::parse("registries.yaml", "mirrors:\n  docker.io:\n").unwrap();
    let fixture = Fixture::with_registries(registries);
    let held = fixture.memory.hold(b"held");
    for uri in ["/v2/a/manifests/1?ns=ghcr.io".to_owned(), format!("/v2/a/blobs/{held}?ns=ghcr.io")] {
        assert_eq!(fixture.ask("GET", &uri).await.status, 404);
    }
    assert_eq!(fixture.memory.resolutions(), 0);
    assert_eq!(fixture.ask("GET", &format!("/v2/a/blobs/{held}?ns=docker.io")).await.status, 200);
}

#[tokio::test]
async fn failures_before_the_first_byte_become_statuses() {
    for (failure, status, code) in [
        (UpstreamFailure::NotFound, 404, "BLOB_UNKNOWN"),
        (UpstreamFailure::Denied, 403, "DENIED"),
        (UpstreamFailure::RateLimited { retry_after_s: 5 }, 503, "UNAVAILABLE"),
        (UpstreamFailure::Unavailable, 503, "UNAVAILABLE"),
        (UpstreamFailure::WrongContent, 503, "UNAVAILABLE"),
        (UpstreamFailure::NoUpstream, 404, "BLOB_UNKNOWN"),
    ] {
        let fixture = Fixture::new();
        let name = by_digest("r.example", "a", ContentKind::Blob, digest_of(b"blob"));
        let digest = fixture.memory.publish(&name, "", b"blob");
        fixture.memory.script(digest, b"", End::Fails(BlobError::Unavailable(failure)));
        let uri = format!("/v2/a/blobs/{digest}?ns=r.example");
        let read = fixture.ask("GET", &uri).await;
        assert_eq!((read.status, read.error_code().as_str()), (status, code), "{failure:?}");

        fixture.memory.refuse(&name, failure);
        let read = fixture.ask("GET", &uri).await;
        assert_eq!((read.status, read.error_code().as_str()), (status, code), "{failure:?}");
    }
}

#[tokio::test]
async fn what_was_remembered_wrongly_is_asked_for_again() {
    let fixture = Fixture::new();
    let name = by_digest("r.example", "a", ContentKind::Blob, digest_of(b"blob"));
    let digest = fixture.memory.publish(&name, "", b"blob");
    fixture.memory.script(digest, b"", End::Fails(BlobError::Invalid("another size".to_owned())));
    let uri = format!("/v2/a/blobs/{digest}?ns=r.example");
    assert_eq!(fixture.ask("GET", &uri).await.status, 503);
    fixture.memory.store(b"blob");
    assert_eq!(fixture.ask("GET", &uri).await.status, 200);
    assert_eq!(fixture.memory.resolutions(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_slow_swarm_becomes_an_error_within_ten_seconds() {
    let fixture = Fixture::new();
    let name = by_digest("r.example", "a", ContentKind::Blob, digest_of(b"blob"));
    let digest = fixture.memory.publish(&name, "", b"blob");
    fixture.memory.script(digest, b"", End::Hangs);
    let began = Instant::now();
    let read = fixture.ask("GET", &format!("/v2/a/blobs/{digest}?ns=r.example")).await;
    assert_eq!((read.status, read.error_code().as_str()), (503, "UNAVAILABLE"));
    assert!(began.elapsed() < Duration::from_secs(10));
    let dropped = fixture.memory.dropped.lock().unwrap().take().unwrap();
    assert!(dropped.await.is_err(), "the engine's stream is dropped");
}

#[tokio::test]
async fn a_manifest_beyond_the_limit_is_not_read() {
    let fixture = Fixture::new();
    let large = vec![b' '; usize::try_from(MANIFEST_BYTES_MAX).unwrap() + 1];
    fixture.memory.publish(&tag("r.example", "a", "1"), MANIFEST_TYPE, &large);
    assert_eq!(fixture.ask("GET", "/v2/a/manifests/1?ns=r.example").await.status, 404);
    assert!(fixture.memory.opened.lock().unwrap().is_empty());
}
