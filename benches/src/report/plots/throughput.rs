//! What flows when: bytes delivered to all clients and bytes that left the upstream, a panel for each system.

use shoal_sim::{
    plot::{Panel, Panels, Plot, PlotError},
    statistics::{mean_rates, median},
};

use super::{colour_of, file_stem};
use crate::{
    report::{
        Experiment,
        summary::{counted, systems},
        table::title,
    },
    result::{RunResult, Sample},
};

/// Points of a curve: means over so long a part of the run.
const PARTS: f64 = 80.0;
/// Samples come ten a second; shorter means would show their grain.
const PART_S_MIN: f64 = 0.3;
const BYTES_PER_S_IN_MBIT: f64 = 125e3;

/// The plot; none without samples.
pub(super) fn plot(experiment: &Experiment, all_systems: &[String]) -> Result<Option<Plot>, PlotError> {
    let mut panels = Vec::new();
    for system in systems(&experiment.runs) {
        let Some(run) = typical(experiment, system) else { continue };
        let delivered = rates(&run.timeline, |sample| sample.delivered_bytes);
        let upstream = rates(&run.timeline, |sample| sample.upstream_bytes);
        if !delivered.is_empty() {
            let colour = colour_of(system, all_systems);
            panels.push(Panel { name: system.to_owned(), colour, area: delivered, line: upstream });
        }
    }
    if panels.is_empty() {
        return Ok(None);
    }
    let panels = Panels {
        name: format!("{}-throughput", file_stem(experiment)),
        description:
            "Rate at which bytes reach all clients together, and at which they leave the upstream, over time; \
                      a panel for each system, of the run nearest its median."
                .to_owned(),
        title: format!("Throughput: {}", title(&experiment.summary())),
        subtitle:
            "Mbit/s; area: delivered to all clients together; dark line: sent by the upstream; each panel has its \
                   own scale"
                .to_owned(),
        below: "seconds from the first start".to_owned(),
        panels,
    };
    panels.plot().map(Some)
}

/// The run that counts whose makespan is nearest the median.
fn typical<'a>(experiment: &'a Experiment, system: &'a str) -> Option<&'a RunResult> {
    let middle = median(counted(&experiment.runs, system).map(|run| run.makespan_s))?;
    let distance = |run: &RunResult| (run.makespan_s - middle).abs();
    counted(&experiment.runs, system).min_by(|left, right| distance(left).total_cmp(&distance(right)))
}

/// Means of the growth of a counter.
fn rates(timeline: &[Sample], counter: fn(&Sample) -> u64) -> Vec<(f64, f64)> {
    let Some(last) = timeline.last() else { return Vec::new() };
    let samples: Vec<(f64, u64)> = timeline.iter().map(|sample| (sample.at_s, counter(sample))).collect();
    let rates = mean_rates(&samples, (last.at_s / PARTS).max(PART_S_MIN));
    rates.into_iter().map(|(at_s, bytes_per_s)| (at_s, bytes_per_s / BYTES_PER_S_IN_MBIT)).collect()
}
