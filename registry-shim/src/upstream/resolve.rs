//! What a name stands for: `HEAD`, and `GET` for registries whose `HEAD` says too little.

use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use reqwest::Response;
use sha2::{Digest as _, Sha256, Sha512};
use shoal_runtime::{ContentKind, Descriptor, Digest, Name, Reference, UpstreamFailure};

use super::{RegistryClient, failure::failure_of, fetch::read_bounded};
use crate::{
    oci::manifest::{MANIFEST_BYTES_MAX, Manifest, is_media_type},
    registries::Endpoint,
};

/// Types of manifests, as containerd asks for them.
pub(super) const MANIFEST_TYPES: &str = "application/vnd.docker.distribution.manifest.v2+json, \
     application/vnd.docker.distribution.manifest.list.v2+json, \
     application/vnd.oci.image.manifest.v1+json, \
     application/vnd.oci.image.index.v1+json, */*";

impl RegistryClient {
    pub(super) async fn resolve_name(&self, name: &Name) -> Result<Descriptor, UpstreamFailure> {
        let mut failure = UpstreamFailure::NoUpstream;
        let candidates = self.candidates(&name.registry, &name.repository);
        for endpoint in &candidates.endpoints {
            let resolved = match (name.kind, &name.reference) {
                (ContentKind::Manifest, _) => self.resolve_manifest(endpoint, name).await,
                (ContentKind::Blob, Reference::Digest(digest)) => self.resolve_blob(endpoint, name, digest).await,
                (ContentKind::Blob, Reference::Tag(_)) => Err(UpstreamFailure::NotFound),
            };
            match resolved {
                Ok(descriptor) => return Ok(descriptor),
                Err(error) => failure = error,
            }
            tracing::debug!(%name, base = %endpoint.base, ?failure, "a name was not resolved");
        }
        Err(candidates.failure(failure))
    }

    async fn resolve_manifest(&self, endpoint: &Endpoint, name: &Name) -> Result<Descriptor, UpstreamFailure> {
        let tail = format!("manifests/{}", name.reference);
        let accept = HeaderMap::from_iter([(header::ACCEPT, HeaderValue::from_static(MANIFEST_TYPES))]);
        let answer = self.send(&name.registry, endpoint, Method::HEAD, &tail, accept.clone()).await?;
        let status = answer.response.status();
        if status.is_success() {
            if let Some(descriptor) = descriptor_of(&answer.response, &name.reference)? {
                return Ok(descriptor);
            }
        } else if !refuses_the_method(status) {
            let failure = failure_of(status, answer.response.headers());
            return Err(if self.is_a_blob(endpoint, name, status).await { UpstreamFailure::NotFound } else { failure });
        }
        let answer = self.send(&name.registry, endpoint, Method::GET, &tail, accept).await?;
        let status = answer.response.status();
        if !status.is_success() {
            return Err(failure_of(status, answer.response.headers()));
        }
        let media_type = media_type_of(answer.response.headers());
        let body = read_bounded(answer.response, MANIFEST_BYTES_MAX).await?;
        describe_body(&body, media_type, &name.reference)
    }

    /// Whether a registry failed because the digest that it was asked for as a manifest is a blob: the distribution
    /// registry then answers 500, because it cannot read the blob as a manifest.
    async fn is_a_blob(&self, endpoint: &Endpoint, name: &Name, status: StatusCode) -> bool {
        let Reference::Digest(digest) = name.reference else {
            return false;
        };
        status == StatusCode::INTERNAL_SERVER_ERROR && self.resolve_blob(endpoint, name, &digest).await.is_ok()
    }

    async fn resolve_blob(
        &self,
        endpoint: &Endpoint,
        name: &Name,
        digest: &Digest,
    ) -> Result<Descriptor, UpstreamFailure> {
        let tail = format!("blobs/{digest}");
        let answer = self.send(&name.registry, endpoint, Method::HEAD, &tail, HeaderMap::new()).await?;
        let status = answer.response.status();
        // Object storage behind a redirect may allow GET only.
        let may_answer_get = refuses_the_method(status) || (answer.elsewhere && status == StatusCode::FORBIDDEN);
        let mut size = None;
        if status.is_success() {
            size = content_length(answer.response.headers());
        } else if !may_answer_get {
            return Err(failure_of(status, answer.response.headers()));
        }
        if size.is_none() {
            size = self.size_by_range(endpoint, name, &tail).await?;
        }
        let size = size.ok_or(UpstreamFailure::Unavailable)?;
        Ok(Descriptor { media_type: String::new(), digest: *digest, size })
    }

    /// Size of a blob by asking for its first byte; `None` where the registry does not tell it.
    async fn size_by_range(
        &self,
        endpoint: &Endpoint,
        name: &Name,
        tail: &str,
    ) -> Result<Option<u64>, UpstreamFailure> {
        let first_byte = HeaderMap::from_iter([(header::RANGE, HeaderValue::from_static("bytes=0-0"))]);
        let answer = self.send(&name.registry, endpoint, Method::GET, tail, first_byte).await?;
        let headers = answer.response.headers();
        match answer.response.status() {
            StatusCode::PARTIAL_CONTENT | StatusCode::RANGE_NOT_SATISFIABLE => Ok(total_of_content_range(headers)),
            status if status.is_success() => Ok(content_length(headers)),
            status => Err(failure_of(status, headers)),
        }
    }
}

fn refuses_the_method(status: StatusCode) -> bool {
    matches!(status, StatusCode::BAD_REQUEST | StatusCode::METHOD_NOT_ALLOWED | StatusCode::NOT_IMPLEMENTED)
}

/// The descriptor by the headers of a `HEAD`; `None` where they do not hold all of it.
fn descriptor_of(response: &Response, reference: &Reference) -> Result<Option<Descriptor>, UpstreamFailure> {
    let headers = response.headers();
    let told = headers.get("docker-content-digest").and_then(|value| value.to_str().ok()?.parse::<Digest>().ok());
    let digest = match (reference, told) {
        (Reference::Digest(asked), Some(told)) if *asked != told => return Err(UpstreamFailure::WrongContent),
        (Reference::Digest(asked), _) => Some(*asked),
        (Reference::Tag(_), told) => told,
    };
    Ok(digest.zip(content_length(headers)).map(|(digest, size)| Descriptor {
        media_type: media_type_of(headers),
        digest,
        size,
    }))
}

fn describe_body(body: &[u8], told: String, reference: &Reference) -> Result<Descriptor, UpstreamFailure> {
    let digest = match reference {
        Reference::Digest(Digest::Sha512(_)) => Digest::Sha512(Sha512::digest(body).into()),
        _ => Digest::Sha256(Sha256::digest(body).into()),
    };
    if matches!(reference, Reference::Digest(asked) if *asked != digest) {
        return Err(UpstreamFailure::WrongContent);
    }
    let own = || Manifest::read(body).map(|manifest| manifest.media_type).unwrap_or_default();
    let media_type = if told.is_empty() { own() } else { told };
    Ok(Descriptor { media_type, digest, size: body.len() as u64 })
}

/// The media type without parameters; empty where it is missing or says nothing.
fn media_type_of(headers: &HeaderMap) -> String {
    let text = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let media_type = text.split(';').next().unwrap_or_default().trim();
    let says_something = is_media_type(media_type) && media_type != "application/octet-stream";
    if says_something { media_type.to_owned() } else { String::new() }
}

/// reqwest tells the length of the body, which for `HEAD` is none; the header tells that of the content.
fn content_length(headers: &HeaderMap) -> Option<u64> {
    headers.get(header::CONTENT_LENGTH)?.to_str().ok()?.trim().parse().ok()
}

fn total_of_content_range(headers: &HeaderMap) -> Option<u64> {
    headers.get(header::CONTENT_RANGE)?.to_str().ok()?.rsplit_once('/')?.1.trim().parse().ok()
}
