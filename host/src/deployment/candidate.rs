//! A spec and its module, before they are deployed.

use crate::catalog::{Catalog, CatalogError, Change};
use crate::model::codes::Code;
use crate::model::names::{Digest, TransformId};
use crate::model::signature::Envelope;
use crate::model::spec::{Problem, RawSpec, Spec};

use super::error::DeployError;
use super::rejection::{Rejection, Violation};

/// A valid spec as it was sent and as it was read, with the module where it came along.
#[derive(Debug)]
pub struct Candidate<'a> {
    pub raw: RawSpec,
    pub spec: Spec,
    /// The uploaded module; None: the spec names a stored one.
    pub upload: Option<&'a [u8]>,
    /// The signature of the module, if it came along.
    pub signature: Option<Envelope>,
    /// The signature of the earlier revision that the candidate is the content of, if it had one.
    pub earlier_signature: Option<Envelope>,
}

impl<'a> Candidate<'a> {
    /// Reads a spec. Without an `upload` it has to name its module.
    pub fn parse(id: &TransformId, raw: RawSpec, upload: Option<&'a [u8]>) -> Result<Self, Rejection> {
        let spec = Spec::parse(&raw, id, upload.map(Digest::of)).map_err(invalid)?;
        Ok(Self { raw, spec, upload, signature: None, earlier_signature: None })
    }

    /// The candidate with the signature that came along.
    pub fn signed(self, signature: Option<Envelope>) -> Self {
        Self { signature, ..self }
    }

    /// Completes a request for a dry run from the current revision, which has the spec or the module that was not sent.
    pub fn complete(
        catalog: &Catalog,
        id: &TransformId,
        raw: Option<RawSpec>,
        upload: Option<&'a [u8]>,
    ) -> Result<Self, DeployError> {
        let current = catalog.deployment(id);
        if let Some(current) = current.as_ref().filter(|_| raw.is_none() || upload.is_none()) {
            CatalogError::unless_understood(current)?;
        }
        let raw = match (raw, &current) {
            (Some(raw), _) => raw,
            (None, Some(current)) => RawSpec { module: None, ..current.spec.clone() },
            (None, None) => return Err(DeployError::NoCandidate(id.clone())),
        };
        let stored = current.filter(|_| raw.module.is_none()).map(|current| current.module);
        let digest = upload.map(Digest::of).or(stored);
        let spec = Spec::parse(&raw, id, digest).map_err(invalid)?;
        Ok(Self { raw, spec, upload, signature: None, earlier_signature: None })
    }

    /// The change of the catalog that deploys it.
    pub fn change(&self) -> Change {
        Change::Put { spec: Box::new(self.raw.clone()), module: self.spec.module }
    }
}

fn invalid(problems: Vec<Problem>) -> Rejection {
    let violation = Violation::of_fields(Code::Spec, problems);
    violation.expect("a spec that is refused has a problem").into()
}
