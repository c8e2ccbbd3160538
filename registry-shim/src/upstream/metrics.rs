//! Counts of requests to registries.

use std::{
    collections::HashSet,
    sync::{Arc, Mutex, PoisonError},
};

use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{counter::Counter, family::Family},
    registry::Registry,
};

/// Registries that are counted under their own name; the rest is `other`, so that requests cannot grow the page without
/// bound.
const NAMED_REGISTRIES_MAX: usize = 64;

/// Requests sent to registries, by registry, method and status. Clones count into the same family.
#[derive(Clone, Debug, Default)]
pub struct UpstreamRequests {
    requests: Family<Labels, Counter>,
    named: Arc<Mutex<HashSet<String>>>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Labels {
    registry: String,
    method: String,
    status: String,
}

impl UpstreamRequests {
    /// Puts the family on the metrics page.
    pub fn register(&self, registry: &mut Registry) {
        registry.register(
            "upstream_http_requests",
            "Requests sent to registries and their token services, redirects included",
            self.requests.clone(),
        );
    }

    /// Counts one request; `status` is a number, or `error` where there was no answer.
    pub(crate) fn count(&self, registry: &str, method: &str, status: &str) {
        let registry = self.label_of(registry).to_owned();
        let labels = Labels { registry, method: method.to_owned(), status: status.to_owned() };
        self.requests.get_or_create(&labels).inc();
    }

    fn label_of<'a>(&self, registry: &'a str) -> &'a str {
        let mut named = self.named.lock().unwrap_or_else(PoisonError::into_inner);
        if named.contains(registry) {
            return registry;
        }
        if named.len() >= NAMED_REGISTRIES_MAX {
            return "other";
        }
        named.insert(registry.to_owned());
        registry
    }

    /// Requests counted so far with these labels.
    #[cfg(test)]
    pub(super) fn counted(&self, registry: &str, method: &str, status: &str) -> u64 {
        let labels = Labels { registry: registry.into(), method: method.into(), status: status.into() };
        self.requests.get_or_create(&labels).get()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn registries_beyond_the_bound_are_counted_together() {
        let requests = UpstreamRequests::default();
        for number in 0..NAMED_REGISTRIES_MAX + 3 {
            requests.count(&format!("r{number}.example"), "GET", "200");
        }
        assert_eq!(requests.counted("r0.example", "GET", "200"), 1);
        assert_eq!(requests.counted("other", "GET", "200"), 3);
    }
}
