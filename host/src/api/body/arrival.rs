//! The arrival of a body: read to its end within a limit, a time and the budget of all bodies, or thrown away.

use std::time::Duration;

use axum::body::{Body, BodyDataStream, Bytes, HttpBody};
use futures::StreamExt;
use tokio::sync::oneshot;

use super::super::budget::{Budget, Kind, NoRoom, Share};
use super::super::problem::Refusal;
use crate::model::access::Party;
use crate::model::codes::Code;

/// Bytes of a body that is too large that are read and thrown away, so that its sender gets to read the answer.
const DRAIN_BYTES_MAX: usize = 128 * 1024 * 1024;
/// Time for these bytes.
const DRAIN_TIME: Duration = Duration::from_secs(5);

/// A whole body, with its share of the bytes in flight.
pub struct RequestBody {
    pub bytes: Bytes,
    /// The share, which is kept for as long as any value that was made of the body.
    pub share: Share,
}

/// Reads a body to its end, within a time and within the budget of all bodies.
pub async fn read(
    intake: &Budget,
    party: Option<Party>,
    body: Body,
    bytes_max: usize,
    time: Duration,
) -> Result<RequestBody, Refusal> {
    let announced = usize::try_from(body.size_hint().lower()).unwrap_or(usize::MAX);
    let mut stream = body.into_data_stream();
    let read = if announced > bytes_max {
        Ok(Err(too_large(bytes_max)))
    } else {
        tokio::time::timeout(time, read_within(intake, party, &mut stream, bytes_max)).await
    };
    match read {
        Ok(Err(refusal)) if matches!(refusal.code(), Code::BodyTooLarge | Code::Busy) => {
            // The share is given back by now: the rest is thrown away.
            drain(stream).await;
            Err(refusal)
        }
        Ok(done) => done,
        Err(_) => Err(Refusal::new(Code::BodyCutOff, format!("the body did not arrive within {} s", time.as_secs()))),
    }
}

fn too_large(bytes_max: usize) -> Refusal {
    Refusal::new(Code::BodyTooLarge, format!("the body has more than {bytes_max} bytes"))
}

async fn read_within(
    intake: &Budget,
    party: Option<Party>,
    stream: &mut BodyDataStream,
    bytes_max: usize,
) -> Result<RequestBody, Refusal> {
    let (ask, mut asked) = oneshot::channel();
    let mut share = intake.share(Kind::Growing, party, move || {
        // There is no listener any more if the body has just arrived.
        let _ = ask.send(());
    });
    let mut bytes = Vec::new();
    let arriving = async {
        while let Some(chunk) = stream.next().await {
            let chunk = chunk.map_err(|error| {
                Refusal::new(Code::BodyCutOff, format!("the body ended after {} bytes: {error}", bytes.len()))
            })?;
            let arrived = bytes.len() + chunk.len();
            if arrived > bytes_max {
                return Err(too_large(bytes_max));
            }
            share.grow_to(arrived).await.map_err(|NoRoom| {
                Refusal::new(Code::Busy, "too many bytes of bodies are in flight (upload_bytes_in_flight_max)")
            })?;
            bytes.extend_from_slice(&chunk);
        }
        Ok(())
    };
    tokio::select! {
        arrived = arriving => arrived?,
        Ok(()) = &mut asked => {
            let detail = "the body came too slowly, and others needed its bytes (upload_bytes_in_flight_max)";
            return Err(Refusal::new(Code::Busy, detail));
        }
    }
    share.settle();
    Ok(RequestBody { bytes: bytes.into(), share })
}

async fn drain(mut stream: BodyDataStream) {
    let mut left = DRAIN_BYTES_MAX;
    let all = async {
        while let Some(Ok(chunk)) = stream.next().await {
            left = left.saturating_sub(chunk.len());
            if left == 0 {
                return;
            }
        }
    };
    // The answer goes out now, also if the body has not ended.
    let _ = tokio::time::timeout(DRAIN_TIME, all).await;
}
