//! The metrics of the HTTP server.

use prometheus::{HistogramVec, IntCounterVec, IntGauge};

use super::registrar::{Registrar, second_buckets};
use crate::model::codes::Code;

/// Connections, requests and the memory that they take. Cloning shares them.
#[derive(Clone)]
pub struct HttpMetrics {
    pub connections: IntGauge,
    pub streams: IntGauge,
    pub body_bytes: IntGauge,
    pub answer_bytes: IntGauge,
    pub flow_readers: IntGauge,
    requests: IntCounterVec,
    request_time: HistogramVec,
    connections_refused: IntCounterVec,
    connections_closed: IntCounterVec,
    streams_closed: IntCounterVec,
    requests_refused: IntCounterVec,
}

impl HttpMetrics {
    pub(super) fn new(r: &Registrar) -> Self {
        let bytes = "Bytes of bodies and answers, beyond the first 64 KiB of each";
        let in_flight = r.gauges("sandbar_http_bytes_in_flight", bytes, &["kind"]);
        let refused = "New connections that were closed at once, by the limit that was reached";
        let closed = "Connections that the host closed, by reason";
        let requests_refused = "Requests that were refused before they reached a route";
        Self {
            connections: r.gauge("sandbar_http_connections", "Open connections of the API"),
            streams: r.gauge("sandbar_http_streams", "Open streams of HTTP/2 beside the first of each connection"),
            body_bytes: in_flight.with_label_values(&["body"]),
            answer_bytes: in_flight.with_label_values(&["answer"]),
            flow_readers: r.gauge("sandbar_flow_readers", "Readers of the flow: pages of the console, mostly"),
            requests: r.counters("sandbar_http_requests_total", "API requests", &["method", "route", "status"]),
            request_time: r.histograms(
                "sandbar_http_request_seconds",
                "Time of an API request",
                &["method", "route"],
                second_buckets(),
            ),
            connections_refused: r.counters("sandbar_http_connections_refused_total", refused, &["reason"]),
            connections_closed: r.counters("sandbar_http_connections_closed_total", closed, &["reason"]),
            streams_closed: r.counters(
                "sandbar_http_streams_closed_total",
                "Streams of HTTP/2 that the host closed, by reason",
                &["reason"],
            ),
            requests_refused: r.counters("sandbar_http_requests_refused_total", requests_refused, &["code"]),
        }
    }

    /// Counts an answered request.
    pub fn answered(&self, method: &str, route: &str, status: u16, seconds: f64) {
        self.requests.with_label_values(&[method, route, &status.to_string()]).inc();
        self.request_time.with_label_values(&[method, route]).observe(seconds);
    }

    pub fn connection_refused(&self, reason: &str) {
        self.connections_refused.with_label_values(&[reason]).inc();
    }

    pub fn connection_closed(&self, reason: &str) {
        self.connections_closed.with_label_values(&[reason]).inc();
    }

    pub fn stream_closed(&self, reason: &str) {
        self.streams_closed.with_label_values(&[reason]).inc();
    }

    pub fn request_refused(&self, code: Code) {
        self.requests_refused.with_label_values(&[code.as_str()]).inc();
    }
}
