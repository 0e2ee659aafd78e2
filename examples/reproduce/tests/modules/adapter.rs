//! The experiments with an adapter on a tiny pretrained encoder.

use std::{
    fs,
    path::{Path, PathBuf},
};

use clap::ValueEnum;

use super::{
    cell::{Outcome, all},
    diagnosis::{Diagnosis, SHOWN},
    labels::Regime,
    report::METRICS,
    transformer_tests::{ONE, Setup, losses, results},
};
use crate::{objective::Objective, output::key};

impl Setup {
    /// Trains an adapter, with the embeddings in a folder of this setup.
    fn adapt(&self, out: &str, more: &[&str]) -> Result<PathBuf, String> {
        self.adapt_model("model", out, more)
    }

    fn adapt_model(&self, model: &str, out: &str, more: &[&str]) -> Result<PathBuf, String> {
        let embeddings = self.path("embeddings").display().to_string();
        let adapter: &[&str] = match more.contains(&"--adapter") {
            true => &[],
            false => &["--adapter"],
        };
        let embeddings = ["--embeddings", &embeddings];
        self.run_model(model, out, &[&embeddings, adapter, more].concat())
    }

    /// The files of embeddings, in the order of their names.
    fn embeddings(&self) -> Vec<PathBuf> {
        let entries = fs::read_dir(self.path("embeddings")).unwrap();
        let mut paths: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
        paths.sort();
        paths
    }
}

fn with<'a>(more: &[&'a str]) -> Vec<&'a str> {
    [&ONE[..], more].concat()
}

fn metrics(out: &Path) -> [f64; 4] {
    let mean = all(out).unwrap()[0].collections[0].mean;
    METRICS.map(|(_, metric)| metric(&mean))
}

fn ndcg_10(out: &Path) -> f64 {
    all(out).unwrap()[0].collections[0].mean.ndcg_10
}

#[test]
fn an_untrained_adapter_measures_the_encoder_as_it_is() {
    let setup = Setup::new("adapter-zero");
    tiny_bert::write(&setup.path("towers/query"));
    tiny_bert::write(&setup.path("towers/passage"));
    for (model, normalize) in [("model", "true"), ("model", "false"), ("towers", "true")] {
        let zero = with(&["--epochs", "0", "--normalize", normalize]);
        let name = format!("{model}-{normalize}");
        let as_it_is = setup.run_model(model, &name, &zero).unwrap();
        for shape in ["both", "queries", "residual"] {
            let out = format!("{name}-{shape}");
            let more = [&zero[..], &["--adapter", shape]].concat();
            let out = setup.adapt_model(model, &out, &more).unwrap();
            assert_eq!(metrics(&out), metrics(&as_it_is), "{name} {shape}");
        }
    }
}

#[test]
fn training_improves_what_is_trained_on() {
    let setup = Setup::new("adapter-train");
    let on_train = ["--normalize", "true", "--test-split", "train"];
    let more = [&with(&["--epochs", "0"])[..], &on_train].concat();
    let before = ndcg_10(&setup.adapt("before", &more).unwrap());
    for shape in ["both", "queries", "residual"] {
        let more = ["--regimes", "all", "--objectives", "joint-lh-normalized"];
        let more = [
            &more[..],
            &on_train,
            &["--epochs", "100", "--adapter", shape],
        ]
        .concat();
        let out = setup.adapt(shape, &more).unwrap();
        let losses = losses(&out);
        assert!(losses[99] < losses[0] - 0.1, "{shape}: {losses:?}");
        let after = ndcg_10(&out);
        assert!(after > before + 0.05, "{shape}: {before} {after}");
    }
}

#[test]
fn labels_of_an_annotator_are_diagnosed_where_it_is_asked_for() {
    let setup = Setup::new("adapter-diagnosis");
    let regimes = ["--regimes", "human,llm,merged,curriculum,all"];
    let more = [&regimes[..], &["--objectives", "lse-pair", "--epochs"]].concat();
    let run = |out: &str, epochs: &str, pulls: &[&str]| {
        let more = [&more[..], &[epochs], pulls].concat();
        let out = setup.adapt(out, &more).unwrap();
        (all(&out).unwrap(), out)
    };
    let (outcomes, out) = run("trained", "5", &["--pulls"]);
    for Outcome {
        cell, diagnosis, ..
    } in outcomes
    {
        assert_eq!(diagnosis.is_some(), cell.regime.asks_an_annotator());
        let Some(Diagnosis { before, after }) = diagnosis else {
            continue;
        };
        assert_ne!(before, after, "{}", cell.name());
        for (_, place) in SHOWN {
            assert_eq!(place(&before).documents, place(&after).documents);
        }
        // Three relevant documents a query, labelled or not.
        let relevant = [before.right, before.unlabelled].map(|split| split.all.documents);
        assert_eq!(relevant.iter().sum::<usize>(), 3 * before.queries);
    }
    let tables = fs::read_to_string(out.join("tables.md")).unwrap();
    for row in [
        "| merged (simulated) | untrained | ",
        "| queries, documents | 14 |",
    ] {
        assert!(tables.contains(row), "{tables}");
    }
    let figures = fs::read_dir(out.join("figures")).unwrap();
    let mut names = figures.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    assert!(names.any(|name| name.starts_with("diagnosis_") && name.ends_with(".png")));

    let (outcomes, _) = run("untrained", "0", &["--pulls"]);
    let llm = outcomes
        .iter()
        .find(|outcome| outcome.cell.regime == Regime::Llm);
    let Diagnosis { before, after } = llm.unwrap().diagnosis.unwrap();
    assert_eq!(before, after);
    let (outcomes, _) = run("without", "1", &[]);
    assert!(outcomes.iter().all(|outcome| outcome.diagnosis.is_none()));
}

#[test]
fn all_objectives_train_an_adapter() {
    let setup = Setup::new("adapter-objectives");
    let objectives = Objective::value_variants();
    let keys: Vec<String> = objectives.iter().map(key).collect();
    let keys = keys.join(",");
    let more = ["--normalize", "true", "--regimes", "all", "--epochs", "4"];
    let more = [&more[..], &["--objectives", &keys]].concat();
    let out = setup.adapt("out", &more).unwrap();
    let outcomes = all(&out).unwrap();
    assert_eq!(outcomes.len(), objectives.len());
    for Outcome { cell, epochs, .. } in outcomes {
        assert!(epochs[3].loss < epochs[0].loss, "{}", cell.name());
    }
}

#[test]
fn the_neighbours_join_the_objectives_that_are_named() {
    let setup = Setup::new("adapter-neighbours");
    let more = with(&["--epochs", "0", "--neighbours"]);
    let out = setup.adapt("out", &more).unwrap();
    assert_eq!(all(&out).unwrap().len(), 1 + Objective::NEIGHBOURS.len());
}

#[test]
fn the_same_seed_trains_the_same_adapter_beside_whatever_else() {
    let setup = Setup::new("adapter-seed");
    let run = |out: &str, more: &[&str]| {
        let more = [&with(&["--epochs", "2", "--adapter", "residual"])[..], more].concat();
        setup.adapt(out, &more).unwrap()
    };
    let once = run("once", &[]);
    let again = run("again", &[]);
    assert_eq!(results(&once), results(&again));

    let more = [
        "--regimes",
        "human",
        "--objectives",
        "lse-pair,joint-lh",
        "--epochs",
        "2",
    ];
    let more = [&more[..], &["--adapter", "residual", "--jobs", "2"]].concat();
    let beside = setup.adapt("beside", &more).unwrap();
    assert!(results(&beside).contains(&results(&once)[0]));
}

#[test]
fn texts_are_embedded_once() {
    let setup = Setup::new("adapter-reuse");
    let more = with(&["--epochs", "1"]);
    let first = setup.adapt("first", &more).unwrap();
    let [file] = &setup.embeddings()[..] else {
        panic!("one file");
    };
    let modified = || file.metadata().unwrap().modified().unwrap();
    let (bytes, before) = (fs::read(file).unwrap(), modified());
    let again = setup.adapt("again", &more).unwrap();
    assert_eq!(modified(), before);
    assert_eq!(results(&again), results(&first));

    // The other split has texts of its own, and all of a run's vectors are those of a run alone.
    let dev = with(&["--epochs", "1", "--test-split", "dev"]);
    let beside = setup.adapt("dev", &dev).unwrap();
    assert!(fs::read(file).unwrap().len() > bytes.len());
    fs::remove_file(file).unwrap();
    let alone = setup.adapt("dev-alone", &dev).unwrap();
    assert_eq!(results(&alone), results(&beside));
}

#[test]
fn embeddings_of_other_texts_and_models_are_not_taken() {
    let setup = Setup::new("adapter-other");
    let zero = with(&["--epochs", "0"]);
    setup.adapt("out", &zero).unwrap();
    let before = setup.embeddings();
    let size = before[0].metadata().unwrap().len();
    // Other tokens stand beside those of before, in the same file.
    for (option, value) in [
        ("--query-prefix", "zz "),
        ("--passage-prefix", "zz "),
        ("--query-length", "5"),
        ("--passage-length", "5"),
    ] {
        let more = [&zero[..], &[option, value]].concat();
        let as_it_is = setup.run(&format!("{option}-transformer"), &more).unwrap();
        let out = setup.adapt(&option[2..], &more).unwrap();
        assert_eq!(metrics(&out), metrics(&as_it_is), "{option}");
        let error = setup.adapt("out", &more).unwrap_err();
        assert!(error.contains("other settings"), "{error}");
    }
    assert_eq!(setup.embeddings(), before);
    assert!(before[0].metadata().unwrap().len() > size);

    // Another use of the model, and other weights, have files of their own.
    let more = [&zero[..], &["--pooling", "cls"]].concat();
    setup.adapt("cls", &more).unwrap();
    assert_eq!(setup.embeddings().len(), 2);
    let mut weights = tiny_bert::weights();
    weights.values_mut().next().unwrap().1[0] += 1.0;
    tiny_bert::write_weights(&weights, &setup.path("model/model.safetensors"));
    let as_it_is = setup.run("weights-transformer", &zero).unwrap();
    let out = setup.adapt("weights", &zero).unwrap();
    assert_eq!(metrics(&out), metrics(&as_it_is));
    let after = setup.embeddings();
    assert_eq!(after.len(), 3);
    let error = setup.adapt("out", &zero).unwrap_err();
    assert!(error.contains("encoder was \"adapter, "), "{error}");

    // Even where the file of one model has the name of another.
    let of_weights = after.iter().find(|path| !before.contains(path)).unwrap();
    fs::copy(&before[0], of_weights).unwrap();
    let again = setup.adapt("renamed", &zero).unwrap();
    assert_eq!(results(&again), results(&out));
}

#[test]
fn damaged_embeddings_are_named() {
    let setup = Setup::new("adapter-damaged");
    let zero = with(&["--epochs", "0"]);
    let out = setup.adapt("out", &zero).unwrap();
    let file = &setup.embeddings()[0];
    let whole = fs::read(file).unwrap();
    let mut changed = whole.clone();
    changed[whole.len() / 2] ^= 1;
    for damaged in [&whole[..whole.len() - 1], &changed, &[]] {
        fs::write(file, damaged).unwrap();
        let error = setup.adapt("damaged", &zero).unwrap_err();
        assert!(
            error.contains(".embeddings: the file is damaged: remove it"),
            "{error}"
        );
    }
    fs::remove_file(file).unwrap();
    let again = setup.adapt("again", &zero).unwrap();
    assert_eq!(results(&again), results(&out));
}

#[test]
fn what_only_the_training_of_a_transformer_has_is_refused() {
    let setup = Setup::new("adapter-options");
    for option in [
        &["--separate-towers"][..],
        &["--dropout", "0"],
        &["--pass-tokens", "8"],
        &["--cache-chunk", "8"],
        &["--checkpoint-every", "8"],
        &["--stop-after", "8"],
        &["--save-model"],
        &["--tevatron", "file.jsonl"],
    ] {
        let error = setup.adapt("out", option).unwrap_err();
        let expected = format!("'{}", option[0]);
        assert!(
            error.contains("cannot be used with") && error.contains(&expected),
            "{error}"
        );
    }
    let error = setup.adapt("out", &["--adapter", "half"]).unwrap_err();
    assert!(
        error.contains("[possible values: both, queries, residual]"),
        "{error}"
    );
    assert!(!setup.path("out").exists());
}
