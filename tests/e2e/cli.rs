//! Every verb of the command line against a host on Kafka, in text and as JSON.

use rdkafka::producer::{BaseProducer, BaseRecord, Producer as _};
use sandbar_harness::wait::PATIENCE;
use sandbar_harness::{Cli, Host, KafkaCluster, guests, topics, wait};
use serde_json::json;

use crate::job::numbered;

#[test]
fn every_verb_works_on_kafka() {
    let kafka = KafkaCluster::shared();
    let host = Host::start(kafka, "cli");
    topics::create(kafka, &["cli.in", "cli.out"], 2);
    let cli = Cli::new("cli", &host);
    let write = |mode: &str| {
        let spec = format!(
            "team: shop\nname: echo\nmodule: module.wasm\ninputs: [cli.in]\noutputs: {{ out: cli.out }}\nstart: earliest\nconfig: {{ mode: {mode} }}\n"
        );
        std::fs::write(cli.folder.join("transform.yaml"), spec).expect("writable");
    };
    std::fs::write(cli.folder.join("module.wasm"), &*guests::fixture()).expect("writable");
    let records = "{\"key\":\"a\",\"value\":\"1\"}\n";
    std::fs::write(cli.folder.join("in.ndjson"), records).expect("writable");
    write("echo");
    sandbar_harness::Producer::new(kafka).send_all("cli.in", &numbered(20, 5));

    assert!(cli.succeeds("deploy").ends_with("shop/echo runs revision 1\n"));
    write("filter-odd");
    assert_eq!(cli.json("deploy")["rollout"]["state"], "complete");
    assert_eq!(cli.json("list shop")["transforms"][0]["revision"], 2);
    assert!(cli.succeeds("list").contains("shop/echo"));
    assert_eq!(cli.json("describe shop/echo")["revision"], 2);
    assert!(cli.succeeds("describe").contains("mode: filter-odd"));
    assert_eq!(cli.json("status")["rollout"]["state"], "complete");
    assert!(cli.succeeds("status shop/echo").contains("revision 2 complete"));
    assert_eq!(cli.json("hosts")["hosts"].as_array().map(Vec::len), Some(1));
    assert!(cli.succeeds("hosts").contains("HOST"));
    assert_eq!(cli.json("revisions")["revisions"].as_array().map(Vec::len), Some(2));
    assert!(cli.succeeds("revisions").contains("deploy"));
    let diff = cli.run("diff shop/echo 1 2");
    assert!(diff.code == Some(1) && diff.out.contains("+  mode: filter-odd"), "{diff:?}");
    assert_eq!(cli.run("diff 1 2 -o json").code, Some(1));
    let tried = cli.json("test shop/echo --live 5");
    assert_eq!(tried["records"].as_array().map(Vec::len), Some(5), "{tried}");
    assert!(cli.succeeds("test shop/echo --records in.ndjson").contains("1 record"));
    assert_eq!(cli.json("rollback --to 1")["rollout"]["revision"], 3);
    // Lines of JSON, not one document.
    let logged = cli.succeeds("logs shop/echo -o json");
    assert!(logged.lines().all(|line| serde_json::from_str::<serde_json::Value>(line).is_ok()), "{logged}");
    sandbar_harness::wait::until("the log tells of the swap", sandbar_harness::wait::PATIENCE, || {
        let log = cli.succeeds("logs --since 10m --level info");
        if log.contains("SWAPPED") && log.contains("revision 3 runs") { Ok(()) } else { Err(log) }
    });
    assert_eq!(cli.succeeds("tail --limit 1 --wait 100ms"), "", "nothing goes through now");

    assert!(cli.succeeds("pause").contains("pauses"));
    let offsets = cli.json("offsets get");
    assert_eq!(offsets["offsets"].as_array().map(Vec::len), Some(2), "{offsets}");
    assert!(cli.succeeds("offsets set --to earliest --dry-run").contains("20"));
    assert_eq!(cli.json("offsets set --offset cli.in:0:0")["dry_run"], json!(false));
    assert!(cli.run("offsets reset").code == Some(0));
    let refused = cli.run("restart");
    assert!(refused.code == Some(1) && refused.err.contains("error[E033]") && refused.err.contains("hint: "), "{refused:?}");
    assert_eq!(cli.json("resume")["desired"], "running");
    let refused = cli.run("offsets reset");
    assert!(refused.code == Some(1) && refused.err.contains("error[E040]"), "{refused:?}");
    assert!(cli.succeeds("restart").contains("starts again"));
    let refused = cli.run("deploy --if-revision 1");
    assert!(refused.code == Some(1) && refused.err.contains("error[E008]"), "{refused:?}");
    let refused = cli.run("rollback --to 99");
    assert!(refused.code == Some(1) && refused.err.contains("error[E034]"), "{refused:?}");

    // A cluster by its name, and completion for the shells that people have.
    cli.succeeds(&format!("context set kafka --url http://{}", host.address()));
    assert!(cli.succeeds("context list").contains("kafka"));
    assert!(cli.succeeds("status shop/echo --context kafka").contains("shop/echo"));
    for shell in ["bash", "zsh", "fish"] {
        assert!(cli.succeeds(&format!("completion {shell}")).contains("rollback"), "{shell}");
    }
    assert!(cli.succeeds("delete --yes").contains("is deleted"));
    let gone = cli.run("status");
    assert!(gone.code == Some(1) && gone.err.contains("error[E023]"), "{gone:?}");
}

/// Records through the command line alone, on Kafka itself: what `consume` shows is what `produce` took.
#[test]
fn topics_are_made_written_and_read_on_kafka() {
    let kafka = KafkaCluster::shared();
    let host = Host::start(kafka, "cli-topics");
    let cli = Cli::new("cli-topics", &host);
    let at = format!("--brokers {}", kafka.brokers());
    let on_kafka = |words: &str| cli.succeeds(&format!("{words} {at}"));
    let records = concat!(
        r#"{"key":"a","value":{"price":1.50},"headers":[{"name":"h","value":"1"}],"partition":0}"#,
        "\n\n",
        r#"{"key":"a","value":null,"partition":1}"#,
        "\n",
        r#"{"key_base64":"AP8=","value":"text","partition":0}"#,
    );
    std::fs::write(cli.folder.join("in.ndjson"), records).expect("writable");

    assert!(on_kafka("topics create cli-topics.t --partitions 2").contains("partitions:      2"));
    on_kafka("topics create cli-topics.t --partitions 2");
    assert!(on_kafka("topics list").lines().any(|line| line.starts_with("cli-topics.t ") && line.ends_with(" 2")));
    assert!(!on_kafka("topics list").contains("_sandbar"));
    assert_eq!(on_kafka("produce cli-topics.t in.ndjson"), "produced 3 records to cli-topics.t\n");
    // Nobody sees the record of a transaction that is open.
    let transactional: BaseProducer =
        kafka.client().set("transactional.id", "cli-topics.tx").create().expect("a valid configuration");
    transactional.init_transactions(PATIENCE).expect("a coordinator");
    transactional.begin_transaction().expect("none is open");
    let record = BaseRecord::to("cli-topics.t").partition(1).key("a").payload("open");
    transactional.send(record).map_err(|(error, _)| error).expect("there is room");
    transactional.flush(PATIENCE).expect("delivered");
    let shown = on_kafka("consume cli-topics.t");
    assert!(shown.contains(r#"{"price":1.50}"#), "{shown}");
    let mut shown: Vec<serde_json::Value> = shown.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    shown.sort_by_key(|record| (record["partition"].as_i64(), record["offset"].as_i64()));
    assert_eq!(shown.len(), 3, "{shown:?}");
    assert_eq!(shown[0]["headers"], json!([{"name": "h", "value": "1"}]));
    assert_eq!((&shown[1]["key_base64"], &shown[1]["value"]), (&json!("AP8="), &json!("text")));
    assert_eq!((&shown[2]["key"], &shown[2]["value"]), (&json!("a"), &json!(null)));
    transactional.abort_transaction(PATIENCE).expect("it is open");
    assert_eq!(on_kafka("consume cli-topics.t --partition 0 --from -1").lines().count(), 1);
    assert_eq!(on_kafka("consume cli-topics.t -n 2").lines().count(), 2);
    assert_eq!(on_kafka("consume cli-topics.t --from latest"), "");
    assert_eq!(on_kafka("consume cli-topics.t --from 1000"), "", "no partition has this offset");
    assert!(on_kafka("topics describe cli-topics.t").contains("PARTITION"));

    for (words, code, part) in [
        ("consume nowhere", 1, "error[E025]"),
        ("consume cli-topics.t --partition 7", 1, "error[E030]"),
        ("consume cli-topics.t --from tomorrow", 2, "is not earliest"),
        ("topics create cli-topics.t --partitions 3", 1, "error[E029]"),
        ("topics create cli-topics.none --partitions 0", 1, "partitions: is 0"),
        ("topics create _sandbar.x.y", 1, "error[E026]"),
        ("produce _sandbar.cli-topics.deployments in.ndjson", 1, "error[E026]"),
        ("produce cli-topics.t none.ndjson", 2, "none.ndjson"),
        ("produce cli-topics.t transform.yaml", 2, "error[E027]"),
    ] {
        std::fs::write(cli.folder.join("transform.yaml"), "team: shop\n").expect("writable");
        let refused = cli.run(&format!("{words} {at}"));
        assert!(refused.code == Some(code) && refused.err.contains(part), "{words}: {refused:?}");
    }
    // A host on Kafka has no routes of topics, and says which option there is.
    let refused = cli.run("topics list");
    assert!(refused.code == Some(2) && refused.err.contains("--brokers"), "{refused:?}");
}

/// A reader that follows a topic on Kafka reads partitions that it gets, and goes on where records before its place are gone.
#[test]
fn a_reader_follows_a_topic_that_grows() {
    const TOPIC: &str = "cli-follow.t";
    let kafka = KafkaCluster::shared();
    topics::create(kafka, &[TOPIC], 1);
    let cli = Cli::at("cli-follow", ([127, 0, 0, 1], 1).into());
    let produce = |partition: i32, text: &str| {
        let line = json!({"value": text, "partition": partition}).to_string();
        std::fs::write(cli.folder.join("in.ndjson"), line).expect("writable");
        cli.succeeds(&format!("produce {TOPIC} in.ndjson --brokers {}", kafka.brokers()));
    };
    produce(0, "first");
    let following = cli.start(&format!("consume {TOPIC} -f --brokers {}", kafka.brokers()));
    let shows = |text: &str| {
        wait::until(&format!("{text} is shown"), PATIENCE, || {
            let lines = following.lines();
            if lines.iter().any(|line| line["value"] == text) { Ok(()) } else { Err(following.text()) }
        });
    };
    shows("first");
    topics::raise_partitions(kafka, TOPIC, 2);
    produce(1, "of the new partition");
    shows("of the new partition");
    topics::delete_records(kafka, TOPIC, 0, 1);
    produce(0, "second");
    shows("second");
    let values: Vec<_> = following.lines().into_iter().map(|line| line["value"].clone()).collect();
    assert_eq!(values, ["first", "of the new partition", "second"]);
}
