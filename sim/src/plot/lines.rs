//! Lines and areas in one frame, named at their right ends.

use super::{
    Colour, Plot, PlotError,
    axis::Axis,
    canvas::{self, Canvas, Frame, Place},
};

const SIZE: (u32, u32) = (760, 420);

/// What is drawn.
#[derive(Clone, Debug)]
pub struct Lines {
    /// Name of the file, without the ending.
    pub name: String,
    /// What the plot shows, in words, for those who do not see it.
    pub description: String,
    /// In bold letters above.
    pub title: String,
    /// Below the title: what the numbers on the left are.
    pub subtitle: String,
    /// What the numbers below are.
    pub below: String,
    /// The end of the lower axis; that of the values where they go beyond.
    pub x_max: f64,
    /// The end of the left axis at least; the values may go beyond.
    pub y_max: f64,
    /// In the order in which they are drawn, the last above all others.
    pub series: Vec<Series>,
}

/// One line.
#[derive(Clone, Debug)]
pub struct Series {
    /// Beside its end.
    pub name: String,
    /// Of the line and its name's mark.
    pub colour: Colour,
    /// How it is drawn.
    pub look: Look,
    /// In order of their first value; both values at least 0.
    pub points: Vec<(f64, f64)>,
}

/// How a series is drawn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Look {
    /// A line.
    Line,
    /// A line, and the area below it.
    Area,
    /// A broken line: what something is compared with.
    Dashes,
}

impl Lines {
    /// The plot. Series without points are left out.
    ///
    /// # Errors
    /// It cannot be drawn.
    pub fn plot(&self) -> Result<Plot, PlotError> {
        let svg = canvas::draw(&self.name, SIZE, |canvas| self.content(canvas))?;
        Ok(Plot { name: self.name.clone(), description: self.description.clone(), svg })
    }

    fn content(&self, canvas: &Canvas<'_>) -> Result<(), String> {
        let points = || self.series.iter().flat_map(|series| &series.points);
        let most = |least: f64, value: fn(&(f64, f64)) -> f64| points().map(value).fold(least, f64::max);
        let x = Axis::up_to(most(self.x_max, |point| point.0));
        let y = Axis::from_zero(most(self.y_max, |point| point.1));
        let frame = Frame { horizontal: 60..595, vertical: 64..365, x, y };
        canvas.title(&self.title, &self.subtitle)?;
        frame.draw(canvas, Some(&self.below))?;
        let mut names: Vec<(Place, String, Colour)> = Vec::new();
        for series in &self.series {
            let (Some(first), Some(last)) = (series.points.first(), series.points.last()) else { continue };
            let places = frame.places(&series.points);
            if series.look == Look::Area {
                let ground = [frame.place((last.0, 0.0)), frame.place((first.0, 0.0))];
                canvas.area(&[&places[..], &ground].concat(), series.colour)?;
            }
            match series.look {
                Look::Dashes => canvas.dashes(&places, series.colour)?,
                Look::Line | Look::Area => canvas.line(&places, series.colour, 2)?,
            }
            names.push((frame.place(*last), series.name.clone(), series.colour));
        }
        frame.name_ends(canvas, &names)
    }
}

#[cfg(test)]
mod tests {
    use super::{super::PALETTE, *};

    fn lines(series: Vec<Series>) -> Lines {
        let text = |text: &str| text.to_owned();
        Lines {
            name: text("test"),
            description: text("what it shows"),
            title: text("A title"),
            subtitle: text("units"),
            below: text("seconds"),
            x_max: 1.0,
            y_max: 1.0,
            series,
        }
    }

    #[test]
    fn each_series_is_drawn_in_its_way_and_named() {
        let series = |name: &str, look, points: &[(f64, f64)]| Series {
            name: name.to_owned(),
            colour: PALETTE[0],
            look,
            points: points.to_vec(),
        };
        let points = [(0.0, 1.0), (1.0, 2.0), (9.0, 50.0)];
        let all = vec![
            series("area", Look::Area, &points),
            series("line", Look::Line, &points),
            series("empty", Look::Line, &[]),
        ];
        let svg = lines(all).plot().unwrap().svg;
        assert_eq!(svg.matches("<polygon").count(), 1, "{svg}");
        // Text stands in lines of its own.
        assert!(svg.contains("\narea\n") && svg.contains("\nline\n") && !svg.contains("\nempty\n"), "{svg}");
        let count = |svg: &str| svg.matches("<polyline").count();
        let dashed = lines(vec![series("dashes", Look::Dashes, &points)]).plot().unwrap().svg;
        let solid = lines(vec![series("solid", Look::Line, &points)]).plot().unwrap().svg;
        assert!(count(&dashed) > count(&solid) + 5, "broken into parts: {dashed}");
    }

    #[test]
    fn a_plot_without_any_points_still_has_its_frame() {
        let svg = lines(Vec::new()).plot().unwrap().svg;
        assert!(svg.contains("A title") && svg.contains("seconds"), "{svg}");
    }
}
