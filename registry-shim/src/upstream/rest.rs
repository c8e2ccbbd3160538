//! Endpoints that could not be reached rest for a moment.

use std::{
    sync::{Mutex, PoisonError},
    time::Duration,
};

use shoal_runtime::UpstreamFailure;
use tokio::time::Instant;

use crate::{bounded::BoundedMap, registries::Endpoint};

/// How long an endpoint is left out after it was not reached.
const REST: Duration = Duration::from_secs(10);

/// Endpoints that are remembered.
const ENDPOINTS_MAX: usize = 256;

/// Endpoints to try, in order.
#[derive(Debug, Default)]
pub(super) struct Candidates {
    pub(super) endpoints: Vec<Endpoint>,
    /// Whether the last one, the registry itself, is left out. Then nobody can say that it does not have something.
    last_rests: bool,
}

impl Candidates {
    /// What it means that the last one that was tried failed so.
    pub(super) fn failure(&self, last: UpstreamFailure) -> UpstreamFailure {
        if self.last_rests { UpstreamFailure::Unavailable } else { last }
    }
}

/// Which endpoints rest, by the base of their URLs.
#[derive(Debug)]
pub(super) struct Resting {
    until: Mutex<BoundedMap<String, Instant>>,
}

impl Default for Resting {
    fn default() -> Self {
        Self { until: Mutex::new(BoundedMap::new(ENDPOINTS_MAX)) }
    }
}

impl Resting {
    /// Notes whether an endpoint was reached.
    pub(super) fn note(&self, endpoint: &Endpoint, reached: bool) {
        let mut until = self.until.lock().unwrap_or_else(PoisonError::into_inner);
        if reached {
            until.remove(endpoint.base.as_str());
        } else {
            until.insert(endpoint.base.to_string(), Instant::now() + REST);
        }
    }

    /// The endpoints that do not rest; all of them where none is left.
    pub(super) fn leave_out(&self, endpoints: Vec<Endpoint>) -> Candidates {
        let awake: Vec<Endpoint> = endpoints.iter().filter(|endpoint| !self.rests(endpoint)).cloned().collect();
        if awake.is_empty() {
            return Candidates { endpoints, last_rests: false };
        }
        Candidates { last_rests: awake.last() != endpoints.last(), endpoints: awake }
    }

    fn rests(&self, endpoint: &Endpoint) -> bool {
        let mut until = self.until.lock().unwrap_or_else(PoisonError::into_inner);
        until.get(endpoint.base.as_str()).is_some_and(|until| *until > Instant::now())
    }
}
