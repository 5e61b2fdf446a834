//! Reads a page of Markdown as far as the tests need it: its fenced blocks, its links, and the anchors of its headings.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

/// Time of a command that goes on until it is interrupted.
const INTERRUPTED_AFTER_S: u32 = 2;

/// A fenced block.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Block<'a> {
    /// The words behind the fence: `rust file=src/lib.rs`.
    pub info: &'a str,
    /// The lines between its fences.
    pub text: &'a str,
    /// The number of its fence in the page, from 1 on.
    pub line: usize,
    /// The text of a comment on the line before: `<!-- not run: it needs Kubernetes -->`.
    pub comment: Option<&'a str>,
}

/// A link or an image.
#[derive(Debug, PartialEq)]
pub struct Link {
    /// The path or URL, with its anchor.
    pub target: String,
    /// The number of its line, from 1 on.
    pub line: usize,
}

/// The folder of the repository.
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().expect("the checkout is there")
}

/// The text of a page.
pub fn read(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The path of a page in the repository.
pub fn name(path: &Path) -> String {
    path.strip_prefix(root()).expect("a page of the repository").to_string_lossy().into_owned()
}

/// All pages of the repository, sorted.
pub fn all() -> Vec<PathBuf> {
    let mut found = Vec::new();
    below(&root(), &mut found);
    found.sort();
    found
}

fn below(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).expect("readable").map(|entry| entry.expect("readable").path()) {
        let name = entry.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        if entry.is_dir() {
            if !name.starts_with('.') && !["target", "node_modules"].contains(&name) {
                below(&entry, found);
            }
        } else if name.ends_with(".md") {
            found.push(entry);
        }
    }
}

/// The fenced blocks, in order. A fence begins its line, but for the spaces of a list.
pub fn blocks(page: &str) -> Vec<Block<'_>> {
    let mut found = Vec::new();
    let mut open = None;
    let mut end_of_line = 0;
    let mut before = "";
    for (index, line) in page.split_inclusive('\n').enumerate() {
        let start_of_line = end_of_line;
        end_of_line += line.len();
        let line_before = std::mem::replace(&mut before, line);
        let Some(info) = line.trim_start_matches(' ').strip_prefix("```") else { continue };
        open = match open {
            None => Some((info.trim(), end_of_line, index + 1, comment(line_before))),
            Some((info, start, line, comment)) => {
                found.push(Block { info, text: &page[start..start_of_line], line, comment });
                None
            }
        };
    }
    assert_eq!(open, None, "a fenced block has no end");
    found
}

fn comment(line: &str) -> Option<&str> {
    Some(line.trim().strip_prefix("<!--")?.strip_suffix("-->")?.trim())
}

/// The links and images of the text, without those in code.
pub fn links(page: &str) -> Vec<Link> {
    let mut found = Vec::new();
    for (line, text) in text_lines(page) {
        let text: String = text.split('`').step_by(2).collect();
        let ends = text.split("](").skip(1).map(|rest| rest.split([')', ' ']).next());
        let sources = text.split(" src=\"").skip(1).map(|rest| rest.split('"').next());
        found.extend(ends.chain(sources).flatten().map(|target| Link { target: target.to_owned(), line }));
    }
    found
}

/// The anchors of the headings, as GitHub and mdBook make them.
pub fn anchors(page: &str) -> Vec<String> {
    let mut seen: HashMap<String, usize> = HashMap::new();
    let headings = text_lines(page)
        .filter_map(|(_, line)| line.trim_start_matches('#').strip_prefix(' ').filter(|_| line.starts_with('#')));
    let anchors = headings.map(|heading| {
        let anchor = anchor(heading.trim());
        let count = seen.entry(anchor.clone()).and_modify(|count| *count += 1).or_insert(0);
        if *count == 0 { anchor } else { format!("{anchor}-{count}") }
    });
    anchors.collect()
}

fn anchor(heading: &str) -> String {
    // The text of a link, without its target.
    let mut text = String::new();
    let mut rest = heading;
    while let Some((before, after)) = rest.split_once("](") {
        text.push_str(before);
        rest = after.split_once(')').map_or("", |(_, after)| after);
    }
    text.push_str(rest);
    let kept = text.chars().filter(|&c| c.is_alphanumeric() || matches!(c, '-' | '_' | ' '));
    kept.map(|c| if c == ' ' { '-' } else { c.to_ascii_lowercase() }).collect()
}

/// The lines outside of fenced blocks, with their numbers.
fn text_lines(page: &str) -> impl Iterator<Item = (usize, &str)> {
    let mut in_block = false;
    page.lines().enumerate().filter_map(move |(index, line)| {
        let is_fence = line.trim_start().starts_with("```");
        in_block ^= is_fence;
        (!in_block && !is_fence).then_some((index + 1, line))
    })
}

// === impl Block ===

impl Block<'_> {
    /// Returns true if a comment says why nobody runs the block, or which other test or page does.
    pub fn is_passed_over(&self) -> bool {
        self.comment.is_some_and(|comment| comment.starts_with("not run: ")) || self.runner().is_some()
    }

    /// The path of the test or page that runs the block.
    pub fn runner(&self) -> Option<&str> {
        Some(self.run_by()?.0)
    }

    /// The name by which the test `path` runs the block: `<!-- run by tests/e2e/pages.rs: backup -->`.
    pub fn name_in(&self, path: &str) -> Option<&str> {
        self.run_by().filter(|(runner, _)| *runner == path).map(|(_, name)| name)
    }

    /// Path and name behind `run by`. A page that runs a block has no name for it.
    fn run_by(&self) -> Option<(&str, &str)> {
        let runner = self.comment?.strip_prefix("run by ")?;
        Some(runner.split_once(": ").unwrap_or((runner, "")))
    }

    /// Returns true if its commands go on until they are interrupted.
    pub fn is_interrupted(&self) -> bool {
        self.comment == Some("run until it is interrupted")
    }
}

/// The commands, one on each line, each ended by `timeout`, which then has this exit code.
pub fn interrupted(commands: &str) -> String {
    let command = |line: &str| {
        let command = line.split("  #").next().unwrap_or_default().trim();
        format!("code=0; timeout {INTERRUPTED_AFTER_S} {command} || code=$?; [ $code = 124 ]\n")
    };
    commands.lines().map(command).collect()
}

#[test]
fn a_page_is_read() {
    let page = "# A `b`, [c](d.md)\nsee [x](y.md#z), ![i](i.png) and [`code`](e.md)\n```sh\n[no](link)\n# no heading\n```\n## Twice\n## Twice\n`[no](link)`\n";
    assert_eq!(blocks(page), [Block { info: "sh", text: "[no](link)\n# no heading\n", line: 3, comment: None }]);
    assert_eq!(blocks("<!-- not run: x -->\n```sh\n```\n")[0].comment, Some("not run: x"));
    let by = "<!-- run by tests/e2e/pages.rs: backup -->\n```sh\n```\n";
    assert_eq!(blocks(by)[0].runner(), Some("tests/e2e/pages.rs"));
    assert_eq!(blocks(by)[0].name_in("tests/e2e/pages.rs"), Some("backup"));
    assert_eq!(blocks(by)[0].name_in("tests/e2e/oidc.rs"), None);
    let targets: Vec<String> = links(page).into_iter().map(|link| link.target).collect();
    assert_eq!(targets, ["d.md", "y.md#z", "i.png", "e.md"]);
    assert_eq!(anchors(page), ["a-b-c", "twice", "twice-1"]);
}
