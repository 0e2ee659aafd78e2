//! What a run is asked for.

use std::path::PathBuf;

use burn::tensor::Device;
use clap::Args;

use super::{
    annotator::{Annotator, Mistakes, Simulation},
    batch::GroupSize,
    cell::{Cell, Setting},
    labels::Regime,
    trainer::{Events, Hyperparameters},
};
use crate::{encoder::PretrainedOptions, objective::Objective};

#[derive(Args, Clone)]
pub struct Arguments {
    /// Folder of a collection in BEIR layout [default: an embedded, generated collection]
    #[arg(long)]
    pub data: Option<PathBuf>,
    /// Train on qrels/SPLIT.tsv; several with commas between them are one
    #[arg(long, value_name = "SPLIT", default_value = "train", requires = "data")]
    pub train_split: String,
    /// Measure on qrels/SPLIT.tsv; several with commas between them are measured as one
    #[arg(long, value_name = "SPLIT", default_value = "test", requires = "data")]
    pub test_split: String,
    /// Lowest grade of a relevant document; its gain is 1, and that of higher ones grows
    /// with them
    #[arg(long, value_name = "GRADE", default_value_t = 1, requires = "data")]
    pub human_cut: i32,
    /// For a query neither train on nor rank what this file names: lines of a query and a
    /// document, with a tab between them
    #[arg(long, value_name = "FILE", requires = "data")]
    pub leave_out: Option<PathBuf>,
    /// Measure on the test split of another collection as well; may be repeated
    #[arg(long, value_name = "DIR")]
    pub also: Vec<PathBuf>,
    /// Train on a file in Tevatron's format, plain or .gz, with its own labels, in place
    /// of the regimes
    #[arg(
        long,
        value_name = "FILE",
        requires = "data",
        conflicts_with = "regimes"
    )]
    pub tevatron: Option<PathBuf>,
    /// And on one epoch of this file after it: a curriculum
    #[arg(long, value_name = "FILE", requires = "tevatron")]
    pub tevatron_then: Option<PathBuf>,
    /// Results; finished cells in it are not run again
    #[arg(long, value_name = "DIR", default_value = "reproduction/train")]
    pub out: PathBuf,
    /// Two epochs, two seeds: a look at everything in under two minutes
    #[arg(long)]
    quick: bool,

    /// [default: the six that the paper compares]
    #[arg(long, value_enum, value_delimiter = ',')]
    objectives: Vec<Objective>,
    /// Beside the objectives all their neighbours: losses of the library that the paper
    /// does not have
    #[arg(long)]
    neighbours: bool,
    #[arg(
        long,
        value_enum,
        value_delimiter = ',',
        default_value = "human,llm,merged"
    )]
    regimes: Vec<Regime>,
    /// Who is simulated
    #[arg(
        long,
        value_enum,
        value_delimiter = ',',
        default_value = "util-sel-qwen"
    )]
    annotators: Vec<Annotator>,
    /// Shares of relevant documents among an annotator's labels beside the human one
    #[arg(long, value_delimiter = ',', default_value = "0.7")]
    relevant_shares: Vec<f64>,
    /// How an annotator's wrong labels keep together by query: intraclass correlations of
    /// the labels beside the human one
    #[arg(long, value_delimiter = ',', default_value = "0")]
    clusterings: Vec<f64>,
    /// Where an annotator's wrong labels are drawn from
    #[arg(long, value_enum, value_delimiter = ',', default_value = "lexical")]
    mistakes: Vec<Mistakes>,
    #[arg(long, value_delimiter = ',', default_value = "4")]
    max_positives: Vec<usize>,
    /// What cosines are divided by
    #[arg(long, value_delimiter = ',', default_value = "0.05")]
    temperatures: Vec<f64>,
    /// Seeds of labels, weights and order [default: 1,2,3,4,5]
    #[arg(long, value_delimiter = ',')]
    seeds: Vec<u64>,

    /// 0 measures a pretrained encoder as it is: with --objectives lse-pair --regimes
    /// human --seeds 1, once [default: 6, with --adapter 5]
    #[arg(long)]
    epochs: Option<usize>,
    /// Queries a batch
    #[arg(long, default_value_t = 64)]
    pub batch_size: usize,
    /// Passages a query brings to its batch: positives, then hard negatives
    #[arg(long, default_value_t = 8)]
    group_size: usize,
    /// Bring so many hard negatives instead, beside all positives: groups grow with these
    #[arg(long, value_name = "COUNT", conflicts_with = "group_size")]
    hard_negatives: Option<usize>,
    /// Batches whose gradients are averaged for a step
    #[arg(long, value_name = "BATCHES", default_value_t = 1)]
    pub accumulate: usize,
    /// Learning rate of Adam, or the highest of AdamW [default: 5e-3, with --encoder
    /// 2e-5, with --adapter 1e-3]
    #[arg(long)]
    lr: Option<f64>,
    /// Rank the test queries once, after the last epoch
    #[arg(long)]
    pub no_curves: bool,
    /// Rank the test queries after every so many steps as well
    #[arg(long, value_name = "STEPS")]
    pub evaluate_every: Option<usize>,
    /// Record what share of the gradient wrong labels get, epoch by epoch, and where the
    /// trained encoder ranks an annotator's labels
    #[arg(long)]
    pub pulls: bool,
    /// Cells in training at a time, one thread each [default: the processor's threads;
    /// with --encoder and no --adapter 1, which uses all threads]
    #[arg(long)]
    jobs: Option<usize>,
    /// flex, and wgpu and cuda where compiled in [default: Burn's choice, which is flex
    /// where nothing else is]
    #[arg(long, value_name = "NAME")]
    pub device: Option<String>,

    #[command(flatten)]
    pub pretrained: PretrainedOptions,
}

const QUICK_SEEDS: [u64; 2] = [1, 2];
const SEEDS: [u64; 5] = [1, 2, 3, 4, 5];

impl Arguments {
    pub fn check(&self) -> Result<(), String> {
        let counts = [
            self.batch_size,
            self.group_size,
            self.accumulate,
            self.evaluate_every.unwrap_or(1),
            self.jobs(),
        ];
        if counts
            .iter()
            .chain(&self.max_positives)
            .any(|count| *count == 0)
        {
            return Err("--batch-size, --group-size, --max-positives, --accumulate, --evaluate-every and --jobs must be at least 1".into());
        }
        if self.human_cut < 1 {
            return Err("--human-cut must be at least 1".into());
        }
        if self.epochs() == 0 && !self.is_pretrained() {
            return Err("--epochs must be at least 1 without --encoder".into());
        }
        if self.trains_transformer() && self.jobs() > 1 {
            return Err(
                "--jobs must be 1 with --encoder and no --adapter: one training uses all \
                 threads, and dropout draws the random numbers of the process"
                    .into(),
            );
        }
        // f32 has their inverses.
        let is_temperature = |value: &f64| (1e-30..=1e30).contains(value);
        if !self.temperatures.iter().all(is_temperature) {
            return Err("--temperatures must lie between 1e-30 and 1e30".into());
        }
        let rate = self.learning_rate();
        if !(rate.is_finite() && rate > 0.0) {
            return Err(format!("--lr must be positive and finite, got {rate}"));
        }
        if !self
            .relevant_shares
            .iter()
            .all(|share| (0.0..=1.0).contains(share))
        {
            return Err("--relevant-shares must lie between 0 and 1".into());
        }
        if self.mistakes.contains(&Mistakes::Near) && !self.is_pretrained() {
            return Err("--mistakes near needs a pretrained encoder: give --encoder".into());
        }
        if !self
            .clusterings
            .iter()
            .all(|clustering| (0.0..1.0).contains(clustering))
        {
            return Err("--clusterings must be at least 0, and below 1".into());
        }
        self.pretrained.check()
    }

    /// An option that was given, and that a study has no use for.
    pub fn beside_a_study(&self) -> Option<&'static str> {
        let pretrained = &self.pretrained;
        let options = [
            ("--quick", self.quick),
            ("--also", !self.also.is_empty()),
            ("--tevatron", self.tevatron.is_some()),
            ("--no-curves", self.no_curves),
            ("--evaluate-every", self.evaluate_every.is_some()),
            ("--checkpoint-every", pretrained.checkpoint_every.is_some()),
            ("--stop-after", pretrained.stop_after.is_some()),
            ("--save-model", pretrained.save_model),
        ];
        let given = options.into_iter().find(|(_, given)| *given);
        given.map(|(name, _)| name)
    }

    pub fn epochs(&self) -> usize {
        let default = match (self.quick, self.pretrained.adapter) {
            (true, _) => 2,
            (false, Some(_)) => 5,
            (false, None) => 6,
        };
        self.epochs.unwrap_or(default)
    }

    pub fn jobs(&self) -> usize {
        let threads = || match self.trains_transformer() {
            true => 1,
            false => std::thread::available_parallelism().map_or(1, usize::from),
        };
        self.jobs.unwrap_or_else(threads)
    }

    pub fn is_pretrained(&self) -> bool {
        self.pretrained.encoder.is_some()
    }

    /// Whether the pretrained encoder itself is trained.
    pub fn trains_transformer(&self) -> bool {
        self.is_pretrained() && self.pretrained.adapter.is_none()
    }

    /// Whether the encoder as it is ranks for the train queries. A transformer takes
    /// minutes for it.
    pub fn ranks_before_training(&self) -> bool {
        let asked = self.pretrained.adapter.is_some() || self.mistakes.contains(&Mistakes::Near);
        self.is_pretrained() && asked
    }

    pub fn learning_rate(&self) -> f64 {
        let default = match (self.is_pretrained(), self.pretrained.adapter) {
            (false, _) => 5e-3,
            (true, None) => 2e-5,
            (true, Some(_)) => 1e-3,
        };
        self.lr.unwrap_or(default)
    }

    pub fn group_size(&self) -> GroupSize {
        match self.hard_negatives {
            Some(count) => GroupSize::Negatives(count),
            None => GroupSize::Passages(self.group_size),
        }
    }

    pub fn hyperparameters(&self) -> Hyperparameters {
        Hyperparameters {
            batch_size: self.batch_size,
            group_size: self.group_size(),
            accumulate: self.accumulate,
            learning_rate: self.learning_rate(),
            warmup: self.is_pretrained().then_some(self.pretrained.warmup),
        }
    }

    pub fn events(&self) -> Events {
        Events {
            evaluate_epochs: !self.no_curves,
            evaluate_every: self.evaluate_every,
            checkpoint_every: self.pretrained.checkpoint_every,
            stop_after: self.pretrained.stop_after,
            pulls: self.pulls,
        }
    }

    pub fn device(&self) -> Result<Device, String> {
        match self.device.as_deref() {
            None => Ok(Device::default()),
            Some("flex") => Ok(Device::flex()),
            #[cfg(feature = "wgpu")]
            Some("wgpu") => Ok(Device::wgpu(Default::default())),
            #[cfg(feature = "cuda")]
            Some("cuda") => Ok(Device::cuda(0_usize)),
            Some(other) => Err(format!(
                "--device {other} is not compiled in: add --features {other} to the command, \
                 where that is one of wgpu and cuda"
            )),
        }
    }

    fn regimes(&self) -> Vec<Regime> {
        match (&self.tevatron, &self.tevatron_then) {
            (None, _) => self.regimes.clone(),
            (Some(_), None) => vec![Regime::File],
            (Some(_), Some(_)) => vec![Regime::FileCurriculum],
        }
    }

    /// The grid, each cell once.
    pub fn cells(&self) -> Vec<Cell> {
        let seeds: &[u64] = match self.seeds.as_slice() {
            [] if self.quick => &QUICK_SEEDS,
            [] => &SEEDS,
            seeds => seeds,
        };
        let objectives: &[Objective] = match self.objectives.as_slice() {
            [] => &Objective::MAIN,
            objectives => objectives,
        };
        let neighbours: &[Objective] = match self.neighbours {
            true => &Objective::NEIGHBOURS,
            false => &[],
        };
        let mut cells = Vec::new();
        // The seeds outermost: an interrupted grid has some seeds of everything.
        for &seed in seeds {
            for regime in self.regimes() {
                for setting in self.settings(regime) {
                    for &objective in objectives.iter().chain(neighbours) {
                        let cell = Cell {
                            regime,
                            objective,
                            setting,
                            seed,
                        };
                        if !cells.contains(&cell) {
                            cells.push(cell);
                        }
                    }
                }
            }
        }
        cells
    }

    fn settings(&self, regime: Regime) -> Vec<Setting> {
        let asked = regime.asks_an_annotator();
        let mut settings = Vec::new();
        let mut simulations = Vec::new();
        for &annotator in &self.annotators {
            for &relevant_share in &self.relevant_shares {
                for &clustering in &self.clusterings {
                    let mistakes = self.mistakes.iter();
                    simulations.extend(mistakes.map(|&mistakes| Simulation {
                        annotator,
                        relevant_share,
                        clustering,
                        mistakes,
                    }));
                }
            }
        }
        for simulation in simulations {
            let simulation = asked.then_some(simulation);
            let clustering = simulation.map(|one| one.clustering);
            let mistakes = simulation.map(|one| one.mistakes);
            for &max_positives in &self.max_positives {
                for &temperature in &self.temperatures {
                    settings.push(Setting {
                        annotator: simulation.map(|one| one.annotator),
                        relevant_share: simulation.map(|one| one.relevant_share),
                        clustering: clustering.filter(|clustering| *clustering > 0.0),
                        mistakes: mistakes.filter(|mistakes| *mistakes != Mistakes::Lexical),
                        max_positives: (regime != Regime::Human).then_some(max_positives),
                        temperature,
                        learning_rate: None,
                        epochs: None,
                    });
                }
            }
        }
        settings
    }
}
