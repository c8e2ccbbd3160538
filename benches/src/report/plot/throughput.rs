//! What flows when: bytes delivered to all clients and bytes that left the upstream, a panel for each system.

use plotters::style::RGBColor;

use super::{
    Plot, PlotError,
    axis::Axis,
    canvas::{self, Canvas, Frame, INK, Stand},
    colour_of, file_stem,
};
use crate::{
    report::{
        Experiment,
        statistics::median,
        summary::{counted, systems},
        table::title,
    },
    result::{RunResult, Sample},
};

const WIDTH: u32 = 760;
const TOP: i32 = 82;
const PANEL: i32 = 100;
const GAP: i32 = 34;
const BELOW: i32 = 52;
/// Points of a curve: means over so long a part of the run.
const PARTS: f64 = 80.0;
/// Samples come ten a second; shorter means would show their grain.
const PART_S_MIN: f64 = 0.3;
const BYTES_PER_S_IN_MBIT: f64 = 125e3;

/// The rates of one run, in Mbit/s at the middles of equal parts.
struct Rates {
    system: String,
    colour: RGBColor,
    delivered: Vec<(f64, f64)>,
    upstream: Vec<(f64, f64)>,
}

/// The plot; none without samples.
pub(super) fn plot(experiment: &Experiment, all_systems: &[String]) -> Result<Option<Plot>, PlotError> {
    let mut panels = Vec::new();
    for system in systems(&experiment.runs) {
        let Some(run) = typical(experiment, system) else { continue };
        let delivered = rates(&run.timeline, |sample| sample.delivered_bytes);
        let upstream = rates(&run.timeline, |sample| sample.upstream_bytes);
        if !delivered.is_empty() {
            let colour = colour_of(system, all_systems);
            panels.push(Rates { system: system.to_owned(), colour, delivered, upstream });
        }
    }
    if panels.is_empty() {
        return Ok(None);
    }
    let name = format!("{}-throughput", file_stem(experiment));
    let count = i32::try_from(panels.len()).unwrap_or(1);
    let height = TOP + count * PANEL + (count - 1) * GAP + BELOW;
    let svg = canvas::draw(&name, (WIDTH, height.unsigned_abs()), |canvas| content(canvas, experiment, &panels))?;
    let description = "Rate at which bytes reach all clients together, and at which they leave the upstream, over time; \
                       a panel for each system, of the run nearest its median.";
    Ok(Some(Plot { name, description: description.to_owned(), svg }))
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
    let part_s = (last.at_s / PARTS).max(PART_S_MIN);
    let mut rates = Vec::new();
    let Some(mut begin) = timeline.first() else { return rates };
    for sample in timeline {
        let seconds = sample.at_s - begin.at_s;
        if seconds >= part_s * 0.999 {
            let bytes = counter(sample).saturating_sub(counter(begin)) as f64;
            rates.push((f64::midpoint(begin.at_s, sample.at_s), bytes / seconds / BYTES_PER_S_IN_MBIT));
            begin = sample;
        }
    }
    rates
}

fn content(canvas: &Canvas<'_>, experiment: &Experiment, panels: &[Rates]) -> Result<(), String> {
    let points = || panels.iter().flat_map(|panel| panel.delivered.iter().chain(&panel.upstream));
    let x = Axis::from_zero(points().map(|(x, _)| *x).fold(0.0, f64::max));
    let y_of = |panel: &Rates| {
        let most = panel.delivered.iter().chain(&panel.upstream).map(|(_, y)| *y).fold(0.0, f64::max);
        let mut axis = Axis::from_zero(most);
        // A low panel has room for both ends.
        let end = axis.ticks.last().copied();
        axis.ticks = [Some(0.0), end].into_iter().flatten().collect();
        axis
    };
    canvas.title(
        &format!("Throughput: {}", title(&experiment.summary())),
        "Mbit/s; area: delivered to all clients together; dark line: sent by the upstream; each panel has its own scale",
    )?;
    let mut top = TOP;
    for (panel, number) in panels.iter().zip(1..) {
        let frame = Frame { horizontal: 60..735, vertical: top..top + PANEL, x: x.clone(), y: y_of(panel) };
        frame.draw(canvas, (number == panels.len()).then_some("seconds from the first start"))?;
        if let (Some(first), Some(last)) = (panel.delivered.first(), panel.delivered.last()) {
            let mut area = frame.places(&panel.delivered);
            area.insert(0, frame.place((first.0, 0.0)));
            area.push(frame.place((last.0, 0.0)));
            canvas.area(&area, panel.colour)?;
        }
        canvas.line(&frame.places(&panel.delivered), panel.colour, 2)?;
        canvas.line(&frame.places(&panel.upstream), INK, 1)?;
        canvas.text(&panel.system, (60, top - 11), INK, Stand::Begins)?;
        top += PANEL + GAP;
    }
    Ok(())
}
