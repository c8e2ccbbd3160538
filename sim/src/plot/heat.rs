//! A table of values as colours: what two things do together. The less, the lighter.

use super::{
    Colour, INK, Plot, PlotError,
    canvas::{self, Canvas, Stand, pixels, text_width},
};
use crate::format::trimmed;

/// Of the least and of the largest value.
const LIGHT: Colour = Colour(236, 244, 250);
const DARK: Colour = Colour(0, 68, 116);
const PAPER: Colour = Colour(255, 255, 255);

const CELL: (i32, i32) = (82, 34);
const TOP: i32 = 78;
const BELOW: i32 = 58;
/// Beyond this place between least and largest letters are light.
const TURN: f64 = 0.55;

/// What is drawn.
#[derive(Clone, Debug)]
pub struct HeatMap {
    /// Name of the file, without the ending.
    pub name: String,
    /// What the plot shows, in words, for those who do not see it.
    pub description: String,
    /// In bold letters above.
    pub title: String,
    /// Below the title: what the numbers are.
    pub subtitle: String,
    /// What the columns are values of, and what the rows are.
    pub axes: (String, String),
    /// Values from left to right.
    pub columns: Vec<String>,
    /// Values from below to above.
    pub rows: Vec<String>,
    /// A row for each of `rows`, with a value for each of `columns`; an empty cell where there is none.
    pub cells: Vec<Vec<Option<f64>>>,
}

impl HeatMap {
    /// The plot.
    ///
    /// # Errors
    /// It cannot be drawn.
    pub fn plot(&self) -> Result<Plot, PlotError> {
        let size = (self.left() + self.across() + 24, TOP + self.down() + BELOW);
        // A table has room for its title.
        let wanted = [&self.title, &self.subtitle].map(|text| text_width(text) * 5 / 4 + 24);
        let width = wanted.into_iter().fold(size.0, i32::max);
        let svg =
            canvas::draw(&self.name, (width.unsigned_abs(), size.1.unsigned_abs()), |canvas| self.content(canvas))?;
        Ok(Plot { name: self.name.clone(), description: self.description.clone(), svg })
    }

    fn content(&self, canvas: &Canvas<'_>) -> Result<(), String> {
        canvas.title(&self.title, &self.subtitle)?;
        let values = || self.cells.iter().flatten().copied().flatten();
        let (least, most) = (values().fold(f64::INFINITY, f64::min), values().fold(f64::NEG_INFINITY, f64::max));
        for (row, cells) in (1..).zip(&self.cells) {
            let top = TOP + self.down() - row * CELL.1;
            for (column, value) in (0..).zip(cells) {
                let left = self.left() + column * CELL.0;
                let Some(value) = value else { continue };
                let place = if most > least { (value - least) / (most - least) } else { 0.0 };
                canvas.cell([(left + 1, top + 1), (left + CELL.0 - 1, top + CELL.1 - 1)], shade(place))?;
                let ink = if place > TURN { PAPER } else { INK };
                canvas.text(&written(*value), (left + CELL.0 / 2, top + CELL.1 / 2), ink, Stand::Middle)?;
            }
        }
        for (row, label) in (1..).zip(&self.rows) {
            let middle = TOP + self.down() - row * CELL.1 + CELL.1 / 2;
            canvas.text(label, (self.left() - 8, middle), INK, Stand::Ends)?;
        }
        let bottom = TOP + self.down();
        for (column, label) in (0..).zip(&self.columns) {
            canvas.text(label, (self.left() + column * CELL.0 + CELL.0 / 2, bottom + 14), INK, Stand::Middle)?;
        }
        canvas.text(&self.axes.1, (12, TOP - 12), INK, Stand::Begins)?;
        canvas.text(&self.axes.0, (self.left() + self.across() / 2, bottom + 40), INK, Stand::Middle)
    }

    /// Room for the names of rows.
    fn left(&self) -> i32 {
        self.rows.iter().map(|label| text_width(label)).fold(40, i32::max) + 20
    }

    fn across(&self) -> i32 {
        CELL.0 * i32::try_from(self.columns.len()).unwrap_or(1)
    }

    fn down(&self) -> i32 {
        CELL.1 * i32::try_from(self.rows.len()).unwrap_or(1)
    }
}

/// The colour at a place from 0 to 1.
fn shade(place: f64) -> Colour {
    let mix = |light: u8, dark: u8| {
        let value = f64::from(light) + (f64::from(dark) - f64::from(light)) * place.clamp(0.0, 1.0);
        u8::try_from(pixels(value)).unwrap_or(u8::MAX)
    };
    Colour(mix(LIGHT.0, DARK.0), mix(LIGHT.1, DARK.1), mix(LIGHT.2, DARK.2))
}

/// Small differences are what a heat map is for.
fn written(value: f64) -> String {
    if value.abs() < 100.0 { format!("{value:.3}") } else { trimmed(value) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_cell_has_its_number_and_the_largest_is_the_darkest() {
        let text = |text: &str| text.to_owned();
        let map = HeatMap {
            name: text("heat"),
            description: text("d"),
            title: text("t"),
            subtitle: text("s"),
            axes: (text("upload_slots"), text("requests_max")),
            columns: vec![text("2"), text("4")],
            rows: vec![text("3"), text("6"), text("9")],
            cells: vec![vec![Some(1.0), Some(1.25)], vec![Some(1.125), None], vec![None, None]],
        };
        let svg = map.plot().unwrap().svg;
        for wanted in ["1.000", "1.250", "1.125", "upload_slots", "requests_max", "\n9\n"] {
            assert!(svg.contains(wanted), "{wanted} in {svg}");
        }
        assert_eq!(svg.matches("#004474").count(), 1, "the darkest");
        assert_eq!(svg.matches("#ECF4FA").count(), 1, "the lightest");
        let same = HeatMap { cells: vec![vec![Some(2.0), Some(2.0)]], ..map.clone() };
        assert_eq!(same.plot().unwrap().svg.matches("#ECF4FA").count(), 2, "no difference, no colour");
        let empty = HeatMap { cells: Vec::new(), rows: Vec::new(), columns: Vec::new(), ..map };
        assert!(empty.plot().is_ok());
    }
}
