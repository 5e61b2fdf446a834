//! The description of the API: its head, and the answers and parameters that many routes share. The rest is generated from
//! the handlers and their types.

use utoipa::openapi::path::{Parameter, ParameterBuilder, ParameterIn};
use utoipa::openapi::response::Response;
use utoipa::openapi::schema::{SchemaType, Type};
use utoipa::openapi::{ContentBuilder, ObjectBuilder, Ref, RefOr, Required, ResponseBuilder};
use utoipa::{IntoResponses, OpenApi};

use crate::api_types::ProblemDetails;

const PROBLEM: &str = "application/problem+json";

#[derive(OpenApi)]
#[openapi(
    info(title = "Sandbar", description = "Deploy WebAssembly transforms next to Kafka, and watch them. A POST without a \
            body, or with a form, needs a header that no web page can send, such as `Sandbar-Request: 1` (E048).",
        license(name = "Apache-2.0", identifier = "Apache-2.0")),
    components(schemas(ProblemDetails)),
    tags((name = "transforms"), (name = "modules"), (name = "teams"), (name = "access"), (name = "hosts"), (name = "topics", description = "With the embedded log only"), (name = "host")),
)]
struct Head;

/// The transform does not exist.
#[derive(IntoResponses)]
#[response(status = 404, description = "No such transform (E023)")]
pub struct NoTransform;

/// The transform has another revision than the request expects.
#[derive(IntoResponses)]
#[response(status = 409, description = "At another revision (E008)")]
pub struct OtherRevision;

/// The transform runs, or a host is still in its group.
#[derive(IntoResponses)]
#[response(status = 409, description = "It is not paused, or a host is still in its group (E040)")]
pub struct OffsetsInUse;

/// The team may not read an input any more.
#[derive(IntoResponses)]
#[response(status = 403, description = "The team may not read an input any more (E064)")]
pub struct InputDenied;

/// The topic or the partition does not exist.
#[derive(IntoResponses)]
#[response(status = 404, description = "No such topic (E025) or partition (E030)")]
pub struct NoPartition;

/// The description without any route.
pub fn base() -> utoipa::openapi::OpenApi {
    Head::openapi()
}

/// Adds the parts that are the same for all routes: an answer that refuses is a problem, and each route may refuse.
pub fn complete(mut document: utoipa::openapi::OpenApi) -> utoipa::openapi::OpenApi {
    for item in document.paths.paths.values_mut() {
        let operations = [&mut item.get, &mut item.put, &mut item.post, &mut item.patch, &mut item.delete];
        for operation in operations.into_iter().flatten() {
            let responses = &mut operation.responses.responses;
            for (status, response) in responses.iter_mut() {
                if let RefOr::T(response) = response
                    && status.starts_with(['4', '5'])
                    && response.content.is_empty()
                {
                    *response = problem(&response.description);
                }
            }
            let refusal = || problem("Refused: a problem with its code and hint").into();
            responses.entry("default".to_owned()).or_insert_with(refusal);
        }
    }
    document
}

fn problem(description: &str) -> Response {
    let content = ContentBuilder::new().schema(Some(Ref::from_schema_name("ProblemDetails"))).build();
    ResponseBuilder::new().description(description).content(PROBLEM, content).build()
}

/// Describes a name in the path.
pub fn path_parameter(name: &str) -> Parameter {
    let text = ObjectBuilder::new().schema_type(Type::String);
    ParameterBuilder::new().name(name).parameter_in(ParameterIn::Path).required(Required::True).schema(Some(text)).build()
}

/// Describes an optional header.
pub fn header_parameter(name: &str, description: &str) -> Parameter {
    let text = ObjectBuilder::new().schema_type(SchemaType::from_iter([Type::String, Type::Null]));
    let parameter = ParameterBuilder::new().name(name).parameter_in(ParameterIn::Header).required(Required::False);
    parameter.description(Some(description)).schema(Some(text)).build()
}
