//! Models in folders: read, written, damaged.

mod common;

use std::{fs, path::Path};

use burn::tensor::Device;
use common::{Folder, difference, rows, tensors, tokens};
use pretrained::{ModelError, Pooling, Pretrained, TextEncoder, Tokens};
use safetensors::{Dtype, tensor::TensorView};
use serde_json::{Value, json};

/// Everything that reads a file.
fn read(folder: &Path) -> Result<(Pretrained, TextEncoder), ModelError> {
    let model = Pretrained::open(folder)?;
    model.tokenizer()?;
    let encoder = model.encoder(&Device::default())?;
    Ok((model, encoder))
}

fn vectors((model, encoder): &(Pretrained, TextEncoder)) -> Vec<Vec<f32>> {
    let texts = tokens(model, &["two words", "", "a longer text of words"]);
    rows(encoder.encode(&texts.iter().collect::<Vec<&Tokens>>(), 100))
}

/// That a folder is refused, with the file and what the message is to say.
fn refused(folder: &Path, file: &str, says: &str) -> ModelError {
    let error = read(folder).map(|_| ()).unwrap_err();
    assert_eq!(error.path(), folder.join(file), "{error}");
    let message = error.to_string();
    assert!(message.contains(says), "{message}");
    assert!(message.starts_with(&error.path().display().to_string()));
    error
}

fn edit(path: &Path, change: impl FnOnce(&mut Value)) {
    let mut json = serde_json::from_slice(&fs::read(path).unwrap()).unwrap();
    change(&mut json);
    fs::write(path, json.to_string()).unwrap();
}

fn with_config(change: impl FnOnce(&mut Value)) -> Folder {
    let folder = Folder::tiny();
    edit(&folder.join("config.json"), change);
    folder
}

fn with_weights(change: impl FnOnce(&mut tiny_bert::Weights)) -> Folder {
    let folder = Folder::tiny();
    let mut weights = tiny_bert::weights();
    change(&mut weights);
    tiny_bert::write_weights(&weights, &folder.join("model.safetensors"));
    folder
}

/// Weights of any type.
fn write_bytes(folder: &Path, dtype_of: impl Fn(&str) -> (Dtype, fn(f32) -> Vec<u8>)) {
    let tensors: Vec<(String, Dtype, Vec<usize>, Vec<u8>)> = tiny_bert::weights()
        .into_iter()
        .map(|(name, (shape, values))| {
            let (dtype, bytes) = dtype_of(&name);
            let bytes = values.into_iter().flat_map(bytes).collect();
            (name, dtype, shape, bytes)
        })
        .collect();
    let views = tensors.iter().map(|(name, dtype, shape, bytes)| {
        let view = TensorView::new(*dtype, shape.clone(), bytes);
        (name, view.unwrap())
    });
    let file = safetensors::serialize(views, None).unwrap();
    fs::write(folder.join("model.safetensors"), file).unwrap();
}

fn f32(value: f32) -> Vec<u8> {
    value.to_le_bytes().into()
}

#[test]
fn a_written_model_is_read_again() {
    let first = Folder::tiny();
    fs::write(first.join("vocab.txt"), "for transformers").unwrap();
    edit(&first.join("config.json"), |json| {
        json["torch_dtype"] = "float16".into();
    });
    let mut model = Pretrained::open(&*first).unwrap();
    for (pooling, normalize, max_length) in [(Pooling::Mean, false, 32), (Pooling::Cls, true, 7)] {
        model.options.pooling = pooling;
        model.options.normalize = normalize;
        model.options.max_length = max_length;
        let encoder = model.encoder(&Device::default()).unwrap();
        let second = Folder::new();
        model.save(&encoder, &second).unwrap();
        let again = read(&second).unwrap();
        assert_eq!(again.0.options, model.options);
        assert_eq!(vectors(&again), vectors(&(model.clone(), encoder)));
        assert!(second.join("vocab.txt").exists());
        let config = fs::read_to_string(second.join("config.json")).unwrap();
        assert!(config.contains(r#""torch_dtype": "float32""#), "{config}");
    }
}

#[test]
fn a_model_is_written_over_itself() {
    let folder = Folder::tiny();
    let before = read(&folder).unwrap();
    before.0.save(&before.1, &folder).unwrap();
    assert_eq!(vectors(&read(&folder).unwrap()), vectors(&before));
}

#[test]
fn written_tensors_are_those_of_the_file() {
    let folder = Folder::tiny();
    let (model, encoder) = read(&folder).unwrap();
    let expected = tiny_bert::weights().into_iter();
    let expected = expected.map(|(name, (_, values))| (name, values)).collect();
    assert_eq!(tensors(&model, &encoder), expected);
}

#[test]
fn missing_files_are_named() {
    let nowhere = Folder::new().join("nowhere");
    refused(&nowhere, "", "there is no such folder");
    for file in ["config.json", "tokenizer.json", "model.safetensors"] {
        let folder = Folder::tiny();
        fs::remove_file(folder.join(file)).unwrap();
        refused(&folder, file, "o such file");
    }
}

#[test]
fn weights_in_other_files_are_pointed_out() {
    for file in ["model.safetensors.index.json", "pytorch_model.bin"] {
        let folder = Folder::tiny();
        fs::rename(folder.join("model.safetensors"), folder.join(file)).unwrap();
        let error = refused(&folder, "model.safetensors", file);
        assert!(error.to_string().contains("save_pretrained"), "{error}");
    }
}

#[test]
fn damaged_files_are_named() {
    for file in ["config.json", "tokenizer.json", "model.safetensors"] {
        let whole = fs::read(Folder::tiny().join(file)).unwrap();
        let mut cuts: Vec<Vec<u8>> = [0, 1, 7, 8, 9, 100, whole.len() / 2, whole.len() - 2]
            .map(|length| whole[..length].to_vec())
            .into();
        cuts.push(b"garbage, and more of it".to_vec());
        cuts.push(vec![0xff; 1000]);
        cuts.push(vec![0; 1000]);
        for bytes in cuts {
            let folder = Folder::tiny();
            fs::write(folder.join(file), bytes).unwrap();
            refused(&folder, file, "");
        }
    }
}

#[test]
fn any_cut_of_the_header_of_weights_is_an_error() {
    let folder = Folder::tiny();
    let path = folder.join("model.safetensors");
    let whole = fs::read(&path).unwrap();
    let header = u64::from_le_bytes(whole[..8].try_into().unwrap()) as usize;
    for place in (8..header).step_by(41) {
        let mut bytes = whole.clone();
        bytes[place] = b'}';
        fs::write(&path, &bytes).unwrap();
        // A name or a key with a brace in it is one that is not known.
        refused(&folder, "model.safetensors", "");
    }
}

#[test]
fn a_missing_tensor_is_named() {
    for name in tiny_bert::weights().keys() {
        let folder = with_weights(|weights| {
            weights.remove(name);
        });
        let error = refused(&folder, "model.safetensors", "missing");
        assert_eq!(error.tensor(), Some(name.as_str()));
    }
}

#[test]
fn a_tensor_of_another_shape_is_named() {
    for name in tiny_bert::weights().keys() {
        for add in [0, 1] {
            let folder = with_weights(|weights| {
                let (shape, values) = weights.get_mut(name).unwrap();
                match add {
                    0 => shape.push(1),
                    _ => {
                        shape[0] += 1;
                        values.resize(shape.iter().product(), 0.0);
                    }
                }
            });
            let shape = format!("{:?}", {
                let mut shape = tiny_bert::weights()[name].0.clone();
                match add {
                    0 => shape.push(1),
                    _ => shape[0] += 1,
                }
                shape
            });
            let error = refused(&folder, "model.safetensors", "config.json says");
            assert_eq!(error.tensor(), Some(name.as_str()));
            // As in the file, not as it is kept.
            let [found, expected] = [shape, format!("{:?}", tiny_bert::weights()[name].0)];
            assert!(error.to_string().contains(&found), "{error}: {found}");
            assert!(
                error.to_string().ends_with(&expected),
                "{error}: {expected}"
            );
        }
    }
}

#[test]
fn a_transposed_tensor_is_named() {
    let name = "encoder.layer.1.intermediate.dense.weight";
    let folder = with_weights(|weights| weights.get_mut(name).unwrap().0.reverse());
    let error = refused(&folder, "model.safetensors", "[8, 16]");
    assert_eq!(error.tensor(), Some(name));
}

#[test]
fn a_tensor_of_integers_is_named() {
    let name = "encoder.layer.0.attention.self.key.weight";
    let folder = Folder::tiny();
    write_bytes(&folder, |tensor| {
        let dtype = [Dtype::F32, Dtype::I32][usize::from(tensor == name)];
        (dtype, f32)
    });
    let error = refused(&folder, "model.safetensors", "no floats");
    assert_eq!(error.tensor(), Some(name));
}

#[test]
fn weights_of_other_sizes_than_the_config_are_refused() {
    let sizes = [
        ("num_hidden_layers", 1, "encoder.layer.1."),
        ("num_hidden_layers", 3, "encoder.layer.2."),
        ("num_hidden_layers", 1000, "encoder.layer."),
        ("hidden_size", 16, ""),
        ("hidden_size", 1_000_000_000_000u64, ""),
        ("intermediate_size", 1_000_000_000_000, "intermediate"),
        ("vocab_size", 2_000_000_000, "word_embeddings"),
        ("vocab_size", 77, "word_embeddings"),
        (
            "max_position_embeddings",
            1_000_000_000_000,
            "position_embeddings",
        ),
        ("max_position_embeddings", 31, "position_embeddings"),
        ("type_vocab_size", 1, "token_type_embeddings"),
    ];
    for (name, size, tensor) in sizes {
        let folder = with_config(|json| json[name] = size.into());
        let error = refused(&folder, "model.safetensors", tensor);
        assert!(error.tensor().is_some(), "{error}");
    }
}

#[test]
fn configs_that_cannot_be_are_refused() {
    let changes = [
        (
            "model_type",
            json!("roberta"),
            "unknown architecture roberta",
        ),
        ("model_type", Value::Null, "without model_type"),
        ("hidden_act", json!("silu"), "silu"),
        ("num_attention_heads", json!(0), "num_attention_heads"),
        ("num_attention_heads", json!(3), "no multiple"),
        ("hidden_size", json!(0), "hidden_size"),
        ("hidden_size", json!(-8), "-8"),
        ("hidden_size", json!(1e12), "1000000000000"),
        ("hidden_size", json!("8"), "string"),
        ("num_hidden_layers", json!(0), "num_hidden_layers"),
        (
            "num_hidden_layers",
            json!(1_000_000_000_000u64),
            "num_hidden_layers",
        ),
        ("vocab_size", json!(u64::MAX), "vocab_size"),
        ("vocab_size", json!(0), "vocab_size"),
        (
            "max_position_embeddings",
            json!(2),
            "max_position_embeddings",
        ),
        ("hidden_dropout_prob", json!(1.0), "hidden_dropout_prob"),
        (
            "attention_probs_dropout_prob",
            json!(-0.1),
            "attention_probs",
        ),
        ("layer_norm_eps", json!(0.0), "layer_norm_eps"),
        (
            "position_embedding_type",
            json!("relative_key"),
            "relative_key",
        ),
        ("is_decoder", json!(true), "decoder"),
    ];
    for (name, value, says) in changes {
        let folder = with_config(|json| json[name] = value);
        refused(&folder, "config.json", says);
    }
    let folder = Folder::tiny();
    for text in ["[]", "3", "null", "{}"] {
        fs::write(folder.join("config.json"), text).unwrap();
        refused(&folder, "config.json", "unknown architecture");
    }
}

#[test]
fn an_architecture_may_stand_for_the_model_type() {
    let folder = with_config(|json| {
        json["model_type"] = Value::Null;
        json["architectures"] = json!(["BertForMaskedLM"]);
    });
    read(&folder).unwrap();
}

#[test]
fn a_vocabulary_beyond_the_table_is_refused() {
    let folder = with_config(|json| json["vocab_size"] = 75.into());
    refused(&folder, "tokenizer.json", "token 75 is beyond");
}

#[test]
fn a_special_token_beyond_the_table_is_refused() {
    let folder = Folder::tiny();
    let mut tokenizer = tiny_bert::tokenizer();
    tokenizer["post_processor"]["special_tokens"]["[SEP]"]["ids"] = json!([999]);
    fs::write(folder.join("tokenizer.json"), tokenizer.to_string()).unwrap();
    refused(&folder, "tokenizer.json", "special token 999 is beyond");
}

/// At which the crate `tokenizers` panics.
#[test]
fn a_damaged_decoder_is_refused() {
    let folder = Folder::tiny();
    let mut tokenizer = tiny_bert::tokenizer();
    tokenizer["decoder"] = json!({"type": "WordPiece"});
    let [whole, damaged] = [r#"{"type":"WordPiece"}"#, r#"{"type","WordPiece"}"#];
    let text = tokenizer.to_string();
    assert!(text.contains(whole), "{text}");
    let path = folder.join("tokenizer.json");
    fs::write(path, text.replace(whole, damaged)).unwrap();
    refused(&folder, "tokenizer.json", "damaged: ");
}

#[test]
fn maximal_lengths_are_checked() {
    let folder = Folder::tiny();
    let mut model = Pretrained::open(&*folder).unwrap();
    for (max_length, file) in [
        (0, "tokenizer.json"),
        (1, "tokenizer.json"),
        (33, "config.json"),
        (usize::MAX, "config.json"),
    ] {
        model.options.max_length = max_length;
        let error = model.tokenizer().unwrap_err();
        assert_eq!(error.path(), folder.join(file));
        assert!(
            error.to_string().contains(&max_length.to_string()),
            "{error}"
        );
    }
    for max_length in [2, 3, 32] {
        model.options.max_length = max_length;
        let text = &tokens(
            &model,
            &["a b c d e f g h i j k l m n o p q r s t u v w x y z 1 2 3 4 5 6"],
        )[0];
        assert_eq!(text.len(), max_length);
        assert_eq!(text.ids()[0], 2);
        assert_eq!(text.ids()[max_length - 1], 3);
    }
    let tokenizer = model.tokenizer().unwrap();
    assert!(tokenizer.clone().with_max_length(1).is_err());
    let cut = tokenizer.with_max_length(4).unwrap();
    assert_eq!(cut.tokenize("a b c").unwrap().len(), 4);
}

fn sentence_transformers(kinds: &[&str], pooling: Value) -> Folder {
    let folder = Folder::tiny();
    let modules = kinds
        .iter()
        .map(|kind| json!({"type": format!("a.b.{kind}")}));
    let modules = Value::from_iter(modules);
    fs::write(folder.join("modules.json"), modules.to_string()).unwrap();
    fs::create_dir(folder.join("1_Pooling")).unwrap();
    fs::write(folder.join("1_Pooling/config.json"), pooling.to_string()).unwrap();
    folder
}

#[test]
fn settings_of_sentence_transformers_are_read() {
    let three = ["Transformer", "Pooling", "Normalize"];
    for (kinds, pooling, expected) in [
        (
            &three[..],
            json!({"pooling_mode_mean_tokens": true, "pooling_mode_cls_token": false}),
            Pooling::Mean,
        ),
        (
            &three[..2],
            json!({"pooling_mode_cls_token": true}),
            Pooling::Cls,
        ),
        (&three[..2], json!({"pooling_mode": "cls"}), Pooling::Cls),
        (
            &three[..2],
            json!({"pooling_mode": "mean", "include_prompt": true}),
            Pooling::Mean,
        ),
    ] {
        let folder = sentence_transformers(kinds, pooling);
        for (max_length, expected_length) in [(json!(9), 9), (json!(512), 32), (Value::Null, 32)] {
            let sentence = json!({"max_seq_length": max_length}).to_string();
            fs::write(folder.join("sentence_bert_config.json"), sentence).unwrap();
            let (model, _) = read(&folder).unwrap();
            assert_eq!(model.options.pooling, expected);
            assert_eq!(model.options.normalize, kinds.len() == 3);
            assert_eq!(model.options.max_length, expected_length);
        }
    }
}

#[test]
fn the_longest_text_may_be_that_of_the_tokenizer() {
    let mean = json!({"pooling_mode": "mean"});
    for folder in [
        Folder::tiny(),
        sentence_transformers(&["Transformer", "Pooling"], mean),
    ] {
        let file = folder.join("tokenizer_config.json");
        // Without a limit of its own a tokenizer has one of thirty digits.
        for (length, expected) in [
            ("20", 20),
            ("512", 32),
            ("1000000000000000019884624838656", 32),
        ] {
            fs::write(&file, format!(r#"{{"model_max_length": {length}}}"#)).unwrap();
            assert_eq!(read(&folder).unwrap().0.options.max_length, expected);
        }
        fs::write(&file, "{").unwrap();
        refused(&folder, "tokenizer_config.json", "");
    }
}

#[test]
fn settings_that_are_not_known_are_refused() {
    let two = ["Transformer", "Pooling"];
    for pooling in [
        json!({"pooling_mode_max_tokens": true}),
        json!({"pooling_mode_mean_tokens": true, "pooling_mode_max_tokens": true}),
        json!({"pooling_mode": "lasttoken"}),
        json!({"pooling_mode": ["mean", "max"]}),
        json!({}),
        json!([]),
    ] {
        let folder = sentence_transformers(&two, pooling);
        refused(&folder, "1_Pooling/config.json", "is not known");
    }
    let mean = json!({"pooling_mode_mean_tokens": true});
    let folder = sentence_transformers(&["Transformer", "Pooling", "Dense"], mean.clone());
    refused(&folder, "modules.json", "Dense");
    let folder = sentence_transformers(&["Transformer"], mean.clone());
    refused(&folder, "modules.json", "pooling");
    let folder = sentence_transformers(&two, mean);
    fs::remove_file(folder.join("1_Pooling/config.json")).unwrap();
    refused(&folder, "1_Pooling/config.json", "no such file");
    for text in ["{}", "[3]", "[{}]", "[{"] {
        fs::write(folder.join("modules.json"), text).unwrap();
        refused(&folder, "modules.json", "");
    }
}

#[test]
fn names_of_other_times_and_heads_beside_the_encoder_are_read() {
    let expected = vectors(&read(&Folder::tiny()).unwrap());
    let folder = with_weights(|weights| {
        let old = std::mem::take(weights).into_iter().map(|(name, tensor)| {
            let name = name.replace("LayerNorm.weight", "LayerNorm.gamma");
            let name = name.replace("LayerNorm.bias", "LayerNorm.beta");
            (format!("bert.{name}"), tensor)
        });
        weights.extend(old);
        let heads = [
            "bert.pooler.dense.weight",
            "bert.embeddings.position_ids",
            "cls.predictions.transform.dense.weight",
            "cls.predictions.transform.LayerNorm.gamma",
            "classifier.bias",
        ];
        weights.extend(heads.map(|name| (name.to_string(), (vec![2], vec![0.5, 1.5]))));
    });
    assert_eq!(vectors(&read(&folder).unwrap()), expected);
}

#[test]
fn weights_of_other_float_types_are_read() {
    fn f64(value: f32) -> Vec<u8> {
        f64::from(value).to_le_bytes().into()
    }
    fn bf16(value: f32) -> Vec<u8> {
        value.to_le_bytes()[2..].into()
    }
    let expected = vectors(&read(&Folder::tiny()).unwrap());
    let folder = Folder::tiny();
    write_bytes(&folder, |_| (Dtype::F64, f64));
    assert_eq!(vectors(&read(&folder).unwrap()), expected);
    write_bytes(&folder, |_| (Dtype::BF16, bf16));
    let rounded = vectors(&read(&folder).unwrap());
    let largest = rounded.iter().zip(&expected).map(|(a, b)| difference(a, b));
    let largest = largest.fold(0.0, f32::max);
    // Eight bits of a weight.
    assert!(0.0 < largest && largest < 0.2, "{largest}");
}

#[test]
fn weights_that_are_half_as_long_are_read() {
    // 1 and 0.5 in half precision, which are all that this file has.
    fn f16(value: f32) -> Vec<u8> {
        [0, if value > 0.0 { 0x3c } else { 0x38 }].into()
    }
    let folder = Folder::tiny();
    write_bytes(&folder, |_| (Dtype::F16, f16));
    let (model, encoder) = read(&folder).unwrap();
    let expected = tiny_bert::weights().into_iter().map(|(name, (_, values))| {
        let halves = values
            .iter()
            .map(|value| if *value > 0.0 { 1.0 } else { 0.5 });
        (name, halves.collect())
    });
    assert_eq!(tensors(&model, &encoder), expected.collect());
}

#[test]
fn weights_that_are_no_numbers_are_read_as_they_are() {
    let folder = with_weights(|weights| {
        let (_, values) = weights.get_mut("embeddings.LayerNorm.bias").unwrap();
        values[0] = f32::NAN;
    });
    let vectors = vectors(&read(&folder).unwrap());
    assert!(vectors.iter().flatten().all(|value| value.is_nan()));
}

#[test]
fn a_dropout_that_is_no_rate_is_refused() {
    let folder = Folder::tiny();
    let mut model = Pretrained::open(&*folder).unwrap();
    for dropout in [1.0, -0.1, f64::NAN, f64::INFINITY] {
        model.options.dropout = Some(dropout);
        let error = model.encoder(&Device::default()).map(|_| ()).unwrap_err();
        assert!(error.to_string().contains("dropout"), "{error}");
    }
}

#[test]
fn texts_of_any_kind_have_tokens() {
    let folder = Folder::tiny();
    let model = Pretrained::open(&*folder).unwrap();
    let megabyte = "word and ".repeat(120_000);
    let one_word = "x".repeat(1_000_000);
    let texts = [
        "",
        " \t\n\u{3000} ",
        "\0",
        "語",
        "🙂 é ß",
        &megabyte,
        &one_word,
    ];
    let tokens = tokens(&model, &texts);
    let lengths: Vec<usize> = tokens.iter().map(Tokens::len).collect();
    // Accents go; what is not known is one token a word, as is a word beyond 100 letters.
    assert_eq!(lengths, [2, 2, 2, 3, 5, 32, 3]);
    assert_eq!(tokens[3].ids(), [2, 1, 3]);
    assert_eq!(tokens[6].ids(), [2, 1, 3]);
    let encoder = model.encoder(&Device::default()).unwrap();
    let vectors = rows(encoder.encode(&tokens.iter().collect::<Vec<_>>(), 100));
    assert!(vectors.iter().flatten().all(|value| value.is_finite()));
    assert!(difference(&vectors[0], &vectors[1]) < 1e-6);
    assert!(difference(&vectors[0], &vectors[3]) > 1e-3);
}
