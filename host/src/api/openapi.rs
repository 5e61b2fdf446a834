//! The description of the API, generated from the handlers and their types.

use utoipa::OpenApi;
use utoipa::openapi::{ContentBuilder, Ref, RefOr, ResponseBuilder};

use super::{control, logs, modules, offsets, pages, problem::ProblemDetails, revisions, state, topics, transforms, trial};

#[derive(OpenApi)]
#[openapi(
    info(title = "Sandbar", description = "Deploy WebAssembly transforms next to Kafka, and watch them. A POST without a \
            body, or of a form, needs a header that no web page can send, such as `Sandbar-Request: 1` (E048).",
        license(name = "Apache-2.0", identifier = "Apache-2.0")),
    paths(
        modules::upload, modules::list, modules::show,
        transforms::list_all, transforms::list_team, transforms::put, transforms::show, transforms::remove,
        control::pause, control::resume, control::restart, control::status, control::hosts,
        logs::logs, logs::tail,
        offsets::show, offsets::alter, offsets::reset, trial::test,
        revisions::list, revisions::show, revisions::rollback,
        state::show, state::reset,
        topics::list, topics::create, topics::read, topics::write,
        pages::index, pages::healthz, pages::readyz, pages::metrics, pages::openapi, pages::error_page,
    ),
    components(schemas(ProblemDetails)),
    tags((name = "transforms"), (name = "modules"), (name = "hosts"), (name = "topics", description = "With the embedded log only"), (name = "host")),
)]
struct Document;

/// Routes that only exist with the embedded log.
pub fn is_topics(path: &str) -> bool {
    path.starts_with("/v1/topics")
}

/// The document of a host that does, or does not, serve topics.
pub fn document(topics_api: bool) -> utoipa::openapi::OpenApi {
    let mut document = Document::openapi();
    document.paths.paths.retain(|path, _| topics_api || !is_topics(path));
    for item in document.paths.paths.values_mut() {
        let operations = [&mut item.get, &mut item.put, &mut item.post, &mut item.patch, &mut item.delete];
        for operation in operations.into_iter().flatten() {
            operation.responses.responses.entry("default".to_owned()).or_insert_with(refusal);
        }
    }
    document
}

/// What any route may answer with, besides what it lists itself.
fn refusal() -> RefOr<utoipa::openapi::Response> {
    let content = ContentBuilder::new().schema(Some(Ref::from_schema_name("ProblemDetails"))).build();
    ResponseBuilder::new()
        .description("Refused: a problem with its code and hint")
        .content("application/problem+json", content)
        .build()
        .into()
}
