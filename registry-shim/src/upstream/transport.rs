//! HTTP to registries: one client for each kind of TLS setting, redirects, time limits.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use reqwest::{Client, Response, redirect::Policy};
use thiserror::Error;
use url::Url;

use super::{UpstreamTimeouts, metrics::UpstreamRequests};
use crate::{
    bounded::BoundedMap,
    registries::{Registries, is_loopback},
};

/// Redirects that are followed for one request.
const REDIRECTS_MAX: usize = 10;

/// Clients that are kept. There is one for hosts without settings, and one for each host with some.
const CLIENTS_MAX: usize = 64;

/// Connections to one host that are kept open while they are idle.
const IDLE_CONNECTIONS_MAX: usize = 8;

/// A request to be sent.
#[derive(Clone, Debug)]
pub(super) struct Call<'a> {
    /// Registry on whose behalf it is sent; for counting.
    pub(super) registry: &'a str,
    pub(super) method: Method,
    pub(super) url: Url,
    pub(super) headers: HeaderMap,
    /// Sent to the first host only.
    pub(super) authorization: Option<HeaderValue>,
}

/// What came back.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) response: Response,
    /// Whether a redirect led to another host than the one that was asked.
    pub(super) elsewhere: bool,
}

/// Why nothing came back.
#[derive(Debug, Error)]
pub(super) enum TransportError {
    #[error("no client for this host: {}", whole_story(.0))]
    Client(reqwest::Error),
    #[error("{}", whole_story(.0))]
    Request(reqwest::Error),
    #[error("no response header within {} s", .0.as_secs_f32())]
    HeaderTimeout(Duration),
    #[error("redirected {0}")]
    Redirect(&'static str),
}

/// reqwest's messages name the cause only in their chain of sources.
fn whole_story(error: &reqwest::Error) -> String {
    let mut story = error.to_string();
    let mut source = std::error::Error::source(error);
    while let Some(cause) = source {
        story = format!("{story}: {cause}");
        source = cause.source();
    }
    story
}

/// The HTTP clients of this process.
#[derive(Debug)]
pub(super) struct Transport {
    registries: Arc<Registries>,
    clients: Mutex<BoundedMap<ClientKey, Client>>,
    timeouts: UpstreamTimeouts,
    requests: UpstreamRequests,
}

/// Hosts that can share a client.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct ClientKey {
    encrypted: bool,
    loopback: bool,
    /// Host with TLS settings of its own.
    host: Option<String>,
}

impl Transport {
    pub(super) fn new(registries: Arc<Registries>, timeouts: UpstreamTimeouts, requests: UpstreamRequests) -> Self {
        Self { registries, clients: Mutex::new(BoundedMap::new(CLIENTS_MAX)), timeouts, requests }
    }

    /// Sends a request, and follows redirects.
    pub(super) async fn send(&self, call: &Call<'_>) -> Result<Answer, TransportError> {
        self.send_form(call, None).await
    }

    /// As [`Transport::send`], with a body for `POST`. A form is never sent on to where a redirect points.
    pub(super) async fn send_form(&self, call: &Call<'_>, form: Option<String>) -> Result<Answer, TransportError> {
        let mut url = call.url.clone();
        let mut elsewhere = false;
        let posts = form.is_some();
        let mut form = form;
        for _ in 0..=REDIRECTS_MAX {
            let response = self.send_hop(call, &url, elsewhere, form.take()).await?;
            let Some(next) = redirect_target(&response, &url) else {
                return Ok(Answer { response, elsewhere });
            };
            if posts {
                return Err(TransportError::Redirect("a form, which is not followed"));
            }
            if url.scheme() == "https" && next.scheme() != "https" {
                return Err(TransportError::Redirect("from https to another scheme, which is not followed"));
            }
            elsewhere |= authority(&next) != authority(&call.url);
            url = next;
        }
        Err(TransportError::Redirect("too often"))
    }

    async fn send_hop(
        &self,
        call: &Call<'_>,
        url: &Url,
        elsewhere: bool,
        form: Option<String>,
    ) -> Result<Response, TransportError> {
        let client = self.client_for(url)?;
        let mut request = client.request(call.method.clone(), url.clone()).headers(call.headers.clone());
        if let Some(authorization) = call.authorization.as_ref().filter(|_| !elsewhere) {
            request = request.header(header::AUTHORIZATION, authorization);
        }
        if let Some(form) = form {
            request = request.body(form);
        }
        let sent = tokio::time::timeout(self.timeouts.headers, request.send()).await;
        let status = match &sent {
            Ok(Ok(response)) => response.status().as_str().to_owned(),
            _ => "error".to_owned(),
        };
        self.requests.count(call.registry, call.method.as_str(), &status);
        sent.map_err(|_| TransportError::HeaderTimeout(self.timeouts.headers))?.map_err(TransportError::Request)
    }

    fn client_for(&self, url: &Url) -> Result<Client, TransportError> {
        let tls = self.registries.config(url).and_then(|config| config.tls.as_ref());
        let encrypted = url.scheme() == "https";
        let key = ClientKey {
            encrypted,
            loopback: is_loopback(url),
            host: tls.filter(|_| encrypted).map(|_| authority(url)),
        };
        let mut clients = self.clients.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(client) = clients.get(&key) {
            return Ok(client.clone());
        }
        let mut builder = Client::builder()
            .user_agent(concat!("shoal/", env!("CARGO_PKG_VERSION")))
            .redirect(Policy::none())
            .connect_timeout(self.timeouts.connect)
            .read_timeout(self.timeouts.idle)
            .pool_max_idle_per_host(IDLE_CONNECTIONS_MAX);
        if key.loopback {
            // A proxy from the environment cannot reach this machine's own registries.
            builder = builder.no_proxy();
        }
        if let Some(tls) = tls.filter(|_| encrypted) {
            builder = builder.tls_danger_accept_invalid_certs(tls.insecure_skip_verify);
            builder = builder.tls_certs_merge(tls.authorities.iter().cloned());
            if let Some(identity) = &tls.identity {
                builder = builder.identity(identity.clone());
            }
        }
        if !encrypted {
            // So that plain http works on a machine without any certificate of an authority.
            builder = builder.tls_certs_only([]);
        }
        let client = builder.build().map_err(TransportError::Client)?;
        clients.insert(key, client.clone());
        Ok(client)
    }
}

fn authority(url: &Url) -> String {
    let host = url.host_str().unwrap_or_default();
    format!("{host}:{}", url.port_or_known_default().unwrap_or_default())
}

fn redirect_target(response: &Response, url: &Url) -> Option<Url> {
    let followed = [
        StatusCode::MOVED_PERMANENTLY,
        StatusCode::FOUND,
        StatusCode::SEE_OTHER,
        StatusCode::TEMPORARY_REDIRECT,
        StatusCode::PERMANENT_REDIRECT,
    ];
    if !followed.contains(&response.status()) {
        return None;
    }
    let target = url.join(response.headers().get(header::LOCATION)?.to_str().ok()?).ok()?;
    matches!(target.scheme(), "http" | "https").then_some(target)
}
