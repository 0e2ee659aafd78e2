//! The program, as its user runs it.

mod common;

use std::{
    fs,
    io::{BufRead, BufReader},
    path::Path,
    process::{Command, Output, Stdio},
};

use common::{Folder, read, rows, tokens};
use pretrained::Pretrained;

const TOPICS: [&str; 4] = ["aaa", "bbbb", "cc", "ddddd"];

/// Queries and passages of four topics, and who is relevant to whom.
fn write_data(folder: &Path) {
    let mut corpus = String::new();
    let mut queries = String::new();
    let mut judgements = String::from("query-id\tcorpus-id\tscore\n");
    for (topic, word) in TOPICS.iter().enumerate() {
        for copy in 0..3 {
            let text = format!("{word} {copy}{copy}");
            corpus += &format!(
                "{{\"_id\": \"d{topic}-{copy}\", \"title\": \"x\", \"text\": \"{text}\"}}\n"
            );
            queries += &format!("{{\"_id\": \"q{topic}-{copy}\", \"text\": \"{word}\"}}\n");
            for other in 0..3 {
                judgements += &format!("q{topic}-{copy}\td{topic}-{other}\t1\n");
            }
        }
    }
    fs::create_dir_all(folder.join("qrels")).unwrap();
    fs::write(folder.join("corpus.jsonl"), corpus).unwrap();
    fs::write(folder.join("queries.jsonl"), queries).unwrap();
    fs::write(folder.join("qrels/train.tsv"), judgements).unwrap();
}

fn fine_tune(encoder: &Path, data: &Path, out: &Path, more: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_fine_tune"));
    command.args([encoder, data, out]).args(more);
    command.output().unwrap()
}

fn losses(output: &Output) -> Vec<f64> {
    let text = String::from_utf8_lossy(&output.stdout);
    let losses = text
        .lines()
        .filter_map(|line| line.split("loss ").nth(1)?.split(' ').next()?.parse().ok());
    losses.collect()
}

#[test]
fn the_loss_falls_and_the_trained_model_is_read_again() {
    let (encoder, data, out) = (Folder::tiny(), Folder::new(), Folder::new());
    write_data(&data);
    let more = [
        "--epochs",
        "20",
        "--batch-size",
        "6",
        "--chunk",
        "4",
        "--lr",
        "0.01",
        "--dropout",
        "0",
    ];
    let output = fine_tune(&encoder, &data, &out, &more);
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let losses = losses(&output);
    assert_eq!(losses.len(), 40);
    let mean = |losses: &[f64]| losses.iter().sum::<f64>() / losses.len() as f64;
    assert!(mean(&losses[36..]) < 0.5 * mean(&losses[..4]), "{losses:?}");

    // A query is nearer to the passages of its topic than to any other.
    let mut model = Pretrained::open(&*out).unwrap();
    assert!(model.options.normalize);
    model.options.dropout = Some(0.0);
    let encoder = model.encoder(&Default::default()).unwrap();
    let encode = |texts: &[String]| {
        let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
        let tokens = tokens(&model, &texts);
        encoder.encode(&tokens.iter().collect::<Vec<_>>(), 64)
    };
    let queries = encode(&TOPICS.map(String::from));
    let passages = encode(&TOPICS.map(|word| format!("x {word} 11")));
    for (topic, scores) in rows(queries.matmul(passages.transpose()))
        .iter()
        .enumerate()
    {
        let best = scores.iter().copied().fold(f32::MIN, f32::max);
        assert_eq!(scores[topic], best, "{topic}: {scores:?}");
    }
}

#[test]
fn the_same_seed_trains_the_same_model() {
    let (encoder, data) = (Folder::tiny(), Folder::new());
    write_data(&data);
    let train = |seed| {
        let out = Folder::new();
        let output = fine_tune(
            &encoder,
            &data,
            &out,
            &["--seed", seed, "--batch-size", "6"],
        );
        assert!(output.status.success());
        read(&out.join("model.safetensors"))
    };
    let first = train("1");
    assert!(first == train("1"));
    assert!(first != train("2"));
}

#[test]
fn a_training_that_is_killed_goes_on_to_the_same_model() {
    let (encoder, data) = (Folder::tiny(), Folder::new());
    write_data(&data);
    let (whole, killed) = (Folder::new(), Folder::new());
    let more = ["--batch-size", "3", "--epochs", "20"];
    assert!(fine_tune(&encoder, &data, &whole, &more).status.success());

    let more = [&more[..], &["--checkpoint-every", "2"]].concat();
    let mut command = Command::new(env!("CARGO_BIN_EXE_fine_tune"));
    command.args([&*encoder, &*data, &*killed]).args(&more);
    let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let step = |line: &std::io::Result<String>| line.as_ref().unwrap().starts_with("step 5/");
    assert!(lines.any(|line| step(&line)), "step 5 is not reached");
    child.kill().unwrap();
    child.wait().unwrap();

    let other = [&more[..], &["--seed", "1"]].concat();
    let output = fine_tune(&encoder, &data, &killed, &other);
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(error.contains("other arguments"), "{error}");
    let output = fine_tune(&encoder, &data, &killed, &more);
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success() && text.contains("goes on after step"),
        "{text}"
    );
    let files = |folder: &Path| {
        let entries = fs::read_dir(folder).unwrap();
        let mut files: Vec<_> = entries
            .map(|entry| entry.unwrap().path())
            .filter(|path| path.is_file())
            .map(|path| {
                (
                    path.file_name().unwrap().to_owned(),
                    fs::read(path).unwrap(),
                )
            })
            .collect();
        files.sort();
        files
    };
    assert!(files(&killed) == files(&whole));
    assert!(!killed.join("checkpoints").exists());
}

#[test]
fn a_folder_has_one_process() {
    let (encoder, data, out) = (Folder::tiny(), Folder::new(), Folder::new());
    write_data(&data);
    let _lock = files::Lock::take(&out).unwrap();
    let output = fine_tune(&encoder, &data, &out, &[]);
    let error = String::from_utf8(output.stderr).unwrap();
    assert!(
        !output.status.success() && error.contains("another process"),
        "{error}"
    );
}

#[test]
fn mistakes_are_named() {
    let (encoder, data, out) = (Folder::tiny(), Folder::new(), Folder::new());
    let error = |more: &[&str]| {
        let output = fine_tune(&encoder, &data, &out, more);
        assert!(!output.status.success());
        String::from_utf8(output.stderr).unwrap()
    };
    assert!(error(&[]).contains("corpus.jsonl"));
    write_data(&data);
    assert!(error(&["--chunk", "0"]).contains("at least 1"));
    assert!(error(&["--dropout", "1"]).contains("dropout"));
    assert!(error(&["--lr", "0"]).contains("above 0"));
    for temperature in ["0", "1e-300"] {
        assert!(error(&["--temperature", temperature]).contains("from 1e-30 to 1e30"));
    }
    // Beyond every float: an error in place of a model of NaN.
    assert!(error(&["--lr", "1e30", "--batch-size", "6"]).contains("the loss is"));
    assert!(out.read_dir().unwrap().next().is_none());
    fs::write(
        data.join("qrels/train.tsv"),
        "query-id\tcorpus-id\tscore\nq0-0\tnone\t1\n",
    )
    .unwrap();
    let message = error(&[]);
    assert!(
        message.contains("train.tsv: line 2: the passage is unknown"),
        "{message}"
    );
    fs::write(
        data.join("qrels/train.tsv"),
        "query-id\tcorpus-id\tscore\nq0-0\td0-0\t0\n",
    )
    .unwrap();
    assert!(error(&[]).contains("no query"));
    fs::remove_file(encoder.join("model.safetensors")).unwrap();
    write_data(&data);
    assert!(error(&[]).contains("model.safetensors"));
}
