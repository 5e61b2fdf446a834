//! Spans as OpenTelemetry has them, with the names of its conventions for messaging
//! (<https://opentelemetry.io/docs/specs/semconv/messaging/kafka/>).

use opentelemetry::trace::{SpanContext, SpanId, SpanKind, Status, TraceFlags, TraceId, TraceState};
use opentelemetry::{KeyValue, Value};
use opentelemetry_sdk::trace::SpanData;

use super::{scope, system_time};
use crate::telemetry::record_span::RecordSpan;

/// The span of a consumer that processes one record of a topic.
pub(super) fn span_data(span: RecordSpan) -> SpanData {
    let RecordSpan { ids, origin, offset, started, time, failed } = span;
    let trace_id = TraceId::from_bytes(ids.trace_id);
    let flags = TraceFlags::new(ids.flags);
    let attribute = |name: &'static str, value: Value| KeyValue::new(name, value);
    let mut attributes = vec![
        attribute("messaging.system", "kafka".into()),
        attribute("messaging.operation.name", "process".into()),
        attribute("messaging.operation.type", "process".into()),
        attribute("messaging.destination.name", origin.topic.to_string().into()),
        attribute("messaging.destination.partition.id", origin.partition.to_string().into()),
        attribute("messaging.kafka.offset", offset.into()),
        attribute("sandbar.team", origin.transform.team.to_string().into()),
        attribute("sandbar.transform", origin.transform.name.to_string().into()),
        attribute("sandbar.revision", i64::try_from(origin.revision).unwrap_or(i64::MAX).into()),
    ];
    attributes.extend(failed.map(|code| attribute("error.type", code.as_str().into())));
    SpanData {
        span_context: SpanContext::new(trace_id, SpanId::from_bytes(ids.span_id), flags, false, TraceState::NONE),
        parent_span_id: SpanId::from_bytes(ids.parent_id),
        parent_span_is_remote: true,
        span_kind: SpanKind::Consumer,
        name: format!("process {}", origin.topic).into(),
        start_time: system_time(started),
        end_time: system_time(started) + time,
        attributes,
        dropped_attributes_count: 0,
        events: Default::default(),
        links: Default::default(),
        status: failed.map_or(Status::Unset, |code| Status::error(code.title())),
        instrumentation_scope: scope(),
    }
}
