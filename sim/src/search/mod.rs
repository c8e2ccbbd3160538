//! Search over the engine's parameters: which values make pulls fast, readers happy and the upstream idle.
//!
//! Pure: a search hands out jobs, somebody runs them where and in whatever order, and gives back what came of them. Every
//! candidate runs the same cases with the same seeds (common random numbers), so that differences between candidates are
//! those of their values and not of luck. Equal spaces, cases and seeds give equal results.
//!
//! A grid or a random draw is a search of one round; successive halving (Jamieson and Talwalkar 2016) has several, each
//! with more or larger cases for fewer candidates. The engine's defaults are the first candidate of every search and stay to
//! its end: all others are compared with them.
//!
//! ```
//! use shoal_sim::{run::{Options, run}, scenario::{Overrides, Scenario, by_name}};
//! use shoal_sim::search::{Axis, Case, Measure, Round, Search, Space, Weights};
//!
//! let space = Space::new(vec![Axis::read("upload_slots=4,8")?])?;
//! let overrides = Overrides { nodes: Some(4), size: Some(4 << 20), ..Overrides::default() };
//! let scenario = Scenario::parse_with(by_name("cold-start").unwrap(), "cold-start", &overrides)?;
//! let case = Case { name: "cold-start".to_owned(), scenario };
//! let round = Round { cases: vec![0], seeds: vec![1, 2], keep: 1, is_held_out: false };
//! let candidates = space.grid(5)?;
//! let mut search = Search::new(space, candidates, vec![case], vec![round], Weights::default())?;
//! for job in search.jobs() {
//!     let (scenario, core) = search.setting(&job);
//!     let outcome = run(&scenario, &Options { core, ..Options::default() }, &mut |_| {})?;
//!     search.take(job, Measure::of(&scenario, scenario.bound().makespan_s(), &outcome));
//! }
//! search.advance();
//! assert_eq!(search.standings().len(), 3, "the defaults and two others");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod file;
mod heat;
mod measure;
mod parameter;
mod rounds;
mod seeds;
mod space;
mod standing;
mod value;

pub use file::{FileError, SpaceFile};
pub use heat::{Heat, heat};
pub use measure::{Measure, Objective};
pub use parameter::Parameter;
pub use rounds::{Case, Job, RUNS_MAX, Round, Search, SearchError};
pub use seeds::{SeedsError, seeds};
pub use space::{Axis, CANDIDATES_MAX, Candidate, Choice, Space, SpaceError};
pub use standing::{Standing, Weights};
pub use value::Unit;
