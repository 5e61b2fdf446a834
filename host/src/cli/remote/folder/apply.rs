//! Carries a plan out: a host checks all of it before the first change, each change is made only if nobody else made one since
//! the plan, and then the rollouts are waited for.

use crate::api_types::ChangeView;
use crate::model::codes::Code;
use crate::model::names::TransformId;

use super::super::super::error::{Error, Kind, Result};
use super::super::super::text::count;
use super::super::body::{Body, Expected};
use super::super::deploy;
use super::super::rate::at_rate;
use super::super::registry::RegistryArgs;
use super::super::session::{Session, route};
use super::content::Desired;
use super::deployed::revisions;
use super::plan::{Change, Plan, Update};
use super::write_failure::WriteFailure;

/// A deployment that a plan asks for.
struct Step<'a> {
    to: &'a Desired,
    expected: Expected,
    /// True if the host has the module already.
    has_module: bool,
}

/// A deployment that a host accepted.
pub struct Accepted {
    pub id: TransformId,
    pub revision: u64,
}

/// The deployments that a host accepted, at least one if there is an error: the error of the one after them.
pub struct ApplyResult {
    pub accepted: Vec<Accepted>,
    pub error: Option<Error>,
}

/// Checks and makes all changes of a plan, up to the first that fails. An `Err` comes before a change was accepted.
pub fn carry_out(
    plan: &Plan<'_>,
    registry: &RegistryArgs,
    session: &Session,
    write_failure: &mut WriteFailure,
) -> Result<ApplyResult> {
    let steps = steps(plan)?;
    check(&steps, registry, session)?;
    let mut accepted = Vec::new();
    for (number, step) in steps.iter().enumerate() {
        match step.deploy(registry, session) {
            Ok(change) => {
                accepted.push(Accepted { id: step.to.id.clone(), revision: change.transform.revision });
                write_failure.keep(session.text(&deploy::text(&change, false)));
            }
            // The first change has none before it, and its error says all.
            Err(error) if accepted.is_empty() => return Err(error),
            Err(error) => {
                let names: Vec<String> = steps.iter().map(|step| step.to.id.to_string()).collect();
                let error = in_part("applied", &names[..number], &names[number..], &error);
                return Ok(ApplyResult { accepted, error: Some(error) });
            }
        }
    }
    Ok(ApplyResult { accepted, error: None })
}

fn steps<'p>(plan: &'p Plan<'_>) -> Result<Vec<Step<'p>>> {
    let mut steps = Vec::new();
    let mut errors = Vec::new();
    for change in &plan.changes {
        match change {
            Change::Create { to, .. } => steps.push(Step { to, expected: Expected::Absent, has_module: false }),
            Change::Update(Update { to, revision, module_from, .. }) => {
                let has_module = module_from.is_none();
                steps.push(Step { to, expected: Expected::Revision(*revision), has_module });
            }
            Change::Foreign { id, folder, .. } => errors.push(foreign(id, folder)),
            Change::Unchanged { .. } | Change::Prune { .. } => {}
        }
    }
    let error = Error::of_all(Kind::Failed, "nothing was changed: transforms belong to other folders", errors);
    error.map_or(Ok(steps), Err)
}

/// The error of a transform that another folder has.
pub fn foreign(id: &TransformId, folder: &str) -> Error {
    Error::new(Kind::Failed, format_args!("{id} belongs to folder {folder}")).with(Code::OtherFolder)
}

/// Has a host check every step. Nothing is changed, so all that it refuses is told at once.
fn check(steps: &[Step<'_>], registry: &RegistryArgs, session: &Session) -> Result<()> {
    let mut refusals = Vec::new();
    for step in steps {
        match step.dry_run(registry, session) {
            Ok(()) => {}
            Err(error) if error.kind == Kind::Failed => refusals.push(error),
            Err(error) => return Err(error),
        }
    }
    let head = format!("nothing was changed: the host refuses {}", count(refusals.len() as u64, "transform"));
    let code = refusals.first().and_then(|error| error.code().map(str::to_owned));
    let is_one = refusals.len() == 1;
    let Some(error) = Error::of_all(Kind::Failed, &head, refusals) else { return Ok(()) };
    let error = if is_one { error.in_place("nothing was changed") } else { error };
    // Several refusals have the code of the first.
    Err(match code {
        Some(code) => error.with_code(code),
        None => error,
    })
}

// === impl Step ===

impl Step<'_> {
    fn dry_run(&self, registry: &RegistryArgs, session: &Session) -> Result<()> {
        self.put("?dry_run=true", registry, session).map(drop)
    }

    fn deploy(&self, registry: &RegistryArgs, session: &Session) -> Result<ChangeView> {
        self.put("", registry, session)
    }

    fn put(&self, query: &str, registry: &RegistryArgs, session: &Session) -> Result<ChangeView> {
        let Desired { id, spec, module, .. } = self.to;
        let local = module.local.as_ref();
        let bytes =
            local.filter(|_| !self.has_module).map(|local| local.read_again(id, &module.digest, registry)).transpose()?;
        let signature = local.and_then(|local| local.signature.as_deref());
        let body = Body { expected: self.expected, ..Body::deployment(spec, bytes.as_deref(), signature) };
        let sent = at_rate(|| session.client.send("PUT", &route(id, query), &body));
        sent.map_err(|error| conflict(session, id, error).in_place(id))?.parse()
    }
}

/// Tells who made the change that came between, if one did.
pub fn conflict(session: &Session, id: &TransformId, error: Error) -> Error {
    if !error.has_code(Code::Conflict) {
        return error;
    }
    let now = match revisions(session, id).as_deref() {
        Ok([newest, ..]) => {
            let by = newest.changed_by.as_deref().unwrap_or("somebody");
            let from = newest.folder.as_ref().map_or(String::new(), |folder| format!(", from folder {folder}"));
            format!("{by} made revision {} of it at {}{from}", newest.revision, newest.changed_at)
        }
        Ok([]) => "it has no revisions now".to_owned(),
        Err(error) if error.has_code(Code::NoTransform) => "somebody deleted it".to_owned(),
        Err(error) => format!("its revisions cannot be seen: {error}"),
    };
    let message = format!("somebody else changed it after the plan was made: {now}");
    Error::new(Kind::Failed, message).with(Code::ChangedMeanwhile)
}

/// Makes the error of a verb that ended between two changes. `participle` names the change: `applied`, `pruned`.
pub fn in_part(participle: &str, done: &[String], left: &[String], error: &Error) -> Error {
    let cause = error.as_part();
    // The host may have made the change whose answer was lost.
    let unknown = if error.kind == Kind::Broken { left.len().min(1) } else { 0 };
    let mut message = format!("{cause}\n{participle}: {}", done.join(", "));
    for (word, names) in [("perhaps", &left[..unknown]), ("not", &left[unknown..])] {
        if !names.is_empty() {
            message += &format!("\n{word} {participle}: {}", names.join(", "));
        }
    }
    Error::new(error.kind, message).with(Code::AppliedInPart)
}
