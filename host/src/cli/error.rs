//! The error of a verb: its message, a hint with the remedy, and the exit code.

use std::fmt;
use std::path::Path;
use std::process::ExitCode;

use crate::api_types::ProblemDetails;
use crate::config::OptionError;
use crate::model::codes::{Code, Coded};
use crate::model::spec::Problem;
use crate::model::text;
use crate::ports::LogError;

pub type Result<T, E = Error> = std::result::Result<T, E>;

/// The class of an error, by the remedy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// The command line, or a file that it names, is to be corrected.
    Usage,
    /// Nobody listens at the URL.
    Unreachable,
    /// The connection broke: the host may have carried out the request, or not.
    Broken,
    /// The host refuses for now, while it starts, say. The same request may succeed later.
    Unavailable,
    /// The host refused, or its work failed.
    Failed,
    /// The time was over. The host goes on, and may still succeed.
    TimedOut,
}

/// Most errors that are shown as one.
const SHOWN_MAX: usize = 50;

/// Shown as `error[E023]: there is no transform orders/x` and `hint: ...`.
#[derive(Debug)]
pub struct Error {
    pub kind: Kind,
    code: Option<String>,
    message: String,
    hint: Option<String>,
}

// === impl Error ===

impl Error {
    pub fn new(kind: Kind, message: impl fmt::Display) -> Self {
        Self { kind, code: None, message: message.to_string(), hint: None }
    }

    pub fn usage(message: impl fmt::Display) -> Self {
        Self::new(Kind::Usage, message)
    }

    /// The error of a part whose errors have no classes, with its causes; and with its code and hint, if it has a code.
    pub fn failed(error: anyhow::Error) -> Self {
        if let Some(Coded { code, message }) = error.downcast_ref() {
            return Self::new(kind_of(*code), message).with(*code);
        }
        match error.downcast_ref() {
            Some(LogError::Properties { code, message }) => Self::new(kind_of(*code), message).with(*code),
            Some(other) => Self::new(Kind::Failed, format_args!("{error:#}")).with(other.code()),
            None => Self::new(Kind::Failed, format_args!("{error:#}")),
        }
    }

    /// An option of a host cannot be used.
    pub fn option(OptionError { code, message }: OptionError) -> Self {
        match code {
            Some(code) => Self::usage(message).with(code),
            None => Self::usage(message),
        }
    }

    /// A file that the command needs cannot be used.
    pub fn file(path: &Path, error: impl fmt::Display) -> Self {
        Self::usage(format_args!("{}: {error}", path.display()))
    }

    /// A spec that the host would refuse as well.
    pub fn spec(path: &Path, problems: &[Problem]) -> Self {
        // A problem of the whole document has no field.
        let place = |field: &str| if field.is_empty() { String::new() } else { format!("{field}: ") };
        let lines = problems.iter().map(|problem| format!("\n{}{}", place(&problem.field), problem.message));
        let message = format!("{}:{}", path.display(), lines.collect::<String>());
        Self::usage(message).with(Code::Spec)
    }

    /// A folder, or a file in it, that cannot be used.
    pub fn folder(path: &Path, error: impl fmt::Display) -> Self {
        Self::file(path, error).with(Code::Folder)
    }

    /// An answer that is not one of a Sandbar host.
    pub fn not_a_host(url: &str, reason: impl fmt::Display) -> Self {
        Self::new(Kind::Failed, format_args!("{url} does not answer as a host does: {reason}"))
            .with_hint("is it a Sandbar host, of this binary's version? `sandbar --version` and `sandbar hosts` tell")
    }

    /// Several errors as one, each with its code; one alone stays as it is, and `None` stands for none.
    pub fn of_all(kind: Kind, head: &str, errors: Vec<Self>) -> Option<Self> {
        let mut errors = errors;
        if errors.len() <= 1 {
            return errors.pop();
        }
        let lines: String = errors.iter().take(SHOWN_MAX).map(|error| format!("\n{}", error.as_part())).collect();
        let more = errors.len().saturating_sub(SHOWN_MAX);
        let more = if more > 0 { format!("\nand {more} more") } else { String::new() };
        Some(Self::new(kind, format_args!("{head}:{lines}{more}")))
    }

    /// The message with the code behind it, as a part of another error.
    pub fn as_part(&self) -> String {
        match &self.code {
            Some(code) => format!("{} ({code})", self.message),
            None => self.message.clone(),
        }
    }

    /// Puts words before the message.
    pub fn in_place(self, place: impl fmt::Display) -> Self {
        Self { message: format!("{place}: {}", self.message), ..self }
    }

    /// Puts other words in the place of the message, if `reword` gives some.
    pub fn reworded(self, reword: impl FnOnce(&str) -> Option<String>) -> Self {
        let message = reword(&self.message).unwrap_or(self.message);
        Self { message, ..self }
    }

    /// Adds a code with its hint.
    pub fn with(self, code: Code) -> Self {
        self.with_code(code.as_str()).with_hint(code.hint())
    }

    pub fn with_code(self, code: impl Into<String>) -> Self {
        Self { code: Some(code.into()), ..self }
    }

    pub fn with_hint(self, hint: impl Into<String>) -> Self {
        Self { hint: Some(hint.into()), ..self }
    }

    pub fn code(&self) -> Option<&str> {
        self.code.as_deref()
    }

    pub fn has_code(&self, code: Code) -> bool {
        self.code.as_deref() == Some(code.as_str())
    }

    /// Returns true if the same request may succeed later, because the host may be on its way back.
    pub fn may_pass(&self) -> bool {
        matches!(self.kind, Kind::Unreachable | Kind::Broken | Kind::Unavailable)
    }

    pub fn exit_code(&self) -> ExitCode {
        ExitCode::from(match self.kind {
            Kind::Unreachable | Kind::Broken | Kind::Unavailable | Kind::Failed => 1,
            Kind::Usage => 2,
            Kind::TimedOut => 3,
        })
    }
}

/// A host that does not start for one of these codes wants another option, or another content of a file.
fn kind_of(code: Code) -> Kind {
    match code {
        Code::TeamsFile
        | Code::RedactionRule
        | Code::NoTls
        | Code::NoSignIn
        | Code::TlsFiles
        | Code::AccessOptions
        | Code::ClientRoles
        | Code::OidcOptions
        | Code::KafkaProperty
        | Code::KafkaCredentials => Kind::Usage,
        _ => Kind::Failed,
    }
}

impl From<ProblemDetails> for Error {
    fn from(problem: ProblemDetails) -> Self {
        let ProblemDetails { title, detail, code, hint, errors, .. } = problem;
        let fields = errors.iter().map(|error| format!("\n{}: {}", error.field, error.message));
        let message = if errors.len() > 1 { format!("{title}:{}", fields.collect::<String>()) } else { detail.into() };
        Self::new(Kind::Failed, message).with_code(code).with_hint(hint)
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Whoever wrote it: further lines are indented, so that none of them looks like one of ours.
        let message = text::indented(&self.message);
        match &self.code {
            Some(code) => write!(f, "error[{}]: {message}", text::one_line(code))?,
            None => write!(f, "error: {message}")?,
        }
        self.hint.as_ref().map_or(Ok(()), |hint| write!(f, "\nhint: {}", text::indented(hint)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_option_shows_its_code_as_every_error_does() {
        let shown = |code| Error::option(OptionError { code, message: "--a needs --b".to_owned() }).to_string();
        assert_eq!(shown(None), "error: --a needs --b");
        assert!(shown(Some(Code::OidcOptions)).starts_with("error[E083]: --a needs --b\nhint: "));
    }

    #[test]
    fn a_problem_shows_its_code_and_hint_and_every_field() {
        let problem = |errors: &str| -> Error {
            let text = format!(
                r#"{{"type":"/errors/E020","title":"The spec is not valid","status":422,"detail":"inputs: none",
                    "code":"E020","hint":"correct it","errors":{errors}}}"#
            );
            serde_json::from_str::<ProblemDetails>(&text).expect("a problem").into()
        };
        for (errors, shown) in [
            ("[]", "error[E020]: inputs: none\nhint: correct it"),
            (r#"[{"field":"inputs","message":"none"}]"#, "error[E020]: inputs: none\nhint: correct it"),
            (
                r#"[{"field":"inputs","message":"none"},{"field":"workers","message":"17"}]"#,
                "error[E020]: The spec is not valid:\n  inputs: none\n  workers: 17\nhint: correct it",
            ),
        ] {
            assert_eq!(problem(errors).to_string(), shown);
        }
        assert_eq!(Error::usage("no").to_string(), "error: no");
    }
}
