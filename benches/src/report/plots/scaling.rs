//! How time and upstream copies grow with the number of nodes.

use shoal_sim::plot::{INK, Plot, PlotError, Scaling, Spread, Trend};

use super::colour_of;
use crate::report::{Experiment, Range, SHOAL, SystemFigures, summary};

/// What a plot shows.
struct Measure {
    file: &'static str,
    title: &'static str,
    unit: &'static str,
    value: fn(&SystemFigures) -> Spread,
    bound_name: &'static str,
    bound: fn(&Experiment) -> f64,
}

const MEASURES: [Measure; 2] = [
    Measure {
        file: "makespan",
        title: "Time until the last node is done",
        unit: "seconds; median, least and most of the runs that count",
        value: |figures| spread(figures.makespan_s, figures.ranges.makespan_s),
        bound_name: "bound",
        bound: |experiment| experiment.scenario.bound().makespan_s(),
    },
    Measure {
        file: "upstream-copies",
        title: "Copies that the upstream sends",
        unit: "bytes sent / bytes of the content; median, least and most of the runs that count",
        value: |figures| spread(figures.upstream_copies, figures.ranges.upstream_copies),
        bound_name: "one copy",
        bound: |_| 1.0,
    },
];

fn spread(median: f64, range: Range) -> Spread {
    Spread { least: range.min, median, most: range.max }
}

/// Two plots; none where all experiments of the scenario have the same number of nodes.
pub(super) fn plots(
    scenario: &str,
    experiments: &[&Experiment],
    all_systems: &[String],
) -> Result<Vec<Plot>, PlotError> {
    let mut nodes: Vec<u32> = experiments.iter().map(|experiment| experiment.scenario.nodes).collect();
    nodes.sort_unstable();
    nodes.dedup();
    if nodes.len() < 2 {
        return Ok(Vec::new());
    }
    let plot = |measure: &Measure| {
        let trends = trends(measure, experiments, all_systems);
        let described = trends.iter().map(|trend| trend.name.as_str()).collect::<Vec<_>>().join(", ");
        let scaling = Scaling {
            name: format!("{scenario}-{}", measure.file),
            description: format!("{} over the number of nodes: {described}.", measure.title),
            title: format!("{}: {scenario}", measure.title),
            unit: measure.unit.to_owned(),
            nodes: nodes.clone(),
            trends,
        };
        scaling.plot()
    };
    MEASURES.iter().map(plot).collect()
}

fn trends(measure: &Measure, experiments: &[&Experiment], all_systems: &[String]) -> Vec<Trend> {
    let mut sorted = experiments.to_vec();
    sorted.sort_by_key(|experiment| experiment.scenario.nodes);
    let bound = |experiment: &&Experiment| (experiment.scenario.nodes, Spread::exact((measure.bound)(experiment)));
    let mut trends = vec![Trend {
        name: measure.bound_name.to_owned(),
        colour: INK,
        is_bound: true,
        points: sorted.iter().map(bound).collect(),
    }];
    for system in all_systems {
        let point = |experiment: &&Experiment| {
            let summaries = summary(&experiment.scenario, &experiment.runs);
            let figures = summaries.into_iter().find(|summary| summary.system == *system)?.figures?;
            Some((experiment.scenario.nodes, (measure.value)(&figures)))
        };
        let points: Vec<_> = sorted.iter().filter_map(point).collect();
        if !points.is_empty() {
            trends.push(Trend {
                name: system.clone(),
                colour: colour_of(system, all_systems),
                is_bound: false,
                points,
            });
        }
    }
    // Where lines lie on each other, the one that all is about is seen.
    trends.sort_by_key(|trend| trend.name == SHOAL);
    trends
}
