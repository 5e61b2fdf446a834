//! Questions of an actor to the catalog: is this still the newest, is it understood, and where is the revision that an offset
//! was committed with. Those that read the catalog to its end block.

use std::sync::Arc;

use crate::catalog::{Catalog, CatalogError};
use crate::model::codes::Code;
use crate::model::names::TransformId;
use crate::model::revision::{Deployment, Revision};
use crate::model::status::LastError;

use super::error::PrepareError;

/// Tells whether another deployment is desired than `wanted`. A worker that joined its group all the same would commit
/// where to start, after somebody has paused the transform and forgotten its offsets.
pub fn is_overtaken(catalog: &Catalog, wanted: &Deployment) -> bool {
    // Where the log cannot be asked, workers cannot join either.
    if let Err(error) = catalog.see_changes() {
        tracing::debug!(transform = %wanted.id, %error, "the catalog cannot be read to its end");
    }
    catalog.deployment(&wanted.id).is_none_or(|now| !now.wants_same(wanted))
}

/// Finds a revision that some offset was committed with; None while the catalog does not show it. An error: this host will
/// never have it.
pub fn committed_revision(
    catalog: &Catalog,
    id: &TransformId,
    revision: u64,
) -> Result<Option<Arc<Revision>>, PrepareError> {
    // No revision commits before the catalog has it: one that is not there when all is read was made up.
    if catalog.revision(id, revision).is_err() && catalog.see_changes().is_err() {
        return Ok(None);
    }
    let known = catalog.known(id);
    let newest = known.as_ref().map_or(0, |known| known.revision);
    match catalog.revision(id, revision) {
        Ok(revision) => Ok(Some(revision)),
        Err(error @ CatalogError::Newer { .. }) => Err(error.into()),
        Err(_) if revision > newest => {
            let message = format!("its offset was committed by revision {revision}, and {newest} is the newest of {id}");
            Err(PrepareError::new(Code::OffsetUnreadable, message))
        }
        Err(_) => match known.as_ref().map(CatalogError::unless_understood) {
            Some(Err(newer)) => Err(newer.into()),
            // Too old to be kept: the one that is deployed is newer, and comes.
            _ => Ok(None),
        },
    }
}

/// The error of a transform whose newest record this host does not understand. It does not change while that is so.
pub fn unread(deployment: &Deployment) -> Option<LastError> {
    let message = deployment.unread.clone()?;
    Some(LastError { code: Code::NewerFormat, message, offset: None, at: deployment.changed_at })
}
