//! Every link of a page leads to a file of the repository, and its anchor to a heading.

use std::path::Path;

use sandbar_pages::page;

/// Begins of links that leave the repository.
const FOREIGN: [&str; 3] = ["https://", "http://", "mailto:"];

#[test]
fn every_link_leads_somewhere() {
    let mut checked = 0;
    let mut dead = Vec::new();
    let mut pages = page::all();
    pages.push(page::root().join("llms.txt"));
    for path in pages {
        let text = page::read(&path);
        for link in page::links(&text) {
            let is_foreign = FOREIGN.iter().any(|begin| link.target.starts_with(begin));
            if is_foreign || link.target.starts_with("/#/") {
                continue;
            }
            checked += 1;
            if let Err(reason) = follow(&path, &link.target) {
                dead.push(format!("{}:{}: {}: {reason}", path.display(), link.line, link.target));
            }
        }
    }
    assert!(dead.is_empty(), "{dead:#?}");
    assert!(checked > 500, "{checked} links were found");
}

fn follow(from: &Path, target: &str) -> Result<(), String> {
    let (file, anchor) = target.split_once('#').map_or((target, None), |(file, anchor)| (file, Some(anchor)));
    let to = match file {
        "" => from.to_owned(),
        file => from.parent().expect("a page is in a folder").join(file),
    };
    if !to.exists() {
        return Err("there is no such file".to_owned());
    }
    let Some(anchor) = anchor else { return Ok(()) };
    if to.extension().is_none_or(|extension| extension != "md") {
        return Err("an anchor into something that is no page".to_owned());
    }
    let anchors = page::anchors(&page::read(&to));
    if anchors.iter().any(|known| known == anchor) { Ok(()) } else { Err("there is no such heading".to_owned()) }
}
