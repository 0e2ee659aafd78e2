//! Charts of errors as SVG: both axes logarithmic, on a background of their own.

use std::fmt::Write;

pub struct Panel {
    pub title: String,
    pub x: &'static str,
    pub y: &'static str,
    pub series: Vec<Series>,
}

pub struct Series {
    pub name: String,
    pub points: Vec<(f64, f64)>,
}

/// Okabe and Ito's colours, which colour-blind readers can tell apart, and the dashes of
/// those who see none.
const STYLES: [(&str, &str); 7] = [
    ("#0072b2", ""),
    ("#56b4e9", "6 3"),
    ("#009e73", "2 3"),
    ("#000000", "8 3 2 3"),
    ("#d55e00", ""),
    ("#e69f00", "6 3"),
    ("#cc79a7", "2 3"),
];

const PANEL: [f64; 2] = [430.0, 290.0];
const LEFT: f64 = 66.0;
const TOP: f64 = 34.0;
const RIGHT: f64 = 22.0;
const BOTTOM: f64 = 48.0;
const LEGEND: f64 = 36.0;

/// The panels two by two, `names` with their colours below them.
pub fn figure(panels: &[Panel], names: &[&str]) -> String {
    let rows = panels.len().div_ceil(2);
    let [width, height] = [2.0 * PANEL[0], rows as f64 * PANEL[1] + LEGEND];
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\" \
         font-family=\"sans-serif\" font-size=\"12\" fill=\"#222\">\n\
         <rect width=\"{width}\" height=\"{height}\" rx=\"6\" fill=\"#fff\"/>\n"
    );
    for (place, panel) in panels.iter().enumerate() {
        let x = (place % 2) as f64 * PANEL[0];
        let y = (place / 2) as f64 * PANEL[1];
        let _ = writeln!(svg, "<g transform=\"translate({x} {y})\">");
        draw(&mut svg, panel, names);
        svg.push_str("</g>\n");
    }
    let y = height - 14.0;
    let step = (width - LEFT) / names.len() as f64;
    for (place, name) in names.iter().enumerate() {
        let x = LEFT + place as f64 * step;
        let (color, dashes) = STYLES[place % STYLES.len()];
        let _ = writeln!(
            svg,
            "<path d=\"M{x:.0} {:.0}h26\" stroke=\"{color}\" stroke-width=\"2.5\" \
             stroke-dasharray=\"{dashes}\"/><text x=\"{:.0}\" y=\"{y:.0}\">{name}</text>",
            y - 4.0,
            x + 32.0
        );
    }
    svg.push_str("</svg>\n");
    svg
}

/// A logarithmic axis: whole decades around the values.
#[derive(Clone, Copy)]
struct Axis {
    low: f64,
    high: f64,
    from: f64,
    length: f64,
}

impl Axis {
    fn new(values: impl Iterator<Item = f64>, from: f64, length: f64) -> Self {
        let logs = values.map(f64::log10);
        let (low, high) = logs.fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), x| {
            (low.min(x), high.max(x))
        });
        let (low, high) = match low.is_finite() {
            true => (low.floor(), high.ceil().max(low.floor() + 1.0)),
            false => (0.0, 1.0),
        };
        Self {
            low,
            high,
            from,
            length,
        }
    }

    fn place(self, value: f64) -> f64 {
        self.from + (value.log10() - self.low) / (self.high - self.low) * self.length
    }

    /// Powers of ten, at most seven of them.
    fn ticks(self) -> impl Iterator<Item = i32> {
        let [low, high] = [self.low as i32, self.high as i32];
        let step = ((high - low) / 7 + 1) as usize;
        (low..=high).step_by(step)
    }
}

fn draw(svg: &mut String, panel: &Panel, names: &[&str]) {
    // An error above 1e9 is off any chart.
    let drawn = |point: &&(f64, f64)| point.0 > 0.0 && (f64::MIN_POSITIVE..1e9).contains(&point.1);
    let points = || {
        panel
            .series
            .iter()
            .flat_map(|series| &series.points)
            .filter(drawn)
    };
    let [right, bottom] = [PANEL[0] - RIGHT, PANEL[1] - BOTTOM];
    let x = Axis::new(points().map(|point| point.0), LEFT, right - LEFT);
    let y = Axis::new(points().map(|point| point.1), bottom, TOP - bottom);
    for tick in x.ticks() {
        let at = x.place(10f64.powi(tick));
        let _ = writeln!(
            svg,
            "<path d=\"M{at:.1} {TOP}V{bottom}\" stroke=\"#ddd\"/>\
             <text x=\"{at:.1}\" y=\"{:.0}\" text-anchor=\"middle\">{}</text>",
            bottom + 16.0,
            power(tick)
        );
    }
    for tick in y.ticks() {
        let at = y.place(10f64.powi(tick));
        let _ = writeln!(
            svg,
            "<path d=\"M{LEFT} {at:.1}H{right}\" stroke=\"#ddd\"/>\
             <text x=\"{:.0}\" y=\"{:.1}\" text-anchor=\"end\">{}</text>",
            LEFT - 6.0,
            at + 4.0,
            power(tick)
        );
    }
    let middle = (LEFT + right) / 2.0;
    let _ = writeln!(
        svg,
        "<text x=\"{middle:.0}\" y=\"20\" text-anchor=\"middle\" font-size=\"13\">{}</text>\
         <text x=\"{middle:.0}\" y=\"{:.0}\" text-anchor=\"middle\">{}</text>\
         <text transform=\"translate(14 {:.0}) rotate(-90)\" text-anchor=\"middle\">{}</text>",
        panel.title,
        bottom + 36.0,
        panel.x,
        (TOP + bottom) / 2.0,
        panel.y
    );
    for series in &panel.series {
        let place = names.iter().position(|name| *name == series.name);
        let (color, dashes) = STYLES[place.unwrap_or(0) % STYLES.len()];
        let places = series.points.iter().filter(drawn);
        let places: Vec<String> = places
            .map(|&(px, py)| format!("{:.1} {:.1}", x.place(px), y.place(py)))
            .collect();
        let _ = writeln!(
            svg,
            "<path d=\"M{}\" fill=\"none\" stroke=\"{color}\" stroke-width=\"2\" \
             stroke-dasharray=\"{dashes}\"/>",
            places.join("L")
        );
        for place in places {
            let (x, y) = place.split_once(' ').expect("two numbers");
            let _ = writeln!(
                svg,
                "<circle cx=\"{x}\" cy=\"{y}\" r=\"2.5\" fill=\"{color}\"/>"
            );
        }
    }
}

fn power(exponent: i32) -> String {
    match exponent {
        0..=3 => 10i64.pow(exponent as u32).to_string(),
        _ => format!("1e{exponent}"),
    }
}
