use serde_json::json;
use shoal_runtime::{Descriptor, Name};

use super::*;
use crate::testing::{by_digest, digest_of, tag};

const INDEX_TYPE: &str = "application/vnd.oci.image.index.v1+json";

fn index() -> Vec<u8> {
    json!({"schemaVersion": 2, "mediaType": INDEX_TYPE, "manifests": []}).to_string().into_bytes()
}

async fn resolve(name: &Name) -> Result<Descriptor, UpstreamFailure> {
    client().resolve(name).await
}

fn index_descriptor() -> Descriptor {
    let index = index();
    Descriptor { media_type: INDEX_TYPE.to_owned(), digest: digest_of(&index), size: index.len() as u64 }
}

#[tokio::test]
async fn a_head_tells_all_there_is_to_know() {
    let registry = FakeRegistry::start(|_| {
        Response::builder()
            .header(header::CONTENT_TYPE, format!("{INDEX_TYPE}; charset=utf-8"))
            .header("Docker-Content-Digest", digest_of(&index()).to_string())
            .body(Body::from(index()))
            .unwrap()
    })
    .await;
    assert_eq!(resolve(&tag(&registry.name(), "a/b", "latest")).await, Ok(index_descriptor()));
    let asked = registry.asked();
    assert_eq!(asked.len(), 1);
    assert_eq!((asked[0].method.as_str(), asked[0].path.as_str()), ("HEAD", "/v2/a/b/manifests/latest"));
    for media_type in [INDEX_TYPE, "application/vnd.docker.distribution.manifest.list.v2+json"] {
        assert!(asked[0].header(header::ACCEPT).contains(media_type));
    }
}

#[tokio::test]
async fn where_a_head_says_too_little_the_manifest_is_read() {
    // No digest and no type; HEAD not allowed at all.
    let silent = |_: &Asked| Response::new(Body::from(index()));
    let refusing =
        |asked: &Asked| if asked.method == "HEAD" { status(405) } else { Response::new(Body::from(index())) };
    for registry in [FakeRegistry::start(silent).await, FakeRegistry::start(refusing).await] {
        assert_eq!(resolve(&tag(&registry.name(), "a/b", "latest")).await, Ok(index_descriptor()));
        let methods: Vec<_> = registry.asked().into_iter().map(|asked| asked.method).collect();
        assert_eq!(methods, ["HEAD", "GET"]);
    }
}

#[tokio::test]
async fn content_with_another_digest_is_refused() {
    let asked_for = |registry: &FakeRegistry| by_digest(&registry.name(), "a", ContentKind::Manifest, any_digest());
    let by_header = FakeRegistry::start(|_| {
        let other = digest_of(b"other").to_string();
        Response::builder().header("Docker-Content-Digest", other).body(Body::from(index())).unwrap()
    })
    .await;
    assert_eq!(resolve(&asked_for(&by_header)).await, Err(UpstreamFailure::WrongContent));
    let by_body =
        FakeRegistry::start(
            |asked| {
                if asked.method == "HEAD" { status(405) } else { Response::new(Body::from(index())) }
            },
        )
        .await;
    assert_eq!(resolve(&asked_for(&by_body)).await, Err(UpstreamFailure::WrongContent));
}

#[tokio::test]
async fn a_manifest_beyond_the_limit_is_refused() {
    let registry = FakeRegistry::start(|asked| {
        if asked.method == "HEAD" { status(405) } else { Response::new(Body::from(vec![b' '; 5 << 20])) }
    })
    .await;
    assert_eq!(resolve(&tag(&registry.name(), "a", "1")).await, Err(UpstreamFailure::WrongContent));
}

#[tokio::test]
async fn the_size_of_a_blob_is_told_by_a_head_or_by_its_first_byte() {
    let head = FakeRegistry::start(|_| Response::new(Body::from("0123456789"))).await;
    let name = |registry: &FakeRegistry| by_digest(&registry.name(), "a", ContentKind::Blob, any_digest());
    let descriptor = Descriptor { media_type: String::new(), digest: any_digest(), size: 10 };
    assert_eq!(resolve(&name(&head)).await, Ok(descriptor.clone()));
    assert_eq!(head.asked().len(), 1);

    let refusing =
        FakeRegistry::start(
            |asked| {
                if asked.method == "HEAD" { status(405) } else { serve_range(b"0123456789", asked) }
            },
        )
        .await;
    assert_eq!(resolve(&name(&refusing)).await, Ok(descriptor.clone()));
    assert_eq!(refusing.asked()[1].header(header::RANGE), "bytes=0-0");

    // Object storage whose signed links are for GET only.
    let storage =
        FakeRegistry::start(
            |asked| {
                if asked.method == "HEAD" { status(403) } else { serve_range(b"0123456789", asked) }
            },
        )
        .await;
    let to = format!("http://{}/signed", storage.name());
    let redirecting = FakeRegistry::start(move |_| {
        Response::builder().status(307).header(header::LOCATION, &to).body(Body::empty()).unwrap()
    })
    .await;
    assert_eq!(resolve(&name(&redirecting)).await, Ok(descriptor));
}

#[tokio::test]
async fn a_registry_that_fails_over_a_blob_asked_for_as_a_manifest_does_not_have_the_manifest() {
    let registry = FakeRegistry::start(|asked| {
        if asked.path.contains("/blobs/") { Response::new(Body::from("0123456789")) } else { status(500) }
    })
    .await;
    let name = by_digest(&registry.name(), "a", ContentKind::Manifest, any_digest());
    assert_eq!(resolve(&name).await, Err(UpstreamFailure::NotFound));
    assert_eq!(resolve(&tag(&registry.name(), "a", "1")).await, Err(UpstreamFailure::Unavailable));
}

#[tokio::test]
async fn refusals_and_missing_registries_are_told_apart() {
    for (code, failure) in [
        (404, UpstreamFailure::NotFound),
        (403, UpstreamFailure::Denied),
        (429, UpstreamFailure::RateLimited { retry_after_s: 10 }),
        (500, UpstreamFailure::Unavailable),
    ] {
        let registry = FakeRegistry::start(move |_| status(code)).await;
        assert_eq!(resolve(&tag(&registry.name(), "a", "1")).await, Err(failure), "{code}");
        let blob = by_digest(&registry.name(), "a", ContentKind::Blob, any_digest());
        assert_eq!(resolve(&blob).await, Err(failure), "{code}");
    }
    assert_eq!(resolve(&tag("", "a", "1")).await, Err(UpstreamFailure::NoUpstream));
    let unlisted = client_for("mirrors: {docker.io: {}}");
    assert_eq!(unlisted.resolve(&tag("127.0.0.1:1", "a", "1")).await, Err(UpstreamFailure::NoUpstream));
    assert_eq!(resolve(&tag("127.0.0.1:1", "a", "1")).await, Err(UpstreamFailure::Unavailable));
}

#[tokio::test]
async fn requests_are_counted_by_registry_method_and_status() {
    let registry = FakeRegistry::start(|_| status(404)).await;
    let requests = UpstreamRequests::default();
    let client = RegistryClient::new(Arc::default(), UpstreamTimeouts::default(), requests.clone());
    for _ in 0..2 {
        let _ = client.resolve(&tag(&registry.name(), "a", "1")).await;
    }
    let _ = client.resolve(&tag("127.0.0.1:1", "a", "1")).await;
    assert_eq!(requests.counted(&registry.name(), "HEAD", "404"), 2);
    assert_eq!(requests.counted("127.0.0.1:1", "HEAD", "error"), 1);
}
