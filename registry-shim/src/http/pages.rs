//! Pages for operators and their tools: `/livez`, `/readyz`, `/metrics`, `/status`.

use std::{fmt, sync::Arc};

use axum::{
    http::{StatusCode, header},
    response::{IntoResponse, Response},
};
use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeMetric, text::encode},
    metrics::{counter::ConstCounter, gauge::ConstGauge},
    registry::Registry,
};
use serde_json::json;
use shoal_runtime::{Engine, EngineStatus, MetricsSnapshot};

/// What the pages show of a node.
pub trait NodeView: Send + Sync + 'static {
    /// What the node says about itself.
    fn status(&self) -> EngineStatus;

    /// Its counters and gauges.
    fn metrics(&self) -> MetricsSnapshot;
}

impl NodeView for Engine {
    fn status(&self) -> EngineStatus {
        Engine::status(self)
    }

    fn metrics(&self) -> MetricsSnapshot {
        Engine::metrics(self)
    }
}

/// The pages of one node.
pub struct Pages {
    node: Arc<dyn NodeView>,
    seeds: Vec<String>,
    registry: Registry,
}

impl Pages {
    /// Pages about `node`, which was told to join through `seeds`, with the metrics of `registry`.
    pub fn new(node: Arc<dyn NodeView>, seeds: Vec<String>, registry: Registry) -> Self {
        Self { node, seeds, registry }
    }

    /// The process answers.
    pub(super) fn livez() -> &'static str {
        "ok\n"
    }

    /// The node serves. A node that has not reached its seeds serves as well, and says so.
    pub(super) fn readyz(&self) -> String {
        let status = self.node.status();
        let members = status.members.len();
        if self.seeds.is_empty() {
            format!("ready: no seeds configured, members: {members}\n")
        } else if status.seeds_unreached.is_empty() {
            format!("ready: joined, members: {members}\n")
        } else if status.seeds_unreached.len() < self.seeds.len() || members > 1 {
            format!("ready: joined, members: {members}, no answer yet from {}\n", status.seeds_unreached.join(", "))
        } else {
            format!("ready: not joined yet, no answer from {}\n", status.seeds_unreached.join(", "))
        }
    }

    /// Metrics in the text format of Prometheus (OpenMetrics).
    pub(super) fn metrics(&self) -> Response {
        let mut text = String::new();
        if let Err(error) = encode(&mut text, &self.registry) {
            tracing::error!(%error, "the metrics could not be written");
            return StatusCode::INTERNAL_SERVER_ERROR.into_response();
        }
        let content_type = "application/openmetrics-text; version=1.0.0; charset=utf-8";
        ([(header::CONTENT_TYPE, content_type)], text).into_response()
    }

    /// The node and its cluster as JSON.
    pub(super) fn status(&self) -> Response {
        let status = self.node.status();
        let mut members = Vec::with_capacity(status.members.len());
        for (id, address) in &status.members {
            members.push(json!({"id": id.to_string(), "address": address.to_string()}));
        }
        let body = json!({
            "id": status.id.to_string(),
            "swarm": status.listen.to_string(),
            "members": members,
            "seeds_unreached": status.seeds_unreached,
        });
        ([(header::CONTENT_TYPE, "application/json")], format!("{body}\n")).into_response()
    }
}

/// The engine's counters and gauges, read at each visit of the metrics page.
pub struct EngineMetrics {
    node: Arc<dyn NodeView>,
}

impl EngineMetrics {
    /// The metrics of `node`.
    pub fn new(node: Arc<dyn NodeView>) -> Self {
        Self { node }
    }
}

impl fmt::Debug for EngineMetrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("EngineMetrics")
    }
}

impl Collector for EngineMetrics {
    fn encode(&self, mut encoder: DescriptorEncoder) -> Result<(), fmt::Error> {
        let snapshot = self.node.metrics();
        for (name, help, value) in snapshot.counters {
            let (name, metric) = (format!("shoal_{name}"), ConstCounter::new(value));
            metric.encode(encoder.encode_descriptor(&name, help, None, metric.metric_type())?)?;
        }
        for (name, help, value) in snapshot.gauges {
            let (name, metric) = (format!("shoal_{name}"), ConstGauge::new(value));
            metric.encode(encoder.encode_descriptor(&name, help, None, metric.metric_type())?)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
