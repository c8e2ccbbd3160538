//! The client against small registries in this process, over real sockets.

mod logins;
mod names;
mod ranges;
mod routes;
mod tls;

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex},
    time::Duration,
};

use axum::{
    Router,
    body::Body,
    extract::Request,
    http::{HeaderMap, StatusCode, header},
    response::Response,
};
use futures_util::StreamExt;
use shoal_runtime::{ContentKind, Digest, Upstream, UpstreamBody, UpstreamFailure, UpstreamSource};
use tokio::net::TcpListener;

use super::{RegistryClient, UpstreamRequests, UpstreamTimeouts};
use crate::{http::server::Server, registries::Registries};

/// A registry that answers by a function, and remembers what it was asked.
struct FakeRegistry {
    address: SocketAddr,
    asked: Arc<Mutex<Vec<Asked>>>,
    _server: Server,
}

/// A request as the registry saw it.
#[derive(Clone, Debug)]
struct Asked {
    method: String,
    path: String,
    query: String,
    headers: HeaderMap,
    body: String,
}

impl Asked {
    fn header(&self, name: header::HeaderName) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    fn authorization(&self) -> &str {
        self.header(header::AUTHORIZATION)
    }
}

impl FakeRegistry {
    async fn start(answer: impl Fn(&Asked) -> Response + Clone + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let asked = Arc::new(Mutex::new(Vec::new()));
        let log = asked.clone();
        let router = Router::new().fallback(async move |request: Request| {
            let asked = read_request(request).await;
            log.lock().unwrap().push(asked.clone());
            answer(&asked)
        });
        Self { address, asked, _server: Server::start(listener, router, 64) }
    }

    fn name(&self) -> String {
        self.address.to_string()
    }

    fn asked(&self) -> Vec<Asked> {
        self.asked.lock().unwrap().clone()
    }

    fn source(&self) -> UpstreamSource {
        source_at(&self.name())
    }
}

async fn read_request(request: Request) -> Asked {
    let (parts, body) = request.into_parts();
    let body = axum::body::to_bytes(body, 65536).await.unwrap();
    Asked {
        method: parts.method.to_string(),
        path: parts.uri.path().to_owned(),
        query: parts.uri.query().unwrap_or_default().to_owned(),
        headers: parts.headers,
        body: String::from_utf8(body.to_vec()).unwrap(),
    }
}

fn source_at(registry: &str) -> UpstreamSource {
    UpstreamSource {
        registry: registry.to_owned(),
        repository: "a/b".to_owned(),
        kind: ContentKind::Blob,
        media_type: String::new(),
    }
}

/// Times short enough for tests of what never answers.
fn quick() -> UpstreamTimeouts {
    UpstreamTimeouts {
        connect: Duration::from_secs(5),
        headers: Duration::from_millis(300),
        idle: Duration::from_millis(300),
        resolve: Duration::from_secs(20),
    }
}

fn client() -> RegistryClient {
    client_with("")
}

/// A client for all registries, with this `configs` part of a registries.yaml.
fn client_with(configs: &str) -> RegistryClient {
    client_for(&format!("mirrors: {{'*': {{}}}}\n{configs}"))
}

fn client_for(registries: &str) -> RegistryClient {
    let registries = Registries::parse("registries.yaml", registries).unwrap();
    RegistryClient::new(Arc::new(registries), UpstreamTimeouts::default(), UpstreamRequests::default())
}

fn patient_only_for_a_moment() -> RegistryClient {
    RegistryClient::new(Arc::default(), quick(), UpstreamRequests::default())
}

fn status(code: u16) -> Response {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::from_u16(code).unwrap();
    response
}

/// Serves one range of `content`, as a good registry does.
fn serve_range(content: &[u8], asked: &Asked) -> Response {
    use crate::oci::range::{RangeAnswer, read_range};
    match read_range(asked.header(header::RANGE), content.len() as u64) {
        RangeAnswer::Part(range) | RangeAnswer::Excerpt(range) => {
            let part = content[usize::try_from(range.start).unwrap()..usize::try_from(range.end).unwrap()].to_vec();
            let content_range = format!("bytes {}-{}/{}", range.start, range.end - 1, content.len());
            Response::builder().status(206).header(header::CONTENT_RANGE, content_range).body(Body::from(part)).unwrap()
        }
        RangeAnswer::Whole => Response::new(Body::from(content.to_vec())),
        RangeAnswer::Unsatisfiable => status(416),
    }
}

/// The bytes of a body, or how it failed.
async fn read(body: UpstreamBody) -> Result<Vec<u8>, UpstreamFailure> {
    let mut stream = body.stream;
    let mut bytes = Vec::new();
    while let Some(part) = stream.next().await {
        bytes.extend_from_slice(&part?);
    }
    Ok(bytes)
}

fn any_digest() -> Digest {
    crate::testing::digest_of(b"content")
}
