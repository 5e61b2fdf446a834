//! One run of a contender: its topics, its process, its end.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context;
use rdkafka::admin::{AdminClient, AdminOptions};
use rdkafka::client::DefaultClientContext;
use sandbar_harness::child::Process;
use sandbar_harness::{KafkaCluster, Progress, dirs};

use crate::figures::{self, Figures};

/// The topics of a run. The output's name is also that of the group.
#[derive(Debug, Clone, Copy)]
pub struct Job<'a> {
    pub input: &'a str,
    pub output: &'a str,
    pub table: &'a str,
}

/// A contender under way. Dropped, it is killed.
pub struct Running {
    pub process: Process,
    pub group: String,
    /// The directory of its files, with its data.
    pub folder: PathBuf,
    pub log: PathBuf,
    /// How it is ended, if it is not just killed.
    pub ending: Option<Ending>,
}

/// Ends a process whose files are in a directory, after a look that all went well.
pub type Ending = Box<dyn FnOnce(Process, &Path) -> anyhow::Result<()>>;

// === impl Running ===

impl Running {
    /// Watches it until all `records` are committed, and ends it.
    pub fn measure(self, kafka: &KafkaCluster, job: &Job<'_>, records: u64) -> anyhow::Result<Figures> {
        let figures = figures::watch(self.process.pid(), &self.progress(kafka, job), records);
        self.ended(figures)
    }

    /// Watches it as `measure` does, and counts only what comes after the first `from` records.
    pub fn measure_from(self, kafka: &KafkaCluster, job: &Job<'_>, from: u64, records: u64) -> anyhow::Result<Figures> {
        let figures = figures::watch_from(self.process.pid(), &self.progress(kafka, job), from, records);
        self.ended(figures)
    }

    fn progress(&self, kafka: &KafkaCluster, job: &Job<'_>) -> Progress {
        Progress::new(kafka, &self.group, job.input)
    }

    fn ended(self, figures: anyhow::Result<Figures>) -> anyhow::Result<Figures> {
        let figures = figures.with_context(|| dirs::tail(&self.log, 20))?;
        self.end()?;
        Ok(figures)
    }

    pub fn end(self) -> anyhow::Result<()> {
        match self.ending {
            Some(end) => end(self.process, &self.folder)?,
            None => drop(self.process),
        }
        for data in ["data", "state"] {
            let path = self.folder.join(data);
            if path.exists() {
                fs::remove_dir_all(path)?;
            }
        }
        Ok(())
    }
}

// === impl Job ===

impl Job<'_> {
    /// The name of the cluster, if the contender is Sandbar.
    pub fn cluster(&self) -> String {
        self.output.replace('.', "-")
    }

    /// Deletes the output, and the topics that a contender made for itself.
    pub fn delete_topics(&self, kafka: &KafkaCluster) -> anyhow::Result<()> {
        let admin: AdminClient<DefaultClientContext> = kafka.client().create()?;
        let metadata = admin.inner().fetch_metadata(None, Duration::from_secs(10))?;
        let streams = format!("{}-", self.output);
        let sandbar = format!("_sandbar.{}.", self.cluster());
        let is_own = |name: &&str| *name == self.output || name.starts_with(&streams) || name.starts_with(&sandbar);
        let own: Vec<&str> = metadata.topics().iter().map(|topic| topic.name()).filter(is_own).collect();
        let options = AdminOptions::new().operation_timeout(Some(Duration::from_secs(10)));
        futures::executor::block_on(admin.delete_topics(&own, &options))?;
        Ok(())
    }
}
