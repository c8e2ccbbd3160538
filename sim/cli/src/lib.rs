//! What programs that run scenarios have in common at the command line, and the simulator's reports.

mod arguments;
mod report;

pub use arguments::{ScenarioArgs, link, scenario_named, scenarios};
pub use report::{Compared, Context, Figures, FirstByte, Kind, NodeSeconds, Report, WriteError, check_folder};
