//! The observer of a transform: its metrics, the log of its guests, its samples and its spans.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::export_queue::ExportQueue;
use super::guest_log::GuestLog;
use super::metrics::{Metrics, TopicMetrics, TransformMetrics};
use super::rate::{Passed, Rate, Rates, TEAM_LOG_RATE, TeamRates};
use super::record_span::RecordSpan;
use super::sampler::Sampler;
use super::transform_log::TransformLog;
use crate::model::names::{TeamName, TopicName, TransformId};

/// Makes the observers of a host's transforms. Cloning shares their metrics, their rates and their queue.
#[derive(Clone)]
pub struct Observers {
    metrics: Metrics,
    rates: Rates,
    queue: Option<TransformLog>,
    spans: Option<ExportQueue<RecordSpan>>,
}

/// Observes one revision of a transform: the data plane tells it of everything that somebody may want to see.
pub struct TransformObserver {
    pub metrics: Arc<TransformMetrics>,
    /// The metrics of its inputs, in the order of the spec.
    pub inputs: Vec<TopicMetrics>,
    /// The metrics of every topic that it writes, in the order of `task::Settings::outputs`.
    pub outputs: Vec<TopicMetrics>,
    pub log: GuestLog,
    pub samples: Sampler,
    /// None: nobody exports them.
    pub spans: Option<ExportQueue<RecordSpan>>,
}

impl Default for Observers {
    /// Observers with metrics of their own and no queue: for runs of which nobody reads the log.
    fn default() -> Self {
        Self::new(Metrics::new(), TEAM_LOG_RATE, None)
    }
}

impl Observers {
    /// `team_log_rate` bounds the log lines of all guests of a team; lines and samples go to `queue`.
    pub fn new(metrics: Metrics, team_log_rate: Rate, queue: Option<TransformLog>) -> Self {
        Self { metrics, rates: Rates::new(team_log_rate, 1), queue, spans: None }
    }

    /// Spans of traced records go to `spans`.
    pub fn tracing_to(self, spans: Option<ExportQueue<RecordSpan>>) -> Self {
        Self { spans, ..self }
    }

    /// Changes the rates of the log lines of teams.
    pub fn set_team_log_rates(&self, rates: TeamRates) {
        self.rates.set_team_rates(rates);
    }

    /// The log lines and bytes of each team that have passed.
    pub fn passed_log_lines(&self) -> BTreeMap<TeamName, Passed> {
        self.rates.passed()
    }

    /// Makes the observer of a revision that reads `inputs` and writes `outputs`.
    pub fn transform(&self, id: &TransformId, inputs: &[TopicName], outputs: &[TopicName]) -> Arc<TransformObserver> {
        let metrics = self.metrics.transform(id);
        Arc::new(TransformObserver {
            inputs: inputs.iter().map(|topic| metrics.input(topic)).collect(),
            outputs: outputs.iter().map(|topic| metrics.output(topic)).collect(),
            log: GuestLog::new(id.clone(), self.rates.of(id), metrics.clone(), self.queue.clone()),
            samples: Sampler::new(id.clone(), self.queue.clone()),
            spans: self.spans.clone(),
            metrics,
        })
    }
}
