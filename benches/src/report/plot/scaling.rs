//! How time and upstream copies grow with the number of nodes.

use plotters::style::RGBColor;

use super::{
    Plot, PlotError,
    axis::Axis,
    canvas::{self, Canvas, Frame, INK, Place},
    colour_of,
};
use crate::report::{Experiment, SHOAL, SystemFigures, summary};

const SIZE: (u32, u32) = (760, 420);

/// What a plot shows.
struct Measure {
    file: &'static str,
    title: &'static str,
    unit: &'static str,
    value: fn(&SystemFigures) -> (f64, f64, f64),
    bound_name: &'static str,
    bound: fn(&Experiment) -> f64,
}

const MEASURES: [Measure; 2] = [
    Measure {
        file: "makespan",
        title: "Time until the last node is done",
        unit: "seconds; median, least and most of the runs that count",
        value: |figures| (figures.ranges.makespan_s.min, figures.makespan_s, figures.ranges.makespan_s.max),
        bound_name: "bound",
        bound: |experiment| experiment.scenario.bound().makespan_s(),
    },
    Measure {
        file: "upstream-copies",
        title: "Copies that the upstream sends",
        unit: "bytes sent / bytes of the content; median, least and most of the runs that count",
        value: |figures| {
            (figures.ranges.upstream_copies.min, figures.upstream_copies, figures.ranges.upstream_copies.max)
        },
        bound_name: "one copy",
        bound: |_| 1.0,
    },
];

/// Least, median and most at each number of nodes.
struct Line {
    name: String,
    colour: RGBColor,
    is_bound: bool,
    points: Vec<(u32, (f64, f64, f64))>,
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
        let name = format!("{scenario}-{}", measure.file);
        let lines = lines(measure, experiments, all_systems);
        let svg = canvas::draw(&name, SIZE, |canvas| content(canvas, scenario, measure, &nodes, &lines))?;
        let described = lines.iter().map(|line| line.name.as_str()).collect::<Vec<_>>().join(", ");
        Ok(Plot { name, description: format!("{} over the number of nodes: {described}.", measure.title), svg })
    };
    MEASURES.iter().map(plot).collect()
}

fn lines(measure: &Measure, experiments: &[&Experiment], all_systems: &[String]) -> Vec<Line> {
    let mut sorted = experiments.to_vec();
    sorted.sort_by_key(|experiment| experiment.scenario.nodes);
    let bound = |experiment: &&Experiment| {
        let value = (measure.bound)(experiment);
        (experiment.scenario.nodes, (value, value, value))
    };
    let mut lines = vec![Line {
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
            lines.push(Line { name: system.clone(), colour: colour_of(system, all_systems), is_bound: false, points });
        }
    }
    // Where lines lie on each other, the one that all is about is seen.
    lines.sort_by_key(|line| line.name == SHOAL);
    lines
}

fn content(
    canvas: &Canvas<'_>,
    scenario: &str,
    measure: &Measure,
    nodes: &[u32],
    lines: &[Line],
) -> Result<(), String> {
    let values = lines.iter().flat_map(|line| &line.points).flat_map(|(_, (least, _, most))| [*least, *most]);
    let y = Axis::covering(values);
    let scale = if y.is_logarithmic() { "; logarithmic" } else { "" };
    canvas.title(&format!("{}: {scenario}", measure.title), &format!("{}{scale}", measure.unit))?;
    let frame = Frame { horizontal: 60..595, vertical: 64..365, x: Axis::of_nodes(nodes), y };
    frame.draw(canvas, Some("nodes"))?;
    let mut names: Vec<(Place, String, RGBColor)> = Vec::new();
    for line in lines {
        let at = |nodes: u32, value: f64| frame.place((f64::from(nodes), value));
        let medians: Vec<Place> = line.points.iter().map(|(nodes, (_, median, _))| at(*nodes, *median)).collect();
        if line.is_bound {
            canvas.dashes(&medians, line.colour)?;
        } else {
            canvas.line(&medians, line.colour, 2)?;
            for (nodes, (least, median, most)) in &line.points {
                canvas.line(&[at(*nodes, *least), at(*nodes, *most)], line.colour, 2)?;
                canvas.dot(at(*nodes, *median), line.colour)?;
            }
        }
        if let Some(end) = medians.last() {
            names.push((*end, line.name.clone(), line.colour));
        }
    }
    frame.name_ends(canvas, &names)
}
