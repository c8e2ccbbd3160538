//! The HTTP server of a node: connections, the endpoint, and the pages for operators.

pub mod fate;
pub mod observe;
pub mod pages;
pub mod server;
pub mod socket;

use std::sync::Arc;

use axum::{
    Router,
    extract::{Request, State},
    middleware,
    routing::get,
};
use prometheus_client::registry::Registry;

use self::{
    observe::HttpMetrics,
    pages::{EngineMetrics, NodeView, Pages},
};
use crate::{oci::endpoint::Endpoint, upstream::UpstreamRequests};

/// All that a node answers: the distribution endpoint and the pages.
pub fn router(endpoint: Endpoint, node: Arc<dyn NodeView>, seeds: Vec<String>, upstream: &UpstreamRequests) -> Router {
    let http = HttpMetrics::default();
    let mut registry = Registry::default();
    registry.register_collector(Box::new(EngineMetrics::new(node.clone())));
    http.register(&mut registry);
    upstream.register(&mut registry);

    let pages = Arc::new(Pages::new(node, seeds, registry));
    let endpoint = Arc::new(endpoint);
    Router::new()
        .route("/livez", get(async || Pages::livez()))
        .route("/readyz", get(async |State(pages): State<Arc<Pages>>| pages.readyz()))
        .route("/metrics", get(async |State(pages): State<Arc<Pages>>| pages.metrics()))
        .route("/status", get(async |State(pages): State<Arc<Pages>>| pages.status()))
        .with_state(pages)
        .fallback(move |request: Request| {
            let endpoint = endpoint.clone();
            async move { endpoint.answer(request).await }
        })
        .layer(middleware::from_fn_with_state(http, observe::observe))
}
