//! What programs that run scenarios have in common at the command line, and the simulator's reports.

mod arguments;

pub use arguments::{ScenarioArgs, scenarios};
