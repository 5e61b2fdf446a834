//! The modules of a host, and the candidates that the API checks.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::cpu::Processors;
use crate::deployment::ModuleChecker;
use crate::guest::compile::{Compiler, Jail};
use crate::guest::{ModuleOptions, Modules, ScheduledFactory};
use crate::model::module::{ModuleError, ModuleInfo};
use crate::model::names::TeamName;
use crate::model::spec::Spec;
use crate::ports::GuestFactory;
use crate::stores::tables::Tables;
use crate::telemetry::metrics::Metrics;

/// Opens the modules, compiled by this very program.
pub(super) fn open(data_dir: &Path, options: ModuleOptions, metrics: &Metrics) -> anyhow::Result<Arc<Modules>> {
    let options = ModuleOptions { compiler: compiler(options.compiler)?, ..options };
    let modules = Modules::open(&data_dir.join("compiled"), options, metrics.modules.clone());
    let modules = Arc::new(modules.map_err(anyhow::Error::msg)?);
    tokio::spawn(announce_jail(modules.clone()));
    Ok(modules)
}

/// A compiler that is this very program.
pub(super) fn compiler(options: Compiler) -> anyhow::Result<Compiler> {
    Ok(Compiler { program: Some(own_program()?), ..options })
}

/// This very program, also when its file was replaced by a newer one meanwhile.
fn own_program() -> anyhow::Result<PathBuf> {
    let running = PathBuf::from("/proc/self/exe");
    if running.exists() { Ok(running) } else { Ok(std::env::current_exe()?) }
}

/// Says how far compilers are shut in on this machine.
async fn announce_jail(modules: Arc<Modules>) {
    match tokio::task::spawn_blocking(move || modules.jail()).await {
        Ok(Ok(jail)) if jail.is_full() => {
            let Jail { landlock, seccomp } = jail;
            tracing::info!(%landlock, %seccomp, "compilers have no files, no network and few system calls");
        }
        Ok(Ok(Jail { landlock, seccomp })) => tracing::warn!(
            %landlock,
            %seccomp,
            "compilers are shut in only in part: this kernel, or the container, lacks the rest"
        ),
        Ok(Err(error)) => tracing::error!(%error, "no module can be compiled"),
        Err(error) => tracing::error!(%error, "no module can be compiled"),
    }
}

/// Checks candidates, and makes their guests with the tables that there are.
pub(super) struct ModuleCandidates {
    pub modules: Modules,
    pub tables: Tables,
    pub processors: Processors,
}

impl ModuleChecker for ModuleCandidates {
    fn check(&self, team: Option<&TeamName>, bytes: &[u8]) -> Result<ModuleInfo, ModuleError> {
        self.modules.check(team, bytes)
    }

    fn try_init(&self, spec: &Spec, bytes: &[u8]) -> Result<(), ModuleError> {
        // Compiled by now, and not on a processor of the team.
        self.modules.check(Some(&spec.id.team), bytes)?;
        self.processors.run(&spec.id.team, || self.modules.try_init(spec, bytes))
    }

    fn prepare(&self, spec: &Spec, bytes: &[u8]) -> Result<Box<dyn GuestFactory>, ModuleError> {
        let tables = self.tables.of(&spec.id.team, spec.tables.values().cloned());
        let tables = tables.map_err(|(code, message)| ModuleError::Table { code, message })?;
        // Revision 0: none that was ever deployed.
        let inner = self.modules.prepare(spec, 0, bytes, tables, None)?;
        Ok(Box::new(ScheduledFactory::new(inner, &self.processors, &spec.id.team)))
    }
}
