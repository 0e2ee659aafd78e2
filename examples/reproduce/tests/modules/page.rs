use std::{collections::HashSet, fs, path::Path};

use super::*;
use crate::train::cell::Cell;

fn arguments(more: &[&str]) -> Arguments {
    let words = ["reproduce", "page"].iter().chain(more);
    match crate::Arguments::parse_from(words).command {
        Command::Page(arguments) => arguments,
        _ => unreachable!("that is the command"),
    }
}

/// Of an experiment's commands: trainings, each once.
fn trainings(experiment: &Experiment) -> usize {
    let (mut cells, mut of_studies) = (Vec::<Cell>::new(), 0);
    for command in experiment.commands {
        match parse(experiment, command, &Places::unknown()).unwrap() {
            Command::Gradients(_) => {}
            Command::Train(arguments) => {
                arguments.check().unwrap();
                for cell in arguments.cells() {
                    if !cells.contains(&cell) {
                        cells.push(cell);
                    }
                }
            }
            Command::Study(arguments) => {
                arguments.check().unwrap();
                assert!(!arguments.no_rankings, "{}", experiment.name);
                let plan = arguments.plan();
                let choice = plan.points.len() * arguments.choice_seeds.len();
                of_studies += arguments.folds.unwrap_or(1)
                    * plan.conditions.len()
                    * plan.objectives.len()
                    * (choice + plan.seeds.len());
            }
            _ => panic!("{}: not a command of an experiment", experiment.name),
        }
    }
    cells.len() + of_studies
}

#[test]
fn every_experiment_can_run_and_says_how_many_trainings_it_has() {
    for experiment in EXPERIMENTS {
        let Experiment { name, cost, .. } = experiment;
        match trainings(experiment) {
            0 => {}
            count => assert!(
                cost.split("; ")
                    .any(|part| part.starts_with(&format!("{count} training"))),
                "{name}: {count} trainings, not {cost}"
            ),
        }
    }
}

#[test]
fn jobs_and_embeddings_go_where_they_are_taken() {
    let places = Places {
        embeddings: Some("a b".into()),
        jobs: NonZeroUsize::new(2),
        rankings: false,
        ..Places::unknown()
    };
    for experiment in EXPERIMENTS {
        for command in experiment.commands {
            match parse(experiment, command, &places).unwrap() {
                Command::Train(arguments) => arguments.check().unwrap(),
                Command::Study(arguments) => arguments.check().unwrap(),
                _ => {}
            }
            let line = experiment.line(command, &places);
            let adapter = command.contains("--adapter");
            let is_study = command.starts_with("study");
            assert_eq!(line.contains(" --no-rankings"), is_study, "{line}");
            assert_eq!(line.contains("--embeddings 'a b'"), adapter, "{line}");
        }
    }
}

#[test]
fn every_experiment_has_a_name_of_its_own_and_a_heading_of_the_page() {
    let names: HashSet<&str> = EXPERIMENTS.iter().map(|one| one.name).collect();
    assert_eq!(names.len(), EXPERIMENTS.len());
    let page = include_str!("../../../../docs/reproduction.md");
    let headings: Vec<&str> = page
        .lines()
        .filter(|line| line.starts_with('#'))
        .map(|line| line.trim_start_matches('#').trim())
        .collect();
    for Experiment { name, heading, .. } in EXPERIMENTS {
        assert!(headings.contains(heading), "{name}: {heading}");
    }
}

#[test]
fn an_unknown_name_is_answered_with_the_known_ones() {
    let error = run(&arguments(&["--only", "gradients,gradient"])).unwrap_err();
    assert!(error.contains("--only gradient: "), "{error}");
    for experiment in EXPERIMENTS {
        assert!(error.contains(experiment.name), "{error}");
    }
}

const SMALL: [Experiment; 4] = [
    Experiment {
        name: "analysis",
        heading: "The analysis",
        collections: &[],
        encoder: false,
        commands: &["gradients"],
        cost: "",
        long: false,
    },
    Experiment {
        name: "absent",
        heading: "Elsewhere",
        collections: &["nowhere"],
        encoder: true,
        commands: &["study --adapter"],
        cost: "",
        long: false,
    },
    Experiment {
        name: "broken",
        heading: "Elsewhere",
        collections: &[],
        encoder: false,
        commands: &["train --epochs 0"],
        cost: "",
        long: false,
    },
    Experiment {
        name: "embedded",
        heading: "The experiments",
        collections: &[],
        encoder: false,
        commands: &[
            "train --quick --epochs 1 --seeds 1 --regimes human --objectives lse-pair",
            "train --quick --epochs 1 --seeds 1 --regimes llm --objectives lse-pair",
        ],
        cost: "",
        long: false,
    },
];

#[test]
fn a_page_has_all_tables_and_is_resumed() {
    let name = format!("reproduce-page-{}", std::process::id());
    let out = std::env::temp_dir().join(name);
    let _ = fs::remove_dir_all(&out);
    let to = out.display().to_string();
    let args = arguments(&["--collections", "no-folder", "--out", &to, "--verify"]);
    let page = || fs::read_to_string(out.join("page.md")).unwrap();

    let error = run_list(&args, &SMALL).unwrap_err();
    assert!(error.contains("broken: --epochs must be"), "{error}");
    assert!(!error.contains("embedded"), "{error}");
    let first = page();
    let missing = Path::new("no-folder").join("nowhere");
    for expected in [
        "### The analysis",
        "| LSEPair |",
        "### Results",
        "; 2 trainings",
        "![sweep](analysis/sweep.svg)",
        &format!("missing: --encoder; {}", missing.display()),
        "failed: --epochs must be",
    ] {
        assert!(first.contains(expected), "{expected}: {first}");
    }
    let record = |name: &str| Record::read(&out.join(name)).unwrap();
    let embedded = record("embedded");
    assert_eq!(embedded.finished, SMALL[3].commands);
    assert!(embedded.seconds > 0.0);
    // A command that failed before it took its folder leaves nothing there.
    assert!(!out.join("broken").exists());

    let written = || {
        let files = crate::output::files(&out.join("embedded/runs"))
            .unwrap()
            .into_iter();
        let times = files.map(|file| (file.metadata().unwrap().modified().unwrap(), file));
        times.collect::<Vec<_>>()
    };
    let before = written();
    run_list(&args, &SMALL).unwrap_err();
    assert_eq!(written(), before);
    assert_eq!(record("embedded"), embedded);
    assert_eq!(page(), first);

    // The others stay in the page.
    let some = arguments(&["--out", &to, "--only", "analysis"]);
    run_list(&some, &SMALL).unwrap();
    let tables = page();
    assert!(tables.contains("### Results"), "{tables}");
    assert!(tables.contains("in this one: not among --only"), "{tables}");

    // An interrupted experiment goes on, and its time is added.
    fs::remove_dir_all(before[0].1.parent().unwrap()).unwrap();
    run_list(&args, &SMALL).unwrap_err();
    assert_eq!(written().len(), before.len());
    assert!(record("embedded").seconds > embedded.seconds);
    fs::remove_dir_all(&out).unwrap();
}

#[test]
fn long_experiments_are_asked_for() {
    let long = Experiment {
        long: true,
        ..SMALL[0]
    };
    assert!(arguments(&[]).skips(&long).is_some());
    assert!(arguments(&["--long"]).skips(&long).is_none());
    assert!(arguments(&["--only", "analysis"]).skips(&long).is_none());
}
