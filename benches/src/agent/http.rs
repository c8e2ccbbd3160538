//! A client that asks as containerd does: `HEAD` of the tag, `GET` of the manifest by its digest, then each blob.
//!
//! A body that ends early is asked for again from where it ended, as containerd's reader does; one that was reset is not.

use std::{error::Error as _, io, net::SocketAddr, time::Duration};

use anyhow::{Context, bail, ensure};
use reqwest::{Response, StatusCode, header};

use super::protocol::Wanted;

/// What containerd says that it understands, in its order.
const MANIFEST_TYPES: &str = "application/vnd.docker.distribution.manifest.v2+json, \
    application/vnd.docker.distribution.manifest.list.v2+json, application/vnd.oci.image.manifest.v1+json, \
    application/vnd.oci.image.index.v1+json, */*";
/// Longest time without a byte: containerd's `image_pull_progress_timeout`.
const STALL: Duration = Duration::from_mins(5);
/// Largest manifest that is read, in bytes: containerd's limit.
const MANIFEST_BYTES_MAX: u64 = 8 << 20;
/// Bytes of an error's body that are shown.
const EXCERPT: usize = 300;

/// One client of one endpoint.
#[derive(Debug)]
pub(super) struct Client {
    http: reqwest::Client,
    base: String,
    query: String,
}

impl Client {
    /// A client that asks `endpoint`, as the mirror of `mirror_of` or as the registry itself.
    pub(super) fn new(endpoint: SocketAddr, mirror_of: Option<&str>, what: &Wanted) -> anyhow::Result<Self> {
        let http = plain_http().read_timeout(STALL).build().context("cannot set up an HTTP client")?;
        let base = format!("http://{endpoint}/v2/{}", what.repository);
        Ok(Self { http, base, query: mirror_of.map(|registry| format!("?ns={registry}")).unwrap_or_default() })
    }

    /// Asks what the tag stands for, and checks that it is `expected`.
    pub(super) async fn resolve(&self, tag: &str, expected: &str) -> anyhow::Result<()> {
        let url = self.url("manifests", tag);
        let request = self.http.head(&url).header(header::ACCEPT, MANIFEST_TYPES);
        let response = accepted(&url, request.send().await, StatusCode::OK).await?;
        let digest = response.headers().get("docker-content-digest").and_then(|value| value.to_str().ok());
        ensure!(digest == Some(expected), "HEAD {url}: docker-content-digest is {digest:?}, expected {expected}");
        Ok(())
    }

    /// The manifest's bytes; the caller checks the digest.
    pub(super) async fn manifest(&self, digest: &str) -> anyhow::Result<Vec<u8>> {
        let url = self.url("manifests", digest);
        let request = self.http.get(&url).header(header::ACCEPT, MANIFEST_TYPES);
        let mut response = accepted(&url, request.send().await, StatusCode::OK).await?;
        let mut bytes = Vec::new();
        while let Some(chunk) = response.chunk().await.with_context(|| format!("GET {url}"))? {
            bytes.extend_from_slice(&chunk);
            ensure!(bytes.len() as u64 <= MANIFEST_BYTES_MAX, "GET {url}: more than {MANIFEST_BYTES_MAX} bytes");
        }
        Ok(bytes)
    }

    /// Asks for a blob from `offset` to its end.
    pub(super) async fn blob_from(&self, digest: &str, offset: u64) -> anyhow::Result<Response> {
        let url = self.url("blobs", digest);
        let request = self.http.get(&url);
        if offset == 0 {
            return accepted(&url, request.send().await, StatusCode::OK).await;
        }
        let request = request.header(header::RANGE, format!("bytes={offset}-"));
        accepted(&url, request.send().await, StatusCode::PARTIAL_CONTENT).await
    }

    /// Asks for a part of a blob. The status says whether the registry has ranges: 206, or 200 and the whole blob.
    pub(super) async fn blob_range(&self, digest: &str, from: u64, length: u64) -> anyhow::Result<Response> {
        let url = self.url("blobs", digest);
        let range = format!("bytes={from}-{}", from + length - 1);
        let response = self.http.get(&url).header(header::RANGE, range).send().await;
        let status = response.as_ref().map_or(StatusCode::PARTIAL_CONTENT, Response::status);
        let expected = if status == StatusCode::OK { StatusCode::OK } else { StatusCode::PARTIAL_CONTENT };
        accepted(&url, response, expected).await
    }

    fn url(&self, kind: &str, reference: &str) -> String {
        format!("{}/{kind}/{reference}{}", self.base, self.query)
    }
}

/// A client for the laboratory's own addresses: no proxy, no certificates, no redirects.
pub(super) fn plain_http() -> reqwest::ClientBuilder {
    reqwest::Client::builder().no_proxy().tls_certs_only([]).redirect(reqwest::redirect::Policy::none())
}

async fn accepted(url: &str, response: reqwest::Result<Response>, expected: StatusCode) -> anyhow::Result<Response> {
    let response = response.with_context(|| format!("no answer to {url}"))?;
    let status = response.status();
    if status != expected {
        let body = response.text().await.unwrap_or_default();
        let excerpt: String = body.chars().take(EXCERPT).collect();
        bail!("{url}: status {status} instead of {expected} {excerpt}");
    }
    Ok(response)
}

/// Whether the peer reset the connection: by that a node takes back what it has sent.
pub(super) fn is_reset(error: &reqwest::Error) -> bool {
    let mut source = error.source();
    while let Some(cause) = source {
        if cause.downcast_ref::<io::Error>().is_some_and(|error| error.kind() == io::ErrorKind::ConnectionReset) {
            return true;
        }
        source = cause.source();
    }
    false
}
