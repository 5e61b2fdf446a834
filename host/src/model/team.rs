//! The limits of a team: its share of the CPU, its ceilings, and its permissions.
//!
//! A ceiling bounds the growth of a team. One that is lowered below the team's use stops nothing that runs.

use std::time::Duration;

use super::units::{Bytes, Span};

/// The limits of one team. The operator's file sets them by these names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TeamLimits {
    /// The share of a host's CPU, relative to the weights of the other teams.
    pub cpu_weight: u32,
    /// Transforms that are not deleted.
    pub transforms_max: u64,
    /// The sum of `workers` over the team's transforms.
    pub workers_max: u64,
    /// The sum, over the team's transforms, of the partitions of the inputs times `workers`.
    pub partition_workers_max: u64,
    /// The memory that the instances and stores of the team's transforms may need on all hosts together.
    pub memory_bytes_max: u64,
    /// Modules that the kept revisions of the team's transforms name.
    pub stored_modules_max: u64,
    /// The bytes of these modules.
    pub stored_module_bytes_max: u64,
    /// The bytes of the kept revisions of all transforms of the team, deleted ones too.
    pub revision_bytes_max: u64,
    /// Uploads to one host within 24 hours, of modules that no transform of the team has.
    pub uploads_per_day_max: u64,
    /// The bytes of modules that one host stores for the team within 24 hours.
    pub upload_bytes_per_day_max: u64,
    /// Partitions of the topics that one host creates for deployments of the team within 24 hours.
    pub created_partitions_per_day_max: u64,
    /// Log lines a second of all guests of the team on a host.
    pub team_log_lines_max: u32,
    /// The bytes of these lines a second.
    pub team_log_bytes_max: u64,
    /// Readers of the team's logs and samples on a host at once.
    pub follows_per_team_max: u64,
    /// `commit_interval` plus `limits.batch_time` of each transform.
    pub transaction_time_max: Duration,
    /// Permits `allow_cycle: true` in a spec.
    pub allow_cycle: bool,
}

impl Default for TeamLimits {
    /// Limits that a team of people does not reach by its ordinary work.
    fn default() -> Self {
        Self {
            cpu_weight: 1,
            transforms_max: 200,
            workers_max: 400,
            partition_workers_max: 10_000,
            memory_bytes_max: Bytes::mib(1 << 20).0,
            stored_modules_max: 2000,
            stored_module_bytes_max: Bytes::mib(16 << 10).0,
            revision_bytes_max: Bytes::mib(64).0,
            uploads_per_day_max: 5000,
            upload_bytes_per_day_max: Bytes::mib(16 << 10).0,
            created_partitions_per_day_max: 5000,
            team_log_lines_max: 1000,
            team_log_bytes_max: Bytes::kib(256).0,
            follows_per_team_max: 16,
            // The largest values that a spec may have.
            transaction_time_max: Duration::from_secs(10),
            allow_cycle: true,
        }
    }
}

/// A limit of a team that has a use, in the order in which they are shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Ceiling {
    Transforms,
    Workers,
    PartitionWorkers,
    Memory,
    StoredModules,
    StoredModuleBytes,
    RevisionBytes,
    Uploads,
    UploadBytes,
    CreatedPartitions,
    LogLines,
    LogBytes,
    Follows,
    TransactionTime,
}

/// The unit of a ceiling and its use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unit {
    Count,
    Bytes,
    Millis,
}

/// The extent over which the use of a ceiling is summed up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// All transforms of the cluster.
    Cluster,
    /// The host that answers, alone.
    Host,
    /// Each transform alone; the use is the largest one's.
    Transform,
}

impl Ceiling {
    pub const ALL: [Self; 14] = [
        Self::Transforms,
        Self::Workers,
        Self::PartitionWorkers,
        Self::Memory,
        Self::StoredModules,
        Self::StoredModuleBytes,
        Self::RevisionBytes,
        Self::Uploads,
        Self::UploadBytes,
        Self::CreatedPartitions,
        Self::LogLines,
        Self::LogBytes,
        Self::Follows,
        Self::TransactionTime,
    ];

    /// The name of the ceiling in the file of teams, in metrics, in the API and in messages.
    pub const fn key(self) -> &'static str {
        match self {
            Self::Transforms => "transforms_max",
            Self::Workers => "workers_max",
            Self::PartitionWorkers => "partition_workers_max",
            Self::Memory => "memory_bytes_max",
            Self::StoredModules => "stored_modules_max",
            Self::StoredModuleBytes => "stored_module_bytes_max",
            Self::RevisionBytes => "revision_bytes_max",
            Self::Uploads => "uploads_per_day_max",
            Self::UploadBytes => "upload_bytes_per_day_max",
            Self::CreatedPartitions => "created_partitions_per_day_max",
            Self::LogLines => "team_log_lines_max",
            Self::LogBytes => "team_log_bytes_max",
            Self::Follows => "follows_per_team_max",
            Self::TransactionTime => "transaction_time_max",
        }
    }

    pub const fn unit(self) -> Unit {
        match self {
            Self::Memory | Self::StoredModuleBytes | Self::RevisionBytes | Self::UploadBytes | Self::LogBytes => Unit::Bytes,
            Self::TransactionTime => Unit::Millis,
            Self::Transforms
            | Self::Workers
            | Self::PartitionWorkers
            | Self::StoredModules
            | Self::Uploads
            | Self::CreatedPartitions
            | Self::LogLines
            | Self::Follows => Unit::Count,
        }
    }

    pub const fn scope(self) -> Scope {
        match self {
            Self::Uploads
            | Self::UploadBytes
            | Self::CreatedPartitions
            | Self::LogLines
            | Self::LogBytes
            | Self::Follows => Scope::Host,
            Self::TransactionTime => Scope::Transform,
            Self::Transforms
            | Self::Workers
            | Self::PartitionWorkers
            | Self::Memory
            | Self::StoredModules
            | Self::StoredModuleBytes
            | Self::RevisionBytes => Scope::Cluster,
        }
    }
}

impl Unit {
    /// Shows an amount as people write it: `64MiB`, `200ms`.
    pub fn show(self, amount: u64) -> String {
        match self {
            Self::Count => amount.to_string(),
            Self::Bytes => Bytes(amount).to_string(),
            Self::Millis => Span::ms(amount).to_string(),
        }
    }
}

impl TeamLimits {
    /// The ceiling's value, in its unit.
    pub fn ceiling(&self, ceiling: Ceiling) -> u64 {
        match ceiling {
            Ceiling::Transforms => self.transforms_max,
            Ceiling::Workers => self.workers_max,
            Ceiling::PartitionWorkers => self.partition_workers_max,
            Ceiling::Memory => self.memory_bytes_max,
            Ceiling::StoredModules => self.stored_modules_max,
            Ceiling::StoredModuleBytes => self.stored_module_bytes_max,
            Ceiling::RevisionBytes => self.revision_bytes_max,
            Ceiling::Uploads => self.uploads_per_day_max,
            Ceiling::UploadBytes => self.upload_bytes_per_day_max,
            Ceiling::CreatedPartitions => self.created_partitions_per_day_max,
            Ceiling::LogLines => u64::from(self.team_log_lines_max),
            Ceiling::LogBytes => self.team_log_bytes_max,
            Ceiling::Follows => self.follows_per_team_max,
            Ceiling::TransactionTime => millis(self.transaction_time_max),
        }
    }
}

/// The whole milliseconds of a time.
pub fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ceilings_have_names_of_their_own_and_show_their_unit() {
        let keys: std::collections::BTreeSet<_> = Ceiling::ALL.map(Ceiling::key).into();
        assert_eq!(keys.len(), Ceiling::ALL.len());
        let limits = TeamLimits::default();
        let shown = |ceiling: Ceiling| ceiling.unit().show(limits.ceiling(ceiling));
        let expected = [
            "200", "400", "10000", "1TiB", "2000", "16GiB", "64MiB", "5000", "16GiB", "5000", "1000", "256KiB", "16", "10s",
        ];
        assert_eq!(Ceiling::ALL.map(shown), expected);
    }
}
