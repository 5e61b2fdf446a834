//! The metrics of a transform that was deleted.

use super::*;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_holds_the_metrics_of_a_deleted_transform() {
    let bench = Bench::idle(|thread, run| thread.spawn(run), None).await;
    bench.topic("_sandbar.dev.state.shop.fixture.sums", true);
    let fields = json!({"config": {"mode": "fold"}, "state": {"sums": {}}, "start": "earliest"});
    bench.deploy(stateful(), fields.clone());
    bench.append("in", "a", &json!("5"));
    assert_eq!(bench.outputs(1), ["1 5"]);
    bench.wait_for("it runs", runs);
    let has = |text: &str| bench.metrics.render().contains(text);
    until("it has gauges", || has("sandbar_worker_state{"));
    bench.change(Change::Delete);
    until("its gauges are gone", || !has("sandbar_worker_state{"));
    assert!(has("sandbar_records_in_total{team=\"shop\",topic=\"in\",transform=\"fixture\"} 1\n"), "its counters are there");
    // More than stay: its series end as soon as nothing holds them.
    until("its series are gone", || {
        for number in 0..=100 {
            let id = format!("shop/preview-{number}").parse().expect("valid");
            drop(bench.metrics.transform(&id));
            bench.metrics.forget(&id);
        }
        !has("transform=\"fixture\"")
    });
    bench.deploy(stateful(), fields);
    bench.append("in", "a", &json!("1"));
    bench.outputs(2);
    bench.wait_for("it runs again", runs);
    until("it counts again", || has("sandbar_records_in_total{team=\"shop\",topic=\"in\",transform=\"fixture\"} 1\n"));
    bench.stop().await;
}

#[track_caller]
fn until(name: &str, holds: impl Fn() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !holds() {
        assert!(Instant::now() < deadline, "{name}");
        std::thread::sleep(Duration::from_millis(10));
    }
}
