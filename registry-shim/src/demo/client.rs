//! A client that asks as containerd does, and checks every digest.
//!
//! `HEAD` of the tag, `GET` of the manifest by digest, then the configuration and the layers, three blobs at once.

use std::{
    net::SocketAddr,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use anyhow::{Context, bail, ensure};
use bytes::Bytes;
use futures_util::{StreamExt, TryStreamExt, stream};
use reqwest::{Response, header};
use serde::Deserialize;
use sha2::{Digest as _, Sha256};
use shoal_runtime::Digest;
use tokio::time::Instant;

use super::{
    link::Link,
    registry::{REPOSITORY, TAG},
};

/// containerd's `max_concurrent_downloads`.
const BLOBS_AT_ONCE: usize = 3;
/// What containerd says that it understands, in its order.
const MANIFEST_TYPES: &str = "application/vnd.docker.distribution.manifest.v2+json, \
    application/vnd.docker.distribution.manifest.list.v2+json, application/vnd.oci.image.manifest.v1+json, \
    application/vnd.oci.image.index.v1+json, */*";
/// Longest time without a byte. containerd waits for 5 minutes; nobody watches a demo for that long.
const STALL: Duration = Duration::from_mins(1);
/// Largest manifest that is read, in bytes: containerd's limit.
const MANIFEST_BYTES_MAX: u64 = 8 << 20;

/// One client of one endpoint.
#[derive(Debug)]
pub(crate) struct Client {
    http: reqwest::Client,
    endpoint: SocketAddr,
    registry: Option<SocketAddr>,
    link: Option<Arc<Link>>,
    delivered: Arc<AtomicU64>,
}

/// What a pull came to.
#[derive(Clone, Debug)]
pub(crate) struct Pull {
    /// From its start until the tag was known.
    pub(crate) resolved: Duration,
    /// From its start to the first body byte of a layer.
    pub(crate) first_byte: Duration,
    /// From its start to the last byte.
    pub(crate) done: Duration,
    /// Digests that were checked and right.
    pub(crate) right: usize,
    /// What was wrong, said in full.
    pub(crate) wrong: Vec<String>,
}

#[derive(Debug, Deserialize)]
struct Manifest {
    config: Descriptor,
    layers: Vec<Descriptor>,
}

#[derive(Clone, Debug, Deserialize)]
struct Descriptor {
    digest: String,
    size: u64,
}

impl Client {
    /// A client that asks `endpoint` as the mirror of `registry`.
    pub(crate) fn of_mirror(endpoint: SocketAddr, registry: SocketAddr) -> anyhow::Result<Self> {
        Self::new(endpoint, Some(registry), None)
    }

    /// A client that asks the registry itself, over a link of its own.
    pub(crate) fn of_registry(registry: SocketAddr, link: Arc<Link>) -> anyhow::Result<Self> {
        Self::new(registry, None, Some(link))
    }

    fn new(endpoint: SocketAddr, registry: Option<SocketAddr>, link: Option<Arc<Link>>) -> anyhow::Result<Self> {
        let http = plain_http().read_timeout(STALL).build().context("cannot set up an HTTP client")?;
        Ok(Self { http, endpoint, registry, link, delivered: Arc::default() })
    }

    /// Blob bytes received so far.
    pub(crate) fn delivered(&self) -> Arc<AtomicU64> {
        Arc::clone(&self.delivered)
    }

    /// Pulls the demo's image, and compares its manifest with `expected`.
    pub(crate) async fn pull(&self, expected: Digest) -> anyhow::Result<Pull> {
        let start = Instant::now();
        let mut check = Check::default();
        let named = self.resolve().await?;
        let resolved = start.elapsed();
        check.same("the tag", &named.digest, &expected.to_string());
        let bytes = self.manifest(&named).await?;
        check.digest("the manifest", &named, bytes.len() as u64, Sha256::digest(&bytes).into());
        let manifest: Manifest = serde_json::from_slice(&bytes).context("the manifest is not valid JSON")?;

        let first_byte = OnceLock::new();
        let mut blobs = vec![self.blob(&manifest.config, None)];
        blobs.extend(manifest.layers.iter().map(|layer| self.blob(layer, Some(&first_byte))));
        let mut reading = stream::iter(blobs).buffer_unordered(BLOBS_AT_ONCE);
        while let Some((blob, hash, length)) = reading.try_next().await? {
            check.digest("a blob", blob, length, hash);
        }
        let done = start.elapsed();
        let first_byte = first_byte.get().map_or(done, |first: &Instant| first.duration_since(start));
        Ok(Pull { resolved, first_byte, done, right: check.right, wrong: check.wrong })
    }

    async fn resolve(&self) -> anyhow::Result<Descriptor> {
        let url = self.url("manifests", TAG);
        let request = self.http.head(&url).header(header::ACCEPT, MANIFEST_TYPES);
        let response = accept(&url, request.send().await).await?;
        let text = |name: &str| {
            let value = response.headers().get(name).and_then(|value| value.to_str().ok());
            value.with_context(|| format!("HEAD {url}: no {name}"))
        };
        let size = text("content-length")?.parse().with_context(|| format!("HEAD {url}: bad content-length"))?;
        text("content-type")?;
        Ok(Descriptor { digest: text("docker-content-digest")?.to_owned(), size })
    }

    async fn manifest(&self, named: &Descriptor) -> anyhow::Result<Bytes> {
        ensure!(named.size <= MANIFEST_BYTES_MAX, "a manifest of {} bytes is too large", named.size);
        let url = self.url("manifests", &named.digest);
        let request = self.http.get(&url).header(header::ACCEPT, MANIFEST_TYPES);
        let response = accept(&url, request.send().await).await?;
        expect_length(&url, &response, named.size)?;
        response.bytes().await.with_context(|| format!("GET {url}"))
    }

    /// Reads a blob, and returns its SHA-256 and its length. Notes when the first byte came.
    async fn blob<'a>(
        &self,
        blob: &'a Descriptor,
        first_byte: Option<&OnceLock<Instant>>,
    ) -> anyhow::Result<(&'a Descriptor, [u8; 32], u64)> {
        let url = self.url("blobs", &blob.digest);
        let response = accept(&url, self.http.get(&url).send().await).await?;
        expect_length(&url, &response, blob.size)?;
        let mut flow = self.link.as_ref().map(Link::flow);
        let mut body = response.bytes_stream();
        let mut hash = Sha256::new();
        let mut length = 0;
        while let Some(bytes) = body.next().await {
            let bytes = bytes.with_context(|| format!("GET {url}: the body broke off after {length} bytes"))?;
            if let Some(flow) = &mut flow {
                flow.carry(bytes.len()).await;
            }
            if let Some(first_byte) = first_byte {
                first_byte.get_or_init(Instant::now);
            }
            hash.update(&bytes);
            length += bytes.len() as u64;
            self.delivered.fetch_add(bytes.len() as u64, Ordering::Relaxed);
        }
        Ok((blob, hash.finalize().into(), length))
    }

    fn url(&self, kind: &str, reference: &str) -> String {
        let namespace = self.registry.map(|registry| format!("?ns={registry}")).unwrap_or_default();
        format!("http://{}/v2/{REPOSITORY}/{kind}/{reference}{namespace}", self.endpoint)
    }
}

/// A client for loopback: no proxy and no certificates, which a bare machine may not have.
pub(crate) fn plain_http() -> reqwest::ClientBuilder {
    reqwest::Client::builder().no_proxy().tls_certs_only([]).redirect(reqwest::redirect::Policy::none())
}

async fn accept(url: &str, response: reqwest::Result<Response>) -> anyhow::Result<Response> {
    let response = response.with_context(|| format!("no answer to {url}"))?;
    let status = response.status();
    if status != reqwest::StatusCode::OK {
        let body = response.text().await.unwrap_or_default();
        let excerpt: String = body.chars().take(300).collect();
        bail!("{url}: status {status} {excerpt}");
    }
    Ok(response)
}

fn expect_length(url: &str, response: &Response, size: u64) -> anyhow::Result<()> {
    let length = response.content_length();
    ensure!(length == Some(size), "GET {url}: Content-Length is {length:?}, expected {size}");
    Ok(())
}

/// Digests that were compared.
#[derive(Debug, Default)]
struct Check {
    right: usize,
    wrong: Vec<String>,
}

impl Check {
    fn same(&mut self, what: &str, found: &str, expected: &str) {
        if found != expected {
            self.wrong.push(format!("{what} is {found}, expected {expected}"));
        }
    }

    fn digest(&mut self, what: &str, expected: &Descriptor, length: u64, hash: [u8; 32]) {
        let found = Digest::Sha256(hash).to_string();
        if found == expected.digest && length == expected.size {
            self.right += 1;
        } else {
            self.wrong.push(format!(
                "{what} has {length} bytes with {found}, expected {} bytes with {}",
                expected.size, expected.digest
            ));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::demo::{image::Image, registry::Registry};

    const RATE: u64 = 50_000_000;

    async fn registry() -> (Arc<Image>, Registry) {
        let image = Arc::new(Image::generate(&[1 << 20, 64 << 10, 64 << 10, 64 << 10], 5).await.unwrap());
        let registry = Registry::start(Arc::clone(&image), RATE).await.unwrap();
        (image, registry)
    }

    #[tokio::test]
    async fn a_pull_checks_every_digest_and_takes_one_copy() {
        let (image, registry) = registry().await;
        let client = Client::of_registry(registry.address(), Link::new(RATE)).unwrap();
        let pull = client.pull(image.manifest().digest).await.unwrap();
        assert_eq!((pull.right, pull.wrong.len()), (image.digests(), 0));
        assert!(pull.first_byte <= pull.done);
        let sent = registry.sent();
        assert_eq!((sent.blob_bytes, sent.manifest_requests, sent.blob_requests), (image.bytes(), 2, 5));
        assert_eq!(client.delivered().load(Ordering::Relaxed), image.bytes());
    }

    #[tokio::test]
    async fn another_image_than_the_expected_one_is_wrong() {
        let (_image, registry) = registry().await;
        let client = Client::of_registry(registry.address(), Link::new(RATE)).unwrap();
        let pull = client.pull(Digest::Sha256([0; 32])).await.unwrap();
        assert_eq!(pull.wrong.len(), 1, "{:?}", pull.wrong);
    }

    #[test]
    fn a_wrong_bit_and_a_missing_byte_are_both_wrong() {
        let content = b"layer";
        let hash: [u8; 32] = Sha256::digest(content).into();
        let descriptor = Descriptor { digest: Digest::Sha256(hash).to_string(), size: 5 };
        let mut check = Check::default();
        check.digest("a blob", &descriptor, 5, hash);
        check.digest("a blob", &descriptor, 4, hash);
        check.digest("a blob", &descriptor, 5, Sha256::digest(b"Layer").into());
        assert_eq!((check.right, check.wrong.len()), (1, 2));
    }

    #[tokio::test]
    async fn an_endpoint_that_does_not_answer_is_named() {
        let (image, registry) = registry().await;
        let address = registry.address();
        drop(registry);
        let client = Client::of_mirror(address, address).unwrap();
        let error = client.pull(image.manifest().digest).await.unwrap_err().to_string();
        assert!(error.contains(&address.to_string()) && error.contains("ns="), "{error}");
    }
}
