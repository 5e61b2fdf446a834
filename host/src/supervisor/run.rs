//! The loop of an actor: plans one action, takes it, and waits for the next change.

use std::time::Duration;

use crate::crashes::Permit;
use crate::model::clock::Monotonic;

use super::actor::Actor;
use super::plan::{Action, plan};

/// Time between two looks at the workers' status for the gauges: once a second, as metrics are scraped more rarely than that.
const REPORT_INTERVAL: Duration = Duration::from_secs(1);

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
                    let wait = time.unwrap_or(REPORT_INTERVAL).min(REPORT_INTERVAL);
                    tokio::select! {
                        changed = self.desired.changed() => if changed.is_err() { break },
                        () = tokio::time::sleep(wait) => self.inspect(desired.as_ref()).await,
                    }
                }
            }
        }
        self.stop_workers().await;
        self.metrics.forget();
    }
}
