//! What a folder of results has cost.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::mpsc::{self, RecvTimeoutError},
    thread,
    time::{Duration, Instant},
};

use serde::{Deserialize, Serialize};

use crate::output::{files, named, write_json};

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Record {
    /// Of all runs that trained something.
    pub seconds: f64,
    /// Of the processor, where the system says.
    pub processor_seconds: Option<f64>,
    /// The commands of the list that ran to their end.
    pub finished: Vec<String>,
}

/// How often the time is written: an interrupted run loses no more than that.
const PERIOD: Duration = Duration::from_secs(10);

fn path(folder: &Path) -> PathBuf {
    folder.join("page.json")
}

impl Record {
    pub fn read(folder: &Path) -> Result<Self, String> {
        let path = path(folder);
        if !path.exists() {
            return Ok(Self::default());
        }
        let text = named(&path, fs::read_to_string(&path))?;
        named(&path, serde_json::from_str(&text))
    }

    pub fn has(&self, command: &str) -> bool {
        self.finished.iter().any(|one| one == command)
    }
}

/// The trainings that a folder holds, those of a choice and of folds among them.
pub fn trainings(folder: &Path) -> Result<usize, String> {
    let files = files(folder)?.into_iter();
    Ok(files.filter(|file| file.ends_with("metrics.json")).count())
}

/// Runs a command, and adds its time to the record of its folder. If it finished before and trains
/// nothing now, it adds none.
pub fn timed(
    folder: &Path,
    command: &str,
    run: impl FnOnce() -> Result<(), String>,
) -> Result<(), String> {
    let before = Record::read(folder)?;
    let trained_before = trainings(folder)?;
    let (start, processor_start) = (Instant::now(), processor_seconds());
    let save = |finished: bool| {
        let anew = !before.has(command) || trainings(folder)? > trained_before;
        if !anew || !is_ours(folder) {
            return Ok(());
        }
        let processor = processor_seconds().zip(processor_start);
        let processor = processor.map(|(now, start)| now - start);
        let mut record = before.clone();
        record.seconds += start.elapsed().as_secs_f64();
        record.processor_seconds = match before.seconds == 0.0 {
            true => processor,
            false => before.processor_seconds.zip(processor).map(|(a, b)| a + b),
        };
        if finished && !record.has(command) {
            record.finished.push(command.into());
        }
        write_json(&path(folder), &record)
    };
    let save = &save;
    let result = thread::scope(|scope| {
        let (running, ended) = mpsc::channel::<()>();
        scope.spawn(move || {
            while ended.recv_timeout(PERIOD) == Err(RecvTimeoutError::Timeout) {
                // What goes wrong here goes wrong at the end as well.
                let _ = save(false);
            }
        });
        let result = run();
        drop(running);
        result
    });
    save(result.is_ok())?;
    result
}

/// Whether a command of this program has taken the folder: before that it must stay empty.
fn is_ours(folder: &Path) -> bool {
    let mut names = ["settings.json", "gradients.json"].into_iter();
    names.any(|name| folder.join(name).exists())
}

/// What this process has used so far.
fn processor_seconds() -> Option<f64> {
    // Of the columns after the name in brackets, in hundredths.
    const USER: usize = 11;
    let text = fs::read_to_string("/proc/self/stat").ok()?;
    let (_, columns) = text.rsplit_once(')')?;
    let mut columns = columns.split_whitespace().skip(USER);
    let mut next = || columns.next()?.parse::<f64>().ok();
    Some((next()? + next()?) / 100.0)
}
