//! How a figure grows with the number of nodes.

use super::{
    Colour, Plot, PlotError,
    axis::Axis,
    canvas::{self, Canvas, Frame, Place},
};

const SIZE: (u32, u32) = (760, 420);

/// What is drawn.
#[derive(Clone, Debug)]
pub struct Scaling {
    /// Name of the file, without the ending.
    pub name: String,
    /// What the plot shows, in words, for those who do not see it.
    pub description: String,
    /// In bold letters above.
    pub title: String,
    /// Below the title: what the numbers on the left are.
    pub unit: String,
    /// Numbers of nodes at which something is known, ascending.
    pub nodes: Vec<u32>,
    /// In the order in which they are drawn, the last above all others.
    pub trends: Vec<Trend>,
}

/// One figure at several numbers of nodes.
#[derive(Clone, Debug)]
pub struct Trend {
    /// Beside its end.
    pub name: String,
    /// Of the line.
    pub colour: Colour,
    /// Whether it is what others are compared with: a broken line without dots.
    pub is_bound: bool,
    /// Number of nodes and the figure, in order of the nodes.
    pub points: Vec<(u32, Spread)>,
}

/// A figure of several runs.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Spread {
    /// The least.
    pub least: f64,
    /// Half of the runs are not above it.
    pub median: f64,
    /// The most.
    pub most: f64,
}

impl Spread {
    /// Of one run, or of what does not vary.
    pub fn exact(value: f64) -> Self {
        Self { least: value, median: value, most: value }
    }
}

impl Scaling {
    /// The plot.
    ///
    /// # Errors
    /// It cannot be drawn.
    pub fn plot(&self) -> Result<Plot, PlotError> {
        let svg = canvas::draw(&self.name, SIZE, |canvas| self.content(canvas))?;
        Ok(Plot { name: self.name.clone(), description: self.description.clone(), svg })
    }

    fn content(&self, canvas: &Canvas<'_>) -> Result<(), String> {
        let spreads = self.trends.iter().flat_map(|trend| &trend.points);
        let y = Axis::covering(spreads.flat_map(|(_, spread)| [spread.least, spread.most]));
        let scale = if y.is_logarithmic() { "; logarithmic" } else { "" };
        canvas.title(&self.title, &format!("{}{scale}", self.unit))?;
        let frame = Frame { horizontal: 60..595, vertical: 64..365, x: Axis::of_nodes(&self.nodes), y };
        frame.draw(canvas, Some("nodes"))?;
        let mut names: Vec<(Place, String, Colour)> = Vec::new();
        for trend in &self.trends {
            if let Some(end) = trend.draw(canvas, &frame)? {
                names.push((end, trend.name.clone(), trend.colour));
            }
        }
        frame.name_ends(canvas, &names)
    }
}

impl Trend {
    /// Draws the line, and says where it ends.
    fn draw(&self, canvas: &Canvas<'_>, frame: &Frame) -> Result<Option<Place>, String> {
        let at = |nodes: u32, value: f64| frame.place((f64::from(nodes), value));
        let medians: Vec<Place> = self.points.iter().map(|(nodes, spread)| at(*nodes, spread.median)).collect();
        if self.is_bound {
            canvas.dashes(&medians, self.colour)?;
        } else {
            canvas.line(&medians, self.colour, 2)?;
            for (nodes, spread) in &self.points {
                canvas.line(&[at(*nodes, spread.least), at(*nodes, spread.most)], self.colour, 2)?;
                canvas.dot(at(*nodes, spread.median), self.colour)?;
            }
        }
        Ok(medians.last().copied())
    }
}
