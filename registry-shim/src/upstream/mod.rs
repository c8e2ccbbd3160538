//! The registries behind this node, as the engine's [`Upstream`].
//!
//! A request goes to each endpoint of the registry's mirror in turn, and at last to the registry itself; the answer of
//! the last one asked is the one that counts. Endpoints that cannot be reached rest for a moment, so that a dead mirror
//! does not cost its connect timeout again for each request.

mod challenge;
mod failure;
mod fetch;
mod metrics;
mod resolve;
mod rest;
mod tokens;
mod transport;

use std::{ops::Range, sync::Arc, time::Duration};

use async_trait::async_trait;
use axum::http::{HeaderMap, Method, StatusCode};
use shoal_runtime::{Descriptor, Digest, Name, Upstream, UpstreamBody, UpstreamFailure, UpstreamSource};

pub use self::metrics::UpstreamRequests;
use self::{
    challenge::read_challenges,
    rest::{Candidates, Resting},
    tokens::Tokens,
    transport::{Answer, Call, Transport},
};
use crate::registries::{Endpoint, Registries};

/// How long to wait for a registry.
#[derive(Clone, Copy, Debug)]
pub struct UpstreamTimeouts {
    /// For a TCP and TLS connection.
    pub connect: Duration,
    /// For the header of a response.
    pub headers: Duration,
    /// Between two parts of a body.
    pub idle: Duration,
    /// For the answer to a name, all endpoints together.
    pub resolve: Duration,
}

impl Default for UpstreamTimeouts {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(5),
            headers: Duration::from_secs(8),
            idle: Duration::from_secs(15),
            resolve: Duration::from_secs(20),
        }
    }
}

/// The HTTP client for all registries.
#[derive(Debug)]
pub struct RegistryClient {
    registries: Arc<Registries>,
    transport: Transport,
    tokens: Tokens,
    resting: Resting,
    timeouts: UpstreamTimeouts,
}

impl RegistryClient {
    /// A client for the registries that `registries` describes; `requests` counts what it does.
    pub fn new(registries: Arc<Registries>, timeouts: UpstreamTimeouts, requests: UpstreamRequests) -> Self {
        Self {
            transport: Transport::new(registries.clone(), timeouts, requests),
            registries,
            tokens: Tokens::default(),
            resting: Resting::default(),
            timeouts,
        }
    }

    /// Endpoints to try, in order. Those that rest are left out, unless all do.
    fn candidates(&self, registry: &str, repository: &str) -> Candidates {
        if registry.is_empty() || !self.registries.mirrors(registry) {
            return Candidates::default();
        }
        self.resting.leave_out(self.registries.endpoints(registry, repository))
    }

    /// Sends one request to one endpoint, with a login where the endpoint asks for it.
    async fn send(
        &self,
        registry: &str,
        endpoint: &Endpoint,
        method: Method,
        tail: &str,
        headers: HeaderMap,
    ) -> Result<Answer, UpstreamFailure> {
        let url = endpoint.url(tail).map_err(|error| {
            tracing::warn!(base = %endpoint.base, repository = endpoint.repository, %error, "not a URL; check rewrite");
            UpstreamFailure::NotFound
        })?;
        let mut call = Call { registry, method, url, headers, authorization: self.tokens.current(endpoint).await };
        let answer = self.send_once(endpoint, &call).await?;
        if answer.response.status() != StatusCode::UNAUTHORIZED || answer.elsewhere {
            return Ok(answer);
        }
        let challenges = read_challenges(answer.response.headers());
        let credentials = self.registries.config(&endpoint.base).and_then(|config| config.credentials.as_ref());
        let rejected = call.authorization.take();
        let granted =
            self.tokens.renew(endpoint, rejected.as_ref(), &challenges, credentials, &self.transport, registry).await?;
        call.authorization = Some(granted);
        self.send_once(endpoint, &call).await
    }

    async fn send_once(&self, endpoint: &Endpoint, call: &Call<'_>) -> Result<Answer, UpstreamFailure> {
        let attempt = self.resting.attempt(endpoint);
        let sent = self.transport.send(call).await;
        attempt.end(sent.is_ok());
        sent.map_err(|error| {
            tracing::warn!(registry = call.registry, url = %call.url, %error, "a registry was not reached");
            UpstreamFailure::Unavailable
        })
    }
}

#[async_trait]
impl Upstream for RegistryClient {
    async fn resolve(&self, name: &Name) -> Result<Descriptor, UpstreamFailure> {
        tokio::time::timeout(self.timeouts.resolve, self.resolve_name(name))
            .await
            .unwrap_or(Err(UpstreamFailure::Unavailable))
    }

    async fn fetch(
        &self,
        source: &UpstreamSource,
        digest: &Digest,
        range: Range<u64>,
    ) -> Result<UpstreamBody, UpstreamFailure> {
        self.fetch_range(source, digest, range).await
    }
}

#[cfg(test)]
mod tests;
