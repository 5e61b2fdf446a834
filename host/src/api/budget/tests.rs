use std::sync::atomic::{AtomicBool, Ordering};

use super::*;

const MIB: usize = 1 << 20;

fn budget(bytes_max: usize) -> (Budget, IntGauge) {
    let gauge = IntGauge::new("bytes", "bytes").expect("a gauge");
    (Budget::new(bytes_max, gauge.clone()), gauge)
}

fn asked(budget: &Budget) -> (Share, Arc<AtomicBool>) {
    let asked = Arc::new(AtomicBool::new(false));
    let flag = asked.clone();
    (budget.share(Kind::Growing, move || flag.store(true, Ordering::Relaxed)), asked)
}

#[tokio::test(start_paused = true)]
async fn small_shares_are_free_and_all_is_given_back() {
    let (budget, gauge) = budget(MIB);
    let (mut small, _) = asked(&budget);
    assert_eq!(small.grow_to(FREE_BYTES).await, Ok(()));
    assert_eq!(gauge.get(), 0);
    let (mut large, _) = asked(&budget);
    assert_eq!(large.grow_to(MIB + FREE_BYTES).await, Ok(()));
    assert_eq!(gauge.get(), MIB as i64);
    large.shrink_to(MIB / 2);
    assert_eq!(gauge.get(), (MIB / 2 - FREE_BYTES) as i64);
    drop((small, large));
    assert_eq!(gauge.get(), 0);
}

#[tokio::test(start_paused = true)]
async fn who_stands_still_for_longest_gives_way() {
    let (budget, _) = budget(2 * MIB);
    let (mut first, first_asked) = asked(&budget);
    first.grow_to(MIB).await.expect("room");
    tokio::time::sleep(STILL / 2).await;
    let (mut second, second_asked) = asked(&budget);
    second.grow_to(MIB).await.expect("room");
    tokio::time::sleep(STILL * 2).await;
    let holder = tokio::spawn(async move {
        while !first_asked.load(Ordering::Relaxed) {
            tokio::time::sleep(POLL).await;
        }
        drop(first);
    });
    let (mut third, _) = asked(&budget);
    assert_eq!(third.grow_to(MIB).await, Ok(()));
    holder.await.expect("it gave way");
    assert!(!second_asked.load(Ordering::Relaxed));
}

#[tokio::test(start_paused = true)]
async fn few_whole_shares_wait() {
    let (budget, _) = budget(MIB);
    let mut held = budget.share(Kind::Whole, || ());
    held.grow_to(MIB).await.expect("room");
    let more = (0..WHOLE_WAITING_MAX + 3).map(|_| async {
        let started = Instant::now();
        let refused = budget.share(Kind::Whole, || ()).grow_to(MIB).await.is_err();
        (refused, started.elapsed() < POLL)
    });
    let ended = futures::future::join_all(more).await;
    assert!(ended.iter().all(|(refused, _)| *refused));
    assert_eq!(ended.iter().filter(|(_, at_once)| *at_once).count(), 3);
}

#[tokio::test(start_paused = true)]
async fn the_oldest_goes_on() {
    let (budget, _) = budget(2 * MIB);
    let (mut old, old_asked) = asked(&budget);
    old.grow_to(MIB).await.expect("room");
    let (mut young, young_asked) = asked(&budget);
    young.grow_to(MIB).await.expect("room");
    let waiting = tokio::spawn(async move { old.grow_to(2 * MIB).await });
    while !young_asked.load(Ordering::Relaxed) {
        tokio::time::sleep(POLL / 10).await;
        // It sends all the time, and still gives way.
        young.inner.table.lock().shares.get_mut(&young.id).expect("there").moved_at = Instant::now();
    }
    drop(young);
    assert_eq!(waiting.await.expect("no panic"), Ok(()));
    assert!(!old_asked.load(Ordering::Relaxed));
}

#[tokio::test(start_paused = true)]
async fn what_has_arrived_stays_and_the_next_is_told_after_a_time() {
    let (budget, gauge) = budget(MIB);
    let (mut arrived, arrived_asked) = asked(&budget);
    arrived.grow_to(MIB).await.expect("room");
    arrived.settle();
    let (mut next, _) = asked(&budget);
    assert_eq!(next.grow_to(MIB).await, Err(NoRoom));
    assert!(!arrived_asked.load(Ordering::Relaxed));
    drop(arrived);
    assert_eq!(next.grow_to(MIB).await, Ok(()));
    drop(next);
    assert_eq!(gauge.get(), 0);
}
