//! docs/accuracy.md: tables of what was measured.

use std::fmt::Write;

use crate::{
    errors::{Counts, ENDLESS, Quantiles, larger},
    figure::{Panel, Series},
    grid::{COUNTS, SPREAD, SPREADS, WIDTH},
    measure::{Measured, Record},
    objectives::SETTINGS,
    paths::Path,
    precision::Precision,
    rows::{Kind, Share},
};

/// Who measured, when and where.
pub struct Origin {
    pub date: String,
    pub processor: String,
    pub versions: Option<String>,
}

/// The libraries' names for themselves, in the order of the tables.
const PEERS: [&str; 3] = ["PyTorch", "PyTorch, naive", "JAX"];

/// What the libraries are compared on.
const COMPARED: [&str; 4] = ["lse_pair", "joint_lh", "sum_marg_lh", "rand1_lh/chosen"];

pub fn page(measured: &Measured, origin: &Origin) -> String {
    let records = &measured.records;
    let mut page = String::from(INTRODUCTION);
    let versions = match &origin.versions {
        Some(versions) => format!(", {versions}"),
        None => ", without the libraries".into(),
    };
    let line = format!(
        "Measured on {} on {}; Burn 0.22.1{versions}. {} rows and forms; in {} more a rule \
         for false negatives or a hinge compares numbers that are as close as a rounding \
         error, and they are left out.",
        origin.date,
        origin.processor,
        records.len(),
        measured.undecided
    );
    wrapped(&mut page, &line);
    page.push_str("\n![Errors against spread, candidates and loss](figures/accuracy.svg)\n");
    page.push_str(PATHS);
    paths(&mut page, records);
    page.push_str(CONFIDENT);
    confident(&mut page, records);
    page.push_str(OF_SPREADS);
    against(&mut page, records, "spread", &SPREADS, |record, spread| {
        record.documents == WIDTH && is_near(record.spread, spread)
    });
    page.push_str(OF_COUNTS);
    let counts = COUNTS.map(|count| count as f64);
    against(
        &mut page,
        records,
        "candidates",
        &counts,
        |record, count| record.documents as f64 == count && is_near(record.spread, SPREAD),
    );
    page.push_str(OF_SETTINGS);
    settings(&mut page, records);
    page.push_str(BOUNDS);
    counts_of_paths(&mut page);
    page.push_str(SHARES);
    shares(&mut page, records);
    page.push_str(WORST);
    worst_rows(&mut page, records);
    page
}

/// Numbers that were written and read may differ by a rounding error.
fn is_near(a: f64, b: f64) -> bool {
    (a / b - 1.0).abs() < 1e-9
}

/// The names of the forms that were measured, ours first.
pub fn forms(records: &[Record]) -> Vec<&'static str> {
    let ours = Path::ALL.iter().map(|path| path.name());
    let is_there = |name: &&str| records.iter().any(|record| record.form == **name);
    ours.chain(PEERS).filter(is_there).collect()
}

/// Rows that are not confident: their errors are those of the sums.
fn is_plain(record: &Record) -> bool {
    record.precision == Precision::F32
        && COMPARED.contains(&&*record.setting)
        && !matches!(record.kind, Kind::Confident(_))
}

/// Rows whose loss is about so much, with the losses that can be small.
fn is_sure(record: &Record, precision: Precision, loss: f64) -> bool {
    let many = record.share != Share::One;
    record.precision == precision
        && record.documents == WIDTH
        && COMPARED.contains(&&*record.setting)
        // Of many positives JointLH is at least `m log m`.
        && !(record.setting == "joint_lh" && many)
        && matches!(record.kind, Kind::Confident(of) if is_near(of, loss))
        && record.spread <= 100.0
}

const CONFIDENCE: [f64; 4] = [1e-3, 1e-10, 1e-20, 1e-30];

pub fn panels(records: &[Record]) -> Vec<Panel> {
    type Measure = fn(&Record) -> f64;
    let measures: [(&str, Measure); 2] = [
        ("loss, relative error", |r| r.errors.value.unwrap_or(0.0)),
        ("gradient, ulps of its largest entry", |r| {
            r.errors.gradient_ulps
        }),
    ];
    let of_forms = |x: &[f64], measure: Measure, takes: &dyn Fn(&Record, f64) -> bool| {
        let of_form = |form: &str| Series {
            name: form.into(),
            points: x
                .iter()
                .map(|&x| {
                    let rows = records.iter().filter(|r| r.form == form && takes(r, x));
                    (x, rows.map(measure).fold(0.0, larger))
                })
                .filter(|point| point.1 > 0.0)
                .collect(),
        };
        forms(records).into_iter().map(of_form).collect()
    };
    let counts = COUNTS.map(|count| count as f64);
    let mut panels = Vec::new();
    for (name, measure) in measures {
        panels.push(Panel {
            title: format!("{name}, {WIDTH} candidates"),
            x: "spread of the scores over the temperature",
            y: "worst",
            series: of_forms(&SPREADS, measure, &|r, x| {
                is_plain(r) && r.documents == WIDTH && is_near(r.spread, x)
            }),
        });
    }
    for (name, measure) in measures {
        panels.push(Panel {
            title: format!("{name}, spread {SPREAD}"),
            x: "candidates",
            y: "worst",
            series: of_forms(&counts, measure, &|r, x| {
                is_plain(r) && is_near(r.spread, SPREAD) && r.documents as f64 == x
            }),
        });
    }
    let of_entries: Measure = |r| r.errors.gradient.map_or(0.0, |gradient| gradient.worst);
    let measures = [
        measures[0],
        ("gradient entries, relative error", of_entries),
    ];
    for (name, measure) in measures {
        panels.push(Panel {
            title: format!("confident rows: {name}"),
            x: "loss",
            y: "worst",
            series: of_forms(&CONFIDENCE, measure, &|r, x| is_sure(r, Precision::F32, x)),
        });
    }
    panels
}

/// In plain digits where they are few.
fn number(x: f64) -> String {
    match x {
        0.0 => "0".into(),
        _ if x >= ENDLESS => "not finite".into(),
        0.095..1e4 => {
            let text = format!("{x:.*}", if x < 10.0 { 2 } else { 0 });
            text
        }
        _ => format!("{x:.1e}"),
    }
}

fn header(page: &mut String, columns: &[&str]) {
    let _ = writeln!(page, "| {} |", columns.join(" | "));
    let _ = writeln!(page, "|{}", "---|".repeat(columns.len()));
}

fn line(page: &mut String, cells: &[String]) {
    let _ = writeln!(page, "| {} |", cells.join(" | "));
}

/// Median, 99th percentile and worst.
fn quantiles<'a>(
    records: impl Iterator<Item = &'a Record>,
    measure: impl Fn(&Record) -> Option<f64>,
) -> [String; 3] {
    let values = records.filter_map(measure).map(|x| larger(x, 0.0));
    match Quantiles::of(values.collect()) {
        Some(of) => [of.median, of.most, of.worst].map(number),
        None => ["", "", ""].map(String::from),
    }
}

fn worst<'a>(
    records: impl Iterator<Item = &'a Record>,
    measure: impl Fn(&Record) -> Option<f64>,
) -> String {
    let [_, _, worst] = quantiles(records, measure);
    worst
}

fn of<'a>(
    records: &'a [Record],
    form: &'a str,
    precision: Precision,
) -> impl Iterator<Item = &'a Record> + Clone {
    let fits = move |record: &&Record| record.form == form && record.precision == precision;
    records.iter().filter(fits)
}

fn paths(page: &mut String, records: &[Record]) {
    let columns = [
        "path",
        "scores",
        "rows",
        "loss, ulps: median",
        "99%",
        "worst",
        "gradient, ulps: median",
        "99%",
        "worst",
        "sum of the gradient: worst",
        "query's gradient: worst",
    ];
    header(page, &columns);
    for path in Path::ALL {
        for precision in Precision::ALL {
            let rows = of(records, path.name(), precision);
            let count = rows.clone().count();
            if count == 0 {
                continue;
            }
            let mut cells = vec![path.name().into(), precision.name().into()];
            cells.push(count.to_string());
            cells.extend(quantiles(rows.clone(), |r| Some(r.errors.value_ulps)));
            cells.extend(quantiles(rows.clone(), |r| Some(r.errors.gradient_ulps)));
            cells.push(worst(rows.clone(), |r| r.errors.imbalance));
            cells.push(worst(rows, |r| r.errors.query));
            line(page, &cells);
        }
    }
}

fn confident(page: &mut String, records: &[Record]) {
    let names = CONFIDENCE.map(|loss| format!("{loss:e}"));
    let mut columns = vec!["form", "scores"];
    let titles: Vec<String> = ["loss", "gradient"]
        .iter()
        .flat_map(|what| names.iter().map(move |name| format!("{what}, {name}")))
        .collect();
    columns.extend(titles.iter().map(String::as_str));
    header(page, &columns);
    for form in forms(records) {
        for precision in Precision::ALL {
            let rows = |loss: f64| {
                of(records, form, precision).filter(move |r| is_sure(r, precision, loss))
            };
            if rows(CONFIDENCE[0]).next().is_none() {
                continue;
            }
            let mut cells = vec![form.into(), precision.name().into()];
            cells.extend(CONFIDENCE.map(|loss| worst(rows(loss), |r| r.errors.value)));
            cells.extend(CONFIDENCE.map(|loss| {
                worst(rows(loss), |r| {
                    r.errors.gradient.map(|gradient| gradient.worst)
                })
            }));
            line(page, &cells);
        }
    }
}

fn against(
    page: &mut String,
    records: &[Record],
    what: &str,
    places: &[f64],
    fits: impl Fn(&Record, f64) -> bool,
) {
    let mut titles = vec!["form".to_string(), "error".into()];
    titles.extend(
        places
            .iter()
            .map(|place| match *place < 1e5 && *place >= 1.0 {
                true => place.to_string(),
                false => format!("{place:e}"),
            }),
    );
    titles[0] = format!("form; {what}");
    let titles: Vec<&str> = titles.iter().map(String::as_str).collect();
    header(page, &titles);
    type Measure = fn(&Record) -> Option<f64>;
    let measures: [(&str, Measure); 2] = [
        ("loss, ulps", |r| Some(r.errors.value_ulps)),
        ("gradient, ulps", |r| Some(r.errors.gradient_ulps)),
    ];
    for (name, measure) in measures {
        for form in forms(records) {
            let mut cells = vec![form.to_string(), name.to_string()];
            cells.extend(places.iter().map(|&place| {
                let rows = of(records, form, Precision::F32);
                let rows = rows.filter(|r| is_plain(r) && fits(r, place));
                let [_, most, worst] = quantiles(rows, measure);
                match worst.is_empty() {
                    true => worst,
                    false => format!("{most}; {worst}"),
                }
            }));
            line(page, &cells);
        }
    }
}

fn settings(page: &mut String, records: &[Record]) {
    let columns = [
        "objective",
        "kernels, loss, ulps: 99%",
        "worst",
        "gradient, ulps: 99%",
        "worst",
        "composed, loss, ulps: 99%",
        "worst",
        "gradient, ulps: 99%",
        "worst",
    ];
    header(page, &columns);
    for setting in SETTINGS {
        let mut cells = vec![setting.name.to_string()];
        for path in [Path::Kernels, Path::Composed] {
            let rows = of(records, path.name(), Precision::F32);
            let rows = rows.filter(|r| r.setting == setting.name);
            let [_, most, worst] = quantiles(rows.clone(), |r| Some(r.errors.value_ulps));
            cells.extend([most, worst]);
            let [_, most, worst] = quantiles(rows, |r| Some(r.errors.gradient_ulps));
            cells.extend([most, worst]);
        }
        line(page, &cells);
    }
}

fn counts_of_paths(page: &mut String) {
    let columns = [
        "path",
        "scores",
        "each",
        "sum, 257",
        "sum, 1e6",
        "size",
        "level",
        "product, 1e6",
    ];
    header(page, &columns);
    for &path in Path::ALL {
        for precision in [Precision::F64, Precision::F32] {
            if path == Path::CubeCl && precision == Precision::F64 {
                continue;
            }
            let [few, many] = [WIDTH, 1_000_000].map(|n| Counts::of(path, precision, n));
            let scores = match precision {
                Precision::F64 => "f64",
                _ => "f32, f16, bf16",
            };
            let product = match path {
                Path::Tiled => number(many.product),
                _ => String::new(),
            };
            line(
                page,
                &[
                    path.name().into(),
                    scores.into(),
                    number(few.each),
                    number(few.sum),
                    number(many.sum),
                    number(few.size),
                    number(few.level),
                    product,
                ],
            );
        }
    }
}

fn shares(page: &mut String, records: &[Record]) {
    header(
        page,
        &["path", "scores", "loss", "gradient", "query's gradient"],
    );
    for path in Path::ALL {
        for precision in Precision::ALL {
            let rows = of(records, path.name(), precision);
            if rows.clone().next().is_none() {
                continue;
            }
            let mut cells = vec![path.name().to_string(), precision.name().into()];
            cells.extend([0, 1].map(|what| worst(rows.clone(), |r| Some(r.errors.shares[what]))));
            cells.push(match path {
                Path::Tiled => worst(rows, |r| Some(r.errors.shares[2])),
                _ => String::new(),
            });
            line(page, &cells);
        }
    }
}

fn worst_rows(page: &mut String, records: &[Record]) {
    header(page, &["path", "scores", "loss", "gradient"]);
    for path in Path::ALL {
        for precision in Precision::ALL {
            let rows = of(records, path.name(), precision);
            type Measure = fn(&Record) -> f64;
            let measures: [Measure; 2] = [|r| r.errors.shares[0], |r| r.errors.shares[1]];
            let worst = measures.map(|measure| {
                let worst = rows
                    .clone()
                    .max_by(|a, b| measure(a).total_cmp(&measure(b)));
                worst.map(|record| format!("`{} {}`", record.setting, record.name))
            });
            if let [Some(loss), Some(gradient)] = worst {
                let cells = [path.name().into(), precision.name().into(), loss, gradient];
                line(page, &cells);
            }
        }
    }
}

/// Breaks lines at 90 columns.
fn wrapped(page: &mut String, text: &str) {
    let mut length = 0;
    for word in text.split(' ') {
        let wide = word.chars().count();
        if length > 0 && length + 1 + wide > 90 {
            page.push('\n');
            length = 0;
        }
        if length > 0 {
            page.push(' ');
            length += 1;
        }
        page.push_str(word);
        length += wide;
    }
    page.push('\n');
}

const INTRODUCTION: &str = include_str!("page/introduction.md");
const PATHS: &str = include_str!("page/paths.md");
const CONFIDENT: &str = include_str!("page/confident.md");
const OF_SPREADS: &str = include_str!("page/spreads.md");
const OF_COUNTS: &str = include_str!("page/counts.md");
const OF_SETTINGS: &str = include_str!("page/settings.md");
const BOUNDS: &str = include_str!("page/bounds.md");
const SHARES: &str = include_str!("page/shares.md");
const WORST: &str = include_str!("page/worst.md");
