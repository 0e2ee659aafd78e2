//! PyTorch and JAX on the same scores, by a program of theirs that answers line by line.

use std::{
    fs,
    io::{BufRead, BufReader, Write},
    path::{Path, PathBuf},
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
};

use serde::{Deserialize, Serialize};

use crate::rows::Batch;

/// The program, running.
pub struct Peers {
    child: Child,
    to: ChildStdin,
    from: BufReader<ChildStdout>,
    folder: PathBuf,
    /// The versions of the libraries.
    pub versions: String,
}

/// What a library made of a batch.
pub struct Answer {
    pub form: String,
    pub setting: String,
    pub losses: Vec<f64>,
    pub gradients: Vec<Vec<f64>>,
}

#[derive(Serialize)]
struct Shape {
    rows: usize,
    documents: usize,
    temperature: f64,
}

#[derive(Deserialize)]
struct Listed {
    form: String,
    setting: String,
    file: String,
}

impl Peers {
    /// Starts it with a Python that has the libraries.
    pub fn start(python: &Path) -> Result<Self, String> {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
        let mut child = Command::new(python)
            .arg(root.join("benches/peers/accuracy.py"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .map_err(|error| format!("{}: {error}", python.display()))?;
        let to = child.stdin.take().expect("its input is piped");
        let from = BufReader::new(child.stdout.take().expect("its output is piped"));
        let folder = std::env::temp_dir().join(format!("accuracy-{}", std::process::id()));
        let mut peers = Self {
            child,
            to,
            from,
            folder,
            versions: String::new(),
        };
        peers.versions = peers.line()?;
        Ok(peers)
    }

    fn line(&mut self) -> Result<String, String> {
        let mut line = String::new();
        match self.from.read_line(&mut line) {
            Ok(0) => Err("benches/peers/accuracy.py ended before it answered".into()),
            Ok(_) => Ok(line.trim_end().into()),
            Err(error) => Err(format!("benches/peers/accuracy.py: {error}")),
        }
    }

    pub fn ask(&mut self, batch: &Batch) -> Result<Vec<Answer>, String> {
        let answers = self.exchange(batch);
        answers.map_err(|error| format!("{}: {error}", self.folder.display()))
    }

    fn exchange(&mut self, batch: &Batch) -> Result<Vec<Answer>, String> {
        let folder = self.folder.clone();
        let said = |error: std::io::Error| error.to_string();
        fs::create_dir_all(&folder).map_err(said)?;
        let write = |name: &str, bytes: Vec<u8>| fs::write(folder.join(name), bytes).map_err(said);
        let rows = &batch.rows;
        let shape = Shape {
            rows: rows.len(),
            documents: batch.documents,
            temperature: batch.temperature,
        };
        let shape = serde_json::to_vec(&shape).map_err(|error| error.to_string())?;
        write("batch.json", shape)?;
        let scores = rows.iter().flat_map(|row| &row.scores);
        let scores = scores.flat_map(|&score| (score as f32).to_le_bytes());
        write("scores", scores.collect())?;
        let positives = rows.iter().flat_map(|row| &row.positives);
        write("positives", positives.map(|&is| u8::from(is)).collect())?;
        let chosen = rows.iter().map(|row| row.chosen as i64);
        write("chosen", chosen.flat_map(i64::to_le_bytes).collect())?;

        writeln!(self.to, "{}", folder.display()).map_err(said)?;
        self.to.flush().map_err(said)?;
        self.line()?;

        let listed = fs::read(folder.join("results.json")).map_err(said)?;
        let listed: Vec<Listed> =
            serde_json::from_slice(&listed).map_err(|error| error.to_string())?;
        let answer = |Listed {
                          form,
                          setting,
                          file,
                      }| {
            let bytes = fs::read(folder.join(file)).map_err(said)?;
            let numbers = bytes
                .chunks_exact(4)
                .map(|bytes| f64::from(f32::from_le_bytes(bytes.try_into().expect("four bytes"))));
            let numbers: Vec<f64> = numbers.collect();
            let (losses, gradients) = numbers.split_at(rows.len());
            let gradients = gradients.chunks(batch.documents);
            Ok(Answer {
                form,
                setting,
                losses: losses.to_vec(),
                gradients: gradients.map(<[f64]>::to_vec).collect(),
            })
        };
        listed.into_iter().map(answer).collect()
    }
}

impl Drop for Peers {
    fn drop(&mut self) {
        // It computes for no one; if it is gone already, there is nothing to end.
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = fs::remove_dir_all(&self.folder);
    }
}
