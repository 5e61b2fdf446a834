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
    (budget.share(Kind::Growing, None, move || flag.store(true, Ordering::Relaxed)), asked)
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
    let mut held = budget.share(Kind::Whole, None, || ());
    held.grow_to(MIB).await.expect("room");
    let more = (0..WHOLE_WAITING_MAX + 3).map(|_| async {
        let started = Instant::now();
        let refused = budget.share(Kind::Whole, None, || ()).grow_to(MIB).await.is_err();
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

/// Bodies that come slowly, and such that have arrived and wait: neither gives way.
#[tokio::test(start_paused = true)]
async fn the_bodies_of_one_team_leave_bytes_for_others() {
    let (budget, gauge) = budget(4 * MIB);
    let [greedy, modest] = ["greedy", "modest"].map(|team| Party::of(&team.parse().expect("valid")));
    let of = |party: &Party| budget.share(Kind::Growing, Some(party.clone()), || ());
    let mut held = [of(&greedy), of(&greedy)];
    for share in &mut held {
        share.grow_to(MIB).await.expect("room");
        share.settle();
    }
    let mut more = of(&greedy);
    let keeps_moving = async {
        assert_eq!(more.grow_to(MIB).await, Err(NoRoom), "its half is used");
    };
    let other = async {
        let mut other = of(&modest);
        let started = Instant::now();
        assert_eq!((other.grow_to(2 * MIB).await, started.elapsed()), (Ok(()), Duration::ZERO));
    };
    tokio::join!(keeps_moving, other);
    let mut nobodys = budget.share(Kind::Growing, None, || ());
    assert_eq!(nobodys.grow_to(2 * MIB).await, Ok(()), "on a host without sign-in all may be used");
    drop((held, nobodys));
    assert_eq!(more.grow_to(2 * MIB).await, Ok(()));
    drop(more);
    assert_eq!(gauge.get(), 0);
    assert!(budget.inner.table.lock().shares.is_empty());
}

/// At its limit a team's share waits for those of its own team alone.
#[tokio::test(start_paused = true)]
async fn a_team_at_its_limit_pushes_nobody_else_out() {
    let (budget, _) = budget(4 * MIB);
    let [greedy, modest] = ["greedy", "modest"].map(|team| Party::of(&team.parse().expect("valid")));
    let asked = |party: &Party| {
        let asked = Arc::new(AtomicBool::new(false));
        let flag = asked.clone();
        (budget.share(Kind::Growing, Some(party.clone()), move || flag.store(true, Ordering::Relaxed)), asked)
    };
    let (mut other, other_asked) = asked(&modest);
    other.grow_to(2 * MIB).await.expect("room");
    let (mut own, own_asked) = asked(&greedy);
    own.grow_to(2 * MIB).await.expect("room");
    tokio::time::sleep(STILL * 2).await;
    let (mut next, _) = asked(&greedy);
    assert_eq!(next.grow_to(2 * MIB).await, Err(NoRoom));
    assert!(own_asked.load(Ordering::Relaxed) && !other_asked.load(Ordering::Relaxed));
}
