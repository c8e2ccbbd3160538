//! Answers of `GET` and `HEAD` under `/v2`.
//!
//! Each request is described first (which digest, size, type), from what is held, what is remembered, or through the
//! engine; then its bytes are read from the engine. Whatever happens, the first byte of a body or an error leaves within
//! [`ANSWER_TIMEOUT`], so that containerd can go on with its next host.

use std::{ops::Range, sync::Arc, time::Duration};

use axum::{
    body::Body,
    extract::Request,
    http::{HeaderMap, HeaderValue, Method, StatusCode, header, response::Builder},
    response::{IntoResponse, Response},
};
use bytes::Bytes;
use futures_util::StreamExt;
use shoal_runtime::{BlobError, BlobRequest, ContentKind, Digest, Name, Reference, ResolveError, UpstreamSource};
use tokio::time::{Instant, timeout_at};

use super::{
    body::BlobBody,
    descriptors::{Descriptors, Known},
    error::OciError,
    manifest::{MANIFEST_BYTES_MAX, Manifest, is_media_type},
    path::{ApiPath, ContentPath, is_registry},
    range::{RangeAnswer, read_range},
    source::{BlobSource, BlobStream},
};
use crate::{
    http::fate::ConnectionFate,
    registries::{Registries, canonical_registry},
};

/// Time for the first byte of a body, or an error, in all. One second less than what users are promised.
pub const ANSWER_TIMEOUT: Duration = Duration::from_secs(9);

const OCTET_STREAM: &str = "application/octet-stream";

/// The distribution endpoint of one node.
pub struct Endpoint {
    source: Arc<dyn BlobSource>,
    registries: Arc<Registries>,
    descriptors: Descriptors,
}

/// A request for content, taken apart and checked.
struct ContentRequest {
    path: ContentPath,
    /// Registry that the image belongs to; `None` where the client named none.
    registry: Option<String>,
    head: bool,
    range: Option<String>,
    fate: Arc<ConnectionFate>,
}

/// Content that is known well enough to be answered for.
struct Described {
    digest: Digest,
    known: Known,
}

impl Endpoint {
    /// An endpoint that serves from `source` for the registries that `registries` lists.
    pub fn new(source: Arc<dyn BlobSource>, registries: Arc<Registries>) -> Self {
        Self { source, registries, descriptors: Descriptors::default() }
    }

    /// Answers one request.
    pub async fn answer(&self, request: Request) -> Response {
        let content = match ContentRequest::read(&request) {
            Ok(content) => content,
            Err(answer) => return *answer,
        };
        // Nothing is ever read from the request's own body.
        drop(request);
        self.answer_content(content).await.unwrap_or_else(IntoResponse::into_response)
    }

    async fn answer_content(&self, request: ContentRequest) -> Result<Response, OciError> {
        let deadline = Instant::now() + ANSWER_TIMEOUT;
        timeout_at(deadline, self.answer_in_time(&request))
            .await
            .unwrap_or_else(|_| Err(OciError::unavailable("the first byte did not come in time")))
    }

    /// Returns when the first byte of a body is there, which is what the caller's deadline is about.
    async fn answer_in_time(&self, request: &ContentRequest) -> Result<Response, OciError> {
        if request.registry.as_ref().is_some_and(|registry| !self.registries.mirrors(registry)) {
            return Err(OciError::unknown(request.path.kind, "this registry is not among the mirrored ones"));
        }
        let described = self.describe(request).await?;
        match request.path.kind {
            ContentKind::Manifest => self.answer_manifest(request, described).await,
            ContentKind::Blob if request.head => Ok(blob_head(&described)),
            ContentKind::Blob => self.answer_blob(request, &described).await,
        }
    }

    /// Finds out digest, size and type of what is asked for.
    async fn describe(&self, request: &ContentRequest) -> Result<Described, OciError> {
        let kind = request.path.kind;
        let Reference::Digest(digest) = request.path.reference else {
            if request.registry.is_none() {
                return Err(OciError::unknown(kind, "a tag needs the registry that it belongs to, as ?ns=<host>"));
            }
            return self.ask_engine(request).await;
        };
        let mut known = self.descriptors.get(&digest);
        if let Some(size) = self.source.held(&digest)
            && known.as_ref().is_none_or(|known| known.size != size)
        {
            known = Some(self.identify_held(digest, size).await?);
        }
        match known {
            Some(known) if known.kind == kind => Ok(Described { digest, known }),
            Some(known) if known.media_type.is_empty() => self.describe_anew(request, digest).await,
            Some(_) => Err(other_kind(kind)),
            None => self.ask_engine(request).await,
        }
    }

    /// Describes content that was asked for as the other kind before, when only its size was known: a client that has
    /// nothing but a digest tries one kind after the other.
    async fn describe_anew(&self, request: &ContentRequest, digest: Digest) -> Result<Described, OciError> {
        let Some(size) = self.source.held(&digest) else { return self.ask_engine(request).await };
        let known = self.identify_held(digest, size).await?;
        if known.kind == request.path.kind {
            Ok(Described { digest, known })
        } else {
            Err(other_kind(request.path.kind))
        }
    }

    async fn ask_engine(&self, request: &ContentRequest) -> Result<Described, OciError> {
        let kind = request.path.kind;
        let name = Name {
            registry: request.registry.clone().unwrap_or_default(),
            repository: request.path.repository.clone(),
            kind,
            reference: request.path.reference.clone(),
        };
        let descriptor = self.source.resolve(name).await.map_err(|error| {
            if !matches!(error, ResolveError::Upstream(_)) {
                tracing::debug!(%error, "a name was not resolved");
            }
            OciError::resolve(error, kind)
        })?;
        let known = Known { media_type: descriptor.media_type, size: descriptor.size, kind };
        self.descriptors.remember(descriptor.digest, known.clone());
        Ok(Described { digest: descriptor.digest, known })
    }

    /// What held content is: after a restart nothing is remembered, but a manifest can be told by its text.
    async fn identify_held(&self, digest: Digest, size: u64) -> Result<Known, OciError> {
        let mut known = Known { media_type: String::new(), size, kind: ContentKind::Blob };
        if size <= MANIFEST_BYTES_MAX {
            let body =
                self.read_small(digest, size, None).await.map_err(|error| self.failed(digest, &error, known.kind))?;
            if let Some(manifest) = Manifest::read(&body) {
                self.descriptors.remember_children(&manifest);
                known = Known { media_type: manifest.media_type, size, kind: ContentKind::Manifest };
            }
        }
        self.descriptors.remember(digest, known.clone());
        Ok(known)
    }

    /// A manifest is read whole before it is answered: it is small, and what it names will be asked for next. A `HEAD`
    /// needs the body only where nobody has said the type yet.
    async fn answer_manifest(&self, request: &ContentRequest, mut described: Described) -> Result<Response, OciError> {
        let typed = !described.known.media_type.is_empty();
        if request.head && typed {
            return Ok(manifest_head(&described).body(Body::empty()).unwrap_or_else(unbuildable));
        }
        if described.known.size > MANIFEST_BYTES_MAX {
            return Err(OciError::unknown(ContentKind::Manifest, "larger than a manifest may be (4 MiB)"));
        }
        let source = request.upstream_source(&described.known.media_type);
        let body = self
            .read_small(described.digest, described.known.size, source)
            .await
            .map_err(|error| self.failed(described.digest, &error, ContentKind::Manifest))?;
        match Manifest::read(&body) {
            Some(manifest) => {
                self.descriptors.remember_children(&manifest);
                if !typed {
                    described.known.media_type = manifest.media_type;
                    self.descriptors.remember(described.digest, described.known.clone());
                }
            }
            None if !typed => return Err(OciError::unknown(ContentKind::Manifest, "the content is not a manifest")),
            // A type that is not read here, such as a Docker manifest of schema 1, is passed on as it is.
            None => {}
        }
        let body = if request.head { Body::empty() } else { Body::from(body) };
        Ok(manifest_head(&described).body(body).unwrap_or_else(unbuildable))
    }

    async fn answer_blob(&self, request: &ContentRequest, described: &Described) -> Result<Response, OciError> {
        let size = described.known.size;
        let answer = request.range.as_deref().map_or(RangeAnswer::Whole, |header| read_range(header, size));
        let excerpt = matches!(answer, RangeAnswer::Excerpt(_));
        let range = match answer {
            RangeAnswer::Unsatisfiable => return Ok(unsatisfiable(size)),
            RangeAnswer::Whole => None,
            RangeAnswer::Part(range) | RangeAnswer::Excerpt(range) => Some(range),
        };
        let length = range.as_ref().map_or(size, |range| range.end - range.start);
        let source = request.upstream_source("");
        let wanted = BlobRequest { digest: described.digest, size, source, range: range.clone(), excerpt };
        let (first, stream) = self
            .open_and_wait(wanted, length)
            .await
            .map_err(|error| self.failed(described.digest, &error, ContentKind::Blob))?;
        let body = BlobBody::new(first, stream, length, request.fate.clone());
        Ok(blob_response(described, range, length).body(Body::new(body)).unwrap_or_else(unbuildable))
    }

    /// Opens a blob and waits for its first bytes, so that a failure before them still becomes a status.
    async fn open_and_wait(&self, wanted: BlobRequest, length: u64) -> Result<(Option<Bytes>, BlobStream), BlobError> {
        let mut stream = self.source.open(wanted).await?;
        let first = if length == 0 { None } else { stream.next().await.transpose()? };
        Ok((first, stream))
    }

    async fn read_small(&self, digest: Digest, size: u64, source: Option<UpstreamSource>) -> Result<Bytes, BlobError> {
        let mut stream = self.source.open(BlobRequest { digest, size, source, range: None, excerpt: false }).await?;
        let first = stream.next().await.transpose()?.unwrap_or_default();
        if first.len() as u64 == size {
            return Ok(first);
        }
        let mut body = Vec::from(first);
        while let Some(bytes) = stream.next().await.transpose()? {
            body.extend_from_slice(&bytes);
            if body.len() as u64 > size {
                return Err(BlobError::Corrupt);
            }
        }
        if body.len() as u64 == size { Ok(body.into()) } else { Err(BlobError::Corrupt) }
    }

    /// Content that failed may not be what was remembered of it, so the next request asks anew.
    fn failed(&self, digest: Digest, error: &BlobError, kind: ContentKind) -> OciError {
        tracing::debug!(%digest, %error, "content could not be read");
        self.descriptors.forget(&digest);
        OciError::read(error, kind)
    }
}

fn other_kind(kind: ContentKind) -> OciError {
    OciError::unknown(kind, "the digest is of the other kind: manifest or blob")
}

impl ContentRequest {
    /// Takes a request apart. What is not a request for content is answered at once.
    fn read(request: &Request) -> Result<Self, Box<Response>> {
        if request.method() != Method::GET && request.method() != Method::HEAD {
            return Err(Box::new(OciError::unsupported().into_response()));
        }
        let refuse = |error: OciError| Box::new(error.into_response());
        let path = match request.uri().path().parse() {
            Ok(ApiPath::Content(path)) => path,
            Ok(ApiPath::Base) => return Err(Box::new(base())),
            Err(error) => return Err(refuse(OciError::from(error))),
        };
        Ok(Self {
            path,
            registry: registry_of(request.uri().query()).map_err(refuse)?,
            head: request.method() == Method::HEAD,
            range: range_header(request.headers()),
            fate: request.extensions().get::<Arc<ConnectionFate>>().cloned().unwrap_or_default(),
        })
    }

    fn upstream_source(&self, media_type: &str) -> Option<UpstreamSource> {
        Some(UpstreamSource {
            registry: self.registry.clone()?,
            repository: self.path.repository.clone(),
            kind: self.path.kind,
            media_type: media_type.to_owned(),
        })
    }
}

/// The registry that the `ns` parameter names.
fn registry_of(query: Option<&str>) -> Result<Option<String>, OciError> {
    let parameters = url::form_urlencoded::parse(query.unwrap_or_default().as_bytes());
    let Some((_, registry)) = parameters.into_iter().find(|(key, _)| key == "ns") else {
        return Ok(None);
    };
    if !is_registry(&registry) {
        return Err(OciError::invalid_registry());
    }
    Ok(Some(canonical_registry(&registry).to_owned()))
}

/// The `Range` header. With `If-Range` it would hold only for a validator that this server never gives out.
fn range_header(headers: &HeaderMap) -> Option<String> {
    if headers.contains_key(header::IF_RANGE) {
        return None;
    }
    headers.get(header::RANGE)?.to_str().ok().map(str::to_owned)
}

fn base() -> Response {
    let mut response = Response::new(Body::empty());
    response.headers_mut().insert("Docker-Distribution-Api-Version", HeaderValue::from_static("registry/2.0"));
    response
}

fn manifest_head(described: &Described) -> Builder {
    let media_type =
        Some(described.known.media_type.as_str()).filter(|text| is_media_type(text)).unwrap_or(OCTET_STREAM);
    Response::builder()
        .header(header::CONTENT_TYPE, media_type)
        .header(header::CONTENT_LENGTH, described.known.size)
        .header("Docker-Content-Digest", described.digest.to_string())
}

fn blob_head(described: &Described) -> Response {
    blob_response(described, None, described.known.size).body(Body::empty()).unwrap_or_else(unbuildable)
}

fn blob_response(described: &Described, range: Option<Range<u64>>, length: u64) -> Builder {
    let builder = Response::builder()
        .header(header::CONTENT_TYPE, OCTET_STREAM)
        .header(header::CONTENT_LENGTH, length)
        .header(header::ACCEPT_RANGES, "bytes")
        .header("Docker-Content-Digest", described.digest.to_string());
    match range {
        None => builder,
        Some(range) => builder.status(StatusCode::PARTIAL_CONTENT).header(
            header::CONTENT_RANGE,
            format!("bytes {}-{}/{}", range.start, range.end.saturating_sub(1), described.known.size),
        ),
    }
}

fn unsatisfiable(size: u64) -> Response {
    Response::builder()
        .status(StatusCode::RANGE_NOT_SATISFIABLE)
        .header(header::CONTENT_RANGE, format!("bytes */{size}"))
        .header(header::ACCEPT_RANGES, "bytes")
        .body(Body::empty())
        .unwrap_or_else(unbuildable)
}

/// All header values above are checked or numbers, so this answers only if that is wrong.
// By value, because it is a parameter of `unwrap_or_else`.
#[allow(clippy::needless_pass_by_value)]
fn unbuildable(error: axum::http::Error) -> Response {
    tracing::error!(%error, "an answer could not be written");
    StatusCode::INTERNAL_SERVER_ERROR.into_response()
}

#[cfg(test)]
mod tests;
