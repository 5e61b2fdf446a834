//! The rule on the signature of a module: a pure function of the module, its team, the team's rule and the signatures.

use crate::model::codes::Code;
use crate::model::names::{Digest, TeamName};
use crate::model::signature::{Envelope, ModuleSignature, SignatureError};
use crate::model::signing_rules::SigningRule;

use super::rejection::Violation;

/// A module that its team may deploy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AcceptedModule {
    pub signature: Option<ModuleSignature>,
    pub warning: Option<String>,
}

/// Chooses the signature with which a module is deployed: the one that was sent, else the transform's own (`own`), else one
/// that the team has deployed the module with before. A signature that was sent has to be right, also if none is required.
pub fn accept(
    team: &TeamName,
    module: &Digest,
    rule: &SigningRule,
    sent: Option<&Envelope>,
    own: Option<&Envelope>,
    known: &[Envelope],
) -> Result<AcceptedModule, Violation> {
    if let Some(envelope) = sent {
        return accept_sent(team, module, rule, envelope);
    }
    let verified = |envelope: &Envelope| {
        let key = envelope.verify(module, team, &rule.keys).ok()?;
        Some(ModuleSignature { envelope: envelope.clone(), key: Some(key) })
    };
    let first = own.or(known.first());
    let signature = own.into_iter().chain(known).find_map(verified);
    if signature.is_none() && rule.required {
        return Err(refusal(team, module, rule, first));
    }
    // It counts for nothing, and may do so again when its key is back.
    let unverified = || first.map(|envelope| ModuleSignature { envelope: envelope.clone(), key: None });
    Ok(AcceptedModule { signature: signature.or_else(unverified), warning: None })
}

fn accept_sent(
    team: &TeamName,
    module: &Digest,
    rule: &SigningRule,
    envelope: &Envelope,
) -> Result<AcceptedModule, Violation> {
    let accepted = |key, warning| {
        let signature = Some(ModuleSignature { envelope: envelope.clone(), key });
        AcceptedModule { signature, warning }
    };
    if rule.keys.is_empty() && !rule.required {
        envelope.check_statement(module, team).map_err(|error| violation(&error))?;
        let warning =
            format!("nobody verifies the module's signature: team {team} has no signing keys in the file of teams");
        return Ok(accepted(None, Some(warning)));
    }
    let key = envelope.verify(module, team, &rule.keys).map_err(|error| violation(&error))?;
    Ok(accepted(Some(key), None))
}

/// Checks that a host may run a module: the file of teams may have changed since the deployment, and another program than
/// a host may have written the record.
pub fn check_signature(
    team: &TeamName,
    module: &Digest,
    rule: &SigningRule,
    signature: Option<&Envelope>,
) -> Result<(), Violation> {
    let is_signed = |envelope: &Envelope| envelope.verify(module, team, &rule.keys).is_ok();
    if !rule.required || signature.is_some_and(is_signed) {
        return Ok(());
    }
    Err(refusal(team, module, rule, signature))
}

/// The reason why a module may not run with this signature, or without one.
fn refusal(team: &TeamName, module: &Digest, rule: &SigningRule, signature: Option<&Envelope>) -> Violation {
    match signature.map(|envelope| envelope.verify(module, team, &rule.keys)) {
        Some(Err(error)) => violation(&error),
        _ => {
            let message = format!("team {team} takes signed modules only, and module {module} has no signature");
            Violation::of_field(Code::Unsigned, "module", message)
        }
    }
}

fn violation(error: &SignatureError) -> Violation {
    Violation::of_field(Code::BadSignature, "module", error.to_string())
}

#[cfg(test)]
#[path = "signature_tests.rs"]
mod tests;
