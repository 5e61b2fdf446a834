//! The repository's Rust sources, as text.

use std::path::{Path, PathBuf};

/// Folders that hold no source of this repository.
const SKIPPED: [&str; 2] = ["target", "node_modules"];

/// One source file.
#[derive(Debug, Clone)]
pub struct Source {
    /// Its path below the folder that was read, with `/` between its parts.
    pub path: String,
    pub text: String,
}

/// The sources of the host.
pub fn host() -> Vec<Source> {
    below(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"))
}

/// All sources of the repository: the host, the SDK, transforms, tests and tools.
pub fn repository() -> Vec<Source> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the host is in a folder of the repository");
    below(root)
}

fn below(root: &Path) -> Vec<Source> {
    let mut files = Vec::new();
    collect(root, &mut files);
    files.sort();
    let read = |file: &PathBuf| Source {
        path: file.strip_prefix(root).expect("found below it").to_string_lossy().into_owned(),
        text: std::fs::read_to_string(file).expect("readable"),
    };
    files.iter().map(read).collect()
}

fn collect(folder: &Path, files: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).expect("readable") {
        let path = entry.expect("readable").path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if path.is_dir() {
            if !SKIPPED.contains(&name.as_str()) && !name.starts_with('.') {
                collect(&path, files);
            }
        } else if name.ends_with(".rs") {
            files.push(path);
        }
    }
}

/// The code of a source: without comments, and with empty texts.
pub fn code(text: &str) -> String {
    let chars: Vec<char> = text.chars().collect();
    let mut code = String::with_capacity(text.len());
    let mut at = 0;
    while let Some(&c) = chars.get(at) {
        let next = chars.get(at + 1).copied().unwrap_or_default();
        let before = code.chars().next_back().unwrap_or(' ');
        let starts_word = !before.is_alphanumeric() && before != '_';
        at = match c {
            '/' if next == '/' => skip_until(&chars, at, |rest| rest[0] == '\n'),
            '/' if next == '*' => skip_until(&chars, at + 2, |rest| rest.starts_with(&['*', '/'])) + 2,
            'r' if starts_word && (next == '"' || next == '#' && is_raw_text(&chars[at..])) => {
                code.push_str("\"\"");
                raw_text_end(&chars, at)
            }
            '"' => {
                code.push_str("\"\"");
                text_end(&chars, at)
            }
            // A character, and not a lifetime.
            '\'' if next == '\\' || chars.get(at + 2) == Some(&'\'') => {
                code.push_str("' '");
                skip_until(&chars, at + 2 + usize::from(next == '\\'), |rest| rest[0] == '\'') + 1
            }
            _ => {
                code.push(c);
                at + 1
            }
        };
    }
    code
}

fn skip_until(chars: &[char], from: usize, is_end: impl Fn(&[char]) -> bool) -> usize {
    (from..chars.len()).find(|&at| is_end(&chars[at..])).unwrap_or(chars.len())
}

fn is_raw_text(chars: &[char]) -> bool {
    chars[1..].iter().find(|&&c| c != '#') == Some(&'"')
}

fn raw_text_end(chars: &[char], start: usize) -> usize {
    let hashes = chars[start + 1..].iter().take_while(|&&c| c == '#').count();
    let end: Vec<char> = std::iter::once('"').chain(std::iter::repeat_n('#', hashes)).collect();
    skip_until(chars, start + hashes + 2, |rest| rest.starts_with(&end)) + end.len()
}

fn text_end(chars: &[char], start: usize) -> usize {
    let mut at = start + 1;
    while at < chars.len() && chars[at] != '"' {
        at += if chars[at] == '\\' { 2 } else { 1 };
    }
    at + 1
}
