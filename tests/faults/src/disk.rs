//! A full disk, and a folder that nothing can be written to.

use std::path::Path;

use crate::{
    mount::Mount,
    outcome::{Whole, compare, read},
    program::{Program, Run},
};

/// Shares of the room that a program needs.
const SHARES: [f64; 5] = [0.0, 0.2, 0.4, 0.6, 0.8];

pub fn check(program: &Program, whole: &Whole, work: &Path) -> Result<(), String> {
    let folder = work.join("disk");
    let name = program.name;
    let mount = match Mount::new(&folder, "ro") {
        Ok(mount) => mount,
        Err(why) => {
            println!("{name}: full disk and read-only folder skipped: {why}");
            return Ok(());
        }
    };
    // Read-only: found before the training.
    let run = program.run(&folder)?;
    expect(&run, "Read-only file system", &folder)?;
    if run.output.contains(program.trains) {
        return Err(format!(
            "{name}: trained before it found that its folder is read-only"
        ));
    }
    drop(mount);

    // Full, sooner or later, and then with room again: the same command ends as if nothing
    // had happened.
    let mut early = 0;
    for share in SHARES {
        // Two pages at least: a tmpfs of none has no limit.
        let bytes = (whole.bytes() as f64 * share) as usize + 8192;
        let mount = Mount::new(&folder, &format!("size={bytes}"))?;
        let run = program.run(&folder)?;
        expect(&run, "No space left on device", &folder)?;
        early += usize::from(!run.output.contains(program.trains));
        mount.change(&format!("size={}", 16 * whole.bytes() + (1 << 20)))?;
        let run = program.run(&folder)?;
        if !run.succeeded {
            return Err(format!("{name}: with room again: {}", run.output));
        }
        compare(&read(&folder)?, &whole.files)
            .map_err(|error| format!("{name}: after a full disk: {error}"))?;
    }
    println!(
        "{name}: a read-only folder is found before the training; of {} full disks {early} are, \
         and with room again the files are those of the undisturbed run",
        SHARES.len()
    );
    Ok(())
}

/// Whether a run failed, and said why and where.
fn expect(run: &Run, why: &str, folder: &Path) -> Result<(), String> {
    let place = folder.display().to_string();
    match !run.succeeded && run.output.contains(why) && run.output.contains(&place) {
        true => Ok(()),
        false => Err(format!(
            "expected an error with {why:?} and {place}, got: {}",
            run.output
        )),
    }
}
