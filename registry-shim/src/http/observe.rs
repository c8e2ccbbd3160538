//! Counts and durations of requests, from their header to the last byte of the answer.

use std::{
    pin::Pin,
    task::{Context, Poll},
};

use axum::{
    body::Body,
    extract::{Request, State},
    http::Method,
    middleware::Next,
    response::Response,
};
use bytes::Bytes;
use hyper::body::{Frame, SizeHint};
use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{
        family::Family,
        gauge::Gauge,
        histogram::{Histogram, exponential_buckets},
    },
    registry::{Registry, Unit},
};
use tokio::time::Instant;

/// Metrics of the HTTP server. Their names are those of Spegel, so that dashboards carry over. Clones share the values.
#[derive(Clone, Debug)]
pub struct HttpMetrics {
    durations: Family<RequestLabels, Histogram, fn() -> Histogram>,
    inflight: Family<HandlerLabels, Gauge>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RequestLabels {
    handler: &'static str,
    method: &'static str,
    code: u16,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct HandlerLabels {
    handler: &'static str,
}

impl Default for HttpMetrics {
    fn default() -> Self {
        // From 1 ms for a remembered manifest to 17 minutes for a large layer.
        let histogram = || Histogram::new(exponential_buckets(0.001, 4.0, 11));
        Self { durations: Family::new_with_constructor(histogram), inflight: Family::default() }
    }
}

impl HttpMetrics {
    /// Puts the metrics on the page.
    pub fn register(&self, registry: &mut Registry) {
        registry.register_with_unit(
            "http_request_duration",
            "Time from a request's header to the last byte of its answer",
            Unit::Seconds,
            self.durations.clone(),
        );
        registry.register("http_requests_inflight", "Requests that are being answered", self.inflight.clone());
    }
}

/// Measures one request.
pub async fn observe(State(metrics): State<HttpMetrics>, request: Request, next: Next) -> Response {
    let mut measured = Measured::begin(metrics, &request);
    let response = next.run(request).await;
    measured.labels.code = response.status().as_u16();
    response.map(|body| Body::new(MeasuredBody { body, _measured: measured }))
}

/// A request that is being answered. It ends when it is dropped, however that comes.
struct Measured {
    metrics: HttpMetrics,
    labels: RequestLabels,
    began: Instant,
}

impl Measured {
    fn begin(metrics: HttpMetrics, request: &Request) -> Self {
        let method = match *request.method() {
            Method::GET => "GET",
            Method::HEAD => "HEAD",
            _ => "other",
        };
        // Where the client goes away before there is a status, the code of "client closed request" is counted.
        let labels = RequestLabels { handler: handler_of(request.uri().path()), method, code: 499 };
        metrics.inflight.get_or_create(&HandlerLabels { handler: labels.handler }).inc();
        Self { metrics, labels, began: Instant::now() }
    }
}

impl Drop for Measured {
    fn drop(&mut self) {
        self.metrics.inflight.get_or_create(&HandlerLabels { handler: self.labels.handler }).dec();
        self.metrics.durations.get_or_create(&self.labels).observe(self.began.elapsed().as_secs_f64());
    }
}

/// The handler's name; a bounded set, whatever paths are asked for.
fn handler_of(path: &str) -> &'static str {
    match path {
        "/livez" => "livez",
        "/readyz" => "readyz",
        "/metrics" => "metrics",
        "/status" => "status",
        "/v2" | "/v2/" => "v2",
        _ if !path.starts_with("/v2/") => "other",
        _ => match path.rsplit('/').nth(1) {
            Some("manifests") => "manifests",
            Some("blobs") => "blobs",
            _ => "other",
        },
    }
}

/// A body that ends the measurement when it is gone.
struct MeasuredBody {
    body: Body,
    _measured: Measured,
}

impl hyper::body::Body for MeasuredBody {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_of_any_kind_fall_into_a_few_handlers() {
        for (path, handler) in [
            ("/v2/", "v2"),
            ("/v2/a/b/manifests/latest", "manifests"),
            ("/v2/manifests/blobs/x", "blobs"),
            ("/v2/_catalog", "other"),
            ("/livez", "livez"),
            ("/a/blobs/x", "other"),
            ("*", "other"),
        ] {
            assert_eq!(handler_of(path), handler, "{path}");
        }
    }
}
