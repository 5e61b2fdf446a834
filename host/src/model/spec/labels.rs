//! Labels of a transform: short texts under names, for people and tools. Hosts keep them, and nothing runs otherwise because
//! of one.
//!
//! Names that begin with `sandbar.` are reserved. [`FOLDER`] ties a transform to the folder that it is applied from, and
//! [`APPLIED`] tells if anybody has changed it since.

use std::collections::BTreeMap;

use super::Problem;
use crate::model::names::{Digest, FolderName};

/// Most labels of a transform.
pub const LABELS_MAX: usize = 16;
/// Longest name of a label.
pub const LABEL_NAME_BYTES_MAX: usize = 63;
/// Longest text of a label.
pub const LABEL_TEXT_BYTES_MAX: usize = 128;
/// The name of the folder that a transform is applied from.
pub const FOLDER: &str = "sandbar.folder";
/// The digest of the content that was applied last, without this label.
pub const APPLIED: &str = "sandbar.applied";
/// The beginning of names that only Sandbar gives.
const RESERVED: &str = "sandbar.";

pub type Labels = BTreeMap<String, String>;

/// Returns true if only Sandbar's own tools may set a label of this name.
pub fn is_reserved(name: &str) -> bool {
    name.starts_with(RESERVED)
}

/// Lists the problems of written labels.
pub(super) fn problems(labels: &Labels) -> Vec<Problem> {
    let mut problems = Vec::new();
    if labels.len() > LABELS_MAX {
        let message = format!("must be at most {LABELS_MAX}");
        problems.push(Problem { field: "labels".to_owned(), message });
    }
    for (name, text) in labels.iter().take(LABELS_MAX) {
        let shown = crate::model::text::cut(name, LABEL_NAME_BYTES_MAX);
        let found = name_problem(name).or_else(|| text_problem(name, text));
        problems.extend(found.map(|message| Problem { field: format!("labels.{shown}"), message }));
    }
    problems
}

fn name_problem(name: &str) -> Option<String> {
    let is_edge = |c: Option<char>| c.is_some_and(|c| c.is_ascii_lowercase() || c.is_ascii_digit());
    let is_plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '-' | '_' | '.');
    if name.is_empty() || name.len() > LABEL_NAME_BYTES_MAX {
        return Some(format!("its name must have 1 to {LABEL_NAME_BYTES_MAX} characters"));
    }
    if !name.chars().all(is_plain) || !is_edge(name.chars().next()) || !is_edge(name.chars().last()) {
        return Some("its name may hold a-z, 0-9, '-', '_' and '.', with a letter or digit at both ends".to_owned());
    }
    (is_reserved(name) && ![FOLDER, APPLIED].contains(&name)).then(|| format!("names with {RESERVED:?} are reserved"))
}

fn text_problem(name: &str, text: &str) -> Option<String> {
    match name {
        FOLDER => return text.parse::<FolderName>().err().map(|error| error.to_string()),
        APPLIED => return text.parse::<Digest>().err().map(|error| error.to_string()),
        _ => {}
    }
    let fits = (1..=LABEL_TEXT_BYTES_MAX).contains(&text.len()) && text.bytes().all(|byte| (b' '..=b'~').contains(&byte));
    (!fits).then(|| format!("must be 1 to {LABEL_TEXT_BYTES_MAX} printable characters of ASCII"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(name: &str, text: &str, expected: &str) {
        let found = problems(&Labels::from([(name.to_owned(), text.to_owned())]));
        let messages: Vec<&str> = found.iter().map(|problem| problem.message.as_str()).collect();
        match expected {
            "" => assert!(messages.is_empty(), "{name:?}: {messages:?}"),
            part => assert!(messages.len() == 1 && messages[0].contains(part), "{name:?}: {messages:?}"),
        }
    }

    #[test]
    fn labels_are_short_plain_texts_under_plain_names() {
        let digest = Digest::of(b"").to_string();
        check("owner", "Anna, shop team", "");
        check("a.b_c-d", "1", "");
        check(FOLDER, "shop", "");
        check(APPLIED, &digest, "");
        check(FOLDER, "Shop", "folder name");
        check(APPLIED, "shop", "sha256");
        check("sandbar.other", "x", "reserved");
        check("", "x", "1 to 63");
        check(&"a".repeat(64), "x", "1 to 63");
        check("Owner", "x", "a-z");
        check(".a", "x", "both ends");
        check("a\u{1b}", "x", "a-z");
        check("a", "", "1 to 128");
        check("a", &"x".repeat(129), "1 to 128");
        check("a", "x\n", "printable");
        check("a", "\u{202e}", "printable");
    }

    #[test]
    fn there_are_few() {
        let labels = |count: usize| (0..count).map(|n| (format!("l{n}"), "x".to_owned())).collect::<Labels>();
        assert_eq!(problems(&labels(LABELS_MAX)), []);
        assert_eq!(problems(&labels(LABELS_MAX + 1)).len(), 1);
    }
}
