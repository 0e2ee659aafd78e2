//! Two processes on one folder.

use std::{path::Path, thread, time::Duration};

use crate::{
    outcome::{Whole, compare, read},
    program::Program,
};

pub fn check(program: &Program, whole: &Whole, work: &Path) -> Result<(), String> {
    let name = program.name;
    let out = work.join("pair");
    let first = program.start(&out)?;
    // It writes its number once it has the lock.
    let locked = || std::fs::read(out.join(".lock")).is_ok_and(|number| !number.is_empty());
    while program.locks && !locked() {
        thread::sleep(Duration::from_millis(1));
    }
    let second = program.run(&out)?;
    let first = first.wait()?;
    if !first.succeeded {
        return Err(format!("{name}: beside another process: {}", first.output));
    }
    let refused = second.output.contains("another process")
        && second.output.contains(&out.display().to_string());
    if program.locks && (second.succeeded || !refused) {
        return Err(format!("{name}: as a second process: {}", second.output));
    }
    compare(&read(&out)?, &whole.files)
        .map_err(|error| format!("{name}: of two processes: {error}"))?;
    std::fs::remove_dir_all(&out).map_err(|error| error.to_string())?;
    println!(
        "{name}: of two processes on one folder {}",
        match program.locks {
            true => "the second is refused, and the first is not disturbed",
            false => "both end, and the files are whole",
        }
    );
    Ok(())
}
