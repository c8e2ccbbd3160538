//! The upstream of the demo: a registry with one image behind one link.
//!
//! It serves what a pull needs (OCI distribution spec, "Pulling manifests" and "Pulling blobs", with ranges), sends all
//! bodies through one [`Link`], and counts requests and the body bytes that it handed to connections.

use std::{
    collections::BTreeMap,
    io,
    net::{Ipv4Addr, SocketAddr},
    ops::Range,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use axum::{
    Router,
    body::Body,
    extract::{Request, State},
    http::{HeaderMap, Method, StatusCode, header},
    response::{IntoResponse, Response},
    serve::ListenerExt,
};
use bytes::Bytes;
use futures_util::{Stream, stream};
use shoal_runtime::Digest;
use tokio::{net::TcpListener, task::JoinHandle};

use super::{
    image::{Blob, Image, MANIFEST_TYPE},
    link::{Flow, Link},
};
use crate::oci::range::{RangeAnswer, read_range};

/// Repository of the image.
pub(crate) const REPOSITORY: &str = "shoal/demo";
/// Tag of the image.
pub(crate) const TAG: &str = "v1";

/// A running registry; dropping it closes its port.
#[derive(Debug)]
pub(crate) struct Registry {
    address: SocketAddr,
    shelf: Arc<Shelf>,
    serving: JoinHandle<io::Result<()>>,
}

/// What a registry has sent.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Sent {
    /// Requests of manifests, HEAD and GET.
    pub(crate) manifest_requests: u64,
    /// Requests of blobs, HEAD and GET.
    pub(crate) blob_requests: u64,
    /// Body bytes of blobs.
    pub(crate) blob_bytes: u64,
    /// Body bytes of the blob of which the most copies were sent, divided by its size.
    pub(crate) most_copies: f64,
}

#[derive(Debug)]
struct Shelf {
    image: Arc<Image>,
    link: Arc<Link>,
    manifest_requests: AtomicU64,
    blobs: BTreeMap<Digest, Traffic>,
}

#[derive(Debug, Default)]
struct Traffic {
    requests: AtomicU64,
    bytes: AtomicU64,
}

impl Registry {
    /// Starts a registry on a free port of the loopback interface, behind a link of its own.
    pub(crate) async fn start(image: Arc<Image>, link_bytes_per_s: u64) -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let address = listener.local_addr()?;
        let shelf = Arc::new(Shelf {
            blobs: image.blob_digests().map(|digest| (digest, Traffic::default())).collect(),
            image,
            link: Link::new(link_bytes_per_s),
            manifest_requests: AtomicU64::new(0),
        });
        let router = Router::new().fallback(answer).with_state(Arc::clone(&shelf));
        // Without it the last packet of each chunk would wait for an acknowledgement.
        let listener = listener.tap_io(|connection| drop(connection.set_nodelay(true)));
        let serving = tokio::spawn(axum::serve(listener, router).into_future());
        Ok(Self { address, shelf, serving })
    }

    /// Where it listens.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// What it has sent so far.
    pub(crate) fn sent(&self) -> Sent {
        let mut sent =
            Sent { manifest_requests: self.shelf.manifest_requests.load(Ordering::Relaxed), ..Sent::default() };
        for (digest, traffic) in &self.shelf.blobs {
            let bytes = traffic.bytes.load(Ordering::Relaxed);
            sent.blob_requests += traffic.requests.load(Ordering::Relaxed);
            sent.blob_bytes += bytes;
            if let Some(blob) = self.shelf.image.blob(digest) {
                sent.most_copies = sent.most_copies.max(bytes as f64 / blob.size() as f64);
            }
        }
        sent
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

/// What a path asks for.
#[derive(Debug, PartialEq, Eq)]
enum Resource<'a> {
    Base,
    Manifest(&'a str),
    Blob(&'a str),
}

fn resource(path: &str) -> Option<Resource<'_>> {
    let rest = path.strip_prefix("/v2")?;
    if rest.is_empty() || rest == "/" {
        return Some(Resource::Base);
    }
    let (kind, reference) = rest.strip_prefix('/')?.strip_prefix(REPOSITORY)?.strip_prefix('/')?.split_once('/')?;
    match kind {
        "manifests" => Some(Resource::Manifest(reference)),
        "blobs" => Some(Resource::Blob(reference)),
        _ => None,
    }
}

async fn answer(State(shelf): State<Arc<Shelf>>, request: Request) -> Response {
    let send_body = match *request.method() {
        Method::GET => true,
        Method::HEAD => false,
        _ => return StatusCode::METHOD_NOT_ALLOWED.into_response(),
    };
    match resource(request.uri().path()) {
        Some(Resource::Base) => StatusCode::OK.into_response(),
        Some(Resource::Manifest(reference)) => manifest(&shelf, reference, send_body).await,
        Some(Resource::Blob(digest)) => blob(&shelf, digest, request.headers(), send_body),
        None => refuse(StatusCode::NOT_FOUND, "NAME_UNKNOWN"),
    }
}

async fn manifest(shelf: &Shelf, reference: &str, send_body: bool) -> Response {
    shelf.manifest_requests.fetch_add(1, Ordering::Relaxed);
    let manifest = shelf.image.manifest();
    let digest = manifest.digest.to_string();
    if reference != TAG && reference != digest {
        return refuse(StatusCode::NOT_FOUND, "MANIFEST_UNKNOWN");
    }
    let headers = [
        (header::CONTENT_TYPE.as_str(), MANIFEST_TYPE.to_owned()),
        (header::CONTENT_LENGTH.as_str(), manifest.bytes.len().to_string()),
        ("docker-content-digest", digest),
    ];
    if !send_body {
        return (headers, Body::empty()).into_response();
    }
    shelf.link.flow().carry(manifest.bytes.len()).await;
    (headers, Body::from(manifest.bytes.clone())).into_response()
}

fn blob(shelf: &Arc<Shelf>, digest: &str, headers: &HeaderMap, send_body: bool) -> Response {
    let known = digest.parse().ok().and_then(|digest: Digest| Some((digest, shelf.image.blob(&digest)?)));
    let Some((digest, blob)) = known else {
        return refuse(StatusCode::NOT_FOUND, "BLOB_UNKNOWN");
    };
    if let Some(traffic) = shelf.blobs.get(&digest) {
        traffic.requests.fetch_add(1, Ordering::Relaxed);
    }
    let size = blob.size();
    let header = headers.get(header::RANGE).and_then(|value| value.to_str().ok()).filter(|_| send_body);
    let (status, range) = match header.map_or(RangeAnswer::Whole, |header| read_range(header, size)) {
        RangeAnswer::Whole => (StatusCode::OK, 0..size),
        RangeAnswer::Part(range) | RangeAnswer::Excerpt(range) => (StatusCode::PARTIAL_CONTENT, range),
        RangeAnswer::Unsatisfiable => {
            let content_range = [(header::CONTENT_RANGE, format!("bytes */{size}"))];
            return (StatusCode::RANGE_NOT_SATISFIABLE, content_range).into_response();
        }
    };
    let mut response = Response::builder()
        .status(status)
        .header(header::CONTENT_TYPE, "application/octet-stream")
        .header(header::ACCEPT_RANGES, "bytes")
        .header(header::CONTENT_LENGTH, range.end - range.start)
        .header("docker-content-digest", digest.to_string());
    if status == StatusCode::PARTIAL_CONTENT {
        response = response.header(header::CONTENT_RANGE, format!("bytes {}-{}/{size}", range.start, range.end - 1));
    }
    let body = if send_body { Body::from_stream(body(shelf, digest, blob, range)) } else { Body::empty() };
    response.body(body).unwrap_or_else(|_| StatusCode::INTERNAL_SERVER_ERROR.into_response())
}

/// The bytes of `range`, as the link carries them. A chunk counts as sent when the connection takes it.
fn body(
    shelf: &Arc<Shelf>,
    digest: Digest,
    blob: Blob,
    range: Range<u64>,
) -> impl Stream<Item = io::Result<Bytes>> + Send + use<> {
    let flow = shelf.link.flow();
    let start = (Arc::clone(shelf), flow, blob, range);
    stream::unfold(start, move |(shelf, mut flow, blob, range): (Arc<Shelf>, Flow, Blob, Range<u64>)| async move {
        let left = usize::try_from(range.end - range.start).unwrap_or(usize::MAX);
        if left == 0 {
            return None;
        }
        let length = left.min(shelf.link.chunk_bytes());
        flow.carry(length).await;
        let bytes = blob.read(range.start, length);
        if let Some(traffic) = shelf.blobs.get(&digest) {
            traffic.bytes.fetch_add(length as u64, Ordering::Relaxed);
        }
        let rest = range.start + length as u64..range.end;
        Some((Ok(bytes), (shelf, flow, blob, rest)))
    })
}

/// An error as the OCI distribution spec writes it.
fn refuse(status: StatusCode, code: &str) -> Response {
    let body = serde_json::json!({ "errors": [{ "code": code, "message": "this registry has one image" }] });
    (status, [(header::CONTENT_TYPE, "application/json")], body.to_string()).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;
    use sha2::{Digest as _, Sha256};

    const SIZE: u64 = 256 * 1024;

    async fn registry(link_bytes_per_s: u64) -> (Registry, String) {
        let image = Image::generate(&[SIZE, SIZE], 3).await.unwrap();
        let registry = Registry::start(Arc::new(image), link_bytes_per_s).await.unwrap();
        let base = format!("http://{}/v2/{REPOSITORY}", registry.address());
        (registry, base)
    }

    #[tokio::test]
    async fn a_tag_has_the_headers_that_containerd_needs_and_the_manifest_has_its_digest() {
        let (registry, base) = registry(100_000_000).await;
        let http = reqwest::Client::new();
        let head = http.head(format!("{base}/manifests/{TAG}")).send().await.unwrap();
        assert_eq!(head.status(), 200);
        assert_eq!(head.headers()["content-type"], MANIFEST_TYPE);
        let digest = head.headers()["docker-content-digest"].to_str().unwrap().to_owned();
        let manifest = http.get(format!("{base}/manifests/{digest}")).send().await.unwrap();
        assert_eq!(head.headers()["content-length"], manifest.headers()["content-length"]);
        let bytes = manifest.bytes().await.unwrap();
        assert_eq!(Digest::Sha256(Sha256::digest(&bytes).into()).to_string(), digest);
        assert_eq!(registry.sent().manifest_requests, 2);
    }

    #[tokio::test]
    async fn ranges_are_parts_of_the_blob_and_every_byte_is_counted() {
        let (registry, base) = registry(100_000_000).await;
        let digest = registry.shelf.image.blob_digests().nth(1).unwrap();
        let url = format!("{base}/blobs/{digest}");
        let http = reqwest::Client::new();
        let whole = http.get(&url).send().await.unwrap().bytes().await.unwrap();
        assert_eq!(Digest::Sha256(Sha256::digest(&whole).into()), digest);
        let part = http.get(&url).header("range", "bytes=1000-1999").send().await.unwrap();
        assert_eq!(part.status(), 206);
        assert_eq!(part.headers()["content-range"], format!("bytes 1000-1999/{SIZE}"));
        assert_eq!(part.bytes().await.unwrap(), whole[1000..2000]);
        let beyond = http.get(&url).header("range", format!("bytes={SIZE}-")).send().await.unwrap();
        assert_eq!(
            (beyond.status().as_u16(), beyond.headers()["content-range"].to_str().unwrap()),
            (416, "bytes */262144")
        );
        let head = http.head(&url).send().await.unwrap();
        assert_eq!(head.headers()["content-length"], SIZE.to_string());
        let sent = registry.sent();
        assert_eq!((sent.blob_bytes, sent.blob_requests), (SIZE + 1000, 4));
        assert!((sent.most_copies - (SIZE + 1000) as f64 / SIZE as f64).abs() < 1e-9);
    }

    #[tokio::test]
    async fn all_connections_share_one_link() {
        let (registry, base) = registry(2_000_000).await;
        let start = tokio::time::Instant::now();
        let pulls = registry.shelf.image.blob_digests().skip(1).flat_map(|digest| [digest, digest]).map(|digest| {
            let url = format!("{base}/blobs/{digest}");
            async move { reqwest::get(url).await.unwrap().bytes().await.unwrap().len() as u64 }
        });
        let sizes = futures_util::future::join_all(pulls).await;
        assert_eq!(sizes, [SIZE; 4]);
        assert!(start.elapsed().as_secs_f64() >= (4 * SIZE) as f64 / 2_000_000.0);
    }

    #[tokio::test]
    async fn what_it_does_not_have_is_refused() {
        let (_registry, base) = registry(100_000_000).await;
        let unknown = format!("sha256:{}", "0".repeat(64));
        let http = reqwest::Client::new();
        let status = async |path: &str| http.get(format!("{base}/{path}")).send().await.unwrap().status().as_u16();
        assert_eq!(status(&format!("blobs/{unknown}")).await, 404);
        assert_eq!(status("blobs/nonsense").await, 404);
        assert_eq!(status("manifests/other").await, 404);
        assert_eq!(status("../../other/manifests/v1").await, 404);
        assert_eq!(http.delete(format!("{base}/manifests/{TAG}")).send().await.unwrap().status(), 405);
        let base_status = reqwest::get(base.replace(&format!("/{REPOSITORY}"), "/")).await.unwrap().status();
        assert_eq!(base_status, 200);
    }
}
