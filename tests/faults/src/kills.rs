//! Kills at random moments.

use std::{
    fmt, fs,
    path::Path,
    thread,
    time::{Duration, Instant},
};

use rand::{Rng, SeedableRng, rngs::StdRng};

use crate::{
    Arguments,
    outcome::{Whole, compare, read},
    program::{Process, Program},
};

/// A row of the table.
pub struct Kills {
    program: &'static str,
    lost: &'static str,
    pub kills: usize,
    /// Of them, those that fell while a file was written.
    writing: usize,
    ended: usize,
}

impl fmt::Display for Kills {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            program,
            lost,
            kills,
            writing,
            ended,
        } = self;
        write!(f, "| {program} | {kills} | {writing} | {ended} | {lost} |")
    }
}

pub fn check(
    program: &Program,
    whole: &Whole,
    work: &Path,
    arguments: &Arguments,
) -> Result<Kills, String> {
    let mut rng = StdRng::seed_from_u64(arguments.seed);
    let mut row = Kills {
        program: program.name,
        lost: program.lost,
        kills: 0,
        writing: 0,
        ended: 0,
    };
    let out = work.join("killed");
    while row.kills < arguments.kills {
        loop {
            let mut process = program.start(&out)?;
            // Somewhat later than the run takes: what cannot go on must get to its end, too.
            let moment = Duration::from_secs_f64(rng.random_range(0.0..1.3 * whole.seconds));
            // Every other time while a file is written, which takes little of a run.
            let aim = rng.random_bool(0.5).then_some(&*out);
            if wait(&mut process, moment, aim)? {
                let run = process.wait()?;
                if !run.succeeded {
                    return Err(format!("{}: after a kill: {}", program.name, run.output));
                }
                break;
            }
            process.kill()?;
            row.kills += 1;
            row.writing += usize::from(is_writing(&out));
            if !program.resumes {
                whole_or_not_at_all(&out, whole)
                    .map_err(|error| format!("{}: after a kill: {error}", program.name))?;
            }
        }
        compare(&read(&out)?, &whole.files)
            .map_err(|error| format!("{}: after kills: {error}", program.name))?;
        row.ended += 1;
        fs::remove_dir_all(&out).map_err(|error| error.to_string())?;
    }
    Ok(row)
}

/// Waits for the moment, and with an aim until a file is written there. Whether the process has
/// ended before.
fn wait(process: &mut Process, moment: Duration, aim: Option<&Path>) -> Result<bool, String> {
    let start = Instant::now();
    while start.elapsed() < moment || !aim.is_none_or(is_writing) {
        if process.has_ended()? {
            return Ok(true);
        }
        thread::sleep(Duration::from_micros(200));
    }
    Ok(false)
}

fn whole_or_not_at_all(out: &Path, whole: &Whole) -> Result<(), String> {
    let mut there = read(out)?;
    there.retain(|name, _| !files::is_partial(name));
    let mut expected = whole.files.clone();
    expected.retain(|name, _| there.contains_key(name));
    compare(&there, &expected)
}

/// Whether there is something incomplete below a folder.
fn is_writing(folder: &Path) -> bool {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let mut paths = entries.map(|entry| entry.path());
    paths.any(|path| files::is_partial(&path) || (path.is_dir() && is_writing(&path)))
}
