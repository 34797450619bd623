//! The catalogue of error codes lists exactly the codes that the sources can give.

#![expect(
    clippy::string_slice,
    reason = "the sources are cut at positions that a search has found"
)]

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// All Rust sources of all crates, without their tests.
fn sources() -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders: Vec<PathBuf> = std::fs::read_dir(root().join("crates"))
        .unwrap()
        .map(|entry| entry.unwrap().path().join("src"))
        .collect();
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                if !path.ends_with("tests") {
                    folders.push(path);
                }
            } else if path.extension().is_some_and(|e| e == "rs")
                && path
                    .file_name()
                    .is_some_and(|name| name != "tests.rs" && name != "error_catalogue.rs")
            {
                found.push(path);
            }
        }
    }
    found
}

/// The text up to the inline test module.
fn without_tests(text: &str) -> &str {
    text.find("#[cfg(test)]\nmod tests {")
        .map_or(text, |at| &text[..at])
}

fn without_comments(text: &str) -> String {
    text.lines()
        .filter(|line| !line.trim_start().starts_with("//"))
        .fold(String::new(), |all, line| all + line + "\n")
}

/// The number at the beginning of the text, if it has four digits and is in our range.
fn code_at(text: &str) -> Option<u16> {
    let digits: String = text.chars().take_while(|c| c.is_ascii_digit()).collect();
    let number = digits.parse().ok()?;
    (digits.len() == 4 && (1000..1900).contains(&number)).then_some(number)
}

/// Four-digit numbers in the body of every `fn code(` and after `Code::new(`, `CUTTLE-` and
/// `Own(`, and `Verdict::Running(`.
fn codes_in(text: &str) -> BTreeSet<u16> {
    let mut found = BTreeSet::new();
    for mark in ["Code::new(", "[CUTTLE-", "Own(", "Verdict::Running("] {
        for (at, _) in text.match_indices(mark) {
            found.extend(code_at(&text[at + mark.len()..]));
        }
    }
    for (at, _) in text.match_indices("fn code(&self) -> Code {") {
        let body = body(&text[at..]);
        let mut before = ' ';
        for (at, letter) in body.char_indices() {
            if letter.is_ascii_digit() && !before.is_alphanumeric() && before != '_' {
                found.extend(code_at(&body[at..]));
            }
            before = letter;
        }
    }
    found
}

/// From the first brace to the one that closes it.
fn body(text: &str) -> &str {
    let mut depth = 0_usize;
    for (at, letter) in text.char_indices() {
        match letter {
            '{' => depth += 1,
            '}' if depth == 1 => return &text[..at],
            '}' => depth -= 1,
            _ => {}
        }
    }
    text
}

fn used() -> BTreeMap<u16, String> {
    let mut used = BTreeMap::new();
    for path in sources() {
        let text = std::fs::read_to_string(&path).unwrap();
        for code in codes_in(&without_comments(without_tests(&text))) {
            let name = path.strip_prefix(root()).unwrap().display().to_string();
            used.entry(code).or_insert(name);
        }
    }
    used
}

/// The rows of the catalogue: code, meaning, what to do.
fn rows() -> Vec<[String; 3]> {
    let text = std::fs::read_to_string(root().join("docs/errors.md")).unwrap();
    text.lines()
        .filter(|line| line.starts_with("| CUTTLE-"))
        .map(|line| {
            let cells: Vec<String> = line
                .trim_matches('|')
                .split(" | ")
                .map(|cell| cell.trim().to_owned())
                .collect();
            <[String; 3]>::try_from(cells)
                .unwrap_or_else(|cells| panic!("not three cells: {cells:?}"))
        })
        .collect()
}

#[test]
fn the_catalogue_and_the_sources_agree() {
    let used = used();
    assert!(
        used.len() > 20,
        "only {} codes found in the sources",
        used.len()
    );
    let listed: BTreeSet<u16> = rows()
        .iter()
        .map(|[code, ..]| code.strip_prefix("CUTTLE-").unwrap().parse().unwrap())
        .collect();
    let missing: Vec<_> = used
        .iter()
        .filter(|(code, _)| !listed.contains(code))
        .collect();
    assert!(missing.is_empty(), "not in docs/errors.md: {missing:?}");
    let stale: Vec<_> = listed
        .iter()
        .filter(|code| !used.contains_key(code))
        .collect();
    assert!(
        stale.is_empty(),
        "in docs/errors.md, but no source gives them: {stale:?}"
    );
}

#[test]
fn rows_are_in_order_unique_and_whole() {
    let rows = rows();
    for pair in rows.windows(2) {
        assert!(
            pair[0][0] < pair[1][0],
            "{} comes before {}",
            pair[0][0],
            pair[1][0]
        );
    }
    for [code, meaning, remedy] in &rows {
        assert!(
            !meaning.is_empty() && !remedy.is_empty(),
            "{code} lacks a cell"
        );
    }
}

#[test]
fn the_reader_of_sources_knows_every_form() {
    let text = "fn code(&self) -> Code {\n Code::new(match self { A { .. } => 1301, B => 1_302 })\n}\n\
                x(1303) Code::new(1304) Verdict::Own(1305, Class::Bug) \"[CUTTLE-1306]\" E1307";
    assert_eq!(codes_in(text), BTreeSet::from([1301, 1304, 1305, 1306]));
}
