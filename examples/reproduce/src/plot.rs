//! Charts as SVG and PNG, drawn once for both.

use std::{ops::Range, path::Path, sync::Once};

use plotters::{
    coord::Shift,
    prelude::*,
    style::{
        FontStyle, register_font,
        text_anchor::{HPos, Pos, VPos},
    },
};

use crate::output::{named, write};

pub struct Panel {
    pub title: String,
    pub x: String,
    pub y: String,
    pub content: Content,
}

pub enum Content {
    Lines {
        series: Vec<Series<Point>>,
        /// Whether equal ratios of x are equally far from each other.
        log_x: bool,
    },
    /// A group of bars for each name: every series has a bar in each group, a value with the half
    /// width of its interval.
    Bars {
        groups: Vec<String>,
        series: Vec<Series<(f64, f64)>>,
    },
}

/// A point of a line, with the half width of the interval of y; 0 where there is none.
#[derive(Clone, Copy)]
pub struct Point {
    pub x: f64,
    pub y: f64,
    pub half: f64,
}

pub struct Series<T> {
    pub name: String,
    /// An index into the palette: the same thing has the same colour in all figures.
    pub color: usize,
    pub points: Vec<T>,
}

impl Content {
    pub fn has_points(&self) -> bool {
        match self {
            Self::Lines { series, .. } => series.iter().any(|series| !series.points.is_empty()),
            Self::Bars { series, .. } => series.iter().any(|series| !series.points.is_empty()),
        }
    }

    /// The names of the series and their colours.
    fn names(&self) -> Vec<(&str, usize)> {
        fn names<T>(series: &[Series<T>]) -> Vec<(&str, usize)> {
            let names = series.iter().map(|series| (&*series.name, series.color));
            names.collect()
        }
        match self {
            Self::Lines { series, .. } => names(series),
            Self::Bars { series, .. } => names(series),
        }
    }
}

/// Okabe and Ito's colours, which colour-blind readers can tell apart.
const PALETTE: [RGBColor; 22] = [
    RGBColor(0, 0, 0),
    RGBColor(230, 159, 0),
    RGBColor(86, 180, 233),
    RGBColor(0, 114, 178),
    RGBColor(0, 158, 115),
    RGBColor(213, 94, 0),
    RGBColor(204, 121, 167),
    RGBColor(150, 150, 150),
    // And three more for the selectors.
    RGBColor(140, 86, 75),
    RGBColor(117, 112, 179),
    RGBColor(166, 166, 0),
    // And ten for the neighbours.
    RGBColor(102, 166, 30),
    RGBColor(231, 41, 138),
    RGBColor(27, 158, 119),
    RGBColor(90, 90, 90),
    RGBColor(190, 174, 212),
    RGBColor(102, 17, 0),
    RGBColor(68, 170, 153),
    RGBColor(220, 20, 60),
    RGBColor(70, 130, 180),
    RGBColor(210, 180, 60),
    // And one for what is not trained.
    RGBColor(205, 205, 205),
];

/// The colour of an untrained encoder.
pub const UNTRAINED: usize = PALETTE.len() - 1;

/// Width and height.
pub type Size = (u32, u32);

const PANEL: Size = (520, 360);
const LEGEND_LINE: i32 = 26;
const TEXT: u32 = 15;

/// Writes `path`.svg and `path`.png, the panels in rows of `columns`.
pub fn figure(path: &Path, columns: usize, panels: &[Panel]) -> Result<(), String> {
    drawn(path, columns, PANEL, panels).map(drop)
}

/// Writes one panel, and `path`-dark.svg beside it, the same on a dark page.
pub fn figure_for_both_pages(path: &Path, size: Size, panel: Panel) -> Result<(), String> {
    let svg = drawn(path, 1, size, &[panel])?;
    let [ink, paper] = ["#000000", "#FFFFFF"];
    let dark = svg.replace(paper, "#0D1117").replace(ink, "#E6EDF3");
    let mut name = path.file_name().unwrap_or_default().to_os_string();
    name.push("-dark.svg");
    write(&path.with_file_name(name), dark)
}

/// Writes both files; the text of the first.
fn drawn(path: &Path, columns: usize, size: Size, panels: &[Panel]) -> Result<String, String> {
    static FONT: Once = Once::new();
    FONT.call_once(|| {
        let font = epaint_default_fonts::HACK_REGULAR;
        // Fails on a file that is no font only.
        let _ = register_font("sans-serif", FontStyle::Normal, font);
    });
    let columns = columns.min(panels.len()).max(1);
    let rows = panels.len().div_ceil(columns);
    let width = size.0 * columns as u32;
    let legend = legend(panels, width as i32);
    let height = size.1 * rows as u32 + (legend.len() as i32 * LEGEND_LINE + 12) as u32;

    let grid = ((rows, columns), size.1 * rows as u32);
    // To memory: plotters does not say so if a file takes only a part.
    let mut svg = String::new();
    let area = SVGBackend::with_string(&mut svg, (width, height)).into_drawing_area();
    named(path, draw(&area, grid, panels, &legend))?;
    drop(area);
    write(&path.with_extension("svg"), &svg)?;

    let mut pixels = vec![0; (width * height * 3) as usize];
    let area = BitMapBackend::with_buffer(&mut pixels, (width, height)).into_drawing_area();
    named(path, draw(&area, grid, panels, &legend))?;
    drop(area);
    let png = named(path, png(width, height, &pixels))?;
    write(&path.with_extension("png"), png)?;
    Ok(svg)
}

/// Of three bytes a pixel: red, green and blue.
fn png(width: u32, height: u32, pixels: &[u8]) -> Result<Vec<u8>, png::EncodingError> {
    let mut bytes = Vec::new();
    let mut encoder = png::Encoder::new(&mut bytes, width, height);
    encoder.set_color(png::ColorType::Rgb);
    encoder.set_depth(png::BitDepth::Eight);
    let mut writer = encoder.write_header()?;
    writer.write_image_data(pixels)?;
    writer.finish()?;
    Ok(bytes)
}

type Drawn<DB> = Result<(), DrawingAreaErrorKind<<DB as DrawingBackend>::ErrorType>>;

/// A name, its colour, and the place of its entry: line and offset.
type Entry = (String, usize, i32);

fn legend(panels: &[Panel], width: i32) -> Vec<Vec<Entry>> {
    let mut lines: Vec<Vec<Entry>> = vec![Vec::new()];
    let mut x = 20;
    let mut names: Vec<&str> = Vec::new();
    for panel in panels {
        for (name, color) in panel.content.names() {
            if names.contains(&name) {
                continue;
            }
            names.push(name);
            let length = 40 + (name.chars().count() as i32) * (TEXT as i32 * 6 / 10 + 1);
            if x + length > width && x > 20 {
                lines.push(Vec::new());
                x = 20;
            }
            if let Some(line) = lines.last_mut() {
                line.push((name.to_string(), color, x));
            }
            x += length;
        }
    }
    lines
}

fn draw<DB: DrawingBackend>(
    area: &DrawingArea<DB, Shift>,
    (grid, charts_end): ((usize, usize), u32),
    panels: &[Panel],
    legend: &[Vec<Entry>],
) -> Drawn<DB> {
    area.fill(&WHITE)?;
    let (charts, names) = area.split_vertically(charts_end);
    for (panel, area) in panels.iter().zip(charts.split_evenly(grid)) {
        match &panel.content {
            Content::Lines { series, log_x } => lines(&area, panel, series, *log_x)?,
            Content::Bars { groups, series } => bars(&area, panel, groups, series)?,
        }
    }
    for (line, entries) in legend.iter().enumerate() {
        let y = 6 + line as i32 * LEGEND_LINE;
        for (name, color, x) in entries {
            let color = PALETTE[color % PALETTE.len()];
            names.draw(&Rectangle::new(
                [(*x, y + 4), (x + 18, y + 14)],
                color.filled(),
            ))?;
            names.draw(&Text::new(name.clone(), (x + 24, y + 2), text()))?;
        }
    }
    area.present()
}

fn text() -> TextStyle<'static> {
    ("sans-serif", TEXT).into_font().color(&BLACK)
}

type Chart<'a, DB> = ChartContext<
    'a,
    DB,
    Cartesian2d<plotters::coord::types::RangedCoordf64, plotters::coord::types::RangedCoordf64>,
>;

fn chart<'a, DB: DrawingBackend>(
    area: &'a DrawingArea<DB, Shift>,
    panel: &Panel,
    x: Range<f64>,
    y: Range<f64>,
    x_labels: usize,
) -> Result<Chart<'a, DB>, DrawingAreaErrorKind<DB::ErrorType>> {
    let mut chart = ChartBuilder::on(area)
        .caption(&panel.title, ("sans-serif", TEXT + 1))
        .margin(12)
        .x_label_area_size(44)
        .y_label_area_size(64)
        .build_cartesian_2d(x, y)?;
    chart
        .configure_mesh()
        .light_line_style(TRANSPARENT)
        .x_labels(x_labels)
        .y_labels(7)
        .x_label_formatter(&|x| number(*x))
        .y_label_formatter(&|y| number(*y))
        .x_desc(panel.x.clone())
        .y_desc(panel.y.clone())
        .label_style(("sans-serif", TEXT - 2))
        .axis_desc_style(("sans-serif", TEXT))
        .draw()?;
    Ok(chart)
}

/// Without the digits that only rounding put there.
fn number(value: f64) -> String {
    let rounded = (value * 1e4).round() / 1e4;
    // Not "-0".
    format!("{}", rounded + 0.0)
}

/// The share of the width that lies between the intervals of neighbouring series.
const DODGE: f64 = 0.006;

fn lines<DB: DrawingBackend>(
    area: &DrawingArea<DB, Shift>,
    panel: &Panel,
    series: &[Series<Point>],
    log_x: bool,
) -> Drawn<DB> {
    let place = |x: f64| if log_x { x.log10() } else { x };
    let points = || series.iter().flat_map(|series| &series.points);
    let mut x = range(points().map(|point| place(point.x)));
    if log_x {
        x = padded(x);
    }
    let ends = points().flat_map(|point| [point.y - point.half, point.y + point.half]);
    let y = padded(range(ends));
    let labels = if log_x { 0 } else { 8 };
    let mut chart = chart(area, panel, x.clone(), y.clone(), labels)?;
    if y.contains(&0.0) {
        chart.draw_series(LineSeries::new(
            [(x.start, 0.0), (x.end, 0.0)],
            BLACK.mix(0.4),
        ))?;
    }
    let middle = (series.len() as f64 - 1.0) / 2.0;
    for (index, series) in series.iter().enumerate() {
        let color = PALETTE[series.color % PALETTE.len()];
        let aside = (index as f64 - middle) * DODGE * (x.end - x.start);
        let of_points = series.points.iter().filter(|point| point.half > 0.0);
        let intervals = of_points.map(|point| {
            let x = place(point.x) + aside;
            let ends = [(x, point.y - point.half), (x, point.y + point.half)];
            PathElement::new(ends, color.mix(0.7).stroke_width(1))
        });
        chart.draw_series(intervals)?;
        let line = series.points.iter().map(|point| (place(point.x), point.y));
        chart.draw_series(LineSeries::new(line.clone(), color.stroke_width(2)))?;
        if series.points.len() <= 12 {
            chart.draw_series(line.map(|point| Circle::new(point, 3, color.filled())))?;
        }
    }
    if log_x {
        let mut values: Vec<f64> = points().map(|point| point.x).collect();
        values.sort_by(f64::total_cmp);
        values.dedup();
        for value in values {
            label(area, &chart, (place(value), y.start), number(value))?;
        }
    }
    Ok(())
}

/// Writes below the axis what stands at a point of it.
fn label<DB: DrawingBackend>(
    area: &DrawingArea<DB, Shift>,
    chart: &Chart<DB>,
    point: (f64, f64),
    name: String,
) -> Drawn<DB> {
    let (x, y) = chart.plotting_area().map_coordinate(&point);
    let (base_x, base_y) = area.get_base_pixel();
    let style = ("sans-serif", TEXT - 2).into_font().color(&BLACK);
    let style = style.pos(Pos::new(HPos::Center, VPos::Top));
    area.draw(&Text::new(name, (x - base_x, y - base_y + 8), style))
}

fn bars<DB: DrawingBackend>(
    area: &DrawingArea<DB, Shift>,
    panel: &Panel,
    groups: &[String],
    series: &[Series<(f64, f64)>],
) -> Drawn<DB> {
    let values = || series.iter().flat_map(|series| &series.points);
    let ends = values().flat_map(|(value, half)| [value - half, value + half, 0.0]);
    let y = padded(range(ends.filter(|end| end.is_finite())));
    let mut chart = chart(area, panel, 0.0..groups.len() as f64, y.clone(), 0)?;
    let width = 0.84 / series.len().max(1) as f64;
    for (place, series) in series.iter().enumerate() {
        let color = PALETTE[series.color % PALETTE.len()];
        for (group, (value, half)) in series.points.iter().enumerate() {
            if !value.is_finite() {
                continue;
            }
            let left = group as f64 + 0.08 + place as f64 * width;
            let (right, middle) = (left + 0.9 * width, left + 0.45 * width);
            let bar = Rectangle::new([(left, 0.0), (right, *value)], color.filled());
            chart.draw_series([bar])?;
            if *half > 0.0 {
                let ends = [(middle, value - half), (middle, value + half)];
                chart.draw_series([PathElement::new(ends, BLACK.mix(0.7).stroke_width(2))])?;
            }
        }
    }
    chart.draw_series(LineSeries::new(
        [(0.0, 0.0), (groups.len() as f64, 0.0)],
        BLACK,
    ))?;
    for (group, name) in groups.iter().enumerate() {
        label(area, &chart, (group as f64 + 0.5, y.start), name.clone())?;
    }
    Ok(())
}

fn range(values: impl Iterator<Item = f64>) -> Range<f64> {
    let (low, high) = values.fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), value| {
        (low.min(value), high.max(value))
    });
    match low < high {
        true => low..high,
        // Nothing, or one value.
        false if low.is_finite() => low - 0.5..low + 0.5,
        false => 0.0..1.0,
    }
}

fn padded(range: Range<f64>) -> Range<f64> {
    let space = 0.06 * (range.end - range.start);
    let start = if range.start == 0.0 {
        0.0
    } else {
        range.start - space
    };
    let end = if range.end == 0.0 {
        0.0
    } else {
        range.end + space
    };
    start..end
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_short() {
        assert_eq!(number(0.1 + 0.2), "0.3");
        assert_eq!(number(-1e-9), "0");
    }

    #[test]
    fn a_range_is_never_empty() {
        assert_eq!(range([].into_iter()), 0.0..1.0);
        assert_eq!(range([2.0].into_iter()), 1.5..2.5);
    }
}
