//! The experiments of docs/reproduction.md.

use std::{ffi::OsString, num::NonZeroUsize, path::PathBuf};

/// Commands that have a folder of results in common.
pub struct Experiment {
    /// Also that of the folder.
    pub name: &'static str,
    /// The heading of docs/reproduction.md that has its tables.
    pub heading: &'static str,
    /// The collection that is trained on, then those that are measured on as well.
    pub collections: &'static [&'static str],
    /// Whether the commands are of a pretrained encoder.
    pub encoder: bool,
    /// What `gradients`, `train` or `study` are asked, without folders but for files of a
    /// collection, as in `DIR/cranfield/source_docs.tsv`. Later commands add to the results of
    /// earlier ones.
    pub commands: &'static [&'static str],
    /// What was measured.
    pub cost: &'static str,
    /// Whether it runs only when it is asked for.
    pub long: bool,
}

const ANALYSIS: &str = "The analysis";
const MISTAKES: &str = "Wrong labels";
const WHY: &str = "Why";
const REAL: &str = "Labels of a real LLM";
const OTHER: &str = "Other settings";
const PRETRAINED: &str = "The transformer itself";

/// What most experiments have.
const ONE: Experiment = Experiment {
    name: "",
    heading: "",
    collections: &["nfcorpus"],
    encoder: true,
    commands: &[],
    cost: "",
    long: false,
};

/// A study of the paper's objectives, and of what Rand1LH expects.
macro_rules! study {
    ($($options:tt)*) => {
        concat!(
            "study --objectives single,rand1-lh,joint-lh,joint-lh-normalized,sum-marg-lh,",
            "lse-pair,expected-rand1-lh ",
            $($options)*
        )
    };
}

/// A study of the grades of an LLM, each query tested once.
macro_rules! llm_labels {
    ($options:literal) => {
        study!(concat!(
            "--adapter --train-split human --folds 5 --llm-cut 2 --regimes llm,all ",
            "--temperatures 0.02,0.05,0.1,0.2,0.5 --choice-seeds 1,2,3 --seeds 1,2,3,4,5 ",
            $options
        ))
    };
}

/// In the order in which they run, and stand in the page.
pub const EXPERIMENTS: &[Experiment] = &[
    Experiment {
        name: "gradients",
        heading: ANALYSIS,
        collections: &[],
        encoder: false,
        commands: &["gradients"],
        cost: "1 second",
        ..ONE
    },
    Experiment {
        name: "mistakes",
        heading: MISTAKES,
        commands: &[study!(
            "--adapter --test-split dev --regimes llm,all \
            --relevant-shares 0,0.29,0.57,1 --mistakes near,lexical,random \
            --temperatures 0.02,0.05,0.07,0.1,0.14,0.2,0.3,0.5 --choice-seeds 1,2,3 \
            --seeds 1,2,3,4,5,6,7,8,9,10"
        )],
        cost: "36 minutes of processor time; 3094 trainings",
        ..ONE
    },
    Experiment {
        name: "more-labels",
        heading: MISTAKES,
        commands: &[study!(
            "--adapter --test-split dev --regimes llm --annotators rel-sel-qwen \
            --relevant-shares 0,0.29,1 --temperatures 0.05,0.07,0.1,0.14,0.2 \
            --choice-seeds 1,2,3 --seeds 1,2,3,4,5,6,7,8,9,10"
        )],
        cost: "6 minutes of processor time; 525 trainings",
        ..ONE
    },
    Experiment {
        name: "clustered",
        heading: MISTAKES,
        commands: &[study!(
            "--adapter --test-split dev --regimes llm --relevant-shares 0.29 \
            --clusterings 0,0.25,0.5 --mistakes lexical,near \
            --temperatures 0.07,0.1,0.14 --choice-seeds 1,2,3 \
            --seeds 1,2,3,4,5,6,7,8,9,10"
        )],
        cost: "10 minutes of processor time; 798 trainings",
        ..ONE
    },
    Experiment {
        name: "pulls",
        heading: WHY,
        commands: &[
            "train --adapter --test-split dev --no-curves --pulls --regimes llm \
            --relevant-shares 0.29 --mistakes lexical,near,random --temperatures 0.1 \
            --seeds 1,2,3 \
            --objectives rand1-lh,joint-lh-normalized,sum-marg-lh,lse-pair,expected-rand1-lh",
        ],
        cost: "1 minute of processor time; 45 trainings",
        ..ONE
    },
    Experiment {
        name: "antique-gpt-4o",
        heading: REAL,
        collections: &["antique_llm"],
        commands: &[llm_labels!(
            "--human-cut 3 --llm-labels qrels/llm_gpt-4o_umbrela.tsv"
        )],
        cost: "2 minutes on two shared cores, and 4 to embed texts; 1400 trainings",
        ..ONE
    },
    Experiment {
        name: "antique-llama-3.2",
        heading: REAL,
        collections: &["antique_llm"],
        commands: &[llm_labels!(
            "--human-cut 3 --llm-labels qrels/llm_llama-3.2_umbrela.tsv"
        )],
        cost: "1 minute on two shared cores, and 4 to embed texts; 1400 trainings",
        ..ONE
    },
    Experiment {
        name: "dl-gpt-4o",
        heading: REAL,
        collections: &["dl19_21_llm"],
        commands: &[llm_labels!(
            "--human-cut 2 --llm-labels qrels/llm_gpt-4o_umbrela.tsv"
        )],
        cost: "6 minutes on two shared cores, and 10 to embed texts; 1400 trainings",
        ..ONE
    },
    Experiment {
        name: "dl-llama-3.2",
        heading: REAL,
        collections: &["dl19_21_llm"],
        commands: &[llm_labels!(
            "--human-cut 2 --llm-labels qrels/llm_llama-3.2_umbrela_med4.tsv"
        )],
        cost: "15 minutes on two cores that were busier, and 10 to embed texts; 1400 trainings",
        ..ONE
    },
    Experiment {
        name: "positives",
        heading: OTHER,
        commands: &[study!(
            "--adapter --test-split dev --regimes llm,all --annotators rel-sel-qwen \
            --relevant-shares 0.57 --max-positives 1,2,4,8 --hard-negatives 4 \
            --temperatures 0.05,0.1,0.2 --choice-seeds 1,2,3 --seeds 1,2,3,4,5"
        )],
        cost: "8 minutes of processor time; 784 trainings",
        ..ONE
    },
    Experiment {
        name: "mixed",
        heading: OTHER,
        commands: &[study!(
            "--adapter --test-split dev \
            --regimes human,llm,merged,merged-any-order,curriculum,curriculum-all \
            --relevant-shares 0.29 --temperatures 0.05,0.1,0.2 --choice-seeds 1,2,3 \
            --seeds 1,2,3,4,5"
        )],
        cost: "7 minutes of processor time; 588 trainings",
        ..ONE
    },
    Experiment {
        name: "raw",
        heading: OTHER,
        commands: &[study!(
            "--adapter --test-split dev --normalize false --regimes llm,all \
            --relevant-shares 0.29 --mistakes lexical,near --temperatures 1 \
            --choice-seeds 1,2,3 --seeds 1,2,3,4,5"
        )],
        cost: "5 minutes of processor time, most of it to embed texts; 168 trainings",
        ..ONE
    },
    Experiment {
        name: "cranfield",
        heading: OTHER,
        collections: &["cranfield"],
        commands: &[study!(
            "--adapter --train-split train,dev,test --folds 5 \
            --leave-out DIR/cranfield/source_docs.tsv --regimes llm,all \
            --relevant-shares 0.29 --mistakes lexical,near \
            --temperatures 0.02,0.05,0.1,0.2,0.5 --choice-seeds 1,2,3 \
            --seeds 1,2,3,4,5,6,7,8,9,10"
        )],
        cost: "3 minutes of processor time; 2625 trainings",
        ..ONE
    },
    Experiment {
        name: "tuned",
        heading: OTHER,
        commands: &[study!(
            "--adapter --test-split dev --regimes llm,all --relevant-shares 0.29 \
            --mistakes lexical,near --temperatures 0.1 \
            --learning-rates 0.0003,0.001,0.003 --epoch-counts 2,5,10 \
            --choice-seeds 1,2 --seeds 1,2,3,4,5"
        )],
        cost: "7 minutes of processor time; 483 trainings",
        ..ONE
    },
    Experiment {
        name: "queries-alone",
        heading: OTHER,
        commands: &[study!(
            "--adapter queries --test-split dev --regimes llm,all \
            --relevant-shares 0.29 --mistakes lexical,near --temperatures 0.05,0.1,0.2 \
            --choice-seeds 1,2,3 --seeds 1,2,3,4,5"
        )],
        cost: "2 minutes of processor time; 294 trainings",
        ..ONE
    },
    Experiment {
        name: "residual",
        heading: OTHER,
        commands: &[study!(
            "--adapter residual --test-split dev --regimes llm,all \
            --relevant-shares 0.29 --mistakes lexical,near --temperatures 0.05,0.1,0.2 \
            --choice-seeds 1,2,3 --seeds 1,2,3,4,5"
        )],
        cost: "7 minutes of processor time; 294 trainings",
        ..ONE
    },
    Experiment {
        name: "zero-shot",
        heading: PRETRAINED,
        commands: &["train --test-split dev --normalize true --query-length 32 \
            --passage-length 32 --evaluation-length 64 --pass-tokens 1024 \
            --objectives lse-pair --regimes human --epochs 0 --seeds 1"],
        cost: "1 minute on two shared cores; 1 training of no epoch, which ranks",
        ..ONE
    },
    Experiment {
        name: "fine-tuned",
        heading: PRETRAINED,
        commands: &[
            "train --test-split dev --normalize true --dropout 0 --no-curves \
            --query-length 32 --passage-length 32 --evaluation-length 64 --pass-tokens 1024 \
            --batch-size 32 --group-size 3 --max-positives 2 \
            --regimes llm --relevant-shares 0.29 --mistakes near --temperatures 0.1 \
            --epochs 1 --lr 5e-5 --seeds 1,2,3 \
            --objectives lse-pair,sum-marg-lh,joint-lh-normalized,rand1-lh \
            --checkpoint-every 20",
        ],
        cost: "6 minutes a training on two shared cores; 12 trainings",
        long: true,
        ..ONE
    },
    Experiment {
        name: "bag-of-words",
        heading: "A bag of words",
        collections: &["nfcorpus", "cranfield"],
        encoder: false,
        commands: &[
            "train --test-split dev",
            // From here on: "When the paper's conclusions appear".
            "train --test-split dev --seeds 1,2,3 --regimes llm --relevant-shares 0,0.35,0.7,1 \
                --objectives rand1-lh,joint-lh,joint-lh-normalized,sum-marg-lh,lse-pair",
            "train --test-split dev --seeds 1,2,3 --regimes llm --temperatures 0.02,0.05,0.1,0.2 \
                --objectives rand1-lh,joint-lh,joint-lh-normalized,sum-marg-lh,lse-pair",
            "train --test-split dev --seeds 1,2,3 --regimes curriculum,all",
            "train --test-split dev --seeds 1,2,3 --regimes llm --annotators rel-sel-llama \
                --max-positives 1,2,4,8 \
                --objectives rand1-lh,joint-lh-normalized,sum-marg-lh,lse-pair",
            "train --test-split dev --seeds 1,2,3 --regimes llm \
                --objectives lse-pair,lse-pair-weakest,lse-pair-strongest,lse-pair-hardest,\
                lse-pair-weakest-hardest,lse-pair-strongest-hardest",
            "train --test-split dev --seeds 1,2,3 --regimes llm \
                --annotators rel-sel-qwen,util-rank-qwen,rel-sel-llama,util-sel-llama,\
                util-rank-llama \
                --objectives rand1-lh,joint-lh,joint-lh-normalized,sum-marg-lh,lse-pair",
        ],
        cost: "8 minutes on two cores; 342 trainings",
        ..ONE
    },
    Experiment {
        name: "fine-tuned-right-labels",
        heading: PRETRAINED,
        commands: &[
            "train --test-split dev --normalize true --dropout 0 --query-length 64 \
            --passage-length 128 --evaluation-length 256 --pass-tokens 1024 --batch-size 32 \
            --group-size 2 --max-positives 2 --regimes all --epochs 1 --lr 5e-5 --seeds 1",
        ],
        cost: "8 to 14 minutes a training on two shared cores; 6 trainings",
        long: true,
        ..ONE
    },
    Experiment {
        name: "neighbours",
        heading: "The neighbours, on the vectors of a frozen encoder",
        commands: &[
            "study --adapter --test-split dev --regimes all --neighbours \
            --temperatures 0.02,0.05,0.1,0.2,0.4,0.8 --choice-seeds 1,2,3 --seeds 1,2,3,4,5",
        ],
        cost: "6 minutes on two shared cores; 368 trainings",
        ..ONE
    },
];

/// In a command, the folder of the collections.
const COLLECTIONS: &str = "DIR/";

/// Where everything is.
pub struct Places {
    pub collections: PathBuf,
    pub encoder: PathBuf,
    pub out: PathBuf,
    pub embeddings: Option<PathBuf>,
    pub jobs: Option<NonZeroUsize>,
    /// Whether studies write their rankings.
    pub rankings: bool,
}

impl Places {
    /// Words that stand for the folders.
    pub fn unknown() -> Self {
        Self {
            collections: "DIR".into(),
            encoder: "FOLDER".into(),
            out: "OUT".into(),
            embeddings: None,
            jobs: None,
            rankings: true,
        }
    }
}

impl Experiment {
    /// A command with its folders, as the program takes it.
    pub fn words(&self, command: &str, places: &Places) -> Vec<OsString> {
        let word = |word: &str| match word.strip_prefix(COLLECTIONS) {
            Some(path) => places.collections.join(path).into(),
            None => OsString::from(word),
        };
        let mut words: Vec<OsString> = command.split_whitespace().map(word).collect();
        let has = |word: &str| command.split_whitespace().any(|one| one == word);
        let adapter = has("--adapter");
        if has("study") && !places.rankings {
            words.push("--no-rankings".into());
        }
        let mut add = |option: &str, value: OsString| words.extend([option.into(), value]);
        if self.encoder {
            add("--encoder", places.encoder.clone().into());
        }
        if let Some(folder) = places.embeddings.clone().filter(|_| adapter) {
            add("--embeddings", folder.into());
        }
        let options = ["--data"].into_iter().chain(std::iter::repeat("--also"));
        for (name, option) in self.collections.iter().zip(options) {
            add(option, places.collections.join(name).into());
        }
        add("--out", places.out.join(self.name).into());
        // A transformer is trained alone.
        let side_by_side = !has("gradients") && (adapter || !self.encoder);
        if let Some(jobs) = places.jobs.filter(|_| side_by_side) {
            add("--jobs", jobs.to_string().into());
        }
        words
    }

    /// A command as a shell takes it.
    pub fn line(&self, command: &str, places: &Places) -> String {
        let words = self.words(command, places);
        let words = words.iter().map(|word| quoted(&word.to_string_lossy()));
        let words: Vec<String> = words.collect();
        format!("cargo run --release -p reproduce -- {}", words.join(" "))
    }
}

fn quoted(word: &str) -> String {
    let plain = |letter: char| letter.is_ascii_alphanumeric() || "-_./,:=+@%".contains(letter);
    match !word.is_empty() && word.chars().all(plain) {
        true => word.into(),
        false => format!("'{}'", word.replace('\'', r"'\''")),
    }
}
