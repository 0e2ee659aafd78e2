//! A BERT of 3,000 weights in the files of Hugging Face, for tests. Its weights are a
//! formula, which `tests/reference.py` of `pretrained` knows too.

#![warn(missing_docs)]

use std::{collections::BTreeMap, fs, path::Path};

use safetensors::{Dtype, tensor::TensorView};
use serde_json::{Value, json};

/// The width of the hidden states.
pub const HIDDEN: usize = 8;
const LAYERS: usize = 2;
const INTERMEDIATE: usize = 16;
/// The tokens that a text has at most.
pub const POSITIONS: usize = 32;

/// Shape and values of every tensor, by its name.
pub type Weights = BTreeMap<String, (Vec<usize>, Vec<f32>)>;

/// Writes all files of the model.
pub fn write(folder: &Path) {
    fs::create_dir_all(folder).unwrap();
    let text = |json: Value| format!("{json:#}");
    fs::write(folder.join("config.json"), text(config())).unwrap();
    fs::write(folder.join("tokenizer.json"), text(tokenizer())).unwrap();
    write_weights(&weights(), &folder.join("model.safetensors"));
}

/// What `config.json` holds.
pub fn config() -> Value {
    json!({
        "model_type": "bert",
        "vocab_size": vocabulary().len(),
        "hidden_size": HIDDEN,
        "num_hidden_layers": LAYERS,
        "num_attention_heads": 2,
        "intermediate_size": INTERMEDIATE,
        "max_position_embeddings": POSITIONS,
        "type_vocab_size": 2,
        "hidden_act": "gelu",
        "layer_norm_eps": 1e-12,
        "hidden_dropout_prob": 0.1,
        "attention_probs_dropout_prob": 0.1,
    })
}

/// Special tokens, then letters and digits, each as the beginning of a word and as what
/// follows.
fn vocabulary() -> Vec<String> {
    let mut tokens: Vec<String> = ["[PAD]", "[UNK]", "[CLS]", "[SEP]"]
        .map(String::from)
        .into();
    for character in ('a'..='z').chain('0'..='9') {
        tokens.push(character.to_string());
        tokens.push(format!("##{character}"));
    }
    tokens
}

/// What `tokenizer.json` holds: words are split into letters and digits.
pub fn tokenizer() -> Value {
    let vocabulary: BTreeMap<String, usize> = vocabulary().into_iter().zip(0..).collect();
    let special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]"].map(|token| {
        let id = vocabulary[token];
        json!({"id": id, "content": token, "special": true, "single_word": false, "lstrip": false,
               "rstrip": false, "normalized": false})
    });
    let piece = |token: &str| json!({"SpecialToken": {"id": token, "type_id": 0}});
    let template =
        |token: &str| json!({"id": token, "ids": [vocabulary[token]], "tokens": [token]});
    json!({
        "version": "1.0",
        "truncation": null,
        "padding": null,
        "added_tokens": special,
        "normalizer": {"type": "BertNormalizer", "clean_text": true, "handle_chinese_chars": true,
                       "strip_accents": null, "lowercase": true},
        "pre_tokenizer": {"type": "BertPreTokenizer"},
        "post_processor": {
            "type": "TemplateProcessing",
            "single": [piece("[CLS]"), {"Sequence": {"id": "A", "type_id": 0}}, piece("[SEP]")],
            "pair": [],
            "special_tokens": {"[CLS]": template("[CLS]"), "[SEP]": template("[SEP]")},
        },
        "decoder": {"type": "WordPiece", "prefix": "##", "cleanup": true},
        "model": {"type": "WordPiece", "unk_token": "[UNK]", "continuing_subword_prefix": "##",
                  "max_input_chars_per_word": 100, "vocab": vocabulary},
    })
}

/// The weights by their formula.
pub fn weights() -> Weights {
    let mut shapes: BTreeMap<String, Vec<usize>> = BTreeMap::new();
    let mut put = |name: String, shape: &[usize]| shapes.insert(name, shape.to_vec());
    let embedding = |name: &str| format!("embeddings.{name}_embeddings.weight");
    put(embedding("word"), &[vocabulary().len(), HIDDEN]);
    put(embedding("position"), &[POSITIONS, HIDDEN]);
    put(embedding("token_type"), &[2, HIDDEN]);
    for layer in 0..LAYERS {
        let mut linear = |name: &str, from: usize, to: usize| {
            put(format!("encoder.layer.{layer}.{name}.weight"), &[to, from]);
            put(format!("encoder.layer.{layer}.{name}.bias"), &[to]);
        };
        linear("attention.self.query", HIDDEN, HIDDEN);
        linear("attention.self.key", HIDDEN, HIDDEN);
        linear("attention.self.value", HIDDEN, HIDDEN);
        linear("attention.output.dense", HIDDEN, HIDDEN);
        linear("intermediate.dense", HIDDEN, INTERMEDIATE);
        linear("output.dense", INTERMEDIATE, HIDDEN);
    }
    let norms = (0..LAYERS).flat_map(|layer| {
        ["attention.output", "output"].map(|name| format!("encoder.layer.{layer}.{name}"))
    });
    for module in norms.chain(["embeddings".into()]) {
        for name in ["weight", "bias"] {
            put(format!("{module}.LayerNorm.{name}"), &[HIDDEN]);
        }
    }

    // By the order of the names.
    let tensors = shapes
        .into_iter()
        .enumerate()
        .map(|(place, (name, shape))| {
            let center = f64::from(u8::from(name.ends_with("LayerNorm.weight")));
            let value = |index: usize| {
                let angle = 0.7 * (index + 1) as f64 + 1.3 * place as f64;
                (center + 0.3 * angle.sin()) as f32
            };
            let values = (0..shape.iter().product()).map(value).collect();
            (name, (shape, values))
        });
    tensors.collect()
}

/// Writes weights as a `model.safetensors`.
pub fn write_weights(weights: &Weights, path: &Path) {
    let bytes: Vec<(&String, &Vec<usize>, Vec<u8>)> = weights
        .iter()
        .map(|(name, (shape, values))| {
            let bytes = values.iter().flat_map(|value| value.to_le_bytes());
            (name, shape, bytes.collect())
        })
        .collect();
    let views = bytes.iter().map(|(name, shape, bytes)| {
        (
            name,
            TensorView::new(Dtype::F32, (*shape).clone(), bytes).unwrap(),
        )
    });
    let file = safetensors::serialize(views, None).unwrap();
    fs::write(path, file).unwrap();
}
