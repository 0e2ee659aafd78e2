//! Every message with which the crate refuses stands in a test that reaches it. Whoever
//! writes a new one is told here.

use std::{fs, path::Path};

/// Messages that no caller can reach, and why. Whoever reads one has found a defect.
const UNREACHABLE: [(&str, &str); 28] = [
    // What a function is asked for is decided by the one that calls it.
    (
        "{statistic:?} is not of the positives alone",
        "it is asked for those that are",
    ),
    (
        "targets of the documents",
        "a pass over both directions has both",
    ),
    (
        "tables of sizes were asked for",
        "who asks for them names the sizes",
    ),
    ("this backend reads no lists", "it is given masks"),
    (
        "autodiff is of first order",
        "autodiff calls it of the backend within",
    ),
    ("targets: expected a mask, got {:?}", "its type says it"),
    (
        "statistics: expected scores of a float type, got {:?}",
        "their type says it",
    ),
    (
        "statistics: expected scores of a float type, got {dtype:?}",
        "their type says it",
    ),
    // What no client of this crate writes. Burn ends the session of one that does.
    ("a message: expected a length", "it counted something"),
    (
        "a message: expected a kind of relevance, got {other}",
        "it writes one of them",
    ),
    (
        "a message: expected another tensor",
        "it sends as many as it says",
    ),
    (
        "a message: expected an answer of shape {:?}, got {:?}",
        "it knows the shape",
    ),
    // What is known by then.
    ("there is a size", "`Matryoshka::new` refuses none"),
    (
        "a weight is not 0",
        "`Bidirectional::with_weights` refuses two of them",
    ),
    ("there is a device", "`ShardedStrategy::new` refuses none"),
    ("embeddings", "it has been asked whether they are"),
    ("the device has been looked at", "by `Processor::of`"),
    (
        "a gradient is on the device of its tensor",
        "it was computed there",
    ),
    (
        "the table is a function of the scores",
        "it was computed of them",
    ),
    ("it was made of this type", "by `Output::new`"),
    ("it is without gaps", "it was copied if it had any"),
    ("it is not dropped", "nobody refers to what is dropped"),
    ("a CPU's tensor can be read", "it lies in memory"),
    ("every processor has its baseline", "it runs this program"),
    (
        "a vector of entries",
        "slices are cut to the length of a vector",
    ),
    ("coefficients", "a constant has them"),
    ("there are lanes", "a constant says how many"),
    ("as many", "levels have as many buffers"),
];

/// Messages of the crate, and where they stand.
fn messages() -> Vec<(String, String)> {
    let mut messages = Vec::new();
    for (path, text) in sources("src") {
        let (code, _) = parted(&path, &text);
        for call in CALLS {
            for arguments in arguments(&code, call) {
                let literals = literals(arguments);
                let longest = literals.into_iter().max_by_key(String::len);
                // Other things than errors are displayed, too.
                if call == "write!(" && !code.contains("Error for ") {
                    continue;
                }
                let message = match (call, longest) {
                    ("assert_shape!(", _) => format!("assert_shape!({arguments})"),
                    (_, Some(message)) => message,
                    _ => String::new(),
                };
                messages.push((path.clone(), message));
            }
        }
    }
    messages
}

/// What panics or explains an error.
const CALLS: [&str; 7] = [
    "panic!(",
    "unreachable!(",
    "assert!(",
    "assert_eq!(",
    "assert_shape!(",
    ".expect(",
    "write!(",
];

/// What panics in one build only, or says nothing.
const REFUSED: [&str; 5] = [
    "debug_assert",
    "todo!(",
    "unimplemented!(",
    ".unwrap()",
    ".unwrap_err()",
];

/// Code that asserts for the compiler and for `unsafe`, and says nothing to anyone.
const SILENT: [&str; 2] = ["src/kernels/cpu/simd/", "src/kernels/cpu/product.rs"];

/// Those that a caller can reach.
fn reachable() -> impl Iterator<Item = (String, String)> {
    messages().into_iter().filter(|(path, message)| {
        let is_silent = message.is_empty() && SILENT.iter().any(|at| path.starts_with(at));
        let is_unreachable = UNREACHABLE.iter().any(|(known, _)| known == message);
        !is_silent && !is_unreachable
    })
}

#[test]
fn every_message_stands_in_a_test() {
    let tests: String = ["src", "tests"]
        .into_iter()
        .flat_map(sources)
        .filter(|(path, _)| !file!().ends_with(path))
        .map(|(path, text)| parted(&path, &text).1)
        .collect();
    let missing = reachable().filter(|(_, message)| !tests.contains(fixed_part(message)));
    let missing: Vec<String> = missing
        .map(|(path, message)| format!("{path}: {message:?}"))
        .collect();
    assert!(
        missing.is_empty(),
        "no test has these messages:\n{}",
        missing.join("\n")
    );
}

/// The form of the house, unless a message passes on what somebody else says.
#[test]
fn every_message_says_what_was_expected_and_what_came() {
    for (path, message) in reachable() {
        let expects = message.contains("expected ") || message.contains(" must ");
        let has_form = expects && message.contains("got ");
        let passes_on = ["{source}", "{reason}"]
            .iter()
            .any(|of| message.ends_with(of));
        // A client that writes another message is told nothing: its session ends.
        let is_of_server = message.starts_with("a message: expected ");
        assert!(
            has_form || passes_on || is_of_server || message.starts_with("assert_shape!("),
            "{path}: {message:?}"
        );
    }
}

#[test]
fn what_is_called_unreachable_is_there() {
    let messages = messages();
    for (known, why) in UNREACHABLE {
        assert!(
            messages.iter().any(|(_, message)| message == known),
            "{known:?} ({why}) is in no source"
        );
    }
}

#[test]
fn nothing_panics_without_a_word_or_in_one_build_only() {
    for (path, text) in sources("src") {
        let (code, _) = parted(&path, &text);
        for refused in REFUSED {
            assert!(!code.contains(refused), "{path} has {refused}");
        }
    }
}

/// The files below a folder of the package, by their paths.
fn sources(folder: &str) -> Vec<(String, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut files = Vec::new();
    let mut folders = vec![root.join(folder)];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).expect("a folder of the package") {
            let path = entry.expect("an entry of the folder").path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let text = fs::read_to_string(&path).expect("a source");
                let path = path.strip_prefix(root).expect("below the package");
                files.push((path.to_str().expect("a name").replace('\\', "/"), text));
            }
        }
    }
    files
}

/// What a file has of the crate and what it has of tests, without comments; strings are on
/// one line.
fn parted(path: &str, text: &str) -> (String, String) {
    let lines = text.lines().map(str::trim_start);
    let lines = lines.filter(|line| !line.starts_with("//"));
    let text = lines.collect::<Vec<_>>().join("\n").replace("\\\n", "");
    let is_test = path.starts_with("tests/")
        || path.ends_with("/tests.rs")
        || path == "src/kernels/reference.rs";
    let first = match is_test {
        true => 0,
        false => ["#[cfg(test)]\nmod tests {", "#[cfg(all(test"]
            .iter()
            .filter_map(|start| text.find(start))
            .min()
            .unwrap_or(text.len()),
    };
    let (code, tests) = text.split_at(first);
    (code.to_string(), tests.to_string())
}

/// What stands between the parentheses of each call.
fn arguments<'a>(code: &'a str, call: &str) -> Vec<&'a str> {
    let starts = code
        .match_indices(call)
        .map(|(start, call)| start + call.len());
    starts.map(|start| until_closed(&code[start..])).collect()
}

/// The code up to the parenthesis that nothing opened.
fn until_closed(code: &str) -> &str {
    let (mut depth, mut in_string, mut is_escaped) = (0, false, false);
    for (at, character) in code.char_indices() {
        match character {
            _ if is_escaped => is_escaped = false,
            '\\' if in_string => is_escaped = true,
            '"' => in_string = !in_string,
            _ if in_string => {}
            '(' => depth += 1,
            ')' if depth == 0 => return &code[..at],
            ')' => depth -= 1,
            _ => {}
        }
    }
    code
}

/// The strings of some code.
fn literals(code: &str) -> Vec<String> {
    code.split('"')
        .skip(1)
        .step_by(2)
        .map(str::to_string)
        .collect()
}

/// The longest part of a message that is the same for all values.
fn fixed_part(message: &str) -> &str {
    let parts = message.split('{').enumerate();
    let parts = parts.map(|(index, part)| match (index, part.split_once('}')) {
        (1.., Some((_, fixed))) => fixed,
        _ => part,
    });
    parts
        .map(str::trim)
        .max_by_key(|part| part.len())
        .unwrap_or_default()
}
