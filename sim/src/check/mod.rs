//! Deterministic simulation testing: small clusters with much bad luck, drawn from a seed.
//!
//! A [`Plan`] says all that happens: the cluster, who pulls what and when, and an explicit list of faults. It runs in two
//! phases. In the first one the faults happen; in the second one everything heals, and within a bound of virtual time
//! everybody who lives has what it pulls, all know who lives, and nothing is left open. Rules that hold whatever happens are
//! checked all along ([`Invariant`]). A plan that breaks one fails in the same way whenever it is run, and can be made
//! small ([`shrink`]).
//!
//! ```
//! use shoal_sim::check::{Plan, check};
//!
//! let plan = Plan::draw(7);
//! assert_eq!(Plan::parse(&plan.to_toml())?, plan);
//! let verdict = check(&plan, None);
//! assert!(verdict.violation.is_none(), "{:?}", verdict.violation);
//! # Ok::<(), shoal_sim::check::PlanError>(())
//! ```

mod bounds;
mod clients;
mod conduct;
mod draw;
mod faults;
mod invariant;
mod plan;
mod planted;
mod shrink;

pub use self::{
    conduct::{Verdict, check},
    invariant::{Invariant, Violation},
    plan::{Fault, FaultKind, NodePlan, Plan, PlanError, Pull, Refusal, UpstreamPlan, Way},
    planted::Bug,
    shrink::shrink,
};
