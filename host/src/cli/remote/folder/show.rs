//! A plan as text for people, and as JSON.

use std::fmt::{Display, Write};

use serde::Serialize;
use serde_json::value::RawValue;

use crate::model::text::brief;
use crate::model::units::Bytes;

use super::super::super::text::short;
use super::difference::Difference;
use super::plan::{Change, Origin, Plan, Summary, Update};

/// Longest value of a field in the text; JSON has it whole.
const VALUE_BYTES_MAX: usize = 160;
/// Longest name of a field or a file in the text.
const NAME_BYTES_MAX: usize = 256;
/// Stands for a field that is not there.
const NOTHING: &str = "-";

/// A plan as `--output json` shows it.
#[derive(Debug, Serialize)]
pub struct PlanView<'a> {
    folder: &'a str,
    summary: Summary,
    changes: Vec<ChangeView<'a>>,
}

/// One change of it.
#[derive(Debug, Serialize)]
struct ChangeView<'a> {
    transform: String,
    /// `create`, `update`, `drift`, `unchanged`, `foreign` or `prune`.
    action: &'static str,
    /// The deployed revision.
    #[serde(skip_serializing_if = "Option::is_none")]
    revision: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    file: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    module: Option<ModuleChange<'a>>,
    #[serde(skip_serializing_if = "<[Difference]>::is_empty")]
    fields: &'a [Difference],
    /// The change by hand that apply would undo.
    #[serde(skip_serializing_if = "Option::is_none")]
    drift: Option<DriftView<'a>>,
    /// The other folder that has it.
    #[serde(skip_serializing_if = "Option::is_none")]
    folder: Option<&'a str>,
}

#[derive(Debug, Serialize)]
struct ModuleChange<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    from: Option<&'a str>,
    to: String,
    /// The size of a module that the folder has.
    #[serde(skip_serializing_if = "Option::is_none")]
    bytes: Option<u64>,
}

#[derive(Debug, Serialize)]
struct DriftView<'a> {
    revision: u64,
    changed_at: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    changed_by: Option<&'a str>,
    is_rollback: bool,
}

// === impl PlanView ===

impl<'a> PlanView<'a> {
    pub fn of(plan: &'a Plan<'_>) -> Self {
        let changes = plan.changes.iter().map(ChangeView::of).collect();
        Self { folder: plan.folder.as_str(), summary: plan.summary(), changes }
    }
}

// === impl ChangeView ===

impl<'a> ChangeView<'a> {
    fn of(change: &'a Change<'_>) -> Self {
        let bare = |transform: String, action, revision| Self {
            transform,
            action,
            revision,
            file: None,
            module: None,
            fields: &[],
            drift: None,
            folder: None,
        };
        match change {
            Change::Create { to, fields } => {
                let module = ModuleChange { from: None, to: to.module.digest.to_string(), bytes: to.module.bytes() };
                let file = Some(to.file.display().to_string());
                Self { file, module: Some(module), fields, ..bare(to.id.to_string(), "create", None) }
            }
            Change::Update(Update { to, revision, fields, module_from, origin }) => {
                let module = module_from.as_deref().map(|from| ModuleChange {
                    from: Some(from),
                    to: to.module.digest.to_string(),
                    bytes: to.module.bytes(),
                });
                let drift = match origin {
                    Origin::Drifted(Some(past)) => Some(DriftView {
                        revision: past.revision,
                        changed_at: &past.changed_at,
                        changed_by: past.changed_by.as_deref(),
                        is_rollback: past.is_rollback,
                    }),
                    _ => None,
                };
                let action = if matches!(origin, Origin::Drifted(_)) { "drift" } else { "update" };
                let file = Some(to.file.display().to_string());
                Self { file, module, fields, drift, ..bare(to.id.to_string(), action, Some(*revision)) }
            }
            Change::Unchanged { id, revision } => bare(id.to_string(), "unchanged", Some(*revision)),
            Change::Foreign { id, revision, folder } => {
                Self { folder: Some(folder), ..bare(id.to_string(), "foreign", Some(*revision)) }
            }
            Change::Prune { id, revision } => bare(id.to_string(), "prune", Some(*revision)),
        }
    }
}

/// Shows a plan. The caller escapes the text.
pub fn text(plan: &Plan<'_>) -> String {
    let mut out = String::new();
    for change in &plan.changes {
        out.push_str(&change_text(plan.folder.as_str(), change));
    }
    let Summary { create, update, drift, foreign, prune, unchanged } = plan.summary();
    let counts = [
        (create, "to create"),
        (update, "to update"),
        (drift, "changed by hand"),
        (foreign, "of another folder"),
        (prune, "to prune"),
        (unchanged, "unchanged"),
    ];
    let counts = counts.into_iter().filter(|(count, _)| *count > 0).map(|(count, name)| format!("{count} {name}"));
    let counts: Vec<String> = counts.collect();
    let counts = if counts.is_empty() { "no transforms".to_owned() } else { counts.join(", ") };
    out.push_str(&format!("folder {}: {counts}\n", plan.folder));
    out
}

fn change_text(folder: &str, change: &Change<'_>) -> String {
    let mut out = String::new();
    let lines = match change {
        Change::Unchanged { .. } => Ok(()),
        Change::Create { to, fields } => {
            let module = short(&to.module.digest.to_string());
            let head =
                writeln!(out, "{}: create ({}), module {module}{}", to.id, name(to.file.display()), size(to.module.bytes()));
            head.and_then(|()| {
                fields.iter().try_for_each(|it| writeln!(out, "  + {}: {}", name(&it.field), value(it.to.as_deref())))
            })
        }
        Change::Update(update) => update_text(&mut out, folder, update),
        Change::Foreign { id, revision, folder } => {
            writeln!(out, "{id}: revision {revision} is of folder {folder}, and is not changed")
        }
        Change::Prune { id, revision } => {
            writeln!(out, "{id}: revision {revision} left the folder: `sandbar prune` deletes it")
        }
    };
    lines.expect("a String takes all");
    out
}

fn update_text(out: &mut String, folder: &str, update: &Update<'_>) -> std::fmt::Result {
    let Update { to, revision, fields, module_from, origin } = update;
    write!(out, "{}: ", to.id)?;
    match origin {
        Origin::Applied => write!(out, "update of revision {revision}")?,
        Origin::Drifted(None) => write!(out, "drift: revision {revision} was changed by hand")?,
        Origin::Drifted(Some(past)) => {
            let verb = if past.is_rollback { "rolled back" } else { "changed" };
            let by = past.changed_by.as_deref().unwrap_or("somebody");
            write!(out, "drift: revision {revision} was {verb} by hand, by {by} at {}", past.changed_at)?;
        }
        Origin::Unlabelled => {
            write!(out, "update of revision {revision}, which no folder has: folder {folder} takes it in")?
        }
        Origin::TakenOver(other) => write!(out, "update of revision {revision}, which is taken over from folder {other}")?,
    }
    writeln!(out, " ({})", name(to.file.display()))?;
    if let Some(from) = module_from {
        let digest = short(&to.module.digest.to_string());
        writeln!(out, "  ~ module: {} -> {digest}{}", short(from), size(to.module.bytes()))?;
    }
    for Difference { field, from, to } in fields {
        let field = name(field);
        match (from, to) {
            (None, to) => writeln!(out, "  + {field}: {}", value(to.as_deref()))?,
            (from, None) => writeln!(out, "  - {field}: {}", value(from.as_deref()))?,
            (from, to) => writeln!(out, "  ~ {field}: {} -> {}", value(from.as_deref()), value(to.as_deref()))?,
        }
    }
    if fields.is_empty() && module_from.is_none() {
        writeln!(out, "  the labels alone differ")?;
    }
    Ok(())
}

fn size(bytes: Option<u64>) -> String {
    bytes.map_or(String::new(), |bytes| {
        let rounded = if bytes < 1024 { Bytes(bytes) } else { Bytes(bytes / 1024 * 1024) };
        format!(", {rounded}")
    })
}

/// A name as a part of a line: a key of a config may have line breaks, and would look like another change.
fn name(name: impl Display) -> String {
    brief(name, NAME_BYTES_MAX)
}

fn value(value: Option<&RawValue>) -> String {
    value.map_or(NOTHING.to_owned(), |value| brief(value.get(), VALUE_BYTES_MAX))
}
