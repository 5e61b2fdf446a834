//! The lists of pages are complete: `docs/README.md` for people, which the site is made from, and `llms.txt` for programs.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use sandbar_pages::page;

/// The files that a page links to.
fn linked(page: &Path) -> BTreeSet<PathBuf> {
    let folder = page.parent().expect("a page is in a folder");
    let links = page::links(&page::read(page)).into_iter();
    let files = links.filter_map(|link| folder.join(link.target).canonicalize().ok());
    files.map(|path| if path.is_dir() { path.join("README.md") } else { path }).collect()
}

#[test]
fn the_index_has_every_page_of_the_docs() {
    let docs = page::root().join("docs");
    let listed = linked(&docs.join("README.md"));
    // A folder with a README lists its pages there.
    let is_in_own_list = |path: &Path| {
        let list = path.with_file_name("README.md");
        list == path || list.is_file() && linked(&list).contains(path)
    };
    // `make bench-docs` writes the tables there, which the README beside them names.
    let figures = docs.join("benchmarks/figures");
    let pages = page::all().into_iter().filter(|path| path.starts_with(&docs) && !path.starts_with(&figures));
    let missing: Vec<PathBuf> = pages.filter(|path| !listed.contains(path) && !is_in_own_list(path)).collect();
    assert!(missing.is_empty(), "docs/README.md does not list {missing:?}");
}

/// The site takes the name of a page from it.
#[test]
fn every_page_begins_with_its_title() {
    let has_title = |path: &PathBuf| page::read(path).lines().find(|line| line.starts_with('#')).is_some_and(is_title);
    let missing: Vec<PathBuf> = page::all().into_iter().filter(|path| !has_title(path)).collect();
    assert!(missing.is_empty(), "{missing:?}");
}

fn is_title(heading: &str) -> bool {
    heading.starts_with("# ")
}

#[test]
fn llms_txt_has_every_page_of_the_index() {
    let root = page::root();
    let missing: Vec<PathBuf> =
        linked(&root.join("docs/README.md")).difference(&linked(&root.join("llms.txt"))).cloned().collect();
    assert!(missing.is_empty(), "llms.txt does not list {missing:?}");
}

/// The form of llmstxt.org: a title, a summary as a quotation, and sections of links, each with a note.
#[test]
fn llms_txt_has_its_form() {
    let text = page::read(&page::root().join("llms.txt"));
    let mut lines = text.lines().filter(|line| !line.is_empty());
    assert!(lines.next().is_some_and(|title| title.starts_with("# ")), "a title comes first");
    assert!(lines.next().is_some_and(|summary| summary.starts_with("> ")), "a summary follows");
    let in_sections: Vec<&str> = lines.skip_while(|line| !line.starts_with("## ")).collect();
    let is_link = |line: &str| line.starts_with("- [") && line.contains("): ");
    let wrong: Vec<&&str> = in_sections.iter().filter(|line| !(line.starts_with("## ") || is_link(line))).collect();
    assert!(in_sections.len() > 20 && wrong.is_empty(), "{wrong:#?}");
}
