//! Tools for the author of a transform: they need no host.

mod build;
mod module;
mod new;
mod run;
mod sdk;
mod sign;

pub use build::BuildArgs;
pub use module::{MODULE_BYTES_MAX, read_module};
pub use new::NewArgs;
pub use run::RunArgs;
pub use sdk::SdkArgs;
pub use sign::{SignArgs, VerifyArgs, read_signature, signature_path};
