//! Stores an uploaded module, which counts against the ceiling of a team.

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
    /// None for a module that is stored already.
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
        if catalog.has_module(digest) {
            return Ok(Self { module, team: own, reservation: None });
        }
        match teams.reserve_upload(team, module.len() as u64, Instant::now()) {
            Ok(reservation) => Ok(Self { module, team: own, reservation: Some(reservation) }),
            Err(excess) => Err(Violation::of_field(Code::UploadCeiling, "module", excess.to_string())),
        }
    }

    /// Stores the module. It counts if the log did not hold it before.
    pub fn store(self, catalog: &Catalog) -> Result<UploadResult, CatalogError> {
        let stored = catalog.put_module_for(self.module, self.team.as_ref())?;
        if let Some(reservation) = self.reservation.filter(|_| stored.new) {
            reservation.keep();
        }
        Ok(stored)
    }
}
