//! Error codes and failed calls.

use std::ffi::c_int;

use rdkafka::types::RDKafkaErrorCode;

use super::convert::text;
use super::sys::*;
use crate::model::text::brief;

/// The names of the codes that this librdkafka knows.
pub use super::sys::rd_kafka_resp_err_t as CodeName;

/// The longest name of a property in a message, in bytes.
const NAME_BYTES_MAX: usize = 200;

/// The number of an error, of librdkafka, of a broker, or one of the constants here. A broker that is newer than this
/// librdkafka may answer with a number that has no name here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ErrorCode(c_int);

impl ErrorCode {
    /// The host has no token to log in with. Neither librdkafka nor a broker has this number.
    pub const NO_TOKEN: Self = Self(-100_000);
    /// No client can be made of the properties.
    pub const PROPERTIES: Self = Self(-100_001);

    pub(super) fn new(number: c_int) -> Self {
        Self(number)
    }

    /// Reads a code from a struct that librdkafka has filled.
    ///
    /// # Safety
    /// `field` points to a code that librdkafka wrote.
    pub(super) unsafe fn read(field: *const rd_kafka_resp_err_t) -> Self {
        // SAFETY: the caller's promise; the enum of the bindings is `repr(i32)`.
        Self(unsafe { field.cast::<c_int>().read() })
    }

    /// The code of an error of the rdkafka crate, whose names stand for the same numbers.
    pub fn of_crate(name: RDKafkaErrorCode) -> Self {
        Self(name as c_int)
    }

    /// The code of a number, as a broker may send it.
    #[cfg(test)]
    pub fn of_number(number: c_int) -> Self {
        Self(number)
    }

    /// The name of the code; None where this librdkafka does not know it.
    pub fn name(self) -> Option<CodeName> {
        CodeName::try_from(self.0).ok()
    }

    pub fn is_success(self) -> bool {
        self == CodeName::RD_KAFKA_RESP_ERR_NO_ERROR
    }
}

impl From<CodeName> for ErrorCode {
    fn from(name: CodeName) -> Self {
        Self(name as c_int)
    }
}

impl PartialEq<CodeName> for ErrorCode {
    fn eq(&self, name: &CodeName) -> bool {
        *self == Self::from(*name)
    }
}

/// A failed call, with librdkafka's own class of remedy.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{call}: {message}")]
pub struct RawError {
    pub call: &'static str,
    pub code: ErrorCode,
    pub message: String,
    pub retriable: bool,
    pub requires_abort: bool,
    pub fatal: bool,
}

impl RawError {
    pub fn of(call: &'static str, code: impl Into<ErrorCode>) -> Self {
        let code = code.into();
        // SAFETY: rd_kafka_err2str returns a static string for any number.
        let message = unsafe { text(rd_kafka_err2str(code.0)) };
        let fatal = code == CodeName::RD_KAFKA_RESP_ERR__FATAL;
        Self { call, code, message, retriable: false, requires_abort: false, fatal }
    }

    /// The refusal of a property. It names the property alone: librdkafka's own words may quote the value, which may be a
    /// secret.
    pub fn of_property(name: &str, answer: rd_kafka_conf_res_t) -> Self {
        let name = brief(name, NAME_BYTES_MAX);
        let message = match answer {
            rd_kafka_conf_res_t::RD_KAFKA_CONF_UNKNOWN => format!("librdkafka knows no property {name:?}"),
            _ => format!("librdkafka does not accept the value of the property {name:?}"),
        };
        Self { message, ..Self::of("configure", ErrorCode::PROPERTIES) }
    }

    /// Takes over an error object; null stands for success.
    ///
    /// # Safety
    /// `error` is null or an owned `rd_kafka_error_t`.
    pub(super) unsafe fn check(call: &'static str, error: *mut rd_kafka_error_t) -> Result<(), Self> {
        if error.is_null() {
            return Ok(());
        }
        // SAFETY: not null, and owned by us until it is destroyed at the end.
        unsafe {
            let raw = Self {
                call,
                code: ErrorCode(rd_kafka_error_code(error)),
                message: text(rd_kafka_error_string(error)),
                retriable: rd_kafka_error_is_retriable(error) != 0,
                requires_abort: rd_kafka_error_txn_requires_abort(error) != 0,
                fatal: rd_kafka_error_is_fatal(error) != 0,
            };
            rd_kafka_error_destroy(error);
            Err(raw)
        }
    }
}

/// Turns the code that a call returned into a result.
pub(super) fn check(call: &'static str, code: c_int) -> Result<(), RawError> {
    match ErrorCode(code) {
        code if code.is_success() => Ok(()),
        code => Err(RawError::of(call, code)),
    }
}

/// librdkafka's words for a client that it does not make, without the one value that they quote: of `sasl.mechanism`, into
/// which somebody may have put a password.
pub fn without_value(said: &str) -> String {
    match said.split_once("Unsupported SASL mechanism") {
        Some((before, _)) => format!("{before}librdkafka knows no such sasl.mechanism"),
        None => said.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_code_without_a_name_is_an_error_like_any_other() {
        // Far above every code of Kafka's protocol.
        let code = ErrorCode::new(30_000);
        assert_eq!(code.name(), None);
        let error = check("commit", 30_000).expect_err("no success");
        assert_eq!((error.code, error.fatal), (code, false));
        assert!(error.to_string().starts_with("commit: "), "{error}");
        assert_eq!(ErrorCode::from(CodeName::RD_KAFKA_RESP_ERR__FATAL).name(), Some(CodeName::RD_KAFKA_RESP_ERR__FATAL));
        assert!(check("commit", 0).is_ok());
    }
}
