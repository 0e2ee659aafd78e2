//! A nested study: what is to be set is chosen for each objective on held-out train queries, and
//! what was chosen is measured on test queries that the choice does not see.

mod arguments;
mod charts;
mod choice;
mod condition;
mod label_file;
mod report;
mod sensitivity;
mod split;
#[cfg(test)]
#[path = "../../tests/modules/study.rs"]
mod tests;

use retrieval::Metrics;

pub use arguments::Arguments;

use arguments::Plan;
use choice::{Choice, Last, Tried, mean};
use condition::{Condition, Point};
use label_file::LabelFile;
use report::Results;
use split::{Draw, Part};

use crate::{
    encoder::{EncoderSource, TextOf},
    objective::Objective,
    output::named,
    train::{
        self, Experiment, WithEncoder,
        cell::{Cell, Evaluation, Outcome},
        evaluation::{Measured, write_qrels},
        job::Job,
        prepared::{Tested, TrainQuery},
        report::of_queries,
        settings::StudySettings,
    },
};

pub fn run(args: &Arguments) -> Result<(), String> {
    args.check()?;
    let train = &args.train_arguments();
    train::with_encoder(train, Nested { args, train })
}

struct Nested<'a> {
    args: &'a Arguments,
    train: &'a train::Arguments,
}

impl WithEncoder for Nested<'_> {
    fn run<S: EncoderSource>(self, source: S) -> Result<(), String> {
        let Self { args, train } = self;
        let draw = Draw {
            folds: args.folds,
            held_out: args.held_out,
            seed: args.draw,
        };
        let mut experiment = Experiment::new(train, source)?;
        let files = train.data.iter().zip(&args.llm_labels);
        let mut files = files.map(|(folder, path)| LabelFile::read(folder, path, args.llm_cut));
        let labels = files.next().transpose()?;
        if let Some(labels) = &labels {
            labels.label(&experiment.collections[0], &mut experiment.queries);
        }
        let parts = draw.parts(&experiment.collections[0], &experiment.queries, &train.out)?;
        let mut settings = experiment.settings();
        settings.is_of_a_study(StudySettings {
            folds: args.folds,
            held_out: parts[0].held_out.queries.len(),
            draw: args.draw,
            llm_labels: labels.as_ref().map(|labels| labels.name().to_string()),
        });
        if labels.is_some() {
            settings.labels = "LLM labels are those of a file";
        }
        let _lock = settings.claim(&train.out)?;
        let study = Study {
            args,
            experiment,
            plan: args.plan(),
            labels,
            parts,
        };
        study.run()
    }
}

struct Study<'a, S: EncoderSource> {
    args: &'a Arguments,
    experiment: Experiment<'a, S>,
    plan: Plan,
    labels: Option<LabelFile>,
    parts: Vec<Part<TextOf<S>>>,
}

impl<S: EncoderSource> Study<'_, S> {
    fn run(&self) -> Result<(), String> {
        let out = &self.args.train.out;
        for part in &self.parts {
            let runs = part.last.join("runs");
            named(&runs, std::fs::create_dir_all(&runs))?;
            write_qrels(&part.last, &self.collection().corpus, &part.test)?;
        }
        println!("the choice");
        let choices = self.choices()?;
        println!("the test");
        let lasts = self.lasts(&choices)?;
        let results = Results {
            untrained: self.untrained()?,
            choices,
            lasts,
            seeds: &self.plan.seeds,
            agreement: self
                .labels
                .as_ref()
                .map(|labels| labels.agreement(self.collection(), &self.experiment.queries)),
        };
        results.write_all(out)
    }

    fn collection(&self) -> &train::prepared::Prepared<TextOf<S>> {
        &self.experiment.collections[0]
    }

    /// Conditions, each with every objective.
    fn compared(&self) -> impl Iterator<Item = (Condition, Objective)> {
        let Plan {
            conditions,
            objectives,
            ..
        } = &self.plan;
        let compared = conditions.iter().map(move |condition| {
            let objectives = objectives.iter();
            objectives.map(move |objective| (*condition, *objective))
        });
        compared.flatten()
    }

    fn choices(&self) -> Result<Vec<Choice>, String> {
        let seeds = &self.args.choice_seeds;
        let mut jobs = Vec::new();
        // The seeds outermost: an interrupted study has some seeds of everything.
        for &seed in seeds {
            for part in &self.parts {
                for (condition, objective) in self.compared() {
                    for &point in &self.plan.points {
                        jobs.push(self.choice_job(part, condition.cell(objective, point, seed)));
                    }
                }
            }
        }
        self.experiment.run_jobs(&jobs)?;

        let mut choices = Vec::new();
        for part in &self.parts {
            for (condition, objective) in self.compared() {
                let tried = self.plan.points.iter().map(|&point| {
                    let evaluation = |seed: &u64| {
                        let cell = condition.cell(objective, point, *seed);
                        let outcome = outcome(&self.choice_job(part, cell))?;
                        let first = outcome.collections.first();
                        let first = first.filter(|_| outcome.diverged.is_none());
                        let values =
                            first.map(|one| of_queries([one].into_iter(), |of| of.ndcg_10));
                        Ok((*seed, values))
                    };
                    let evaluations = seeds.iter().map(evaluation);
                    let evaluations = evaluations.collect::<Result<Vec<_>, String>>()?;
                    Ok(Tried::new(point, part.held_out.queries.len(), &evaluations))
                });
                let tried = tried.collect::<Result<_, String>>()?;
                choices.push(Choice::new(part.name.clone(), condition, objective, tried)?);
            }
        }
        Ok(choices)
    }

    fn choice_job<'a>(&'a self, part: &'a Part<TextOf<S>>, cell: Cell) -> Job<'a, TextOf<S>> {
        Job {
            out: &part.choice,
            rankings: false,
            may_diverge: true,
            ..self.job(cell, part, &part.kept, &part.held_out)
        }
    }

    fn last_job<'a>(&'a self, part: &'a Part<TextOf<S>>, cell: Cell) -> Job<'a, TextOf<S>> {
        self.job(cell, part, &part.train, &part.test)
    }

    fn job<'a>(
        &'a self,
        cell: Cell,
        part: &'a Part<TextOf<S>>,
        queries: &'a [TrainQuery<TextOf<S>>],
        tested: &'a Tested<TextOf<S>>,
    ) -> Job<'a, TextOf<S>> {
        Job {
            cell,
            out: &part.last,
            queries,
            tested: vec![(self.collection(), tested)],
            rankings: !self.args.no_rankings,
            may_diverge: false,
        }
    }

    fn lasts(&self, choices: &[Choice]) -> Result<Vec<Last>, String> {
        let chosen = |part: &Part<TextOf<S>>, condition: Condition, objective: Objective| {
            let mut choices = choices.iter();
            let choice = choices.find(|choice| {
                choice.fold == part.name
                    && choice.condition == condition
                    && choice.objective == objective
            });
            choice
                .map(|choice| choice.chosen)
                .expect("every objective has a choice")
        };
        let mut jobs = Vec::new();
        for &seed in &self.plan.seeds {
            for (condition, objective) in self.compared() {
                for part in &self.parts {
                    let point = chosen(part, condition, objective);
                    jobs.push(self.last_job(part, condition.cell(objective, point, seed)));
                }
            }
        }
        self.experiment.run_jobs(&jobs)?;

        let lasts = self.compared().map(|(condition, objective)| {
            let parts = self.parts.iter();
            let points = parts.map(|part| chosen(part, condition, objective));
            let points: Vec<Point> = points.collect();
            let mut right = Vec::new();
            let mut seeds = Vec::new();
            for &seed in &self.plan.seeds {
                let mut evaluations = Vec::new();
                for (part, point) in self.parts.iter().zip(&points) {
                    let cell = condition.cell(objective, *point, seed);
                    let outcome = outcome(&self.last_job(part, cell))?;
                    right.extend(outcome.simulated_annotator.map(|report| report.correct));
                    evaluations.extend(outcome.collections);
                }
                seeds.push(union(evaluations));
            }
            Ok(Last {
                condition,
                objective,
                chosen: points,
                seeds,
                right: (!right.is_empty()).then(|| mean(&right)),
            })
        });
        lasts.collect()
    }

    /// A pretrained encoder as it is, on the test queries.
    fn untrained(&self) -> Result<Option<Evaluation>, String> {
        if !self.args.train.is_pretrained() {
            return Ok(None);
        }
        let Experiment { source, device, .. } = &self.experiment;
        let encoder = source.create(self.plan.seeds[0], device)?;
        let parts = self.parts.iter().map(|part| {
            let measured = Measured::new(&encoder, self.collection(), &part.test);
            let measured = measured.map_err(|failure| failure.to_string())?;
            Ok(measured.evaluation)
        });
        Ok(Some(union(parts.collect::<Result<_, String>>()?)))
    }
}

fn outcome<T>(job: &Job<T>) -> Result<Outcome, String> {
    let outcome = job.finished()?;
    outcome.ok_or_else(|| format!("{}: is not finished", job.folder().display()))
}

/// The queries of all folds as one.
fn union(evaluations: Vec<Evaluation>) -> Evaluation {
    let (mut queries, mut of_queries) = (Vec::new(), Vec::new());
    let mut name = String::new();
    for evaluation in evaluations {
        name = evaluation.name;
        queries.extend(evaluation.queries);
        of_queries.extend(evaluation.of_queries);
    }
    Evaluation {
        name,
        mean: Metrics::mean(&of_queries),
        queries,
        of_queries,
    }
}
