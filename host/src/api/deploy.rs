//! The deployments that requests ask for. [`crate::deployment`] has their rules and steps. Everything here blocks.

use crate::catalog::{Change, ChangeResult};
use crate::deployment::{Candidate, DeployError, DeployResult, Deployer, Rejection, Violation};
use crate::model::codes::Code;
use crate::model::names::{TeamName, TransformId};
use crate::model::spec::Problem;
use crate::telemetry::metrics::RefusedAt;

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
    let Request { id, upload: Upload { spec, module, signature }, precondition, dry_run } = request;
    let candidate = Candidate::parse(&id, spec, module.as_deref())?.signed(signature);
    let change = precondition.of(candidate.change());
    let deployer = deployer(state, &id.team);
    let deployed = if dry_run { deployer.dry_run(&candidate, change) } else { deployer.deploy(&candidate, change) };
    Ok(counted(state, deployed)?)
}

/// Counts a refusal because of the module's signature.
pub fn counted<T>(state: &ApiState, result: Result<T, DeployError>) -> Result<T, DeployError> {
    result.inspect_err(|error| {
        let DeployError::Rejected(rejection) = error else { return };
        if matches!(rejection.first.code, Code::Unsigned | Code::BadSignature) {
            state.signing_metrics.refused(RefusedAt::Request);
        }
    })
}

/// Deploys the content of an earlier revision.
pub fn rollback(
    state: &ApiState,
    id: &TransformId,
    precondition: IfMatch,
    to: Option<u64>,
) -> Result<ChangeResult, Refusal> {
    let rolled_back = deployer(state, &id.team).rollback(id, to, precondition.of(Change::Rollback { to }));
    Ok(counted(state, rolled_back)?)
}

/// The deployer of one request, with the rights of the team.
pub fn deployer<'a>(state: &'a ApiState, team: &TeamName) -> Deployer<'a> {
    Deployer {
        log: state.log_of(team),
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
