//! The experiments with a pretrained encoder, on a tiny one.

use std::{
    fs,
    path::{Path, PathBuf},
};

use clap::Parser;
use serde_json::Value;

use super::*;

#[derive(Parser)]
struct Command {
    #[command(flatten)]
    arguments: Arguments,
}

/// A model and a collection, in a folder of one test.
pub struct Setup {
    folder: PathBuf,
}

impl Drop for Setup {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.folder);
    }
}

const DOCUMENTS: usize = 30;

impl Setup {
    pub fn new(name: &str) -> Self {
        let name = format!("reproduce-transformer-{name}-{}", std::process::id());
        let folder = std::env::temp_dir().join(name);
        let _ = fs::remove_dir_all(&folder);
        tiny_bert::write(&folder.join("model"));
        let data = folder.join("data");
        fs::create_dir_all(data.join("qrels")).unwrap();
        fs::write(data.join("corpus.jsonl"), lines(DOCUMENTS, document)).unwrap();
        let query = |query| format!(r#"{{"_id": "q{query}", "text": "{}"}}"#, words(query, 2));
        fs::write(data.join("queries.jsonl"), lines(20, query)).unwrap();
        for (split, queries) in [("train", 0..14), ("test", 14..17), ("dev", 17..20)] {
            let judgements = queries.flat_map(|query| {
                (0..3).map(move |place| {
                    format!("q{query}\td{}\t1\n", (query * 2 + place) % DOCUMENTS)
                })
            });
            let path = data.join(format!("qrels/{split}.tsv"));
            fs::write(path, judgements.collect::<String>()).unwrap();
        }
        Self { folder }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// Runs with a model of this folder, writing to another.
    pub fn run_model(&self, model: &str, out: &str, more: &[&str]) -> Result<PathBuf, String> {
        let out = self.path(out);
        let [model, data] = [model, "data"].map(|name| self.path(name).display().to_string());
        let to = out.display().to_string();
        let common = [
            "reproduce",
            "--encoder",
            &model,
            "--data",
            &data,
            "--out",
            &to,
            "--seeds",
            "1",
            "--batch-size",
            "3",
            "--group-size",
            "4",
            "--lr",
            "0.01",
        ];
        let arguments = Command::try_parse_from(common.iter().chain(more));
        let arguments = arguments.map_err(|error| error.to_string())?.arguments;
        run(&arguments).map(|()| out)
    }

    pub fn run(&self, out: &str, more: &[&str]) -> Result<PathBuf, String> {
        self.run_model("model", out, more)
    }
}

pub const ONE: [&str; 4] = ["--objectives", "lse-pair", "--regimes", "human"];

fn with(more: &[&'static str]) -> Vec<&'static str> {
    [&ONE[..], more].concat()
}

fn lines(count: usize, line: impl Fn(usize) -> String) -> String {
    (0..count).map(|number| line(number) + "\n").collect()
}

fn document(number: usize) -> String {
    let text = words(number, 3 + number % 4);
    format!(r#"{{"_id": "d{number}", "title": "", "text": "{text}"}}"#)
}

/// Words of three letters, the first of them common to neighbours.
fn words(number: usize, count: usize) -> String {
    let letter = |number: usize| char::from(b'a' + (number % 26) as u8);
    let word = |place: usize| {
        let first = letter(number / 2 + place);
        [first, letter(number * 7 + place), letter(place * 5 + 3)]
    };
    let words = (0..count).map(|place| word(place).iter().collect::<String>());
    words.collect::<Vec<_>>().join(" ")
}

/// All that a cell left but the time that it took: metrics and rankings.
pub fn results(out: &Path) -> Vec<(Value, String)> {
    let result = |outcome: &Outcome| {
        let mut json = serde_json::to_value(outcome).unwrap();
        json.as_object_mut().unwrap().remove("seconds");
        let folder = outcome.cell.folder(out);
        let name = &outcome.collections[0].name;
        (
            json,
            fs::read_to_string(folder.join(format!("{name}.trec"))).unwrap(),
        )
    };
    all(out).unwrap().iter().map(result).collect()
}

pub fn losses(out: &Path) -> Vec<f64> {
    let outcomes = all(out).unwrap();
    let epochs = outcomes.iter().flat_map(|outcome| &outcome.epochs);
    epochs.map(|epoch| epoch.loss).collect()
}

#[test]
fn all_objectives_and_regimes_run() {
    let setup = Setup::new("grid");
    let more = [
        "--regimes",
        "human,llm,merged,merged-any-order,curriculum,curriculum-all,all",
        "--epochs",
        "1",
    ];
    let out = setup.run("out", &more).unwrap();
    let outcomes = all(&out).unwrap();
    assert_eq!(outcomes.len(), 42);
    for outcome in &outcomes {
        let epochs = 1 + usize::from(outcome.cell.regime.is_curriculum());
        assert_eq!(outcome.epochs.len(), epochs, "{}", outcome.cell.name());
        let last = outcome.epochs[epochs - 1].ndcg_10;
        assert_eq!(last, Some(outcome.collections[0].mean.ndcg_10));
    }
    crate::verify::run(&crate::verify::Arguments { out }).unwrap();
}

#[test]
fn files_are_trained_on() {
    let setup = Setup::new("files");
    let passage = |number: usize| {
        let text = words(number, 4);
        format!(r#"{{"docid": "d{number}", "text": "{text}"}}"#)
    };
    let record = |number: usize| {
        let [first, second, third] = [number, number + 1, number + 5].map(passage);
        format!(
            r#"{{"query": "{}", "positive_passages": [{first}, {second}], "negative_passages": [{third}]}}"#,
            words(number, 2)
        )
    };
    let [file, then] = ["file.jsonl", "then.jsonl"].map(|name| setup.path(name));
    fs::write(&file, lines(7, record)).unwrap();
    fs::write(&then, lines(4, record)).unwrap();
    let [file, then] = [file, then].map(|path| path.display().to_string());
    let more = [
        "--objectives",
        "joint-lh",
        "--epochs",
        "2",
        "--tevatron",
        &file,
        "--tevatron-then",
        &then,
    ];
    let out = setup.run("out", &more).unwrap();
    assert_eq!(losses(&out).len(), 3);

    // 3 steps an epoch, and 2 for the other file.
    let stopped = [&more[..], &["--stop-after", "7"]].concat();
    let again = setup.run("again", &stopped).unwrap();
    assert!(all(&again).unwrap().is_empty());
    setup.run("again", &more).unwrap();
    assert_eq!(results(&again), results(&out));
}

#[test]
fn training_lowers_the_loss_of_shared_and_separate_towers() {
    let setup = Setup::new("towers");
    let more = with(&["--epochs", "6", "--dropout", "0"]);
    let shared = losses(&setup.run("shared", &more).unwrap());
    let separate = [&more[..], &["--separate-towers"]].concat();
    let separate = losses(&setup.run("separate", &separate).unwrap());
    for losses in [&shared, &separate] {
        assert!(losses[5] < losses[0] - 0.1, "{losses:?}");
    }
    assert!((shared[5] - separate[5]).abs() > 1e-4);
}

#[test]
fn a_gradient_cache_changes_memory_and_not_the_losses() {
    let setup = Setup::new("cache");
    for (towers, more) in [
        ("shared", &[][..]),
        ("separate", &["--separate-towers"][..]),
    ] {
        let more = [&with(&["--epochs", "3", "--dropout", "0"])[..], more].concat();
        let whole = setup.run(&format!("{towers}-whole"), &more).unwrap();
        let cached = [&more[..], &["--cache-chunk", "2"]].concat();
        let cached = setup.run(&format!("{towers}-cached"), &cached).unwrap();
        for (whole, cached) in losses(&whole).iter().zip(losses(&cached)) {
            assert!((whole - cached).abs() < 1e-5, "{whole} {cached}");
        }
    }
}

#[test]
fn a_stopped_training_goes_on_as_if_it_had_not_stopped() {
    let setup = Setup::new("resume");
    // 5 steps an epoch, or 3 of up to 2 batches.
    let more = [
        "--epochs",
        "2",
        "--dropout",
        "0.1",
        "--weight-decay",
        "0.5",
        "--evaluate-every",
        "2",
    ];
    for (name, options) in [
        ("plain", &[][..]),
        ("cache", &["--cache-chunk", "2"][..]),
        ("accumulate", &["--accumulate", "2"][..]),
        ("separate", &["--separate-towers"][..]),
        // Positives that are drawn anew, from all judgements.
        ("drawn", &[][..]),
    ] {
        let (which, of) = match name {
            "drawn" => (
                &["--objectives", "rand1-lh", "--regimes", "all"],
                "all_max4_t0.05_rand1-lh_seed1",
            ),
            _ => (&ONE, "human_t0.05_lse-pair_seed1"),
        };
        let more = [&which[..], &more, options].concat();
        let once = setup.run(&format!("{name}-once"), &more).unwrap();
        let name = format!("{name}-stopped");
        // In an epoch; at the end of the first; beside the checkpoints that are asked for; and finished.
        let stops = [
            &["--stop-after", "2"][..],
            &["--stop-after", "1"],
            &["--stop-after", "2", "--checkpoint-every", "1"],
            &[],
        ];
        for stop in stops {
            let out = setup.run(&name, &[&more[..], stop].concat()).unwrap();
            let cell = out.join("runs").join(of);
            let finished = stop.is_empty();
            assert_eq!(cell.join("metrics.json").exists(), finished);
            assert_eq!(cell.join("checkpoints").exists(), !finished);
        }
        let stopped = setup.path(&name);
        assert_eq!(results(&stopped), results(&once), "{name}");
        assert_eq!(losses(&stopped), losses(&once));
    }
    // Dropout and decay made a difference: they were there to be repeated.
    let other = with(&[
        "--epochs",
        "2",
        "--dropout",
        "0",
        "--weight-decay",
        "0.5",
        "--evaluate-every",
        "2",
    ]);
    let other = setup.run("other", &other).unwrap();
    assert_ne!(losses(&other), losses(&setup.path("plain-once")));
}

#[test]
fn accumulated_batches_are_one_step() {
    let setup = Setup::new("accumulate");
    // One step an epoch, so the second epoch's loss shows what the first step did.
    let more = with(&["--epochs", "2", "--dropout", "0", "--accumulate", "5"]);
    let out = setup.run("out", &more).unwrap();
    let rounds = all(&out).unwrap();
    assert_eq!(rounds[0].epochs.len(), 2);
    let stopped = [&more[..], &["--stop-after", "2"]].concat();
    let stopped = setup.run("stopped", &stopped).unwrap();
    let history = stopped.join("runs/human_t0.05_lse-pair_seed1/checkpoints/history-2.json");
    let history: Value = serde_json::from_str(&fs::read_to_string(history).unwrap()).unwrap();
    assert_eq!(history["queries"], 14);
    assert!(losses(&out)[1] < losses(&out)[0]);
}

#[test]
fn zero_epochs_measure_the_encoder_as_it_is() {
    let setup = Setup::new("zero");
    let out = setup.run("out", &with(&["--epochs", "0"])).unwrap();
    let [(zero, ranking)] = &results(&out)[..] else {
        panic!("one cell");
    };
    assert_eq!(zero["epochs"], Value::Array(Vec::new()));
    // Whatever one text is encoded with, its vector is the same.
    let small = setup
        .run("small", &with(&["--epochs", "0", "--pass-tokens", "40"]))
        .unwrap();
    let order = |ranking: &str| -> Vec<String> {
        let lines = ranking.lines().map(|line| line.split(' ').nth(2).unwrap());
        lines.map(String::from).collect()
    };
    assert_eq!(order(&results(&small)[0].1), order(ranking));
}

#[test]
fn splits_are_measured_as_one() {
    let setup = Setup::new("splits");
    let more = with(&["--epochs", "0", "--test-split", "test,dev"]);
    let out = setup.run("out", &more).unwrap();
    let evaluation = &all(&out).unwrap()[0].collections[0];
    assert_eq!(evaluation.name, "data-test+dev");
    assert_eq!(
        evaluation.queries,
        ["q14", "q15", "q16", "q17", "q18", "q19"]
    );
    let more = with(&["--epochs", "0", "--test-split", "test,test"]);
    let error = setup.run("twice", &more).unwrap_err();
    assert!(
        error.contains(r#"query "q14" is in two of the splits test,test"#),
        "{error}"
    );
}

#[test]
fn a_saved_model_is_measured_alike_again() {
    let setup = Setup::new("saved");
    for (name, more) in [("one", &[][..]), ("two", &["--separate-towers"][..])] {
        let more = [&with(&["--epochs", "1", "--save-model"])[..], more].concat();
        let trained = setup.run(name, &more).unwrap();
        let model = format!("{name}/runs/human_t0.05_lse-pair_seed1/model");
        let zero = with(&["--epochs", "0"]);
        let again = setup
            .run_model(&model, &format!("{name}-again"), &zero)
            .unwrap();
        let [(_, trained), (_, again)] = [trained, again].map(|out| results(&out).remove(0));
        assert_eq!(again, trained);
        let before = setup.run("before", &zero).unwrap();
        assert_ne!(results(&before)[0].1, trained);
    }
    // What is finished without a model has none to write.
    let more = with(&["--epochs", "0", "--save-model"]);
    let error = setup.run("before", &more).unwrap_err();
    assert!(error.contains("was not asked to --save-model"), "{error}");
}

#[test]
fn a_prefix_is_read_and_is_a_setting() {
    let setup = Setup::new("prefix");
    let zero = with(&["--epochs", "0"]);
    let plain = results(&setup.run("out", &zero).unwrap()).remove(0).1;
    for option in ["--query-prefix", "--passage-prefix"] {
        let more = [&zero[..], &[option, "zz "]].concat();
        let out = setup.run(&option[2..], &more).unwrap();
        assert_ne!(results(&out)[0].1, plain, "{option}");
        let error = setup.run("out", &more).unwrap_err();
        assert!(error.contains("other settings"), "{error}");
    }
}

#[test]
fn documents_may_be_ranked_at_another_length() {
    let setup = Setup::new("length");
    let ranking = |out: &str, more: &[&'static str]| {
        let more = [&with(&["--epochs", "0", "--passage-length", "8"])[..], more].concat();
        results(&setup.run(out, &more).unwrap()).remove(0).1
    };
    let short = ranking("short", &[]);
    let long = ranking("long", &["--evaluation-length", "30"]);
    assert_eq!(ranking("same", &["--evaluation-length", "8"]), short);
    assert_ne!(long, short);
}

#[test]
fn options_of_the_encoder_change_the_results() {
    let setup = Setup::new("options");
    let ranking = |out: &str, more: &[&'static str]| {
        let more = [&with(&["--epochs", "0"])[..], more].concat();
        results(&setup.run(out, &more).unwrap()).remove(0).1
    };
    let plain = ranking("plain", &[]);
    for more in [
        ["--pooling", "cls"],
        ["--normalize", "true"],
        ["--precision", "bf16"],
        ["--query-length", "4"],
    ] {
        assert_ne!(ranking(more[1], &more), plain, "{more:?}");
    }
    assert_eq!(ranking("same", &["--pooling", "mean"]), plain);
}

#[test]
fn bf16_trains() {
    let setup = Setup::new("bf16");
    let more = with(&["--epochs", "4", "--precision", "bf16", "--dropout", "0"]);
    let losses = losses(&setup.run("out", &more).unwrap());
    assert!(losses[3] < losses[0], "{losses:?}");
}

#[test]
fn results_of_another_encoder_are_not_mixed() {
    let setup = Setup::new("settings");
    setup.run("out", &with(&["--epochs", "0"])).unwrap();
    let more = with(&["--epochs", "0", "--pooling", "cls"]);
    let error = setup.run("out", &more).unwrap_err();
    assert!(
        error.contains("pooling mean") && error.contains("pooling cls"),
        "{error}"
    );

    let mut weights = tiny_bert::weights();
    weights.values_mut().next().unwrap().1[0] += 1.0;
    tiny_bert::write_weights(&weights, &setup.path("model/model.safetensors"));
    let error = setup.run("out", &with(&["--epochs", "0"])).unwrap_err();
    assert!(error.contains("encoder was \"model "), "{error}");
}

#[test]
fn options_of_a_pretrained_encoder_need_one() {
    for option in [
        &["--adapter"][..],
        &["--pooling", "cls"],
        &["--normalize", "true"],
        &["--separate-towers"],
        &["--precision", "bf16"],
        &["--dropout", "0"],
        &["--query-length", "8"],
        &["--passage-length", "8"],
        &["--evaluation-length", "8"],
        &["--pass-tokens", "8"],
        &["--cache-chunk", "8"],
        &["--warmup", "0"],
        &["--weight-decay", "0"],
        &["--max-grad-norm", "2"],
        &["--checkpoint-every", "8"],
        &["--stop-after", "8"],
        &["--save-model"],
    ] {
        let arguments = [&["reproduce"], option].concat();
        let error = Command::try_parse_from(&arguments)
            .err()
            .unwrap()
            .to_string();
        assert!(error.contains("--encoder <FOLDER>"), "{error}");
        let arguments = [&arguments[..], &["--encoder", "model"]].concat();
        assert!(Command::try_parse_from(&arguments).is_ok(), "{option:?}");
    }
}

#[test]
fn what_cannot_be_is_named() {
    let setup = Setup::new("errors");
    for (more, expected) in [
        (["--jobs", "2"], "--jobs must be 1"),
        (["--dropout", "1"], "--dropout"),
        (["--warmup", "1.5"], "--warmup"),
        (["--weight-decay", "-1"], "--weight-decay"),
        (["--max-grad-norm", "0"], "--max-grad-norm"),
        (["--cache-chunk", "0"], "--cache-chunk"),
        (["--accumulate", "0"], "--accumulate"),
        (["--device", "abacus"], "--device abacus is not compiled in"),
        (
            ["--query-length", "33"],
            "config.json: max_position_embeddings is 32",
        ),
        (
            ["--passage-length", "1"],
            "tokenizer.json: a maximal length of 1 has no room",
        ),
        (
            ["--passage-length", "2"],
            "model: a text of 2 tokens has no room",
        ),
    ] {
        let option = format!("{}={}", more[0], more[1]);
        let error = setup.run("out", &[&option]).unwrap_err();
        assert!(error.contains(expected), "{error}");
    }
    assert!(!setup.path("out").exists());

    let error = setup.run_model("nowhere", "out", &[]).unwrap_err();
    assert!(
        error.contains("nowhere: there is no such folder"),
        "{error}"
    );
    tiny_bert::write(&setup.path("half/query"));
    let error = setup.run_model("half", "out", &[]).unwrap_err();
    assert!(
        error.contains("passage: there is no such folder"),
        "{error}"
    );

    let mut weights = tiny_bert::weights();
    weights.remove("encoder.layer.1.output.dense.bias");
    tiny_bert::write_weights(&weights, &setup.path("model/model.safetensors"));
    let error = setup.run("out", &with(&[])).unwrap_err();
    let expected = "model.safetensors: tensor encoder.layer.1.output.dense.bias: missing";
    assert!(error.contains(expected), "{error}");
}

#[test]
fn checkpoints_of_a_finished_cell_are_removed() {
    let setup = Setup::new("finished");
    let more = with(&["--epochs", "1"]);
    let out = setup.run("out", &more).unwrap();
    // As a run leaves them that is killed after it has written the metrics.
    let checkpoints = out.join("runs/human_t0.05_lse-pair_seed1/checkpoints");
    fs::create_dir_all(checkpoints.join("checkpoint-2")).unwrap();
    setup.run("out", &more).unwrap();
    assert!(!checkpoints.exists());
}

#[test]
fn a_damaged_checkpoint_is_named() {
    let setup = Setup::new("damaged");
    let more = with(&["--epochs", "1", "--stop-after", "2"]);
    let out = setup.run("out", &more).unwrap();
    let checkpoints = out.join("runs/human_t0.05_lse-pair_seed1/checkpoints");
    let history = checkpoints.join("history-2.json");
    let text = fs::read_to_string(&history).unwrap();
    fs::write(&history, text.replace("\"steps\": 2", "\"steps\": 3")).unwrap();
    let error = setup.run("out", &more).unwrap_err();
    assert!(error.contains("history-2.json: is of 3 steps"), "{error}");
    fs::write(checkpoints.join("checkpoint-2/model.bpk"), "").unwrap();
    let error = setup.run("out", &more).unwrap_err();
    assert!(error.contains("checkpoint-2/model.bpk"), "{error}");
}
