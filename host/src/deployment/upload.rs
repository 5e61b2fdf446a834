//! Stores an uploaded module, which counts against the ceilings of a team.

use std::time::Instant;

use crate::catalog::{Catalog, CatalogError, UploadResult};
use crate::model::codes::Code;
use crate::model::names::{Digest, TeamName};
use crate::teams::{Reservation, Teams};

use super::rejection::Violation;

/// An upload that its team may make. Dropping it takes it off the count.
pub struct Upload<'m> {
    module: &'m [u8],
    team: Option<TeamName>,
    /// None for a module that stays stored without this upload.
    reservation: Option<Reservation>,
}

impl<'m> Upload<'m> {
    /// Counts the module for the team, or refuses it.
    pub fn reserve(
        catalog: &Catalog,
        teams: &Teams,
        team: Option<&TeamName>,
        digest: &Digest,
        module: &'m [u8],
    ) -> Result<Self, Violation> {
        let own = team.cloned();
        let is_stored = catalog.has_module(digest);
        if is_stored && catalog.keeps_module(team, digest) {
            return Ok(Self { module, team: own, reservation: None });
        }
        // A stored module costs no bytes. It counts, as the upload keeps it for another day: else a team could keep any number.
        let bytes = if is_stored { 0 } else { module.len() as u64 };
        match teams.reserve_upload(team, bytes, Instant::now()) {
            Ok(reservation) => Ok(Self { module, team: own, reservation: Some(reservation) }),
            Err(excess) => Err(Violation::of_field(Code::UploadCeiling, "module", excess.to_string())),
        }
    }

    /// Stores the module. Its bytes count if the log did not hold it before.
    pub fn store(self, catalog: &Catalog) -> Result<UploadResult, CatalogError> {
        let stored = catalog.put_module_for(self.module, self.team.as_ref())?;
        if let Some(reservation) = self.reservation {
            reservation.keep(stored.new);
        }
        Ok(stored)
    }
}
