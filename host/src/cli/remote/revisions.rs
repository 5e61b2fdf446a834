//! Verbs over a transform's history: revisions, rollback, diff.

use std::process::ExitCode;

use clap::Args;
use serde_json::json;
use similar::TextDiff;

use crate::api_types::{ChangeView, RevisionList, TransformView};
use crate::model::names::TransformId;

use super::super::error::{Error, Result};
use super::super::text::{self, Output, Table, optional, short};
use super::body::Body;
use super::client::Response;
use super::rollout::WaitArgs;
use super::session::{Session, Target, id_of_folder, route};

/// Unchanged lines around a change, as diff(1) has it.
const CONTEXT_LINES: usize = 3;

#[derive(Debug, Args)]
pub struct RollbackArgs {
    #[command(flatten)]
    target: Target,
    /// The revision whose spec and module come back [default: the revision before the current]
    #[arg(long, value_name = "N")]
    to: Option<u64>,
    #[command(flatten)]
    wait: WaitArgs,
}

#[derive(Debug, Args)]
pub struct DiffArgs {
    /// [TEAM/NAME] [A [B]]: by default the transform of this folder, the revision before the current, and the current
    #[arg(value_name = "TEAM/NAME | REVISION", num_args = 0..=3)]
    words: Vec<String>,
}

pub fn revisions(target: Target, session: &Session) -> Result<()> {
    let answer = session.client.get(&route(&target.id()?, "/revisions"))?;
    session.show(&answer, |list: RevisionList| {
        let mut table = Table::new(["REVISION", "CURRENT", "RUNS", "MODULE", "CHANGED", "BY", "CAUSE"]);
        for it in list.revisions {
            let cause = it.rolled_back_to.map_or(it.cause.to_string(), |to| format!("{} to {to}", it.cause));
            let current = if it.current { "*" } else { " " };
            // A host of an earlier version does not say it.
            let runs = it.running.map_or("", |runs| if runs { "*" } else { " " });
            let module = short(&it.module) + if it.module_stored { "" } else { " (collected)" };
            table.row([
                it.revision.to_string(),
                current.into(),
                runs.into(),
                module,
                it.changed_at.into(),
                optional(it.changed_by),
                cause,
            ]);
        }
        table.to_string()
    })
}

pub fn rollback(args: RollbackArgs, session: &Session) -> Result<()> {
    let id = args.target.id()?;
    let body = Body::json(&args.to.map_or(json!({}), |revision| json!({ "revision": revision })));
    let answer = session.client.send("POST", &route(&id, "/rollback"), &body)?;
    let change: ChangeView = answer.parse()?;
    let to = args.to.map_or("the revision before".into(), |to| format!("revision {to}"));
    session.text(&format!("{id}: back to {to}, as revision {}\n", change.transform.revision))?;
    args.wait.finish(session, &id, change.transform.revision, answer)
}

/// Ends as diff(1) does: with 0 if the two are equal, else with 1.
pub fn diff(args: DiffArgs, session: &Session) -> Result<ExitCode> {
    let (id, numbers) = args.parse()?;
    let revision = |n: u64| session.client.get(&route(&id, &format!("/revisions/{n}")));
    let (from, to) = match numbers.as_slice() {
        [] => {
            let (before, current) = newest_two(session, &id)?;
            (revision(before)?, revision(current)?)
        }
        [from] => (revision(*from)?, session.client.get(&route(&id, ""))?),
        [from, to, ..] => (revision(*from)?, revision(*to)?),
    };
    let difference = difference(&id, &from.parse()?, &to.parse()?);
    let equal = difference.is_empty();
    match session.output {
        Output::Text => text::emit(&difference)?,
        Output::Json => text::emit_json(&both(&from, &to))?,
    }
    Ok(if equal { ExitCode::SUCCESS } else { ExitCode::from(1) })
}

fn newest_two(session: &Session, id: &TransformId) -> Result<(u64, u64)> {
    let list: RevisionList = session.client.get(&route(id, "/revisions"))?.parse()?;
    match list.revisions.as_slice() {
        [current, before, ..] => Ok((before.revision, current.revision)),
        _ => Err(Error::usage(format_args!("{id} has one revision only: there is nothing to compare"))),
    }
}

/// The unified diff of module and spec, empty where they are equal.
fn difference(id: &TransformId, from: &TransformView, to: &TransformView) -> String {
    let page = |it: &TransformView| format!("module: {}\n{}", it.module, text::yaml(&it.spec));
    let head = |it: &TransformView| format!("{id} revision {} ({})", it.revision, it.changed_at);
    let before = page(from);
    let after = page(to);
    let diff = TextDiff::from_lines(&before, &after);
    diff.unified_diff().context_radius(CONTEXT_LINES).header(&head(from), &head(to)).to_string()
}

/// The two answers that are compared, as the host sent them.
fn both(from: &Response, to: &Response) -> String {
    format!("[{},{}]", from.text.trim(), to.text.trim())
}

// === impl DiffArgs ===

impl DiffArgs {
    fn parse(&self) -> Result<(TransformId, Vec<u64>)> {
        let (id, numbers) = match self.words.split_first() {
            Some((first, rest)) if first.contains('/') => (first.parse().map_err(Error::usage)?, rest),
            _ => (id_of_folder()?, self.words.as_slice()),
        };
        if numbers.len() > 2 {
            return Err(Error::usage("a transform is named TEAM/NAME, and two revisions are compared"));
        }
        let number = |word: &String| {
            word.parse().map_err(|_| {
                Error::usage(format_args!("{word:?} is not a revision")).with_hint("revisions are 1, 2, 3, ...")
            })
        };
        Ok((id, numbers.iter().map(number).collect::<Result<_>>()?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn transform(revision: u64, module: &str, config: &str) -> TransformView {
        let text = format!(
            r#"{{"team":"a","name":"x","revision":{revision},"module":"{module}","changed_at":"then","spec":{{"inputs":["t"],"config":{config}}}}}"#
        );
        serde_json::from_str(&text).expect("a transform")
    }

    #[test]
    fn a_diff_shows_what_changed_and_nothing_where_nothing_did() {
        let id = "a/x".parse().expect("valid");
        let one = transform(1, "sha256:1", r#"{"keep":1}"#);
        let two = transform(2, "sha256:2", r#"{"keep":2}"#);
        assert_eq!(
            difference(&id, &one, &two),
            "--- a/x revision 1 (then)\n+++ a/x revision 2 (then)\n@@ -1,5 +1,5 @@\n-module: sha256:1\n+module: sha256:2\n \
             inputs:\n - t\n config:\n-  keep: 1\n+  keep: 2\n"
        );
        assert_eq!(difference(&id, &one, &transform(3, "sha256:1", r#"{"keep":1}"#)), "");
    }

    #[test]
    fn words_are_a_transform_and_revisions() {
        let parse = |words: &[&str]| DiffArgs { words: words.iter().map(|&word| word.into()).collect() }.parse();
        assert_eq!(parse(&["a/x", "3", "4"]).expect("valid").1, [3, 4]);
        for (words, expected) in
            [(vec!["a/x", "3", "x"], "not a revision"), (vec!["3", "4"], "which transform"), (vec!["A/x"], "A")]
        {
            assert!(parse(&words).expect_err("refused").to_string().contains(expected), "{words:?}");
        }
    }
}
