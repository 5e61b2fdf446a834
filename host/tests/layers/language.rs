//! The language of the sources: doc sentences open with their subject or verb, and a noun is a noun.

use crate::sources::{self, Source};

/// Doc lines of a thousand that may have a "what" in place of a noun.
const WHAT_PER_MILLE_MAX: usize = 10;
/// Doc lines of a thousand that may open a block without a subject.
const HEADLESS_PER_MILLE_MAX: usize = 20;
/// First words of a doc block that has no subject.
const HEADLESS: [&str; 16] = [
    "what", "whether", "of", "the same", "those", "it", "how", "where", "when", "who", "why", "as", "if", "with", "by",
    "and",
];

#[test]
fn doc_lines_have_a_subject_and_nouns() {
    let sources = sources::repository();
    let mut lines = 0;
    let mut whats = Vec::new();
    let mut headless = Vec::new();
    for source in &sources {
        for line in doc_lines(source) {
            lines += 1;
            if has_what(line.text) {
                whats.push(line.shown(source));
            }
            if line.is_first && is_headless(line.text) {
                headless.push(line.shown(source));
            }
        }
    }
    assert!(lines > 1000, "{lines} doc lines were found");
    within("have a \"what\" in place of a noun", &whats, lines, WHAT_PER_MILLE_MAX);
    within("open without a subject", &headless, lines, HEADLESS_PER_MILLE_MAX);
}

#[test]
fn a_let_binds_one_value() {
    let sources = sources::repository();
    let found: Vec<String> = sources.iter().flat_map(parallel_lets).collect();
    assert!(found.is_empty(), "{} lines bind several values to several expressions:\n{}", found.len(), found.join("\n"));
}

#[track_caller]
fn within(name: &str, found: &[String], lines: usize, per_mille_max: usize) {
    let per_mille = found.len() * 1000 / lines;
    let shown = || found.join("\n");
    assert!(per_mille < per_mille_max, "{} of {lines} doc lines {name} ({per_mille} per mille):\n{}", found.len(), shown());
}

struct DocLine<'a> {
    number: usize,
    text: &'a str,
    /// The line before it is no doc line, or an empty one.
    is_first: bool,
}

impl DocLine<'_> {
    fn shown(&self, source: &Source) -> String {
        format!("{}:{}: {}", source.path, self.number, self.text.trim())
    }
}

/// The doc lines that have words, outside of examples.
fn doc_lines(source: &Source) -> Vec<DocLine<'_>> {
    let mut lines = Vec::new();
    let mut is_first = true;
    let mut in_example = false;
    for (index, line) in source.text.lines().enumerate() {
        let line = line.trim_start();
        let doc = line.strip_prefix("///").or_else(|| line.strip_prefix("//!"));
        let Some(text) = doc.filter(|text| !text.trim().is_empty()) else {
            is_first = true;
            continue;
        };
        if text.trim_start().starts_with("```") {
            in_example = !in_example;
        } else if !in_example {
            lines.push(DocLine { number: index + 1, text, is_first });
        }
        is_first = false;
    }
    lines
}

/// Returns true for a "what" that is no question and no part of a word.
fn has_what(text: &str) -> bool {
    let text = text.to_lowercase();
    text.match_indices("what").any(|(at, what)| {
        let before = text[..at].chars().next_back();
        let after = text[at + what.len()..].chars().next();
        !before.is_some_and(|c| c.is_ascii_lowercase()) && !after.is_some_and(|c| c.is_ascii_lowercase() || c == '?')
    })
}

fn is_headless(text: &str) -> bool {
    let text = text.trim().to_lowercase();
    HEADLESS.iter().any(|opening| {
        text.strip_prefix(opening).is_some_and(|rest| !rest.starts_with(|c: char| c.is_alphanumeric() || c == '\''))
    })
}

/// Lines such as `let (a, b) = (x, y);`. A refutable pattern, which ends with `else`, is none.
fn parallel_lets(source: &Source) -> Vec<String> {
    let lines = source.text.lines().enumerate();
    let found = lines.filter(|(_, line)| {
        let bound = line.trim_start().strip_prefix("let (").and_then(|rest| rest.split_once(") = ("));
        bound.is_some_and(|(names, _)| names.contains(',') && !names.contains('(')) && !line.ends_with("else {")
    });
    found.map(|(index, line)| format!("{}:{}: {}", source.path, index + 1, line.trim())).collect()
}

// === the check itself is checked ===

#[test]
fn lines_are_classed() {
    #[track_caller]
    fn check(text: &str, what: usize, headless: usize, lets: usize) {
        let source = Source { path: "a.rs".to_owned(), text: text.to_owned() };
        let lines = doc_lines(&source);
        let found = lines.iter().filter(|line| has_what(line.text)).count();
        let opened = lines.iter().filter(|line| line.is_first && is_headless(line.text)).count();
        assert_eq!((found, opened, parallel_lets(&source).len()), (what, headless, lets), "{text}");
    }
    check("/// Commits the open transaction.\n// What a comment says\nlet a = \"what\";", 0, 0, 0);
    check("/// What is open.", 1, 1, 0);
    check("/// Sends what is open.\n/// Of its kind.\n\n//! Of another.", 1, 1, 0);
    check("/// Somewhat, whatever: \"why?\"\n/// or what?", 0, 0, 0);
    check("/// Items.\n/// It is.\n///\n/// If so.\n/// ```\n/// what\n/// ```", 0, 1, 0);
    check("let (a, b) = (1, 2);\n    let (mut a, b) = (c(), d);\nlet (a, b) = c();", 0, 0, 2);
    check("let (Some(a), true) = (a, b) else {\nlet ((a, b), c) = (d, e);\nlet (a) = (b, c);", 0, 0, 0);
}
