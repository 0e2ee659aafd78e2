//! A folder of a pretrained model, opened with the options of the training.

use std::path::Path;

use burn::tensor::Device;
use pretrained::{DualEncoder, Pretrained, Tokenizer, Tokens};

use super::{learner::TransformerEncoder, options::PretrainedOptions};
use crate::{
    encoder::{EncoderSource, Role, drawing},
    hash::Hash,
};

pub struct TransformerSource {
    towers: Towers,
    options: PretrainedOptions,
    queries: Tokenizer,
    passages: Tokenizer,
    documents: Tokenizer,
    /// Of each tower, the folder's name and the hash of its files.
    names: Vec<String>,
}

/// The models that the towers start from.
#[derive(Clone)]
pub struct Towers {
    pub queries: Pretrained,
    /// `None` if passages go through the queries' tower.
    pub passages: Option<Pretrained>,
}

/// Folders of separate towers.
const QUERY: &str = "query";
const PASSAGE: &str = "passage";

impl Towers {
    fn open(folder: &Path, options: &PretrainedOptions) -> Result<Self, String> {
        let open = |folder: &Path| {
            let mut model = Pretrained::open(folder).map_err(|error| error.to_string())?;
            model.options.dropout = options.dropout;
            model.options.precision = options.precision.into();
            if let Some(pooling) = options.pooling {
                model.options.pooling = pooling.into();
            }
            if let Some(normalize) = options.normalize {
                model.options.normalize = normalize;
            }
            Ok::<_, String>(model)
        };
        let [query, passage] = [QUERY, PASSAGE].map(|tower| folder.join(tower));
        if !query.is_dir() && !passage.is_dir() {
            let queries = open(folder)?;
            let passages = options.separate_towers.then(|| queries.clone());
            return Ok(Self { queries, passages });
        }
        let (queries, passages) = (open(&query)?, open(&passage)?);
        let [of_queries, of_passages] = [&queries, &passages].map(|tower| tower.config.hidden_size);
        if of_queries != of_passages {
            return Err(format!(
                "{}: hidden_size is {of_passages}, and that of the tower of queries {of_queries}",
                passage.join("config.json").display()
            ));
        }
        Ok(Self {
            queries,
            passages: Some(passages),
        })
    }

    fn passages(&self) -> &Pretrained {
        self.passages.as_ref().unwrap_or(&self.queries)
    }

    /// Writes trained towers as they were read: one to the folder itself, two to folders in it.
    pub fn save(&self, model: &DualEncoder, folder: &Path) -> Result<(), String> {
        let saved = match &self.passages {
            None => self.queries.save(model.queries(), folder),
            Some(passages) => self
                .queries
                .save(model.queries(), &folder.join(QUERY))
                .and_then(|()| passages.save(model.passages(), &folder.join(PASSAGE))),
        };
        saved.map_err(|error| error.to_string())
    }
}

impl TransformerSource {
    /// Reads everything but the weights.
    pub fn open(folder: &Path, options: &PretrainedOptions) -> Result<Self, String> {
        let towers = Towers::open(folder, options)?;
        let passage_length = options.passage_length;
        let document_length = options.evaluation_length.or(passage_length);
        let mut names = vec![named(&towers.queries)?];
        if let Some(passages) = &towers.passages
            && passages.folder() != towers.queries.folder()
        {
            names.push(named(passages)?);
        }
        Ok(Self {
            queries: tokenizer(&towers.queries, options.query_length)?,
            passages: tokenizer(towers.passages(), passage_length)?,
            documents: tokenizer(towers.passages(), document_length)?,
            options: options.clone(),
            names,
            towers,
        })
    }

    /// Whether queries and passages go through one model.
    pub fn is_shared(&self) -> bool {
        self.towers.passages.is_none()
    }

    /// The model that texts of a role go through.
    pub fn tower(&self, role: Role) -> &Pretrained {
        match role {
            Role::Query => &self.towers.queries,
            Role::Passage | Role::Document => self.towers.passages(),
        }
    }

    /// For the record, the models and what changes the vectors that they give, untrained.
    pub fn as_embedded(&self) -> String {
        let parts = [self.outputs(), self.inputs()].concat();
        format!("{}: {}", self.names.join(", "), parts.join(", "))
    }

    fn outputs(&self) -> Vec<String> {
        let mut parts = vec![match self.towers.passages {
            None => "one tower".to_string(),
            Some(_) => "separate towers".to_string(),
        }];
        let mut models = vec![&self.towers.queries];
        models.extend(&self.towers.passages);
        models.dedup_by_key(|model| model.options);
        for model in models {
            let of = &model.options;
            parts.push(format!("pooling {:?}", of.pooling).to_lowercase());
            parts.push(format!("normalize {}", of.normalize));
        }
        parts.push(format!("precision {:?}", self.options.precision).to_lowercase());
        parts
    }

    fn inputs(&self) -> Vec<String> {
        let options = &self.options;
        let mut parts = Vec::new();
        let [queries, passages, documents] = self.lengths();
        parts.push(format!(
            "queries of {queries}, passages of {passages}, documents of {documents} tokens"
        ));
        for (side, prefix) in [
            ("queries", &options.query_prefix),
            ("passages", &options.passage_prefix),
        ] {
            if !prefix.is_empty() {
                parts.push(format!("{prefix:?} before {side}"));
            }
        }
        parts
    }

    /// The longest query, passage and document to rank, in tokens.
    fn lengths(&self) -> [usize; 3] {
        let options = &self.options;
        let of_passages = self.towers.passages().options.max_length;
        let passages = options.passage_length.unwrap_or(of_passages);
        [
            options
                .query_length
                .unwrap_or(self.towers.queries.options.max_length),
            passages,
            options.evaluation_length.unwrap_or(passages),
        ]
    }
}

fn tokenizer(model: &Pretrained, length: Option<usize>) -> Result<Tokenizer, String> {
    let mut model = model.clone();
    if let Some(length) = length {
        model.options.max_length = length;
    }
    let tokenizer = model.tokenizer().map_err(|error| error.to_string())?;
    let (length, special) = (model.options.max_length, tokenizer.tokenize("")?.len());
    match length > special {
        true => Ok(tokenizer),
        false => Err(format!(
            "{}: a text of {length} tokens has no room for words beside {special} special tokens",
            model.folder().display()
        )),
    }
}

/// The name of a model's folder, with a hash of its files.
fn named(model: &Pretrained) -> Result<String, String> {
    let folder = model.folder();
    let path = folder.canonicalize().unwrap_or(folder.to_path_buf());
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    Ok(format!("{name} {}", hash_of_files(model)?))
}

/// Of all files that vectors depend on.
pub fn hash_of_files(model: &Pretrained) -> Result<Hash, String> {
    let mut hash = Hash::default();
    for file in ["config.json", "tokenizer.json", "model.safetensors"] {
        hash.add_file(&model.folder().join(file))?;
    }
    Ok(hash)
}

impl EncoderSource for TransformerSource {
    type Encoder = TransformerEncoder;

    fn name(&self) -> String {
        let options = &self.options;
        let mut parts = self.outputs();
        parts.push(match options.dropout {
            Some(rate) => format!("dropout {rate}"),
            None => "dropout of config.json".into(),
        });
        parts.extend(self.inputs());
        parts.push(format!("passes of {} tokens", options.pass_tokens));
        parts.extend(
            options
                .cache_chunk
                .map(|chunk| format!("gradient cache of {chunk} texts")),
        );
        parts.push(options.optimizer_name());
        format!("{}: {}", self.names.join(", "), parts.join(", "))
    }

    fn read(&self, text: &str, role: Role) -> Result<Tokens, String> {
        let (tokenizer, prefix) = match role {
            Role::Query => (&self.queries, &self.options.query_prefix),
            Role::Passage => (&self.passages, &self.options.passage_prefix),
            Role::Document => (&self.documents, &self.options.passage_prefix),
        };
        tokenizer.tokenize(&format!("{prefix}{text}"))
    }

    fn ranks_as_trained(&self) -> bool {
        let [_, passages, documents] = self.lengths();
        passages == documents
    }

    /// The pretrained weights, whatever the seed.
    fn create(&self, _: u64, device: &Device) -> Result<TransformerEncoder, String> {
        let _drawing = drawing();
        let encoder = |model: &Pretrained| {
            let encoder = model.encoder(device);
            encoder.map_err(|error| error.to_string())
        };
        let queries = encoder(&self.towers.queries)?;
        let model = match &self.towers.passages {
            None => DualEncoder::shared(queries),
            Some(passages) => DualEncoder::separate(queries, encoder(passages)?),
        };
        Ok(TransformerEncoder::new(
            model,
            self.towers.clone(),
            &self.options,
            device,
        ))
    }
}
