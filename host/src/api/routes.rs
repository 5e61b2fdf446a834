//! The routes of the API. Each handler's `utoipa::path` has its path and method, so a route that is served is described,
//! and the other way round.

use std::sync::Arc;

use axum::Router;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::shared::{ApiState, Shared};
use super::topics::{self, read, write};
use super::{
    audit, console, control, dead_letters, dry_run, flow, logs, modules, observe, offsets, openapi, pages, revisions, state,
    teams, tokens, transforms,
};

/// The whole API, ready to be served.
pub fn router(state: ApiState) -> Router {
    let (routes, document) = routes(state.topics_api).split_for_parts();
    let document = serde_json::to_vec(&openapi::complete(document)).expect("the description is plain data");
    let shared = Arc::new(Shared::new(state, document.into()));
    let routes = routes.fallback(pages::no_route).method_not_allowed_fallback(pages::no_method);
    observe::layers(routes, &shared).with_state(shared)
}

/// The routes of a host. Those of topics are there with the embedded log only.
fn routes(topics_api: bool) -> OpenApiRouter<Arc<Shared>> {
    let routes = OpenApiRouter::with_openapi(openapi::base())
        .routes(routes!(modules::upload, modules::list))
        .routes(routes!(modules::show))
        .routes(routes!(teams::list))
        .routes(routes!(teams::show))
        .routes(routes!(tokens::sign_in))
        .routes(routes!(tokens::whoami))
        .routes(routes!(tokens::list, tokens::create))
        .routes(routes!(tokens::revoke))
        .routes(routes!(audit::list))
        .routes(routes!(transforms::list_all))
        .routes(routes!(flow::flow))
        .routes(routes!(flow::history))
        .routes(routes!(transforms::list_team))
        .routes(routes!(transforms::put, transforms::show, transforms::remove))
        .routes(routes!(control::pause))
        .routes(routes!(control::resume))
        .routes(routes!(control::restart))
        .routes(routes!(control::status))
        .routes(routes!(control::hosts))
        .routes(routes!(logs::logs))
        .routes(routes!(logs::tail))
        .routes(routes!(dead_letters::list))
        .routes(routes!(offsets::show, offsets::alter, offsets::reset))
        .routes(routes!(dry_run::dry_run))
        .routes(routes!(revisions::list))
        .routes(routes!(revisions::show))
        .routes(routes!(revisions::rollback))
        .routes(routes!(state::show))
        .routes(routes!(state::reset))
        .routes(routes!(console::index))
        .routes(routes!(console::asset))
        .routes(routes!(pages::healthz))
        .routes(routes!(pages::readyz))
        .routes(routes!(pages::metrics))
        .routes(routes!(pages::openapi))
        .routes(routes!(pages::spec_schema))
        .routes(routes!(pages::error_codes))
        .routes(routes!(pages::error_page));
    if !topics_api {
        return routes;
    }
    routes.routes(routes!(topics::list)).routes(routes!(topics::create)).routes(routes!(read::read, write::write))
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    fn document(topics_api: bool) -> Value {
        let document = routes(topics_api).split_for_parts().1;
        serde_json::to_value(openapi::complete(document)).expect("the description is plain data")
    }

    fn operations(document: &Value) -> impl Iterator<Item = (&str, &str, &Value)> {
        let paths = document["paths"].as_object().expect("paths").iter();
        paths.flat_map(|(path, item)| {
            let operations = item.as_object().expect("operations").iter();
            operations.map(|(method, operation)| (path.as_str(), method.as_str(), operation))
        })
    }

    #[test]
    fn somebody_has_said_who_may_use_each_route() {
        for (path, method, _) in operations(&document(true)) {
            let method = method.to_uppercase().parse().expect("a method");
            assert!(super::super::access::need(&method, path).is_some(), "{method} {path}");
        }
    }

    #[test]
    fn every_answer_is_described() {
        for (path, method, operation) in operations(&document(true)) {
            let responses = operation["responses"].as_object().expect("responses");
            assert!(responses.contains_key("default") && responses.len() > 1, "{method} {path}");
            for (status, response) in responses {
                let is_problem = response["content"].get("application/problem+json").is_some();
                let refuses = status.starts_with(['4', '5']) || status == "default";
                assert_eq!(is_problem, refuses && path != "/readyz" || status == "default", "{method} {path} {status}");
            }
        }
    }

    #[test]
    fn topics_are_described_where_they_are_served() {
        let described = |topics_api| operations(&document(topics_api)).any(|(path, _, _)| path.starts_with("/v1/topics"));
        assert!(described(true) && !described(false));
    }

    #[test]
    fn parameters_are_described_where_they_are() {
        let mut in_query = Vec::new();
        let document = document(true);
        for (path, method, operation) in operations(&document) {
            for parameter in operation["parameters"].as_array().into_iter().flatten() {
                let name = parameter["name"].as_str().expect("a name");
                let place = &parameter["in"];
                let in_path = path.contains(&format!("{{{name}}}"));
                assert_eq!(in_path, place == "path", "{method} {path}: {parameter}");
                if place == "query" {
                    in_query.push(format!("{method} {} {name}", path.rsplit('/').next().unwrap_or_default()));
                }
            }
        }
        for expected in [
            "put {name} dry_run",
            "patch offsets dry_run",
            "delete offsets dry_run",
            "get logs since",
            "get tail follow",
            "get {key} record_key",
            "get records wait",
        ] {
            assert!(in_query.iter().any(|found| found == expected), "{expected}: {in_query:?}");
        }
    }
}
