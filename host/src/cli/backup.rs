//! Verbs that save the control topics of a cluster, and bring them back. They ask Kafka itself: no host needs to be there.

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use clap::{Args, ValueEnum};

use super::error::{Error, Kind, Result};
use super::text::{self, Output, Table, count};
use super::topics::{Brokers, OpenKafka};
use crate::backup::{
    BackupError, BackupSummary, InputFate, Offsets, RestoreOptions, RestoreSummary, TransformFate, backup, restore,
};
use crate::model::names::ClusterName;
use crate::model::units::Span;
use crate::ports::Log;

/// Longest transaction that may be asked for: a day.
const TIME_MAX: Duration = Duration::from_secs(24 * 3600);

/// Save the control topics of a cluster and the offsets of its transforms to a file
#[derive(Debug, Args)]
pub struct BackupArgs {
    #[command(flatten)]
    at: ClusterArgs,
    /// The file, which this user alone may read
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
    /// Replace a file that is there
    #[arg(long)]
    force: bool,
}

/// Bring the control topics of a cluster back from a file; the cluster must have no hosts, and nothing in these topics
#[derive(Debug, Args)]
pub struct RestoreArgs {
    #[command(flatten)]
    at: ClusterArgs,
    /// A file of `sandbar backup`
    file: PathBuf,
    /// Check everything, show how each transform would go on, and change nothing
    #[arg(long)]
    dry_run: bool,
    /// Where inputs begin that are other topics than at the time of the backup, as on another Kafka cluster
    #[arg(long, value_name = "SOURCE", default_value = "strict")]
    offsets: OffsetsArg,
    /// Leave the API's tokens out: one that was revoked after the backup would be valid again
    #[arg(long)]
    without_tokens: bool,
    /// Longest time of the one transaction; the brokers' transaction.max.timeout.ms must allow it
    #[arg(long, value_name = "DURATION", default_value = "15m")]
    time_max: Span,
}

#[derive(Debug, Args)]
struct ClusterArgs {
    /// The brokers of the Kafka cluster
    #[arg(long, value_name = "HOST:PORT,...")]
    brokers: String,
    /// A file of librdkafka properties, one name=value a line, as of `sandbar serve`
    #[arg(long, value_name = "FILE")]
    kafka_config: Option<PathBuf>,
    /// The name of the Sandbar cluster
    #[arg(long, value_name = "NAME")]
    cluster: ClusterName,
    /// Text for people, or JSON
    #[arg(long, short, value_name = "FORMAT", default_value = "text")]
    output: Output,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum OffsetsArg {
    /// Nowhere: they wait until their offsets are set
    Strict,
    /// At the offsets that the groups have on this Kafka, as a mirror has put them there
    Group,
    /// At the offsets of the backup, for groups without any: the topics were copied with their offsets
    Backup,
}

impl BackupArgs {
    pub fn run(self, open: OpenKafka) -> Result<ExitCode> {
        let Self { at, out, force } = self;
        let log = at.open(open)?;
        let summary = backup(&*log, &at.cluster, &out, force).map_err(refused)?;
        match at.output {
            Output::Json => text::emit_value(&summary),
            Output::Text => text::emit(&shown(&summary, &out.display().to_string())),
        }?;
        Ok(ExitCode::SUCCESS)
    }
}

impl RestoreArgs {
    pub fn run(self, open: OpenKafka) -> Result<ExitCode> {
        let Self { at, file, dry_run, offsets, without_tokens, time_max: Span(time_max) } = self;
        if time_max.is_zero() || time_max > TIME_MAX {
            return Err(Error::usage("--time-max is not above 0, or above 24h").with_hint("leave it out, or give 1h, say"));
        }
        let offsets = match offsets {
            OffsetsArg::Strict => Offsets::Strict,
            OffsetsArg::Group => Offsets::Group,
            OffsetsArg::Backup => Offsets::Backup,
        };
        let log = at.open(open)?;
        let options = RestoreOptions { offsets, dry_run, without_tokens, time_max, ..RestoreOptions::default() };
        let summary = restore(&*log, &at.cluster, &file, &options).map_err(refused)?;
        match at.output {
            Output::Json => text::emit_value(&summary),
            Output::Text => text::emit(&told(&summary)),
        }?;
        Ok(ExitCode::SUCCESS)
    }
}

impl ClusterArgs {
    fn open(&self, open: OpenKafka) -> Result<Arc<dyn Log>> {
        Brokers { addresses: self.brokers.clone(), config: self.kafka_config.clone() }.open(open)
    }
}

fn shown(summary: &BackupSummary, file: &str) -> String {
    let BackupSummary { records, transforms, offsets, bytes, unread } = summary;
    let mut table = Table::new(["TOPIC", "RECORDS"]);
    records.iter().for_each(|(topic, records)| table.row([(*topic).to_owned(), records.to_string()]));
    let transforms = count(*transforms, "transform");
    let mut shown = format!("{table}\nsaved {transforms} with {} to {file} ({bytes} bytes)\n", count(*offsets, "offset"));
    if !unread.is_empty() {
        shown += &format!("without the offsets of {}, which a newer host deployed: use its version\n", unread.join(", "));
    }
    shown
}

/// Tells the fate of each input, then the next steps.
fn told(summary: &RestoreSummary) -> String {
    let RestoreSummary { dry_run, records, offsets, inputs, missing_outputs } = summary;
    let mut table = Table::new(["TRANSFORM", "INPUT", "GOES ON"]);
    for InputFate { transform, topic, fate } in inputs {
        table.row([transform.clone(), topic.to_string(), words(*fate).to_owned()]);
    }
    let missing: String = missing_outputs.iter().map(|topic| format!("there is no topic {topic}\n")).collect();
    let all = count(records.values().sum(), "record");
    let offsets = count(*offsets, "offset");
    let head = if *dry_run { "would restore" } else { "restored" };
    let mut told = format!("{table}\n{missing}{head} {all} and {offsets}\n");
    let has = |fate: TransformFate| inputs.iter().any(|input| input.fate == fate);
    let mut steps = Vec::new();
    if *dry_run {
        steps.push("run it again without --dry-run");
    }
    if records.contains_key("tokens") {
        steps.push("tokens that were revoked after the backup are valid again: look at `sandbar token list`");
    }
    if has(TransformFate::NoTopic) {
        steps.push("create the missing topics; a transform whose input was missing waits for offsets then");
    }
    if !missing_outputs.is_empty() {
        steps.push("create the topics above that do not exist: their transforms wait for them (E207)");
    }
    steps.push("start the hosts, and look at `sandbar list`");
    if has(TransformFate::Unreadable) {
        steps.push("for a start record that cannot be read (E210): use the newest version that ran before the backup");
    }
    if [TransformFate::Waits, TransformFate::Partly, TransformFate::NoTopic].into_iter().any(has) {
        steps.push("for an input that waits (E224): `sandbar pause`, `sandbar offsets set`, `sandbar resume`");
    }
    for (number, step) in (1..).zip(steps) {
        told += &format!("next {number}: {step}\n");
    }
    told
}

fn words(fate: TransformFate) -> &'static str {
    match fate {
        TransformFate::GoesOn => "at the offsets of its group",
        TransformFate::TakesOver => "at the offsets of the backup",
        TransformFate::Partly => "in part: partitions without an offset wait (E224)",
        TransformFate::Begins => "at the start of its spec: it had not begun",
        TransformFate::Waits => "not: it waits for offsets (E224)",
        TransformFate::Unreadable => "not: its start record cannot be read (E210)",
        TransformFate::NoTopic => "not: there is no such topic (E207)",
    }
}

fn refused(error: BackupError) -> Error {
    let code = error.code();
    let hint = error.hint();
    let shown = Error::new(if error.is_usage() { Kind::Usage } else { Kind::Failed }, error);
    let shown = code.into_iter().fold(shown, |shown, code| shown.with_code(code.as_str()));
    hint.into_iter().fold(shown, |shown, hint| shown.with_hint(hint))
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;
    use clap::error::ErrorKind;

    use super::*;
    use crate::cli::Cli;

    #[test]
    fn each_step_is_a_command() {
        use TransformFate::{Begins, GoesOn, NoTopic, Partly, TakesOver, Unreadable, Waits};
        let input = |fate| InputFate { transform: "a/b".into(), topic: "t".parse().expect("valid"), fate };
        let summary = RestoreSummary {
            dry_run: true,
            records: [("tokens", 1)].into(),
            offsets: 0,
            inputs: [GoesOn, TakesOver, Partly, Begins, Waits, Unreadable, NoTopic].map(input).into(),
            missing_outputs: ["out".parse().expect("valid")].into(),
        };
        let told = told(&summary);
        assert!(told.contains("there is no topic out\n"), "{told}");
        let commands: Vec<&str> = told.split('`').skip(1).step_by(2).collect();
        assert_eq!(commands.len(), 5, "{told}");
        for command in commands {
            let parsed = Cli::try_parse_from(command.split(' '));
            let is_known = parsed.as_ref().err().is_none_or(|error| error.kind() == ErrorKind::MissingRequiredArgument);
            assert!(is_known, "{command}: {parsed:?}");
        }
    }
}
