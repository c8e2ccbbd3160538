//! Plots as SVG, from plain values: lines over time, how the nodes finish, what flows when, how figures grow with the
//! number of nodes, and what two values do together. Nothing here knows where the values come from.

mod axis;
mod canvas;
mod completion;
mod heat;
mod lines;
mod panels;
mod scaling;

use thiserror::Error;

pub use completion::{Completion, Curve};
pub use heat::HeatMap;
pub use lines::{Lines, Look, Series};
pub use panels::{Panel, Panels};
pub use plotters::style::RGBColor as Colour;
pub use scaling::{Scaling, Spread, Trend};

/// A plot.
#[derive(Clone, Debug)]
pub struct Plot {
    /// Name of its file, without the ending.
    pub name: String,
    /// What it shows, in words, for those who do not see it.
    pub description: String,
    /// The picture.
    pub svg: String,
}

/// A plot could not be drawn.
#[derive(Debug, Error)]
#[error("the plot {plot} cannot be drawn: {problem}")]
pub struct PlotError {
    /// Its name.
    pub plot: String,
    /// What the library says.
    pub problem: String,
}

/// What is written and drawn where no colour tells things apart: bounds, and what others are compared with.
pub const INK: Colour = Colour(34, 34, 34);

/// Okabe and Ito's palette, which people with any kind of colour vision can tell apart ("Color universal design", 2008),
/// without its yellow, which is too light for a line. The style of [`crate::page`] gives each a lighter form on a dark
/// ground.
pub const PALETTE: [Colour; 7] = [
    Colour(0, 114, 178),
    Colour(213, 94, 0),
    Colour(0, 158, 115),
    Colour(204, 121, 167),
    Colour(230, 159, 0),
    Colour(86, 180, 233),
    Colour(112, 112, 112),
];
