//! Bounds on the cost of requests.

use std::time::Duration;

/// The limits of the API, with their defaults. Error E032 names the limit that a request met.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ApiLimits {
    /// Largest module.
    pub module_bytes_max: usize,
    /// Largest spec.
    pub spec_bytes_max: usize,
    /// Largest body of records (embedded log, dry runs).
    pub records_bytes_max: usize,
    /// Time for a request's body to arrive.
    pub body_time: Duration,
    /// Bytes of bodies that arrive or are in work, beyond the first 64 KiB of each.
    pub upload_bytes_in_flight_max: usize,
    /// Uploads and deployments that are checked and compiled at once; more of them wait.
    pub uploads_max: usize,
    /// Deployments of one team among them.
    pub uploads_per_team_max: usize,
    /// Dry runs at once; more of them wait.
    pub trials_max: usize,
    /// Dry runs of one team among them.
    pub trials_per_team_max: usize,
    /// Rollbacks at once; more of them wait.
    pub rollbacks_max: usize,
    /// Rollbacks of one team among them.
    pub rollbacks_per_team_max: usize,
    /// Moves and resets of offsets at once, which wait for hosts to leave; more of them wait.
    pub moves_max: usize,
    /// Moves and resets of one team among them.
    pub moves_per_team_max: usize,
    /// Changes that need no check of a module, such as pauses and deletions, at once; more of them wait.
    pub changes_max: usize,
    /// Changes of one team among them.
    pub changes_per_team_max: usize,
    /// Look-ups at once, of entries of stores, of offsets, and of names that this host does not know; more of them wait.
    pub lookups_max: usize,
    /// Look-ups of one team among them.
    pub lookups_per_team_max: usize,
    /// Reads of topics that wait for records (embedded log).
    pub polls_max: usize,
    /// Pages of records and of dead letters that are written at once; more of them wait.
    pub pages_max: usize,
    /// Pages for one team among them.
    pub pages_per_team_max: usize,
    /// Records of one dry run.
    pub trial_records_max: usize,
    /// Time for one dry run, with the read of its records.
    pub trial_time: Duration,
    /// Bytes of keys, values and headers that the outputs of one dry run may have together.
    pub trial_bytes_max: usize,
    /// Time for the hosts to leave the group of a transform that was just paused. A host that crashed is a member until
    /// its session is over.
    pub leave_time: Duration,
    /// Readers of logs and samples at once.
    pub follows_max: usize,
    /// Readers of the flow at once.
    pub flow_readers_max: usize,
    /// Readers of the flow at once that are one caller, or callers of one team.
    pub flow_readers_per_caller_max: usize,
    /// Older log lines of one answer.
    pub log_lines_max: usize,
    /// Bytes of the older log lines of one answer.
    pub log_bytes_max: usize,
    /// Time for the search for older log lines.
    pub logs_time: Duration,
    /// Default time for the wait for samples that are not followed.
    pub tail_wait: Duration,
    /// Longest time for the wait for samples that are not followed.
    pub tail_wait_max: Duration,
    /// Requests a second of one principal that has signed in (`--requests-per-principal-max`). All principals whose rights are
    /// in one team have five times as many together.
    pub requests_per_principal_max: u32,
    /// Tokens of one team, and of the cluster itself (`--tokens-per-team-max`).
    pub tokens_per_team_max: usize,
    /// The memory for the hot entries of one partition of a store on disk, as the use of a team counts it.
    pub state_hot_bytes_max: u64,
}

impl Default for ApiLimits {
    fn default() -> Self {
        Self {
            module_bytes_max: 32 * 1024 * 1024,
            spec_bytes_max: 1024 * 1024,
            records_bytes_max: 8 * 1024 * 1024,
            body_time: Duration::from_secs(60),
            upload_bytes_in_flight_max: 256 * 1024 * 1024,
            uploads_max: 4,
            uploads_per_team_max: 3,
            trials_max: 4,
            trials_per_team_max: 3,
            rollbacks_max: 4,
            rollbacks_per_team_max: 3,
            moves_max: 8,
            moves_per_team_max: 4,
            changes_max: 16,
            changes_per_team_max: 4,
            lookups_max: 32,
            lookups_per_team_max: 8,
            polls_max: 64,
            pages_max: 4,
            pages_per_team_max: 3,
            trial_records_max: 1000,
            trial_time: Duration::from_secs(30),
            trial_bytes_max: 8 * 1024 * 1024,
            leave_time: Duration::from_secs(12),
            follows_max: 64,
            flow_readers_max: 64,
            flow_readers_per_caller_max: 32,
            log_lines_max: 10_000,
            log_bytes_max: 8 * 1024 * 1024,
            logs_time: Duration::from_secs(20),
            tail_wait: Duration::from_secs(10),
            tail_wait_max: Duration::from_secs(60),
            requests_per_principal_max: 200,
            tokens_per_team_max: 1000,
            state_hot_bytes_max: 4 * 1024 * 1024,
        }
    }
}
