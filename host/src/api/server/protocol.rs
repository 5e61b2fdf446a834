//! The two protocols of the server, with their limits.
//!
//! Each limit of HTTP/2 bounds something that a peer could have without end: memory by windows, heads and streams; work by
//! resets; time by pings. Exchanges have clocks of their own ([`super::exchange`]).

use std::time::Duration;

use hyper::server::conn::{http1, http2};
use hyper_util::rt::TokioTimer;

use super::limits::ServerLimits;
use super::streams::Streams;

/// Largest head of a request of HTTP/1.1; also the size of one read or write, about.
const BUFFER_BYTES_MAX: usize = 64 * 1024;
/// Largest head of a request of HTTP/2: a token of an identity provider, and as much again. It bounds the CONTINUATION
/// frames of a head too (CVE-2024-27316).
const HEADER_LIST_BYTES_MAX: u32 = 32 * 1024;
/// Bytes of one body that a peer may send before the host has read them: the smallest that the protocol begins with.
const STREAM_WINDOW_BYTES: u32 = 65_535;
/// Bytes of all bodies of a connection that the host has not read: one that is not read leaves room for the others.
const CONNECTION_WINDOW_BYTES: u32 = 256 * 1024;
/// Bytes of one answer that are handed on before the peer has room for them.
const SEND_BUFFER_BYTES_MAX: usize = 16 * 1024;
/// Streams that a peer may reset before the host has looked at them (CVE-2023-44487). Those that it has looked at are
/// counted by the peer.
const PENDING_RESETS_MAX: usize = 20;
/// Streams that the host may reset because of a peer's errors (RUSTSEC-2024-0003).
const ERROR_RESETS_MAX: usize = 64;
/// Time between two pings, and for their answer: a peer that is gone does not keep its streams.
const PING_INTERVAL: Duration = Duration::from_secs(20);
const PING_TIME: Duration = Duration::from_secs(10);

pub fn http1(limits: ServerLimits) -> http1::Builder {
    let mut builder = http1::Builder::new();
    builder.timer(TokioTimer::new()).header_read_timeout(limits.head_time).max_buf_size(BUFFER_BYTES_MAX);
    builder
}

pub fn http2(limits: ServerLimits, streams: Streams) -> http2::Builder<Streams> {
    let mut builder = http2::Builder::new(streams);
    builder
        .timer(TokioTimer::new())
        .max_concurrent_streams(limits.streams_per_connection_max)
        .max_header_list_size(HEADER_LIST_BYTES_MAX)
        .initial_stream_window_size(STREAM_WINDOW_BYTES)
        .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
        .max_send_buf_size(SEND_BUFFER_BYTES_MAX)
        .max_pending_accept_reset_streams(PENDING_RESETS_MAX)
        .max_local_error_reset_streams(ERROR_RESETS_MAX)
        .keep_alive_interval(PING_INTERVAL)
        .keep_alive_timeout(PING_TIME);
    builder
}
