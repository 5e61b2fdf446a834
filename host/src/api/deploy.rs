//! The deployments that requests ask for. [`crate::deployment`] has their rules and steps. Everything here blocks.

use crate::catalog::{Change, ChangeResult};
use crate::deployment::{Candidate, DeployError, DeployResult, Deployer, Rejection, Violation};
use crate::model::codes::Code;
use crate::model::names::TransformId;
use crate::model::spec::Problem;

use super::body::Upload;
use super::problem::Refusal;
use super::request::IfMatch;
use super::shared::ApiState;

/// A request for a deployment.
pub struct Request {
    pub id: TransformId,
    pub upload: Upload,
    pub precondition: IfMatch,
    pub dry_run: bool,
}

pub fn deploy(state: &ApiState, request: Request) -> Result<DeployResult, Refusal> {
    let Request { id, upload: Upload { spec, module }, precondition, dry_run } = request;
    let candidate = Candidate::parse(&id, spec, module.as_deref())?;
    let change = precondition.of(candidate.change());
    let deployer = deployer(state);
    let deployed = if dry_run { deployer.dry_run(&candidate, change) } else { deployer.deploy(&candidate, change) };
    Ok(deployed?)
}

/// Deploys the content of an earlier revision.
pub fn rollback(
    state: &ApiState,
    id: &TransformId,
    precondition: IfMatch,
    to: Option<u64>,
) -> Result<ChangeResult, Refusal> {
    Ok(deployer(state).rollback(id, to, precondition.of(Change::Rollback { to }))?)
}

/// The deployer of one request.
pub fn deployer(state: &ApiState) -> Deployer<'_> {
    Deployer {
        log: &*state.log,
        catalog: &state.catalog,
        modules: &*state.modules,
        cluster: &state.cluster,
        hosts: state.runtime.hosts(),
        module_bytes_max: state.limits.module_bytes_max,
        leave_time: state.limits.leave_time,
        teams: &state.teams,
        hot_bytes_max: state.limits.state_hot_bytes_max,
    }
}

impl From<DeployError> for Refusal {
    fn from(error: DeployError) -> Self {
        match error {
            DeployError::Rejected(rejection) => rejection.into(),
            DeployError::Catalog(error) => error.into(),
            DeployError::Log(error) => error.into(),
            DeployError::NoCandidate(_) => Self::new(Code::NoTransform, error.to_string())
                .with_hint("send `spec` and `module` along: nothing needs to be deployed"),
        }
    }
}

/// The code, detail and hint are those of the first broken rule; `errors` has the fields of every one.
impl From<Rejection> for Refusal {
    fn from(rejection: Rejection) -> Self {
        let Rejection { first: Violation { code, hint, problems }, others } = rejection;
        let refusal = match problems.as_slice() {
            [Problem { field, message }] if field.is_empty() && others.is_empty() => Self::new(code, message),
            _ => {
                let own = problems.len();
                let others = others.into_iter().flat_map(with_code);
                Self::of_problems(code, problems.into_iter().chain(others).collect(), own)
            }
        };
        refusal.with_hint(hint)
    }
}

/// The problems of another rule than that of the answer's code: each names its own.
fn with_code(violation: Violation) -> impl Iterator<Item = Problem> {
    let Violation { code, problems, .. } = violation;
    problems.into_iter().map(move |problem| Problem { message: format!("{} ({code})", problem.message), ..problem })
}
