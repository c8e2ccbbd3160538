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

/// A request that is given up after waiting so long for its header says that the endpoint is not reached: who waits may have
/// less patience than a connection, and would otherwise come again and again.
const GIVEN_UP_AFTER: Duration = Duration::from_secs(2);

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

/// A request whose outcome is not known yet; one that is dropped was given up.
pub(super) struct Attempt<'a> {
    resting: &'a Resting,
    endpoint: &'a Endpoint,
    begun: Instant,
    is_over: bool,
}

impl Attempt<'_> {
    /// Notes whether the endpoint was reached.
    pub(super) fn end(mut self, reached: bool) {
        self.is_over = true;
        self.resting.note(self.endpoint, reached);
    }
}

impl Drop for Attempt<'_> {
    fn drop(&mut self) {
        if !self.is_over && self.begun.elapsed() >= GIVEN_UP_AFTER {
            self.resting.note(self.endpoint, false);
        }
    }
}

impl Resting {
    /// Begins a request. Where the endpoint has just rested, others leave it out until this one was answered.
    pub(super) fn attempt<'a>(&'a self, endpoint: &'a Endpoint) -> Attempt<'a> {
        let begun = Instant::now();
        let mut until = self.until.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(until) = until.get(endpoint.base.as_str()) {
            *until = begun + REST;
        }
        Attempt { resting: self, endpoint, begun, is_over: false }
    }

    /// Notes whether an endpoint was reached.
    fn note(&self, endpoint: &Endpoint, reached: bool) {
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
