//! The programs, and how they are run.

use std::{
    fs,
    io::Read,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::atomic::{AtomicUsize, Ordering},
    time::Instant,
};

use crate::outcome::{Whole, read};

pub struct Program {
    pub name: &'static str,
    /// What a kill loses.
    pub lost: &'static str,
    /// Whether it goes on after a kill. One that does not leaves whole files or none.
    pub resumes: bool,
    /// Whether it refuses a folder that another process writes to.
    pub locks: bool,
    /// What it prints once it trains.
    pub trains: &'static str,
    file: PathBuf,
    /// Where it says what it does: no disk of it may be full.
    logs: PathBuf,
    /// With `OUT` where the folder of its results stands.
    arguments: Vec<String>,
}

/// What a process that ended has said.
pub struct Run {
    pub succeeded: bool,
    /// Both streams.
    pub output: String,
}

/// A program that runs, killed when it is dropped.
pub struct Process {
    child: Child,
    log: PathBuf,
}

/// Those that are built in a folder. What they read is written to another.
pub fn programs(built: &Path, work: &Path) -> Result<Vec<Program>, String> {
    let (model, data) = (work.join("model"), work.join("data"));
    tiny_bert::write(&model);
    write_collection(&data).map_err(|error| format!("{}: {error}", data.display()))?;
    let [model, data] = [model, data].map(|path| path.display().to_string());
    let words = |text: &str| -> Vec<String> {
        let text = text.split_whitespace();
        let place = |word: &str| match word {
            "MODEL" => model.clone(),
            "DATA" => data.clone(),
            word => word.into(),
        };
        text.map(place).collect()
    };
    let logs = work.join("logs");
    fs::create_dir_all(&logs).map_err(|error| format!("{}: {error}", logs.display()))?;
    let suffix = std::env::consts::EXE_SUFFIX;
    let file = |name: &str| built.join(format!("{name}{suffix}"));
    Ok(vec![
        Program {
            name: "train_dual_encoder --save --run",
            lost: "the run; its files are there whole or not at all",
            resumes: false,
            locks: false,
            trains: "epoch",
            file: file("examples/train_dual_encoder"),
            logs: logs.clone(),
            arguments: words("--epochs 2 --save OUT/model --run OUT/run.trec"),
        },
        Program {
            name: "reproduce train, bag of words",
            lost: "the cells in training",
            resumes: true,
            locks: true,
            trains: "cells to run",
            file: file("reproduce"),
            logs: logs.clone(),
            arguments: words(
                "train --epochs 1 --seeds 1 --regimes llm --objectives lse-pair,sum-marg-lh \
                 --jobs 1 --out OUT",
            ),
        },
        Program {
            name: "reproduce train, BERT, checkpoints",
            lost: "the steps since a checkpoint",
            resumes: true,
            locks: true,
            trains: "cells to run",
            file: file("reproduce"),
            logs: logs.clone(),
            arguments: words(
                "train --encoder MODEL --data DATA --out OUT --seeds 1 --batch-size 3 \
                 --group-size 4 --lr 0.01 --objectives lse-pair,rand1-lh --regimes human \
                 --epochs 12 --evaluate-every 5 --checkpoint-every 3 --save-model",
            ),
        },
        Program {
            name: "fine_tune, checkpoints",
            lost: "the steps since a checkpoint",
            resumes: true,
            locks: true,
            trains: "step ",
            file: file("fine_tune"),
            logs: logs.clone(),
            arguments: words(
                "MODEL DATA OUT --epochs 12 --batch-size 3 --lr 0.01 --checkpoint-every 3",
            ),
        },
        Program {
            name: "a memory bank's record",
            lost: "the steps since a checkpoint",
            resumes: true,
            locks: true,
            trains: "step ",
            file: file("faults"),
            logs: logs.clone(),
            arguments: words("--bank OUT"),
        },
    ])
}

impl Program {
    /// Starts it on a folder, which is made if it is not there.
    pub fn start(&self, out: &Path) -> Result<Process, String> {
        let named = |error: std::io::Error| format!("{}: {error}", self.file.display());
        if !self.locks && !out.exists() {
            fs::create_dir_all(out).map_err(named)?;
        }
        static STARTED: AtomicUsize = AtomicUsize::new(0);
        let number = STARTED.fetch_add(1, Ordering::Relaxed);
        let log = self.logs.join(number.to_string());
        let log_file = fs::File::create(&log).map_err(named)?;
        let out = out.display().to_string();
        let arguments = self.arguments.iter();
        let arguments = arguments.map(|argument| argument.replace("OUT", &out));
        let child = Command::new(&self.file)
            .args(arguments)
            .stdin(Stdio::null())
            .stderr(log_file.try_clone().map_err(named)?)
            .stdout(log_file)
            .spawn()
            .map_err(named)?;
        Ok(Process { child, log })
    }

    pub fn run(&self, out: &Path) -> Result<Run, String> {
        self.start(out)?.wait()
    }

    /// What it leaves where nothing disturbs it, which is the same twice.
    pub fn undisturbed(&self, work: &Path) -> Result<Whole, String> {
        let out = work.join("undisturbed");
        let mut whole: Option<Whole> = None;
        for _ in 0..2 {
            let start = Instant::now();
            let run = self.run(&out)?;
            let seconds = start.elapsed().as_secs_f64();
            if !run.succeeded {
                return Err(format!("{}: {}", self.name, run.output));
            }
            let files = read(&out)?;
            if let Some(whole) = &whole {
                crate::outcome::compare(&files, &whole.files)
                    .map_err(|error| format!("{}: undisturbed, twice: {error}", self.name))?;
            }
            whole = Some(Whole { files, seconds });
            fs::remove_dir_all(&out).map_err(|error| error.to_string())?;
        }
        whole.ok_or_else(|| "no run".into())
    }
}

impl Process {
    pub fn has_ended(&mut self) -> Result<bool, String> {
        let status = self.child.try_wait().map_err(|error| error.to_string())?;
        Ok(status.is_some())
    }

    pub fn wait(mut self) -> Result<Run, String> {
        let status = self.child.wait().map_err(|error| error.to_string())?;
        let mut output = String::new();
        let read = fs::File::open(&self.log).and_then(|mut log| log.read_to_string(&mut output));
        read.map_err(|error| format!("{}: {error}", self.log.display()))?;
        Ok(Run {
            succeeded: status.success(),
            output,
        })
    }

    /// By SIGKILL, where there are signals.
    pub fn kill(mut self) -> Result<(), String> {
        self.child.kill().map_err(|error| error.to_string())?;
        self.child.wait().map_err(|error| error.to_string())?;
        Ok(())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Without effect on one that has ended.
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = fs::remove_file(&self.log);
    }
}

/// Documents and queries of six topics in BEIR layout, in the letters that the tiny model knows.
fn write_collection(folder: &Path) -> std::io::Result<()> {
    const TOPICS: [&str; 6] = ["aaa", "bbbb", "cc", "ddddd", "ee", "fff"];
    let mut corpus = String::new();
    let mut queries = String::new();
    let mut judgements = [(); 2].map(|()| String::from("query-id\tcorpus-id\tscore\n"));
    for (topic, word) in TOPICS.iter().enumerate() {
        for copy in 0..4 {
            let text = format!("{word} {copy}{topic} x{copy}");
            corpus += &format!(
                "{{\"_id\": \"d{topic}-{copy}\", \"title\": \"\", \"text\": \"{text}\"}}\n"
            );
            queries += &format!("{{\"_id\": \"q{topic}-{copy}\", \"text\": \"{word} {copy}\"}}\n");
            for other in 0..3 {
                // The last query of a topic is one of the test.
                judgements[copy / 3] += &format!("q{topic}-{copy}\td{topic}-{other}\t1\n");
            }
        }
    }
    fs::create_dir_all(folder.join("qrels"))?;
    fs::write(folder.join("corpus.jsonl"), corpus)?;
    fs::write(folder.join("queries.jsonl"), queries)?;
    for (split, judgements) in ["train", "test"].iter().zip(judgements) {
        fs::write(folder.join(format!("qrels/{split}.tsv")), judgements)?;
    }
    Ok(())
}
