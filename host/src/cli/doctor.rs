//! `sandbar doctor`: shows the findings of the checks.

use std::process::ExitCode;

use clap::Args;
use serde_json::json;

use super::error::Result;
use super::text::{self, Output};
use crate::config::{Flags, KafkaFlags};
use crate::model::finding::{Finding, Outcome};

/// Check the settings of a host, its machine and its Kafka cluster, and say what to correct; takes the flags of `serve`
#[derive(Debug, Args)]
pub struct DoctorArgs {
    #[command(flatten)]
    pub options: Box<Flags>,
    #[command(flatten)]
    pub kafka: KafkaFlags,
    /// How to show the findings
    #[arg(short, long, value_enum, default_value = "text")]
    pub output: Output,
}

/// Makes the checks.
pub type Examine = fn(Flags, KafkaFlags) -> Vec<Finding>;

impl DoctorArgs {
    /// Exits with 1 if a check failed.
    pub fn run(self, examine: Examine) -> Result<ExitCode> {
        let Self { options, kafka, output } = self;
        let findings = examine(*options, kafka);
        let has_failed = findings.iter().any(|finding| finding.outcome == Outcome::Failure);
        match output {
            Output::Json => text::emit_value(&json!({ "checks": findings }))?,
            Output::Text => text::emit(&shown(&findings))?,
        }
        Ok(if has_failed { ExitCode::FAILURE } else { ExitCode::SUCCESS })
    }
}

fn shown(findings: &[Finding]) -> String {
    let width = findings.iter().map(|finding| finding.check.len()).max().unwrap_or(0);
    let line = |Finding { check, outcome, found, fix }: &Finding| {
        let fix = fix.iter().map(|fix| format!("{:8} {:width$}   -> {fix}\n", "", "")).collect::<String>();
        format!("{outcome:8} {check:width$}  {found}\n{fix}")
    };
    let count = |outcome| findings.iter().filter(|finding| finding.outcome == outcome).count() as u64;
    let [failures, warnings] = [Outcome::Failure, Outcome::Warning].map(count);
    let sum =
        [text::count(findings.len() as u64, "check"), text::count(failures, "failure"), text::count(warnings, "warning")];
    findings.iter().map(line).collect::<String>() + "\n" + &sum.join(", ") + "\n"
}
