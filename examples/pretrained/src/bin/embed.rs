//! Prints the vectors of texts, a JSON list a line.
//!
//! ```text
//! cargo run --release -p pretrained --bin embed -- MODEL < texts.txt
//! ```
//!
//! `MODEL` is a folder, or with `--features hub` a name such as
//! `sentence-transformers/all-MiniLM-L6-v2`; each line of the input is a text.

use std::{error::Error, io, process::ExitCode};

use burn::tensor::Device;
use clap::Parser;
use pretrained::{Pretrained, Tokens};

#[derive(Parser)]
struct Arguments {
    /// Folder of the model, or with the feature hub its name
    model: String,
    /// Tokens with padding that go through the encoder at a time
    #[arg(long, default_value_t = 1024)]
    pass_tokens: usize,
}

fn main() -> ExitCode {
    match run(&Arguments::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(args: &Arguments) -> Result<(), Box<dyn Error>> {
    let model = Pretrained::find(&args.model)?;
    let tokenizer = model.tokenizer()?;
    let encoder = model.encoder(&Device::default())?;
    let mut texts = Vec::new();
    for line in io::stdin().lines() {
        texts.push(tokenizer.tokenize(&line?)?);
    }
    let texts: Vec<&Tokens> = texts.iter().collect();
    let vectors = encoder.encode(&texts, args.pass_tokens);
    let [_, width] = vectors.dims();
    let values: Vec<f32> = vectors.into_data().iter().collect();
    for vector in values.chunks(width) {
        println!("{}", serde_json::to_string(vector)?);
    }
    Ok(())
}
