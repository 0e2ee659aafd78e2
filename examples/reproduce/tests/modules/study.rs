//! Studies of a tiny pretrained encoder and of the bag of words.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

use clap::Parser;
use serde_json::Value;

use super::*;
use crate::{
    encoder::BagSource,
    train::{cell::all, prepared::Prepared, transformer_tests::Setup},
    verify,
};

#[derive(Parser)]
struct Command {
    #[command(flatten)]
    arguments: Arguments,
}

fn parse(more: &[&str]) -> Result<Arguments, String> {
    let arguments = ["reproduce"].iter().chain(more);
    let command = Command::try_parse_from(arguments).map_err(|error| error.to_string())?;
    Ok(command.arguments)
}

/// Runs on the collection of a setup: two objectives, two temperatures, two seeds.
fn study(setup: &Setup, out: &str, more: &[&str]) -> Result<PathBuf, String> {
    let out = setup.path(out);
    let [data, to] = [&setup.path("data"), &out].map(|path| path.display().to_string());
    let small = [
        "--data",
        &data,
        "--out",
        &to,
        "--objectives",
        "lse-pair,sum-marg-lh",
        "--batch-size",
        "4",
        "--group-size",
        "4",
        "--epochs",
        "1",
        "--choice-seeds",
        "1",
    ];
    let list = |option, values| match more.contains(&option) {
        true => vec![],
        false => vec![option, values],
    };
    let more = [
        &small[..],
        &list("--temperatures", "0.05,0.2"),
        &list("--seeds", "1,2"),
        more,
    ];
    run(&parse(&more.concat())?).map(|()| out)
}

fn json(path: &Path) -> Value {
    serde_json::from_str(&fs::read_to_string(path).unwrap()).unwrap()
}

fn choices(out: &Path) -> Value {
    json(&out.join("results.json"))["choices"].clone()
}

fn ids<T>(collection: &Prepared<T>, queries: &[TrainQuery<T>]) -> BTreeSet<String> {
    let ids = queries
        .iter()
        .map(|query| collection.train[query.place].id.clone());
    ids.collect()
}

fn tested_ids<T>(tested: &Tested<T>) -> BTreeSet<String> {
    tested
        .queries
        .iter()
        .map(|query| query.id.clone())
        .collect()
}

fn parts(
    folds: Option<usize>,
    check: impl Fn(BTreeSet<String>, &[Part<crate::encoder::TextOf<BagSource>>]),
) {
    let collection = Prepared::generated(&BagSource).unwrap();
    let queries = collection.train_queries(&BagSource).unwrap();
    let draw = Draw {
        folds,
        held_out: None,
        seed: 1,
    };
    let parts = draw.parts(&collection, &queries, Path::new("out")).unwrap();
    for part in &parts {
        let [kept, train] = [&part.kept, &part.train].map(|queries| ids(&collection, queries));
        let [held_out, test] = [&part.held_out, &part.test].map(tested_ids);
        assert_eq!(held_out.len(), train.len().div_ceil(5));
        assert!(kept.is_disjoint(&held_out));
        assert_eq!(&kept | &held_out, train);
        assert!(test.is_disjoint(&train));
        for (query, text) in part.held_out.queries.iter().zip(&part.held_out.texts) {
            let same = part.train.iter().any(|train| {
                collection.train[train.place].id == query.id
                    && std::sync::Arc::ptr_eq(&train.text, text)
            });
            assert!(same, "{}", query.id);
        }
    }
    check(ids(&collection, &queries), &parts);
}

#[test]
fn the_choice_has_no_query_of_the_test() {
    parts(None, |queries, parts| {
        assert_eq!(parts.len(), 1);
        assert_eq!(parts[0].train.len(), queries.len());
    });
}

#[test]
fn folds_test_every_query_once() {
    parts(Some(7), |queries, parts| {
        assert_eq!(parts.len(), 7);
        let tests = parts.iter().map(|part| tested_ids(&part.test));
        let tests: Vec<String> = tests.flatten().collect();
        assert_eq!(tests.len(), queries.len());
        assert_eq!(tests.into_iter().collect::<BTreeSet<_>>(), queries);
    });
}

#[test]
fn another_test_split_makes_no_other_choice() {
    let setup = Setup::new("study-choice");
    let test = study(&setup, "test", &[]).unwrap();
    let dev = study(&setup, "dev", &["--test-split", "dev"]).unwrap();
    assert_eq!(choices(&test), choices(&dev));
    let results = |out: &Path| json(&out.join("results.json"))["test"].clone();
    assert_ne!(results(&test), results(&dev));
}

#[test]
fn a_study_is_resumed_and_may_grow() {
    let setup = Setup::new("study-resume");
    let out = study(&setup, "out", &[]).unwrap();
    let modified = |root: &Path| {
        let outcomes = all(root).unwrap();
        let paths = outcomes.iter().map(|outcome| {
            let path = outcome.cell.folder(root).join("metrics.json");
            (
                outcome.cell.name(),
                path.metadata().unwrap().modified().unwrap(),
            )
        });
        paths.collect::<Vec<_>>()
    };
    let choice = out.join("choice");
    let [of_choice, of_test] = [&choice, &out].map(|root| modified(root));
    assert_eq!((of_choice.len(), of_test.len()), (4, 4));
    let results = json(&out.join("results.json"));

    for (root, name) in [(&choice, &of_choice[0].0), (&out, &of_test[3].0)] {
        fs::remove_dir_all(root.join("runs").join(name)).unwrap();
    }
    study(&setup, "out", &[]).unwrap();
    assert_eq!(json(&out.join("results.json")), results);
    assert_eq!(modified(&choice)[1..], of_choice[1..]);
    assert_eq!(modified(&out)[..3], of_test[..3]);

    study(
        &setup,
        "out",
        &["--temperatures", "0.05,0.2,0.5", "--seeds", "1,2,3"],
    )
    .unwrap();
    assert_eq!(modified(&choice).len(), 6);
    verify::run(&verify::Arguments { out: out.clone() }).unwrap();

    let error = study(&setup, "out", &["--held-out", "2"]).unwrap_err();
    assert!(error.contains("study was"), "{error}");
}

#[test]
fn folds_are_chosen_and_tested_each_for_itself() {
    let setup = Setup::new("study-folds");
    let adapter = adapter(&setup);
    let adapter: Vec<&str> = adapter.iter().map(String::as_str).collect();
    let more = [&adapter[..], &["--folds", "3"]].concat();
    let out = study(&setup, "out", &more).unwrap();
    let results = json(&out.join("results.json"));
    assert_eq!(results["choices"].as_array().unwrap().len(), 3 * 2);
    assert_eq!(results["test"].as_array().unwrap().len(), 2);
    assert!(results["untrained"]["ndcg_10"].as_f64().unwrap() > 0.0);
    let tables = fs::read_to_string(out.join("tables.md")).unwrap();
    assert!(tables.contains("on 14 test queries"), "{tables}");
    assert!(tables.contains("| LSEPair | fold3 |"), "{tables}");
    let verify = || verify::run(&verify::Arguments { out: out.clone() });
    verify().unwrap();

    // A ranking of one fold without its documents.
    let fold = out.join("fold3");
    let cell = all(&fold).unwrap()[0].cell;
    let entries = fs::read_dir(cell.folder(&fold)).unwrap();
    let mut paths = entries.map(|entry| entry.unwrap().path());
    let ranking = paths.find(|path| path.extension().is_some_and(|one| one == "trec"));
    fs::write(ranking.unwrap(), "").unwrap();
    let error = verify().unwrap_err();
    assert!(
        error.contains("fold3") && error.contains("of the ranking is 0"),
        "{error}"
    );
}

#[test]
fn neighbours_are_studied_as_well() {
    let setup = Setup::new("study-neighbours");
    let more = ["--neighbours", "--regimes", "all", "--seeds", "1"];
    let out = study(&setup, "out", &more).unwrap();
    let results = json(&out.join("results.json"));
    let objectives = 2 + Objective::NEIGHBOURS.len();
    assert_eq!(results["test"].as_array().unwrap().len(), objectives);
    verify::run(&verify::Arguments { out }).unwrap();
}

/// Every query of three splits is tested once, and a document is left out for some of them, in the
/// training as well.
#[test]
fn documents_are_left_out_of_folds() {
    let setup = Setup::new("study-left-out");
    let data = setup.path("data");
    let path = setup.path("left-out.tsv");
    fs::write(&path, "q3\td3\nq14\td14\nnobody\td1\n").unwrap();
    let all = "train,dev,test";
    let prepared = Prepared::load(&BagSource, &data, all, all, Some(&path), 1).unwrap();
    let queries = prepared.train_queries(&BagSource).unwrap();
    assert_eq!(prepared.train.len(), 20);
    for query in &queries {
        let id = &prepared.train[query.place].id;
        let left_out = query
            .left_out
            .iter()
            .map(|place| &*prepared.corpus[*place].id);
        let left_out: Vec<&str> = left_out.collect();
        match id.as_str() {
            "q3" => assert_eq!(left_out, ["d3"]),
            "q14" => assert_eq!(left_out, ["d14"]),
            _ => assert!(left_out.is_empty()),
        }
        let mut documents = [&query.relevant, &query.top, &query.pool]
            .into_iter()
            .flatten();
        assert!(documents.all(|document| !query.left_out.contains(document)));
    }

    let file = path.display().to_string();
    let more = ["--train-split", all, "--folds", "2", "--leave-out", &file];
    let out = study(&setup, "out", &more).unwrap();
    let mut rankings = 0;
    for fold in ["fold1", "fold2"] {
        for outcome in crate::train::all(&out.join(fold)).unwrap() {
            let folder = outcome.cell.folder(&out.join(fold));
            let run = folder.join(format!("data-{}.trec", all.replace(',', "+")));
            let run = fs::read_to_string(run).unwrap();
            assert!(!run.contains("q3 Q0 d3 ") && !run.contains("q14 Q0 d14 "));
            rankings += run.matches("q14 Q0 d13 ").count();
        }
    }
    assert!(rankings > 0);
    verify::run(&verify::Arguments { out }).unwrap();
}

/// Conditions that differ in the number of positives and in how errors keep together, and what labels
/// cost against all judgements.
#[test]
fn conditions_are_compared_with_all_judgements() {
    let setup = Setup::new("study-conditions");
    let data = setup.path("data").display().to_string();
    let to = setup.path("out").display().to_string();
    let more = [
        "--data",
        &data,
        "--out",
        &to,
        "--objectives",
        "lse-pair,joint-lh",
    ];
    let axes = [
        "--regimes",
        "llm,all",
        "--clusterings",
        "0,0.5",
        "--max-positives",
        "1,2",
        "--hard-negatives",
        "2",
        "--annotators",
        "rel-sel-qwen",
        "--relevant-shares",
        "0.2",
    ];
    let small = [
        "--seeds",
        "1,2",
        "--choice-seeds",
        "1",
        "--temperatures",
        "0.05,0.2",
        "--epochs",
        "1",
    ];
    run(&parse(&[&more[..], &axes, &small].concat()).unwrap()).unwrap();
    let out = setup.path("out");
    let results = json(&out.join("results.json"));
    let tests = results["test"].as_array().unwrap();
    // Labels of the annotator with two clusterings and all judgements, each with two caps.
    assert_eq!(tests.len(), 3 * 2 * 2);
    for test in tests {
        let simulated = test["condition"]["regime"] == "llm";
        assert_eq!(test["lost"].is_object(), simulated);
        let other = test["objective"] != "lse-pair";
        let beyond = test["lost"]["beyond_lse_pair"]["p_holm"].is_number();
        assert_eq!(beyond, simulated && other);
        let area = &test["sensitivity_against_lse_pair"]["interval"];
        assert_eq!(area.is_array(), other);
    }
    let value = |test: &Value| {
        test["metrics"]["nDCG@10"]["mean"]
            .as_f64()
            .expect("a metric")
    };
    let find = |regime: &str, objective: &str| {
        let mut tests = tests.iter();
        let found = tests.find(|test| {
            test["condition"]["regime"] == regime
                && test["objective"] == objective
                && test["condition"]["max_positives"] == 2
        });
        found.expect("a condition")
    };
    let [all, llm] = ["all", "llm"].map(|regime| find(regime, "joint-lh"));
    let lost = llm["lost"]["ndcg_10"].as_f64().unwrap();
    assert!((value(all) - value(llm) - lost).abs() < 1e-12);
    assert!(out.join("figures/positives.svg").exists());
    let tables = fs::read_to_string(out.join("tables.md")).unwrap();
    assert!(tables.contains("clustering 0.5"), "{tables}");
    assert!(tables.contains("beyond LSEPair"), "{tables}");
    let cells = crate::train::all(&out).unwrap();
    let report = cells.iter().find_map(|cell| cell.simulated_annotator);
    assert!(report.unwrap().agreement.is_some());
}

#[test]
fn learning_rates_and_epochs_are_chosen_as_well() {
    let setup = Setup::new("study-rates");
    let data = setup.path("data").display().to_string();
    let to = setup.path("out").display().to_string();
    let more = ["--data", &data, "--out", &to, "--objectives", "lse-pair"];
    let lists = ["--learning-rates", "0.001,0.01", "--epoch-counts", "1,2"];
    let seeds = [
        "--seeds",
        "1",
        "--choice-seeds",
        "1",
        "--temperatures",
        "0.1",
    ];
    let arguments = parse(&[&more[..], &lists, &seeds].concat()).unwrap();
    run(&arguments).unwrap();
    let choices = choices(&setup.path("out"));
    assert_eq!(choices[0]["tried"].as_array().unwrap().len(), 4);
    let last = &all(&setup.path("out")).unwrap()[0];
    let chosen = &choices[0]["chosen"];
    assert_eq!(
        last.cell.setting.learning_rate,
        chosen["learning_rate"].as_f64()
    );
    assert_eq!(last.epochs.len() as u64, chosen["epochs"].as_u64().unwrap());
}

/// Arguments of an adapter on the tiny encoder.
fn adapter(setup: &Setup) -> [String; 5] {
    let [model, embeddings] = ["model", "embeddings"].map(|name| setup.path(name));
    let [model, embeddings] = [model, embeddings].map(|path| path.display().to_string());
    let options = [
        "--encoder",
        &model,
        "--adapter",
        "--embeddings",
        &embeddings,
    ];
    options.map(String::from)
}

#[test]
fn a_training_that_diverges_is_not_chosen_and_stops_nothing() {
    for encoder in ["bag", "adapter"] {
        let setup = Setup::new(&format!("study-diverges-{encoder}"));
        let adapter = adapter(&setup);
        let adapter = adapter.iter().map(String::as_str).collect();
        let encoder = if encoder == "bag" { vec![] } else { adapter };
        let rates = ["--learning-rates", "1e39,0.001"];
        let more = [&encoder[..], &rates].concat();
        let out = study(&setup, "out", &more).unwrap();
        for choice in choices(&out).as_array().unwrap() {
            assert_eq!(choice["chosen"]["learning_rate"], 0.001);
            for tried in choice["tried"].as_array().unwrap() {
                let diverged = tried["learning_rate"] == 1e39;
                let seeds = diverged.then(|| Value::from(vec![1]));
                assert_eq!(tried.get("diverged"), seeds.as_ref());
                assert_eq!(tried["ndcg_10"][0] == 0.0, diverged);
            }
        }
        let tables = || fs::read_to_string(out.join("tables.md")).unwrap();
        let before = tables();
        assert!(before.contains("| LSEPair |  | diverged | "), "{before}");
        assert!(before.contains("diverged is not chosen."), "{before}");
        verify::run(&verify::Arguments { out: out.clone() }).unwrap();

        let choice = out.join("choice");
        let written = || {
            let outcomes = all(&choice).unwrap().into_iter();
            let diverged = outcomes.filter(|outcome| outcome.diverged.is_some());
            let files = diverged.map(|one| one.cell.folder(&choice).join("metrics.json"));
            let times = files.map(|file| file.metadata().unwrap().modified().unwrap());
            times.collect::<Vec<_>>()
        };
        let times = written();
        assert_eq!(times.len(), 4);
        study(&setup, "out", &more).unwrap();
        assert_eq!(written(), times);
        assert_eq!(tables(), before);
    }
}

#[test]
fn a_study_where_everything_diverges_is_named() {
    let setup = Setup::new("study-all-diverge");
    let more = ["--learning-rates", "1e39"];
    for _ in 0..2 {
        let error = study(&setup, "out", &more).unwrap_err();
        let expected = "LSEPair (labels: LLM (simulated) UtilSel, Qwen2.5-32B, share 0.7, \
                        at most 4 positives): every point of the choice diverged";
        assert!(error.starts_with(expected), "{error}");
    }
}

#[test]
fn impossible_studies_are_named() {
    let setup = Setup::new("study-impossible");
    for (more, expected) in [
        (&["--quick"][..], "--quick is an option of train"),
        (&["--held-out", "0"], "--held-out 0 must be at least 1"),
        (
            &["--held-out", "14"],
            "--held-out 14 must be at least 1, and leave some of the 14",
        ),
        (&["--folds", "1"], "--folds 1 must be at least 2"),
        (&["--folds", "15"], "at most the 14 train queries"),
        (&["--learning-rates", "0"], "--learning-rates must be"),
        (
            &["--test-split", "train"],
            "query \"q0\" is in the train split and in the test",
        ),
        (
            &["--folds", "2", "--test-split", "dev"],
            "cannot be used with",
        ),
    ] {
        let error = study(&setup, "out", more).unwrap_err();
        assert!(error.contains(expected), "{more:?}: {error}");
    }
    assert!(!setup.path("out").exists());
}

/// Ten queries, each with four documents of the human grades 1 to 4, and labels of an LLM: of these
/// the third has grade 2, the first and the fourth grade 1, and one that no human judged grade 3.
fn annotate(setup: &Setup) {
    let line = |query: usize, document: usize, grade: usize| {
        format!("q{query}\td{}\t{grade}\n", 2 * query + document)
    };
    let of_all = |grades: &[(usize, usize)]| {
        let lines = (0..10).flat_map(|query| {
            let lines = grades.iter();
            lines.map(move |(document, grade)| line(query, *document, *grade))
        });
        lines.collect::<String>()
    };
    let human = of_all(&[(0, 1), (1, 2), (2, 3), (3, 4)]);
    let llm = of_all(&[(0, 1), (2, 2), (3, 1), (4, 3)]);
    fs::write(setup.path("data/qrels/human.tsv"), human).unwrap();
    fs::write(setup.path("data/qrels/llm.tsv"), llm).unwrap();
}

#[test]
fn labels_of_a_file_train_and_human_ones_measure() {
    let setup = Setup::new("study-labels");
    annotate(&setup);
    let data = setup.path("data");
    let prepared = Prepared::load(&BagSource, &data, "human", "human", None, 3).unwrap();
    let mut queries = prepared.train_queries(&BagSource).unwrap();
    let judged = |place: usize| prepared.train[place].judgements.clone();
    let place = queries[0].place;
    assert_eq!(
        judged(place)
            .iter()
            .map(|(_, grade)| *grade)
            .collect::<Vec<_>>(),
        [0, 0, 1, 2]
    );
    for (cut, expected) in [(1, vec![0, 2, 3]), (2, vec![2])] {
        let file = LabelFile::read(&data, Path::new("qrels/llm.tsv"), cut).unwrap();
        file.label(&prepared, &mut queries);
        for query in &queries {
            let labels = query.labels.iter().map(|(document, _)| *document);
            let judged = judged(query.place);
            let of_grades = expected.iter().map(|index: &usize| judged[*index].0);
            assert_eq!(labels.collect::<Vec<_>>(), of_grades.collect::<Vec<_>>());
        }
        let agreement = file.agreement(&prepared, &queries);
        let labels = expected.len() as f64;
        let right = (labels - 1.0).max(1.0);
        assert_eq!(agreement.labels_a_query, labels);
        assert!((agreement.precision - right / labels).abs() < 1e-12);
        assert!((agreement.recall - right / 2.0).abs() < 1e-12);
    }

    let more = ["--train-split", "human", "--folds", "2", "--human-cut", "3"];
    let labels = ["--llm-labels", "qrels/llm.tsv", "--llm-cut", "2"];
    let more = [&more[..], &labels, &["--regimes", "llm,all"]].concat();
    let out = study(&setup, "out", &more).unwrap();
    let results = json(&out.join("results.json"));
    assert_eq!(results["annotator"]["precision"], 1.0);
    assert_eq!(results["annotator"]["recall"], 0.5);
    let regimes = results["test"].as_array().unwrap().iter();
    let regimes = regimes.map(|test| test["condition"]["regime"].as_str().unwrap());
    assert_eq!(regimes.collect::<Vec<_>>(), ["file", "file", "all", "all"]);
    let tables = fs::read_to_string(out.join("tables.md")).unwrap();
    assert!(tables.contains("| 1.000 | 0.500 | 0.500 |"), "{tables}");
    verify::run(&verify::Arguments { out }).unwrap();

    let other = [&more[..6], &["--llm-labels", "qrels/llm.tsv"]].concat();
    let error = study(&setup, "out", &other).unwrap_err();
    assert!(error.contains("from grade 2"), "{error}");
}

#[test]
fn labels_that_cannot_be_are_named() {
    let setup = Setup::new("study-no-labels");
    annotate(&setup);
    let bad = setup.path("data/qrels/bad.tsv");
    fs::write(bad, "query-id\tcorpus-id\tscore\nq0\td0\t1\nq0\tnone\t1\n").unwrap();
    let labels = ["--llm-labels", "qrels/llm.tsv"];
    for (more, expected) in [
        (vec!["--llm-labels", "qrels/none.tsv"], "none.tsv"),
        (
            vec!["--llm-labels", "qrels/bad.tsv"],
            "bad.tsv:3: document \"none\" is not",
        ),
        (
            [&labels[..], &["--llm-cut", "4"]].concat(),
            "no document has the grade of --llm-cut 4",
        ),
        (
            [&labels[..], &["--regimes", "merged"]].concat(),
            "for the regime llm, and not for merged",
        ),
        (vec!["--llm-cut", "2"], "--llm-labels"),
        (
            vec!["--human-cut", "2"],
            "no document of train has the grade of --human-cut 2",
        ),
        (vec!["--human-cut", "0"], "--human-cut must be at least 1"),
        (
            [&labels[..], &["--relevant-shares", "0.5"]].concat(),
            "cannot be used with",
        ),
    ] {
        let error = study(&setup, "out", &more).unwrap_err();
        assert!(error.contains(expected), "{more:?}: {error}");
    }
    assert!(!setup.path("out").exists());
}
