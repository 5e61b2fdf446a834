//! Bounds on connections.

use std::time::Duration;

/// Connections beyond the limits, for health and metrics.
pub const EXTRA_MAX: usize = 32;

/// The limits of the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ServerLimits {
    /// Connections in all.
    pub connections_max: usize,
    /// Connections of one address (with IPv6: of one /64).
    pub connections_per_address_max: usize,
    /// Streams of one connection of HTTP/2 at once.
    pub streams_per_connection_max: u32,
    /// Time for the head of a request to arrive, also on a connection that is kept open after one.
    pub head_time: Duration,
    /// Time for the handshake of TLS, from the start of the connection.
    pub handshake_time: Duration,
    /// Time after which a connection is closed that takes none of the bytes that wait for it.
    pub write_time: Duration,
    /// Bytes of answers that peers have not taken yet.
    pub answer_bytes_in_flight_max: usize,
}

impl Default for ServerLimits {
    fn default() -> Self {
        Self {
            connections_max: 1024,
            connections_per_address_max: 512,
            streams_per_connection_max: 64,
            head_time: Duration::from_secs(30),
            handshake_time: Duration::from_secs(10),
            write_time: Duration::from_secs(30),
            answer_bytes_in_flight_max: 256 * 1024 * 1024,
        }
    }
}

impl ServerLimits {
    /// The number of file descriptors that connections can take, also those beyond the limits.
    pub fn descriptors(&self) -> u64 {
        (self.connections_max + EXTRA_MAX) as u64
    }
}
