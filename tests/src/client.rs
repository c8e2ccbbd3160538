//! A plain HTTP client that asks a mirror as containerd does.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use anyhow::{Context, Result, bail, ensure};
use bytes::Bytes;
use futures_util::{StreamExt, TryStreamExt, stream};
use reqwest::{Method, Response, StatusCode, header::HeaderMap};
use serde_json::Value;
use sha2::{Digest as _, Sha256};

use crate::{
    image::{Image, MANIFEST, digest_of, format_digest},
    wait,
};

/// What containerd accepts for the manifest of a tag.
const ACCEPT_MANIFESTS: &str = "application/vnd.docker.distribution.manifest.v2+json, \
    application/vnd.docker.distribution.manifest.list.v2+json, application/vnd.oci.image.manifest.v1+json, \
    application/vnd.oci.image.index.v1+json, */*";

/// Blobs that containerd fetches at a time by default.
const CONCURRENT_BLOBS: usize = 3;

/// A client for plain HTTP on this machine: no proxy, no redirects, and no need for the system's certificates.
pub(crate) fn http() -> Result<reqwest::Client> {
    let builder = reqwest::Client::builder().no_proxy().redirect(reqwest::redirect::Policy::none());
    builder.tls_certs_only([]).build().context("no HTTP client")
}

/// Sends a plain `GET` to `url`.
pub(crate) async fn get(url: &str) -> Result<Response> {
    http()?.get(url).send().await.with_context(|| format!("{url} does not answer"))
}

/// One repository of one registry, seen through one mirror.
#[derive(Clone, Debug)]
pub struct Mirror {
    http: reqwest::Client,
    url: String,
    namespace: Option<String>,
    repository: String,
    received: Arc<AtomicU64>,
}

/// An answer with its body.
#[derive(Clone, Debug)]
pub struct Answer {
    /// Status.
    pub status: StatusCode,
    /// Headers.
    pub headers: HeaderMap,
    /// Body.
    pub body: Bytes,
}

impl Mirror {
    /// The mirror at `url` for `repository` of the registry `namespace`.
    pub fn new(url: &str, namespace: &str, repository: &str) -> Result<Self> {
        Ok(Self {
            http: http()?,
            url: url.to_owned(),
            namespace: Some(namespace.to_owned()),
            repository: repository.to_owned(),
            received: Arc::default(),
        })
    }

    /// The same without `ns`, as clients ask that do not know it.
    #[must_use]
    pub fn without_namespace(&self) -> Self {
        Self { namespace: None, ..self.clone() }
    }

    /// Bytes of layers and configurations received so far by [`Mirror::pull`].
    pub fn received_bytes(&self) -> u64 {
        self.received.load(Ordering::Relaxed)
    }

    /// Sends a request for `path`, which begins with `/`, with `ns` added, and returns the answer before its body.
    pub async fn send(&self, method: Method, path: &str, headers: &[(&str, &str)]) -> Result<Response> {
        let query = self
            .namespace
            .as_ref()
            .map(|namespace| format!("?ns={}", namespace.replace(':', "%3A")))
            .unwrap_or_default();
        let mut request = self.http.request(method.clone(), format!("{}{path}{query}", self.url));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        request.send().await.with_context(|| format!("{method} {}{path} got no answer", self.url))
    }

    /// Sends a request and reads the whole answer.
    pub async fn ask(&self, method: Method, path: &str, headers: &[(&str, &str)]) -> Result<Answer> {
        let ask = async {
            let response = self.send(method, path, headers).await?;
            let (status, headers) = (response.status(), response.headers().clone());
            let body = response.bytes().await.with_context(|| format!("the body of {path} did not end well"))?;
            Ok(Answer { status, headers, body })
        };
        wait::within(&format!("an answer to {path}"), wait::PULL, ask).await
    }

    /// Path of a manifest.
    pub fn manifest_path(&self, reference: &str) -> String {
        format!("/v2/{}/manifests/{reference}", self.repository)
    }

    /// Path of a blob.
    pub fn blob_path(&self, digest: &str) -> String {
        format!("/v2/{}/blobs/{digest}", self.repository)
    }

    /// Pulls the image that [`Image::TAG`] stands for: HEAD of the tag, manifests by digest, then configuration and
    /// layers, three at a time. Every byte is hashed. Fails on the first wrong digest, length or status.
    pub async fn pull(&self) -> Result<String> {
        wait::within(&format!("a pull through {}", self.url), wait::PULL, self.pull_image()).await
    }

    async fn pull_image(&self) -> Result<String> {
        let path = self.manifest_path(Image::TAG);
        let head = self.ask(Method::HEAD, &path, &[("accept", ACCEPT_MANIFESTS)]).await?;
        head.expect_status(&path, StatusCode::OK)?;
        let target = head.header("docker-content-digest")?.to_owned();
        let mut manifest = self.manifest(&target).await?;
        if let Some(platform) = manifest["manifests"].get(0) {
            let digest = platform["digest"].as_str().context("an index entry has a digest")?.to_owned();
            manifest = self.manifest(&digest).await?;
        }
        let layers = manifest["layers"].as_array().context("a manifest has layers")?;
        let blobs: Vec<Value> = std::iter::once(&manifest["config"]).chain(layers).cloned().collect();
        stream::iter(blobs)
            .map(|blob| self.fetch_blob(blob))
            .buffer_unordered(CONCURRENT_BLOBS)
            .try_collect::<()>()
            .await?;
        Ok(target)
    }

    async fn manifest(&self, digest: &str) -> Result<Value> {
        let path = self.manifest_path(digest);
        let answer = self.ask(Method::GET, &path, &[("accept", &format!("{MANIFEST}, */*"))]).await?;
        answer.expect_status(&path, StatusCode::OK)?;
        ensure!(digest_of(&answer.body) == digest, "{path} has other bytes: {:?}", answer.body);
        Ok(serde_json::from_slice(&answer.body)?)
    }

    async fn fetch_blob(&self, descriptor: Value) -> Result<()> {
        let digest = descriptor["digest"].as_str().context("a descriptor has a digest")?;
        let path = self.blob_path(digest);
        let response = self.send(Method::GET, &path, &[("accept", "*/*")]).await?;
        ensure!(response.status() == StatusCode::OK, "{path}: {} {:?}", response.status(), response.text().await);
        let (mut hash, mut bytes) = (Sha256::new(), 0);
        let mut body = response.bytes_stream();
        while let Some(chunk) = body.next().await {
            let chunk = chunk.with_context(|| format!("{path} from {} broke off at byte {bytes}", self.url))?;
            hash.update(&chunk);
            bytes += chunk.len() as u64;
            self.received.fetch_add(chunk.len() as u64, Ordering::Relaxed);
        }
        ensure!(Some(bytes) == descriptor["size"].as_u64(), "{path} has {bytes} bytes, not those of {descriptor}");
        ensure!(format_digest(&hash.finalize()) == digest, "{path} from {} has wrong bytes", self.url);
        Ok(())
    }
}

impl Answer {
    /// Fails unless the status is the expected one.
    pub fn expect_status(&self, what: &str, expected: StatusCode) -> Result<()> {
        ensure!(self.status == expected, "{what}: {} instead of {expected}: {}", self.status, self.text());
        Ok(())
    }

    /// A header's text. Fails where there is none.
    pub fn header(&self, name: &str) -> Result<&str> {
        let Some(value) = self.headers.get(name) else { bail!("no header {name} in {:?}", self.headers) };
        Ok(value.to_str()?)
    }

    /// The body as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// Code of the first error of an OCI error body. Fails where the body is none, or has no message for the user.
    pub fn error_code(&self) -> Result<String> {
        let body: Value =
            serde_json::from_slice(&self.body).with_context(|| format!("{}: no JSON: {}", self.status, self.text()))?;
        let first = &body["errors"][0];
        let message = first["message"].as_str().with_context(|| format!("no message in {body}"))?;
        ensure!(!message.is_empty(), "an empty message in {body}");
        Ok(first["code"].as_str().with_context(|| format!("no code in {body}"))?.to_owned())
    }
}
