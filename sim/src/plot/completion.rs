//! How many nodes are done by when: distributions of the nodes' times from their own starts, beside the best that the
//! links allow.

use std::ops::Range;

use super::{
    Colour, Plot, PlotError,
    axis::Axis,
    canvas::{self, Canvas, Frame, Place, Stand, pixels, text_width},
};

const SIZE: (u32, u32) = (760, 420);
/// Beyond so many places of a curve those that no eye can tell from the one before are left out.
const PLACES_MAX: usize = 2000;

/// What is drawn.
#[derive(Clone, Debug)]
pub struct Completion {
    /// Name of the file, without the ending.
    pub name: String,
    /// What the plot shows, in words, for those who do not see it.
    pub description: String,
    /// In bold letters above.
    pub title: String,
    /// Below the title: whose share the numbers on the left are.
    pub subtitle: String,
    /// In the order in which they are drawn.
    pub curves: Vec<Curve>,
}

/// Times of one system or of the bound.
#[derive(Clone, Debug)]
pub struct Curve {
    /// Beside the curve.
    pub name: String,
    /// Of the curve.
    pub colour: Colour,
    /// Whether it is what others are compared with: a broken line.
    pub is_bound: bool,
    /// When nodes are done, in seconds, ascending.
    pub times: Vec<f64>,
}

impl Completion {
    /// The plot.
    ///
    /// # Errors
    /// It cannot be drawn.
    pub fn plot(&self) -> Result<Plot, PlotError> {
        let svg = canvas::draw(&self.name, SIZE, |canvas| self.content(canvas))?;
        Ok(Plot { name: self.name.clone(), description: self.description.clone(), svg })
    }

    fn content(&self, canvas: &Canvas<'_>) -> Result<(), String> {
        let x = Axis::covering(self.curves.iter().flat_map(|curve| curve.times.iter().copied()));
        let scale = if x.is_logarithmic() { ", logarithmic" } else { "" };
        let below = format!("seconds from the start of the node's own pull{scale}");
        let mut y = Axis::from_zero(100.0);
        y.ticks.retain(|tick| *tick <= 100.0);
        let frame = Frame { horizontal: 60..735, vertical: 64..365, x, y };
        canvas.title(&self.title, &self.subtitle)?;
        frame.draw(canvas, Some(&below))?;
        for curve in &self.curves {
            let mut places = frame.places(&steps(&curve.times));
            if places.len() > PLACES_MAX {
                places.dedup();
            }
            if curve.is_bound {
                canvas.dashes(&places, curve.colour)?;
            } else {
                canvas.line(&places, curve.colour, 2)?;
            }
        }
        for Label { from, to, stand, curve } in labels(&frame, &self.curves) {
            canvas.line(&[from, to], curve.colour, 1)?;
            let beside = if matches!(stand, Stand::Ends) { (to.0 - 4, to.1) } else { (to.0 + 4, to.1) };
            canvas.plate(&curve.name, beside, stand)?;
        }
        Ok(())
    }
}

/// A curve's name at the end of a line from the curve to it.
struct Label<'a> {
    from: Place,
    to: Place,
    stand: Stand,
    curve: &'a Curve,
}

/// From 0 % up to 100 %, in one step for each node.
fn steps(times: &[f64]) -> Vec<(f64, f64)> {
    let share = |position: usize| 100.0 * position as f64 / times.len() as f64;
    times
        .iter()
        .enumerate()
        .flat_map(|(position, time)| [(*time, share(position)), (*time, share(position + 1))])
        .collect()
}

/// A name for each curve, each at a height of its own, in the nearest gap between curves that is wide enough.
fn labels<'a>(frame: &Frame, curves: &'a [Curve]) -> Vec<Label<'a>> {
    let mut sorted: Vec<&Curve> = curves.iter().collect();
    sorted.sort_by(|left, right| middle(left).total_cmp(&middle(right)));
    // Below the level at which all but a few are done, where curves of clusters with slow nodes run flat.
    let (top, room) = (0.2, 0.75);
    let mut labels = Vec::new();
    for (position, curve) in (1_u32..).zip(&sorted) {
        let down = top + room * f64::from(position) / (sorted.len() + 1) as f64;
        let height = frame.vertical.start + pixels(down * frame.vertical.len() as f64);
        let share = f64::from(frame.vertical.end - height) / frame.vertical.len() as f64;
        let across = |curve: &Curve| frame.place((at_share(curve, share), 0.0)).0;
        let mut crossings: Vec<i32> = sorted.iter().map(|curve| across(curve)).collect();
        crossings.sort_unstable();
        let own = across(curve);
        let (end, stand) = nearest_gap(own, &crossings, &frame.horizontal, text_width(&curve.name) + 20);
        labels.push(Label { from: (own, height), to: (end, height), stand, curve });
    }
    labels
}

/// Where a name of the given width begins, to the right of `own`, or ends, to its left, without touching a crossing
/// where that is possible. `crossings` are ascending.
fn nearest_gap(own: i32, crossings: &[i32], within: &Range<i32>, width: i32) -> (i32, Stand) {
    let right = crossings.iter().copied().filter(|crossing| *crossing >= own).find(|begin| {
        let next = crossings.iter().copied().find(|crossing| crossing > begin).unwrap_or(within.end);
        next - begin >= width
    });
    let left = crossings.iter().rev().copied().filter(|crossing| *crossing <= own).find(|end| {
        let next = crossings.iter().rev().copied().find(|crossing| crossing < end).unwrap_or(within.start);
        end - next >= width
    });
    match (right, left) {
        (Some(right), Some(left)) if own - left < right - own => (left - 8, Stand::Ends),
        (Some(right), _) => (right + 8, Stand::Begins),
        (None, Some(left)) => (left - 8, Stand::Ends),
        (None, None) if own + width <= within.end => (own + 8, Stand::Begins),
        (None, None) => (own - 8, Stand::Ends),
    }
}

fn middle(curve: &Curve) -> f64 {
    at_share(curve, 0.5)
}

/// The time by which so large a share is done.
fn at_share(curve: &Curve, share: f64) -> f64 {
    let position = pixels(share * curve.times.len() as f64).max(0).unsigned_abs() as usize;
    curve.times.get(position.min(curve.times.len().saturating_sub(1))).copied().unwrap_or(0.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_stands_in_the_nearest_gap_that_holds_it() {
        let at = |own, crossings: &[i32]| {
            let (end, stand) = nearest_gap(own, crossings, &(0..500), 80);
            (end, matches!(stand, Stand::Begins))
        };
        assert_eq!(at(100, &[100, 400]), (108, true), "beside its curve");
        assert_eq!(at(200, &[200, 210, 215]), (192, false), "to the left, where the right is taken");
        assert_eq!(at(40, &[40, 50, 60]), (68, true), "beyond its neighbours");
        assert_eq!(at(490, &[430, 480, 490]), (422, false), "before its neighbours at the edge");
    }
    #[test]
    fn thousands_of_nodes_do_not_make_a_large_file() {
        let curve = |nodes: u32, colour| Curve {
            name: format!("{nodes} nodes"),
            colour,
            is_bound: false,
            times: (0..nodes).map(|node| 10.0 + f64::from(node) / f64::from(nodes)).collect(),
        };
        let plot = |nodes| {
            let text = || "test".to_owned();
            let curves = vec![curve(nodes, super::super::PALETTE[0])];
            Completion { name: text(), description: text(), title: text(), subtitle: text(), curves }.plot().unwrap()
        };
        assert!(plot(100_000).svg.len() < 3 * plot(900).svg.len());
    }
}
