//! What flows when: an area and a line over time, a panel for each of what is compared.

use super::{
    Colour, INK, Plot, PlotError,
    axis::Axis,
    canvas::{self, Canvas, Frame, Stand},
};

const WIDTH: u32 = 760;
const TOP: i32 = 82;
const PANEL: i32 = 100;
const GAP: i32 = 34;
const BELOW: i32 = 52;

/// What is drawn.
#[derive(Clone, Debug)]
pub struct Panels {
    /// Name of the file, without the ending.
    pub name: String,
    /// What the plot shows, in words, for those who do not see it.
    pub description: String,
    /// In bold letters above.
    pub title: String,
    /// Below the title: what areas, lines and numbers are.
    pub subtitle: String,
    /// What the numbers below the last panel are.
    pub below: String,
    /// From top to bottom; all have the lower axis in common.
    pub panels: Vec<Panel>,
}

/// One of what is compared.
#[derive(Clone, Debug)]
pub struct Panel {
    /// Above the panel.
    pub name: String,
    /// Of the area.
    pub colour: Colour,
    /// In order of their first value; both values at least 0.
    pub area: Vec<(f64, f64)>,
    /// Drawn as a dark line. As `area`.
    pub line: Vec<(f64, f64)>,
}

impl Panels {
    /// The plot.
    ///
    /// # Errors
    /// It cannot be drawn.
    pub fn plot(&self) -> Result<Plot, PlotError> {
        let count = i32::try_from(self.panels.len()).unwrap_or(1);
        let height = TOP + count * PANEL + (count - 1) * GAP + BELOW;
        let svg = canvas::draw(&self.name, (WIDTH, height.unsigned_abs()), |canvas| self.content(canvas))?;
        Ok(Plot { name: self.name.clone(), description: self.description.clone(), svg })
    }

    fn content(&self, canvas: &Canvas<'_>) -> Result<(), String> {
        let points = self.panels.iter().flat_map(|panel| panel.area.iter().chain(&panel.line));
        let x = Axis::from_zero(points.map(|(x, _)| *x).fold(0.0, f64::max));
        canvas.title(&self.title, &self.subtitle)?;
        let mut top = TOP;
        for (panel, number) in self.panels.iter().zip(1..) {
            let frame = Frame { horizontal: 60..735, vertical: top..top + PANEL, x: x.clone(), y: panel.axis() };
            frame.draw(canvas, (number == self.panels.len()).then_some(&*self.below))?;
            if let (Some(first), Some(last)) = (panel.area.first(), panel.area.last()) {
                let mut area = frame.places(&panel.area);
                area.insert(0, frame.place((first.0, 0.0)));
                area.push(frame.place((last.0, 0.0)));
                canvas.area(&area, panel.colour)?;
            }
            canvas.line(&frame.places(&panel.area), panel.colour, 2)?;
            canvas.line(&frame.places(&panel.line), INK, 1)?;
            canvas.text(&panel.name, (60, top - 11), INK, Stand::Begins)?;
            top += PANEL + GAP;
        }
        Ok(())
    }
}

impl Panel {
    fn axis(&self) -> Axis {
        let most = self.area.iter().chain(&self.line).map(|(_, y)| *y).fold(0.0, f64::max);
        let mut axis = Axis::from_zero(most);
        // A low panel has room for both ends.
        let end = axis.ticks.last().copied();
        axis.ticks = [Some(0.0), end].into_iter().flatten().collect();
        axis
    }
}
