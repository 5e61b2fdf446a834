//! Asks the log about topics again and again. Each owner's topics are in a question of their own, and questions are asked side
//! by side, so that brokers that let one team wait hold up no other.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::watch;
use tokio::task::{JoinHandle, spawn_blocking};

use crate::model::names::TeamName;
use crate::ports::{Log, LogError, log_of};

/// The team with whose rights topics are looked at; None: the host, for all teams that have none.
pub type Owner = Option<TeamName>;

/// Returns the log on which an owner's topics are looked at.
pub fn log_of_owner(log: &Arc<dyn Log>, owner: &Owner) -> Arc<dyn Log> {
    owner.as_ref().map_or_else(|| log.clone(), |team| log_of(log, team))
}

/// Asks the question of each owner in every interval, until `shutdown` becomes true. An owner is not asked again before its
/// last question has ended. `ask` may block.
pub async fn ask_for_ever<Q: Send + 'static>(
    interval: Duration,
    questions: impl Fn() -> BTreeMap<Owner, Q>,
    ask: impl Fn(&Owner, Q) -> Result<(), LogError> + Clone + Send + 'static,
    mut shutdown: watch::Receiver<bool>,
) {
    let under_way: Arc<Mutex<BTreeSet<Owner>>> = Arc::default();
    loop {
        tokio::select! {
            () = tokio::time::sleep(interval) => {}
            _ = shutdown.wait_for(|&down| down) => return,
        }
        for (owner, question) in questions() {
            if under_way.lock().insert(owner.clone()) {
                let ask = ask.clone();
                let of = owner.clone();
                let asked = spawn_blocking(move || ask(&of, question));
                tokio::spawn(end(asked, owner, under_way.clone()));
            }
        }
    }
}

/// Waits for the end of a question, after which its owner may be asked again.
async fn end(asked: JoinHandle<Result<(), LogError>>, owner: Owner, under_way: Arc<Mutex<BTreeSet<Owner>>>) {
    match asked.await {
        Ok(Ok(())) => {}
        // The brokers are away, or refuse; workers say so.
        Ok(Err(error)) => tracing::debug!(?owner, %error, "topics could not be looked at"),
        Err(error) => tracing::error!(?owner, %error, "looking at topics failed: this is a bug"),
    }
    under_way.lock().remove(&owner);
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering};

    use tokio::time::timeout;

    use super::*;

    const TICK: Duration = Duration::from_millis(1);
    const PATIENCE: Duration = Duration::from_secs(60);

    #[tokio::test]
    async fn an_owner_without_an_answer_is_asked_once_and_holds_up_no_other() {
        let slow: Owner = Some("slow".parse().expect("valid"));
        let owners = [None, slow.clone()];
        let questions = move || -> BTreeMap<Owner, ()> { owners.iter().map(|owner| (owner.clone(), ())).collect() };
        let counts: Arc<Mutex<BTreeMap<Owner, u32>>> = Arc::default();
        let is_shut = Arc::new(AtomicBool::new(true));
        let counted = counts.clone();
        let waits = is_shut.clone();
        let ask = move |owner: &Owner, (): ()| -> Result<(), LogError> {
            *counted.lock().entry(owner.clone()).or_default() += 1;
            while owner.is_some() && waits.load(Ordering::SeqCst) {
                std::thread::sleep(TICK);
            }
            // A question that failed has ended, too.
            Err(LogError::Unavailable("as asked".into()))
        };
        let (down, shutdown) = watch::channel(false);
        let asking = tokio::spawn(ask_for_ever(TICK, questions, ask, shutdown));
        let count = |owner: &Owner| counts.lock().get(owner).copied().unwrap_or(0);
        let others_go_on = async {
            while count(&None) < 5 || count(&slow) == 0 {
                tokio::time::sleep(TICK).await;
            }
        };
        timeout(PATIENCE, others_go_on).await.expect("the others are asked");
        assert_eq!(count(&slow), 1);
        is_shut.store(false, Ordering::SeqCst);
        let it_is_asked_again = async {
            while count(&slow) < 2 {
                tokio::time::sleep(TICK).await;
            }
        };
        timeout(PATIENCE, it_is_asked_again).await.expect("it is asked again");
        down.send(true).expect("it asks");
        asking.await.expect("it ends");
    }
}
