//! One plan tried, whatever happens: a panic of the engine is a rule that was broken.

use std::{
    cell::RefCell,
    panic::{self, AssertUnwindSafe},
};

use shoal_sim::check::{Invariant, Plan, Verdict, Violation, check};

thread_local! {
    /// What the last panic of this thread said.
    static SAID: RefCell<Option<String>> = const { RefCell::new(None) };
}

/// A plan and what came of it.
#[derive(Clone, Debug)]
pub(crate) struct Trial {
    pub(crate) plan: Plan,
    pub(crate) violation: Option<Violation>,
    pub(crate) events: u64,
    pub(crate) virtual_s: f64,
    pub(crate) event_hash: String,
}

/// From now on a panic says nothing at once: whoever tries a plan reports it.
pub(crate) fn silence_panics() {
    panic::set_hook(Box::new(|information| SAID.set(Some(information.to_string()))));
}

/// Tries a plan.
pub(crate) fn try_plan(plan: &Plan) -> Trial {
    // Nothing of a check that panicked is used afterwards.
    let verdict = panic::catch_unwind(AssertUnwindSafe(|| check(plan, None)));
    let Verdict { violation, events, virtual_s, event_hash, .. } = verdict.unwrap_or_else(|_| panicked());
    Trial { plan: plan.clone(), violation, events, virtual_s, event_hash }
}

fn panicked() -> Verdict {
    let what = SAID.take().unwrap_or_default().replace('\n', " ");
    let violation = Violation { invariant: Invariant::Panic, at_s: 0.0, what };
    let event_hash = String::new();
    Verdict { violation: Some(violation), events: 0, virtual_s: 0.0, upstream_copies: 0.0, event_hash }
}
