//! How many nodes are done by when: the distribution of the nodes' times from their own starts, all runs that count
//! pooled, beside the best that the links allow.

use shoal_sim::plot::{Completion, Curve, INK, Plot, PlotError};

use super::{colour_of, file_stem};
use crate::report::{
    Experiment,
    figures::done,
    summary::{counted, systems},
    table::title,
};

/// The plot; none where nothing finished.
pub(super) fn plot(experiment: &Experiment, all_systems: &[String]) -> Result<Option<Plot>, PlotError> {
    let mut curves = vec![Curve {
        name: "bound".to_owned(),
        colour: INK,
        is_bound: true,
        times: experiment.scenario.bound().finishers_s,
    }];
    for system in systems(&experiment.runs) {
        let nodes = counted(&experiment.runs, system).flat_map(done);
        let mut times: Vec<f64> = nodes.filter_map(|node| node.done_s).collect();
        times.sort_by(f64::total_cmp);
        if !times.is_empty() {
            let colour = colour_of(system, all_systems);
            curves.push(Curve { name: system.to_owned(), colour, is_bound: false, times });
        }
    }
    if curves.len() == 1 {
        return Ok(None);
    }
    let description = format!(
        "Share of nodes that are done over time, for {}; a line for each system and one for the bound.",
        curves.iter().skip(1).map(|curve| curve.name.as_str()).collect::<Vec<_>>().join(", ")
    );
    let completion = Completion {
        name: format!("{}-completion", file_stem(experiment)),
        description,
        title: format!("Nodes that are done: {}", title(&experiment.summary())),
        subtitle: "% of the nodes, all runs that count".to_owned(),
        curves,
    };
    completion.plot().map(Some)
}
