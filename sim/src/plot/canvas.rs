//! A drawing with a frame, a grid, lines and names beside them.

use std::ops::Range;

use plotters::{
    backend::SVGBackend,
    coord::Shift,
    drawing::{DrawingArea, IntoDrawingArea},
    element::{Circle, DashedPathElement, Drawable, PathElement, PointCollection, Polygon, Rectangle, Text},
    style::{
        Color, FontStyle, IntoFont, ShapeStyle, TextStyle,
        text_anchor::{HPos, Pos, VPos},
    },
};

use super::{
    Colour, INK, PlotError,
    axis::{self, Axis},
};

/// Lesser ink, grid and ground; a page gives other values on a dark ground.
const MUTED: Colour = Colour(90, 90, 90);
const GRID: Colour = Colour(224, 224, 224);
const GROUND: Colour = Colour(255, 255, 255);

/// Sizes of letters, in pixels.
const TITLE_PX: f64 = 16.0;
const TEXT_PX: f64 = 13.0;
/// The library makes letters smaller than it is told by this factor.
const LIBRARY_SCALE: f64 = 1.24;
/// Mean width of a letter of a sans-serif font for its height.
const LETTER_WIDTH: f64 = 0.56;
/// Distance of two names below each other.
const LINE_PX: i32 = 17;

type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;

/// A place in pixels, from the upper left corner.
pub(super) type Place = (i32, i32);

/// Draws with an area of the given size, and names the plot in errors.
pub(super) fn draw(
    plot: &str,
    size: (u32, u32),
    content: impl FnOnce(&Canvas<'_>) -> Result<(), String>,
) -> Result<String, PlotError> {
    let mut svg = String::new();
    let drawn = {
        let area = SVGBackend::with_string(&mut svg, size).into_drawing_area();
        let canvas = Canvas { area };
        let ground = canvas.area.fill(&GROUND).map_err(|error| error.to_string());
        let drawn = ground.and_then(|()| content(&canvas));
        drawn.and_then(|()| canvas.area.present().map_err(|error| error.to_string()))
    };
    drawn.map(|()| svg).map_err(|problem| PlotError { plot: plot.to_owned(), problem })
}

/// What is drawn on.
pub(super) struct Canvas<'a> {
    area: Area<'a>,
}

/// How a text stands at its place.
#[derive(Clone, Copy)]
pub(super) enum Stand {
    /// Begins there.
    Begins,
    /// Ends there.
    Ends,
    /// Its middle is there.
    Middle,
}

impl Canvas<'_> {
    fn put<'b, Element>(&self, element: &'b Element) -> Result<(), String>
    where
        &'b Element: PointCollection<'b, Place>,
        Element: for<'c> Drawable<SVGBackend<'c>>,
    {
        self.area.draw(element).map_err(|error| error.to_string())
    }

    /// A title in bold letters, and a line of smaller ones below it.
    pub(super) fn title(&self, title: &str, subtitle: &str) -> Result<(), String> {
        let font = ("sans-serif", TITLE_PX * LIBRARY_SCALE).into_font().style(FontStyle::Bold);
        let style = TextStyle::from(font).color(&INK).pos(Pos::new(HPos::Left, VPos::Top));
        self.put(&Text::new(title, (12, 8), style))?;
        self.text(subtitle, (12, 36), MUTED, Stand::Begins)
    }

    /// A text whose middle line is at the place.
    pub(super) fn text(&self, text: &str, place: Place, colour: Colour, stand: Stand) -> Result<(), String> {
        let horizontal = match stand {
            Stand::Begins => HPos::Left,
            Stand::Ends => HPos::Right,
            Stand::Middle => HPos::Center,
        };
        let font = ("sans-serif", TEXT_PX * LIBRARY_SCALE).into_font();
        // The library's own middle depends on `ex`, which not every viewer knows in a text's offset.
        let place = (place.0, place.1 - pixels(TEXT_PX * 0.40));
        let style = TextStyle::from(font).color(&colour).pos(Pos::new(horizontal, VPos::Top));
        self.put(&Text::new(text.to_owned(), place, style))
    }

    /// A text on a ground of its own, so that lines behind it do not cross it.
    pub(super) fn plate(&self, text: &str, place: Place, stand: Stand) -> Result<(), String> {
        let width = text_width(text);
        let left = match stand {
            Stand::Begins => place.0,
            Stand::Ends => place.0 - width,
            Stand::Middle => place.0 - width / 2,
        };
        let corners = [(left - 2, place.1 - LINE_PX / 2), (left + width + 2, place.1 + LINE_PX / 2)];
        self.put(&Rectangle::new(corners, GROUND.filled()))?;
        self.text(text, place, INK, stand)
    }

    /// A line through the places.
    pub(super) fn line(&self, places: &[Place], colour: Colour, width: u32) -> Result<(), String> {
        self.put(&PathElement::new(
            places.to_vec(),
            ShapeStyle { color: colour.to_rgba(), filled: false, stroke_width: width },
        ))
    }

    /// A broken line through the places.
    pub(super) fn dashes(&self, places: &[Place], colour: Colour) -> Result<(), String> {
        let style = ShapeStyle { color: colour.to_rgba(), filled: false, stroke_width: 2 };
        self.put(&DashedPathElement::new(places.to_vec(), 6, 4, style))
    }

    /// A dot.
    pub(super) fn dot(&self, place: Place, colour: Colour) -> Result<(), String> {
        self.put(&Circle::new(place, 4, colour.filled()))
    }

    /// A rectangle of one colour, from its upper left to its lower right corner.
    pub(super) fn cell(&self, corners: [Place; 2], colour: Colour) -> Result<(), String> {
        self.put(&Rectangle::new(corners, colour.filled()))
    }

    /// The area inside the places.
    pub(super) fn area(&self, places: &[Place], colour: Colour) -> Result<(), String> {
        self.put(&Polygon::new(places.to_vec(), colour.mix(0.35).filled()))
    }
}

/// A rectangle with two axes.
pub(super) struct Frame {
    pub(super) horizontal: Range<i32>,
    /// From top to bottom.
    pub(super) vertical: Range<i32>,
    pub(super) x: Axis,
    pub(super) y: Axis,
}

impl Frame {
    /// Where a point is.
    pub(super) fn place(&self, (x, y): (f64, f64)) -> Place {
        let (width, height) = (self.horizontal.len() as f64, self.vertical.len() as f64);
        (self.horizontal.start + pixels(self.x.place(x) * width), self.vertical.end - pixels(self.y.place(y) * height))
    }

    /// Where points are.
    pub(super) fn places(&self, points: &[(f64, f64)]) -> Vec<Place> {
        points.iter().map(|point| self.place(*point)).collect()
    }

    /// Grid, numbers, and what the numbers of the lower axis are.
    pub(super) fn draw(&self, canvas: &Canvas<'_>, below: Option<&str>) -> Result<(), String> {
        for tick in &self.y.ticks {
            let height = self.vertical.end - pixels(self.y.place(*tick) * self.vertical.len() as f64);
            canvas.line(&[(self.horizontal.start, height), (self.horizontal.end, height)], GRID, 1)?;
            canvas.text(&axis::label(*tick), (self.horizontal.start - 8, height), MUTED, Stand::Ends)?;
        }
        for tick in &self.x.ticks {
            let across = self.horizontal.start + pixels(self.x.place(*tick) * self.horizontal.len() as f64);
            canvas.line(&[(across, self.vertical.start), (across, self.vertical.end)], GRID, 1)?;
            if below.is_some() {
                canvas.text(&axis::label(*tick), (across, self.vertical.end + 14), MUTED, Stand::Middle)?;
            }
        }
        let bottom = [(self.horizontal.start, self.vertical.end), (self.horizontal.end, self.vertical.end)];
        canvas.line(&bottom, MUTED, 1)?;
        let Some(below) = below else { return Ok(()) };
        let middle = i32::midpoint(self.horizontal.start, self.horizontal.end);
        canvas.text(below, (middle, self.vertical.end + 36), MUTED, Stand::Middle)
    }

    /// Names at the right end of lines that end at `heights`, moved apart where they would lie on each other.
    pub(super) fn name_ends(&self, canvas: &Canvas<'_>, names: &[(Place, String, Colour)]) -> Result<(), String> {
        let mut sorted: Vec<&(Place, String, Colour)> = names.iter().collect();
        sorted.sort_by_key(|((_, height), _, _)| *height);
        let wanted: Vec<i32> = sorted.iter().map(|((_, height), _, _)| *height).collect();
        let heights = apart(&wanted, self.vertical.start..self.vertical.end);
        for ((end, name, colour), height) in sorted.into_iter().zip(heights) {
            let begin = self.horizontal.end + 14;
            canvas.line(&[(end.0 + 4, end.1), (begin - 4, height)], *colour, 2)?;
            canvas.text(name, (begin, height), INK, Stand::Begins)?;
        }
        Ok(())
    }
}

/// Heights at least a line apart, in the same order, as near to the wanted ones as goes; within the range where they fit.
fn apart(wanted: &[i32], within: Range<i32>) -> Vec<i32> {
    let mut heights: Vec<i32> = Vec::new();
    for height in wanted {
        let least = heights.last().map_or(i32::MIN, |last| last + LINE_PX);
        heights.push(least.max(*height));
    }
    let mut most = within.end;
    for height in heights.iter_mut().rev() {
        *height = most.min(*height);
        most = *height - LINE_PX;
    }
    heights
}

/// About how wide a text is.
pub(super) fn text_width(text: &str) -> i32 {
    pixels(text.chars().count() as f64 * TEXT_PX * LETTER_WIDTH)
}

/// The nearest pixel.
#[expect(clippy::cast_possible_truncation, reason = "drawings are far smaller than the type's range, and it saturates")]
pub(super) fn pixels(length: f64) -> i32 {
    length.round() as i32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_keep_their_order_and_lie_apart() {
        assert_eq!(apart(&[10, 100, 200], 0..300), [10, 100, 200]);
        assert_eq!(apart(&[10, 12, 13], 0..300), [10, 27, 44]);
        assert_eq!(apart(&[290, 295, 299], 0..300), [266, 283, 300]);
    }

    #[test]
    fn a_text_with_markup_stays_a_text() {
        let svg = draw("test", (100, 100), |canvas| canvas.title("<script>", "a & b")).unwrap();
        assert!(!svg.contains("<script") && svg.contains("&lt;script&gt;") && svg.contains("a &amp; b"), "{svg}");
    }
}
