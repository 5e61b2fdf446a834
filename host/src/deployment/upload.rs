//! Stores an uploaded module, which counts against the ceilings of a team.

use std::time::Instant;

use crate::catalog::{Catalog, CatalogError, UploadResult};
use crate::model::codes::Code;
use crate::model::names::{Digest, TeamName};
use crate::teams::{Reservation, Teams};

use super::error::DeployError;
use super::rejection::Violation;

/// An upload that its team may make. Dropping it takes it off the count.
pub struct Upload<'m> {
    module: &'m [u8],
    team: Option<TeamName>,
    /// None for a module that stays stored without this upload.
    reservation: Option<Reservation>,
}

impl<'m> Upload<'m> {
    /// Counts the module for the team, or refuses it. Blocks.
    pub fn reserve(
        catalog: &Catalog,
        teams: &Teams,
        team: Option<&TeamName>,
        digest: &Digest,
        module: &'m [u8],
    ) -> Result<Self, DeployError> {
        let own = team.cloned();
        if catalog.has_module(digest) && catalog.keeps_module(team, digest) {
            return Ok(Self { module, team: own, reservation: None });
        }
        // A module that is stored for the team costs no bytes. It counts, as the upload keeps it for another day: else a team
        // could keep any number.
        let bytes = if is_stored_for(catalog, team, digest)? { 0 } else { module.len() as u64 };
        match teams.reserve_upload(team, bytes, Instant::now()) {
            Ok(reservation) => Ok(Self { module, team: own, reservation: Some(reservation) }),
            Err(excess) => Err(Violation::of_field(Code::UploadCeiling, "module", excess.to_string()).into()),
        }
    }

    /// Stores the module. The bytes of a team's upload count also if the log held the module for another team: the use of a
    /// team does not tell of that.
    pub fn store(self, catalog: &Catalog) -> Result<UploadResult, CatalogError> {
        let stored = catalog.put_module_for(self.module, self.team.as_ref())?;
        if let Some(reservation) = self.reservation {
            reservation.keep(stored.new || self.team.is_some());
        }
        Ok(stored)
    }
}

/// Returns true if the module is stored and the team may deploy it by its digest; without a team, if it is stored at all.
/// Nothing of the module is read: a team does not pay for a damaged one, which its upload writes again.
fn is_stored_for(catalog: &Catalog, team: Option<&TeamName>, digest: &Digest) -> Result<bool, CatalogError> {
    team.map_or_else(|| Ok(catalog.has_module(digest)), |team| catalog.has_module_of(team, digest))
}
