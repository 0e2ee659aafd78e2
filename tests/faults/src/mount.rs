//! A file system in memory, so small or so closed as is wanted.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

/// Mounted until it is dropped.
pub struct Mount(PathBuf);

impl Mount {
    /// With options of tmpfs, such as a size. `Err` says why there is none.
    pub fn new(folder: &Path, options: &str) -> Result<Self, String> {
        fs::create_dir_all(folder).map_err(|error| error.to_string())?;
        let arguments = ["-t", "tmpfs", "-o", options, "tmpfs"];
        run(Command::new("mount").args(arguments).arg(folder))?;
        Ok(Self(folder.into()))
    }

    /// Gives it other options.
    pub fn change(&self, options: &str) -> Result<(), String> {
        let options = format!("remount,{options}");
        run(Command::new("mount").args(["-o", &options]).arg(&self.0))
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        let _ = run(Command::new("umount").arg(&self.0));
    }
}

fn run(command: &mut Command) -> Result<(), String> {
    let output = command
        .output()
        .map_err(|error| format!("mount: {error}"))?;
    match output.status.success() {
        true => Ok(()),
        false => Err(String::from_utf8_lossy(&output.stderr).trim().into()),
    }
}
