//! A registry inside the test, for what a real one does not do on demand: errors, tokens, and silence about ranges.

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use anyhow::Result;
use axum::{
    Router,
    body::Body,
    extract::{Request, State},
    http::{HeaderMap, Method, Response, StatusCode, header},
};
use base64::{Engine, prelude::BASE64_STANDARD};
use bytes::Bytes;
use tokio::task::JoinHandle;

use crate::image::Image;

/// How a [`MockRegistry`] behaves. Tests may change it at any time.
#[derive(Clone, Debug, Default)]
pub struct Behaviour {
    /// Answers everything with this status and these headers.
    pub fail_with: Option<(u16, Vec<(String, String)>)>,
    /// Ignores `Range`: always the whole content, 200.
    pub without_ranges: bool,
    /// Wants a bearer token, which `/token` gives to this `user:password`.
    pub token_for: Option<String>,
}

/// One request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Asked {
    /// Method.
    pub method: String,
    /// Path.
    pub path: String,
    /// Status that it got.
    pub status: u16,
    /// Bytes of the body that it was offered.
    pub body_bytes: u64,
}

/// A registry with one image, on a free port of loopback. It ends when it is dropped.
#[derive(Debug)]
pub struct MockRegistry {
    address: SocketAddr,
    shared: Arc<Shared>,
    server: JoinHandle<()>,
}

#[derive(Debug)]
struct Shared {
    address: SocketAddr,
    /// Media type and content by digest, and by the tag.
    contents: BTreeMap<String, (&'static str, Bytes)>,
    digest_of_tag: String,
    behaviour: Mutex<Behaviour>,
    asked: Mutex<Vec<Asked>>,
}

/// The bearer token.
const TOKEN: &str = "a-token-of-the-test";

impl MockRegistry {
    /// Serves `image` under every repository's name.
    pub async fn start(image: &Image, behaviour: Behaviour) -> Result<Self> {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let mut contents = BTreeMap::new();
        for blob in image.blobs() {
            contents.insert(blob.digest.clone(), (blob.media_type, Bytes::from(image.read(blob)?)));
        }
        let shared = Arc::new(Shared {
            address,
            contents,
            digest_of_tag: image.target().digest.clone(),
            behaviour: Mutex::new(behaviour),
            asked: Mutex::default(),
        });
        let app = Router::new().fallback(answer).with_state(Arc::clone(&shared));
        let server = tokio::spawn(async move {
            if let Err(error) = axum::serve(listener, app).await {
                eprintln!("the registry of the test ended: {error}");
            }
        });
        Ok(Self { address, shared, server })
    }

    /// `127.0.0.1:<port>`, as images name it.
    pub fn host(&self) -> String {
        self.address.to_string()
    }

    /// Its URL, plain HTTP.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Changes how it behaves from now on.
    pub fn set(&self, behaviour: Behaviour) {
        *lock(&self.shared.behaviour) = behaviour;
    }

    /// What was asked so far.
    pub fn asked(&self) -> Vec<Asked> {
        lock(&self.shared.asked).clone()
    }
}

impl Drop for MockRegistry {
    fn drop(&mut self) {
        self.server.abort();
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn answer(State(shared): State<Arc<Shared>>, request: Request) -> Response<Body> {
    let path = request.uri().path().to_owned();
    let (status, headers, body) = shared.respond(request.method(), &path, request.headers());
    let asked =
        Asked { method: request.method().to_string(), path, status: status.as_u16(), body_bytes: body.len() as u64 };
    lock(&shared.asked).push(asked);
    let mut response = Response::new(Body::from(if request.method() == Method::HEAD { Bytes::new() } else { body }));
    *response.status_mut() = status;
    *response.headers_mut() = headers;
    response
}

type Parts = (StatusCode, HeaderMap, Bytes);

impl Shared {
    fn respond(&self, method: &Method, path: &str, headers: &HeaderMap) -> Parts {
        let behaviour = lock(&self.behaviour).clone();
        if let Some((status, extra)) = &behaviour.fail_with {
            let extra = extra.iter().map(|(name, value)| (name.as_str(), value.as_str()));
            return parts(
                *status,
                extra,
                Bytes::from_static(br#"{"errors":[{"code":"UNKNOWN","message":"on purpose"}]}"#),
            );
        }
        if let Some(credentials) = &behaviour.token_for {
            let authorization =
                headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok()).unwrap_or_default();
            if path == "/token" {
                return token(authorization, credentials);
            }
            if authorization != format!("Bearer {TOKEN}") {
                let challenge = format!(
                    "Bearer realm=\"http://{}/token\",service=\"test\",scope=\"repository:any:pull\"",
                    self.address
                );
                return parts(401, [("www-authenticate", challenge.as_str())], Bytes::new());
            }
        }
        match path.rsplit_once('/') {
            Some((prefix, reference)) if method == Method::GET || method == Method::HEAD => {
                let digest = if reference == Image::TAG { self.digest_of_tag.as_str() } else { reference };
                let range = headers
                    .get(header::RANGE)
                    .and_then(|value| value.to_str().ok())
                    .filter(|_| !behaviour.without_ranges);
                self.content(prefix, digest, range)
            }
            _ => parts(405, [], Bytes::new()),
        }
    }

    fn content(&self, prefix: &str, digest: &str, range: Option<&str>) -> Parts {
        let Some((media_type, content)) = self.contents.get(digest) else { return parts(404, [], Bytes::new()) };
        let is_manifest = media_type.contains("manifest") || media_type.contains("index");
        if prefix.ends_with("/manifests") != is_manifest {
            return parts(404, [], Bytes::new());
        }
        let size = content.len();
        let media_type = if is_manifest { media_type } else { "application/octet-stream" };
        let common = [("content-type", media_type), ("docker-content-digest", digest)];
        match range.and_then(|range| parse_range(range, size)) {
            Some((first, last)) => {
                let range = format!("bytes {first}-{last}/{size}");
                let length = (last + 1 - first).to_string();
                let headers =
                    common.into_iter().chain([("content-range", range.as_str()), ("content-length", length.as_str())]);
                parts(206, headers, content.slice(first..=last))
            }
            None => {
                parts(200, common.into_iter().chain([("content-length", size.to_string().as_str())]), content.clone())
            }
        }
    }
}

fn token(authorization: &str, credentials: &str) -> Parts {
    if authorization == format!("Basic {}", BASE64_STANDARD.encode(credentials)) {
        let body = format!(r#"{{"token":"{TOKEN}","access_token":"{TOKEN}","expires_in":300}}"#);
        return parts(200, [("content-type", "application/json")], Bytes::from(body));
    }
    parts(401, [("www-authenticate", "Basic realm=\"test\"")], Bytes::new())
}

/// First and last byte of `bytes=a-b` or `bytes=a-`.
fn parse_range(range: &str, size: usize) -> Option<(usize, usize)> {
    let (first, last) = range.strip_prefix("bytes=")?.split_once('-')?;
    let first = first.parse().ok().filter(|&first| first < size)?;
    let last = if last.is_empty() { size - 1 } else { last.parse::<usize>().ok()?.min(size - 1) };
    (first <= last).then_some((first, last))
}

fn parts<'a>(status: u16, headers: impl IntoIterator<Item = (&'a str, &'a str)>, body: Bytes) -> Parts {
    let mut map = HeaderMap::new();
    for (name, value) in headers {
        let name = header::HeaderName::try_from(name).expect("tests name valid headers");
        map.insert(name, header::HeaderValue::try_from(value).expect("tests give valid values"));
    }
    (StatusCode::from_u16(status).expect("tests name valid statuses"), map, body)
}
