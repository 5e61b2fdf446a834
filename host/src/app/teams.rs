//! The limits of teams on their way to the parts of a host: the file at the start, log rates and metrics for ever.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::watch;

use crate::catalog::Catalog;
use crate::model::codes::Coded;
use crate::model::names::TeamName;
use crate::model::team::Ceiling;
use crate::model::text::OneLine;
use crate::teams::{TeamLimits, TeamTable, Teams, TeamsOptions, follow_for_ever};
use crate::telemetry::metrics::TeamMetrics;
use crate::telemetry::observer::Observers;
use crate::telemetry::rate::{Passed, Rate, TeamRates};

/// Time between two looks at the use of teams.
const INTERVAL: Duration = Duration::from_secs(5);

/// Reads the file of teams. A host whose file is not valid does not start: a limit that is not read is none.
pub(super) fn open(options: &TeamsOptions) -> anyhow::Result<Teams> {
    let file: String = options.file.iter().map(|path| OneLine(path.display()).to_string()).collect();
    let teams = Teams::open(options).map_err(|error| {
        let message = format!("{file}: {error}");
        Coded { code: error.code(), message }
    })?;
    if options.file.is_some() {
        tracing::info!(file, teams = teams.current().table.teams.len(), "the file of teams is in use");
    }
    Ok(teams)
}

/// Hands limits and use of all teams to the metrics, and log rates to the observers.
pub(super) struct TeamPublisher {
    teams: Teams,
    catalog: Arc<Catalog>,
    observers: Observers,
    metrics: TeamMetrics,
}

/// The state of the publisher between two looks.
struct LastLook {
    at: Instant,
    passed: BTreeMap<TeamName, Passed>,
    shown: BTreeSet<TeamName>,
}

impl TeamPublisher {
    pub fn new(teams: Teams, catalog: Arc<Catalog>, observers: Observers, metrics: TeamMetrics) -> Self {
        Self { teams, catalog, observers, metrics }
    }

    /// Follows the file, and publishes, until `shutdown` becomes true.
    pub fn start(self, options: TeamsOptions, hot_bytes_max: u64, shutdown: &watch::Receiver<bool>) {
        tokio::spawn(follow_for_ever(self.teams.clone(), options, shutdown.clone()));
        tokio::spawn(self.run(hot_bytes_max, shutdown.clone()));
    }

    /// Publishes at each change of the file, and every few seconds.
    async fn run(self, hot_bytes_max: u64, mut shutdown: watch::Receiver<bool>) {
        let mut changes = self.teams.watch();
        let this = Arc::new(self);
        let mut last = LastLook { at: Instant::now(), passed: BTreeMap::new(), shown: BTreeSet::new() };
        loop {
            let own = this.clone();
            // Sums over all deployments take longer than a runtime's thread should work at once.
            match tokio::task::spawn_blocking(move || own.publish(hot_bytes_max, last)).await {
                Ok(looked) => last = looked,
                // A panic in there was reported where it happened.
                Err(_) => return,
            }
            tokio::select! {
                () = tokio::time::sleep(INTERVAL) => {}
                // The sender lives as long as the teams, which are here.
                _ = changes.changed() => {}
                _ = shutdown.wait_for(|&down| down) => return,
            }
        }
    }

    fn publish(&self, hot_bytes_max: u64, last: LastLook) -> LastLook {
        let state = self.teams.current();
        self.observers.set_team_log_rates(log_rates(&state.table));
        self.metrics.file_refused(state.trouble.is_some());
        let now = Instant::now();
        for (ceiling, amount) in self.teams.uploaded(None, now).by_ceiling() {
            self.metrics.uploads_without_team(ceiling, amount, state.table.defaults.ceiling(ceiling));
        }
        let passed = self.observers.passed_log_lines();
        let mut shown = self.catalog.teams();
        shown.extend(state.table.teams.keys().cloned());
        for team in &shown {
            self.metrics.limits(team, state.table.limits(team));
            let team_use = self.catalog.team_use(team, hot_bytes_max);
            let summed = Ceiling::ALL.into_iter().filter_map(|it| Some((it, team_use.under(it)?)));
            let uploaded = self.teams.uploaded(Some(team), now).by_ceiling();
            summed.chain(uploaded).for_each(|(ceiling, amount)| self.metrics.used(team, ceiling, amount));
            let before = last.passed.get(team).copied().unwrap_or_default();
            let since = passed.get(team).copied().unwrap_or_default().since(before, now - last.at);
            self.metrics.used(team, Ceiling::LogLines, since.lines);
            self.metrics.used(team, Ceiling::LogBytes, since.bytes);
        }
        last.shown.difference(&shown).for_each(|team| self.metrics.forget(team));
        LastLook { at: now, passed, shown }
    }
}

/// The rates of log lines, of those teams that have other ones than the default.
fn log_rates(table: &TeamTable) -> TeamRates {
    let rate = |limits: &TeamLimits| Rate { lines: limits.team_log_lines_max, bytes: limits.team_log_bytes_max };
    let default = rate(&table.defaults);
    let teams = table.teams.iter().map(|(team, limits)| (team.clone(), rate(limits)));
    TeamRates { default, teams: teams.filter(|(_, own)| *own != default).collect() }
}
