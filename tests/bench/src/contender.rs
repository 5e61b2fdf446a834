//! The contenders, and the run of each.

use std::process::Command;

use sandbar_harness::child::Process;
use sandbar_harness::{KafkaCluster, dirs};

use crate::figures::Figures;
use crate::run::{Job, Running};
use crate::sandbar::Sandbar;
use crate::streams::Streams;
use crate::work::{CUSTOMERS, Work};
use crate::{bento, rival};

/// One line of the comparison.
pub struct Contender {
    pub name: &'static str,
    pub title: &'static str,
    pub work: Work,
    /// Its output is another one than that of the work: more is done, or less.
    pub is_apart: bool,
    pub kind: Kind,
}

pub enum Kind {
    /// A loop of this program, in a process of its own.
    Rival(rival::Work),
    Sandbar(Sandbar),
    Streams(Streams),
    Bento,
}

// === impl Contender ===

impl Contender {
    /// Reads all `records` of the work's input into `output`.
    pub fn run(&self, kafka: &KafkaCluster, output: &str, records: u64) -> anyhow::Result<Figures> {
        let job = Job { input: self.work.input(), output, table: CUSTOMERS };
        self.start(kafka, &job)?.measure(kafka, &job, records)
    }

    pub fn start(&self, kafka: &KafkaCluster, job: &Job<'_>) -> anyhow::Result<Running> {
        match &self.kind {
            Kind::Rival(work) => start_rival(*work, kafka, job),
            Kind::Sandbar(sandbar) => sandbar.start(kafka, job),
            Kind::Streams(streams) => streams.start(kafka, job),
            Kind::Bento => bento::start(kafka, job),
        }
    }
}

pub fn start_rival(work: rival::Work, kafka: &KafkaCluster, job: &Job<'_>) -> anyhow::Result<Running> {
    let mut command = Command::new(std::env::current_exe()?);
    command.args([rival::SUBCOMMAND, work.name(), kafka.brokers(), job.output, job.input, job.output]);
    let folder = dirs::fresh(work.name());
    let log = folder.join("log");
    let process = Process::start(job.output, command, &log);
    Ok(Running { process, group: job.output.to_owned(), folder, log, ending: None })
}
