//! The loop of an actor: plans one action, takes it, and waits for the next change.

use std::time::Duration;

use tokio::time::sleep;

use crate::crashes::Permit;
use crate::model::clock::Monotonic;

use super::actor::Actor;
use super::inspection;
use super::plan::{Action, plan};

impl Actor {
    /// Runs until the desired state has no source any more; then stops the workers.
    pub async fn run(mut self) {
        loop {
            let desired = self.desired.borrow_and_update().clone();
            if let Some(deployment) = &desired {
                self.obey(deployment).await;
            }
            let permit = self.permit(desired.as_ref());
            match plan(desired.as_ref(), &self.state, permit, Monotonic::now()) {
                Action::Start(deployment) => {
                    if self.start(&deployment).await.is_err() {
                        break;
                    }
                }
                Action::Stop => {
                    self.stop_workers().await;
                    self.show(desired.as_ref(), Permit::Granted);
                    tracing::info!(transform = %self.id, "stopped");
                }
                Action::Wait(time) => {
                    self.show(desired.as_ref(), permit);
                    let workers = self.report.borrow().workers.clone();
                    let last = self.inspection.as_ref().filter(|_| self.is_quiet);
                    tokio::select! {
                        changed = self.desired.changed() => if changed.is_err() { break },
                        () = sleep(time.unwrap_or(Duration::MAX)) => self.inspect(desired.as_ref()).await,
                        () = inspection::due(last, &workers, self.parts.teams.watch()) => {
                            self.inspect(desired.as_ref()).await;
                        }
                    }
                }
            }
        }
        self.stop_workers().await;
        // The host ends: its counters stay for the last scrape.
        self.metrics.iter().for_each(|metrics| metrics.clear_gauges());
    }
}
