//! The one table of rights: the roles that each route needs. A route without a row is refused, and a test walks the
//! description of the API.

use axum::http::Method;

use crate::model::access::Role::{self, Admin, Data, Deploy, Operate, View};

/// The callers that a route is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Need {
    /// Everybody, also callers that are not recognised.
    Nobody,
    /// Every caller that is recognised, also one without any role.
    Identity,
    /// Every caller with a role. The answer is limited to the caller's teams, or the handler checks the rest.
    SignIn,
    /// Callers with one of these roles in the team of the path.
    Team(&'static [Role]),
    /// Callers with the role `data` in the team of the path, and those with `view` where an owner of topics lets these see
    /// masked records; the handler checks if it is so for the transform.
    Records,
    /// Callers with this role in the whole cluster.
    Cluster(Role),
}

const TEAM: &str = "/v1/teams/{team}/transforms/{name}";

/// Rows of one route below that of a transform: method, rest of the path, need.
const TRANSFORM: &[(&str, &str, Need)] = &[
    ("GET", "", Need::Team(&[View])),
    ("PUT", "", Need::Team(&[Deploy])),
    ("DELETE", "", Need::Team(&[Deploy])),
    ("GET", "/status", Need::Team(&[View])),
    ("GET", "/history", Need::Team(&[View])),
    ("GET", "/revisions", Need::Team(&[View])),
    ("GET", "/revisions/{revision}", Need::Team(&[View])),
    ("POST", "/rollback", Need::Team(&[Deploy])),
    ("POST", "/pause", Need::Team(&[Operate])),
    ("POST", "/resume", Need::Team(&[Operate])),
    ("POST", "/restart", Need::Team(&[Operate])),
    ("GET", "/offsets", Need::Team(&[View])),
    ("PATCH", "/offsets", Need::Team(&[Operate])),
    ("DELETE", "/offsets", Need::Team(&[Operate])),
    ("DELETE", "/state", Need::Team(&[Operate])),
    ("GET", "/state/{store}/{key}", Need::Team(&[Data])),
    ("GET", "/tail", Need::Records),
    ("GET", "/dead-letters", Need::Records),
    // A guest may print a part of a record; whoever deploys it can have it print all of them.
    ("GET", "/logs", Need::Team(&[Data, Deploy, Operate])),
    // With records of a topic it needs `data` as well, which its handler checks.
    ("POST", "/test", Need::Team(&[Data, Deploy])),
];

const OTHERS: &[(&str, &str, Need)] = &[
    // The console itself is public; all that it shows comes through other routes.
    ("GET", "/", Need::Nobody),
    ("GET", "/console/{file}", Need::Nobody),
    ("GET", "/healthz", Need::Nobody),
    ("GET", "/readyz", Need::Nobody),
    ("GET", "/openapi.json", Need::Nobody),
    ("GET", "/transform.schema.json", Need::Nobody),
    ("GET", "/errors", Need::Nobody),
    ("GET", "/errors/{code}", Need::Nobody),
    ("GET", "/metrics", Need::SignIn),
    ("GET", "/v1/hosts", Need::SignIn),
    ("GET", "/v1/modules", Need::SignIn),
    ("POST", "/v1/modules", Need::SignIn),
    ("GET", "/v1/modules/{digest}", Need::SignIn),
    ("GET", "/v1/teams", Need::SignIn),
    ("GET", "/v1/teams/{team}", Need::Team(&[View])),
    ("GET", "/v1/teams/{team}/transforms", Need::Team(&[View])),
    ("GET", "/v1/transforms", Need::SignIn),
    ("GET", "/v1/flow", Need::SignIn),
    ("GET", "/v1/sign-in", Need::Nobody),
    ("GET", "/v1/whoami", Need::Identity),
    ("GET", "/v1/tokens", Need::SignIn),
    ("POST", "/v1/tokens", Need::SignIn),
    ("DELETE", "/v1/tokens/{token}", Need::SignIn),
    ("GET", "/v1/audit", Need::SignIn),
    // Topics are no team's.
    ("GET", "/v1/topics", Need::Cluster(View)),
    ("PUT", "/v1/topics/{topic}", Need::Cluster(Admin)),
    ("GET", "/v1/topics/{topic}/records", Need::Cluster(Data)),
    ("POST", "/v1/topics/{topic}/records", Need::Cluster(Admin)),
];

/// The need of a route. None: there is no such route, or nobody has said who may use it.
pub fn need(method: &Method, route: &str) -> Option<Need> {
    // The server answers HEAD as it does GET, without the body.
    let method = if *method == Method::HEAD { "GET" } else { method.as_str() };
    let found = |rows: &[(&str, &str, Need)], path: &str| {
        rows.iter().find(|(own, below, _)| *own == method && *below == path).map(|(_, _, need)| *need)
    };
    match route.strip_prefix(TEAM) {
        Some(below) => found(TRANSFORM, below),
        None => found(OTHERS, route),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(method: Method, route: &str, expected: Option<Need>) {
        assert_eq!(need(&method, route), expected, "{method} {route}");
    }

    #[test]
    fn a_route_without_a_row_is_for_nobody() {
        check(Method::GET, "/healthz", Some(Need::Nobody));
        check(Method::HEAD, "/metrics", Some(Need::SignIn));
        check(Method::POST, "/metrics", None);
        check(Method::PUT, TEAM, Some(Need::Team(&[Deploy])));
        check(Method::GET, "/v1/teams/{team}/transforms/{name}/tail", Some(Need::Records));
        check(Method::PUT, "/v1/teams/{team}/transforms/{name}/tail", None);
        check(Method::GET, "/v1/secrets", None);
        check(Method::OPTIONS, "/", None);
    }
}
