//! The rate of requests. A folder, or a cluster, may have more transforms than a host answers requests of one caller in a second, so a
//! request over the rate is sent again a little later. The host has done nothing for it.

use std::time::Duration;

use crate::model::codes::Code;

use super::super::error::Result;

/// The wait after a host has refused a request because there were too many.
const WAIT: Duration = Duration::from_secs(1);
/// Most of these waits for one request.
const WAITS_MAX: usize = 30;

/// Sends a request, as late as its host permits.
pub fn at_rate<T>(send: impl Fn() -> Result<T>) -> Result<T> {
    for _ in 0..WAITS_MAX {
        match send() {
            Err(error) if error.has_code(Code::RequestRate) => std::thread::sleep(WAIT),
            answered => return answered,
        }
    }
    send()
}
