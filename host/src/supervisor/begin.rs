//! Begins a transform's partitions before its workers start, and those that its inputs get while they work.

use tokio::task::spawn_blocking;

use super::Parts;
use super::actor::Actor;
use super::prepare::Unprepared;
use crate::model::codes::Code;
use crate::model::names::{TopicName, TransformId};
use crate::model::revision::Desired;
use crate::model::units::Timestamp;
use crate::ports::{LogError, SessionOptions};
use crate::positions::{Inputs, PositionsError};
use crate::worker::Command;

/// A look-up that failed is taken again after so long.
const RETRY_AFTER: std::time::Duration = std::time::Duration::from_secs(5);

/// The way in which inputs are not as they were.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Change {
    None,
    /// One has more partitions than workers were told of.
    Grown,
    /// One was made anew: what workers know of it is of another topic.
    MadeAnew,
}

/// Begins what has not begun, and notes in `options` how many partitions have. Blocks.
fn begin(
    parts: &Parts,
    id: &TransformId,
    mut options: SessionOptions,
    changelogs: &[TopicName],
) -> Result<SessionOptions, PositionsError> {
    let is_wanted = || {
        parts.catalog.refresh().map_err(|error| LogError::Unavailable(error.to_string()))?;
        Ok(parts.catalog.deployment(id).is_some_and(|deployment| deployment.desired == Desired::Running))
    };
    let inputs = Inputs { id, group: &options.group, topics: &options.inputs, changelogs, start: &options.start };
    let begun = parts.positions.begin(inputs, &is_wanted)?;
    options.begun = begun.into_iter().map(|(topic, input)| (topic, input.partitions)).collect();
    Ok(options)
}

impl Actor {
    /// Begins what has not begun, before workers start that open stores from these changelogs.
    pub(super) async fn begin(
        &self,
        options: SessionOptions,
        changelogs: Vec<TopicName>,
    ) -> Result<SessionOptions, Unprepared> {
        let parts = self.parts.clone();
        let id = self.id.clone();
        let begun = spawn_blocking(move || begin(&parts, &id, options, &changelogs)).await;
        let begun = begun.map_err(|error| (Code::Internal, error.to_string()))?;
        begun.map_err(|error| (error.code(), error.to_string()))
    }

    /// Follows inputs that have got partitions, or were made anew, while workers read them.
    pub(super) async fn follow_inputs(&mut self) {
        let now = Timestamp::now();
        let Some(options) = self.options.clone() else { return };
        if self.workers.is_empty() || self.begun_at.is_some_and(|at| now < at.after(RETRY_AFTER)) {
            return;
        }
        match self.change_of(&options) {
            Change::None => {}
            Change::MadeAnew => {
                tracing::warn!(transform = %self.id, "an input was made anew: it is begun at its first records");
                // What runs is started again, which begins first.
                self.stop_workers().await;
            }
            Change::Grown => match self.begin(options, Vec::new()).await {
                Ok(options) => {
                    tracing::info!(transform = %self.id, "an input has got more partitions");
                    self.options = Some(options);
                    for worker in &self.workers {
                        let _ = worker.commands.send(Command::LookForPartitions);
                    }
                }
                Err((code, message)) => {
                    self.begun_at = Some(now);
                    tracing::warn!(transform = %self.id, %code, error = message, "new partitions could not be begun yet");
                }
            },
        }
    }

    fn change_of(&self, options: &SessionOptions) -> Change {
        let sizes = self.inputs.sizes(&options.inputs);
        let Ok(record) = self.parts.positions.record(&self.id) else { return Change::None };
        let record = record.unwrap_or_default();
        let is_other = |topic, id: &str| record.inputs.get(topic).is_some_and(|input| !input.is_of(id));
        // With stores, keys are elsewhere after that: it stops, and says so.
        let may_grow = self.stores.is_none();
        match () {
            () if sizes.iter().any(|(topic, size)| is_other(topic, &size.id)) => Change::MadeAnew,
            () if !may_grow => Change::None,
            () if sizes
                .iter()
                .any(|(topic, size)| options.begun.get(topic).is_none_or(|&begun| size.partitions > begun)) =>
            {
                Change::Grown
            }
            () if !record.covers(&sizes) => Change::Grown,
            () => Change::None,
        }
    }
}
