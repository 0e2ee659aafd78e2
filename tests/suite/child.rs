//! Tests that need a process of their own: what they set is set once for all, or what
//! they provoke ends the process.

use std::{
    env,
    process::{self, Command},
    thread,
    time::Duration,
};

/// Names the case that a process was started for.
const CASE: &str = "SUITE_CASE";

/// Memory that a process may map, in KiB.
pub type Limit = u64;

/// Runs `check` for every case in a process of its own: the calling test of this binary,
/// by its full name, once more. A limit to the memory holds where there is a shell to set
/// it.
pub fn in_processes(test: &str, cases: &[&str], limit: Option<Limit>, check: impl Fn(&str)) {
    if let Ok(case) = env::var(CASE) {
        return check(&case);
    }
    let failures: Vec<String> = cases
        .iter()
        .filter_map(|case| failure(test, case, limit))
        .collect();
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

/// Ends this process as one that failed, unless it has ended by then: threads that wait for
/// each other end nothing.
pub fn end_after(limit: Duration) {
    thread::spawn(move || {
        thread::sleep(limit);
        eprintln!("not done after {limit:?}");
        process::exit(1);
    });
}

/// What a process that failed had to say.
fn failure(test: &str, case: &str, limit: Option<Limit>) -> Option<String> {
    let binary = env::current_exe().expect("the path of this binary");
    let mut command = match limit.filter(|_| cfg!(unix)) {
        Some(limit) => {
            let mut command = Command::new("sh");
            let script = format!("ulimit -v {limit}; exec \"$0\" \"$@\"");
            command.args(["-c", &script]).arg(binary);
            command
        }
        None => Command::new(binary),
    };
    let output = command
        .args(["--exact", test, "--nocapture"])
        .env(CASE, case)
        .env("RUST_BACKTRACE", "0")
        .output()
        .expect("a process");
    let said = [&output.stdout, &output.stderr].map(|said| String::from_utf8_lossy(said));
    // A name that no test has passes as well.
    let passed = output.status.success() && said[0].contains("1 passed");
    (!passed).then(|| format!("{case}: {}\n{}{}", output.status, said[0], said[1]))
}
