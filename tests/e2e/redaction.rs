//! Redaction on Kafka, with sign-in: the owner of a topic writes a rule, and readers of another team look at its records.

use std::path::Path;

use sandbar_harness::{Cli, Host, KafkaCluster, Message, dirs, guests, topics, wait};
use serde_json::{Value, json};

use crate::job::Job;

/// Puts the rules of team `shop` for a topic in the place of the file, as a whole.
fn write(file: &Path, topic: &str, rules: &Value) {
    let next = file.with_extension("next");
    let topics = json!({ "owns": [topic], "redact": rules });
    std::fs::write(&next, json!({ "teams": { "shop": { "topics": topics } } }).to_string()).expect("writable");
    std::fs::rename(&next, file).expect("renamed");
}

/// Deploys a job by the command line, which is signed in.
#[track_caller]
fn deploy(cli: &Cli, job: &Job) {
    let (team, name) = job.transform.split_once('/').expect("team/name");
    let mut spec = job.spec.clone();
    spec["team"] = team.into();
    spec["name"] = name.into();
    std::fs::write(cli.folder.join("transform.yaml"), spec.to_string()).expect("writable");
    std::fs::write(cli.folder.join("module.wasm"), &*job.module).expect("writable");
    cli.succeeds("deploy --module module.wasm");
}

/// The samples that a caller sees of a transform, while records come: as many as it asks for.
fn tail(cli: &Cli, transform: &str, job: &Job, messages: &[Message]) -> String {
    std::thread::scope(|scope| {
        let tail = scope.spawn(|| cli.succeeds(&format!("tail {transform} --limit 4 --wait 60s -o json")));
        while !tail.is_finished() {
            job.produce(messages);
            std::thread::sleep(std::time::Duration::from_millis(50));
        }
        tail.join().expect("it ends")
    })
}

#[test]
fn an_owner_keeps_fields_from_the_readers_of_its_topic() {
    let kafka = KafkaCluster::shared();
    let folder = dirs::fresh("redaction-files");
    let file = folder.join("teams.yaml");
    let job = Job::new("redaction", "masked", 1, guests::fixture(), json!({ "mode": "fail" }));
    let again = Job::new("redaction", "again", 1, guests::fixture(), json!({ "mode": "echo" }));
    let again = again.with(json!({ "inputs": [job.dead_letters] }));
    write(&file, &job.input, &json!({}));
    let text = |path: &Path| path.to_str().expect("text").to_owned();
    let [teams, token] = [text(&file), text(&folder.join("admin"))];
    let admin = Cli::at("redaction-token", std::net::SocketAddr::from(([127, 0, 0, 1], 1))).succeeds("token generate");
    std::fs::write(&token, &admin).expect("writable");
    let host =
        Host::start_with(kafka, "redaction", &["--teams", &teams, "--auth", "required", "--admin-token-file", &token]);
    let admin = Cli::new("redaction-admin", &host).signed_in(&admin);
    let caller = |name: &str, words: &str| {
        let token = admin.succeeds(&format!("token create --name {name} --expires-in 1d {words}"));
        Cli::new(&format!("redaction-{name}"), &host).signed_in(&token)
    };
    let viewer = caller("viewer", "--team tests --role view");
    let reader = caller("reader", "--team tests --role data");
    let whole = caller("whole", "--cluster --role data");
    deploy(&admin, &job);
    deploy(&admin, &again);

    let row = |email: &str| json!({ "after": { "id": 7, "email": email }, "op": "c" }).to_string();
    let messages = [Message::new("7", row("secret@example.com")), Message::new("8", row("secret@poison.example"))];
    // Without a rule records are for the role `data`, as they are.
    assert!(viewer.run("tail tests/masked --wait 1s").err.contains("E076"));
    let shown = tail(&reader, "tests/masked", &job, &messages);
    assert!(shown.contains("secret@example.com") && shown.contains("contains poison"), "{shown}");

    write(&file, &job.input, &json!({ job.input.clone(): { "paths": ["$.email"], "viewers": true } }));
    wait::until("the viewer sees records", wait::PATIENCE, || {
        let ran = viewer.run("tail tests/masked --wait 1s");
        if ran.code == Some(0) { Ok(()) } else { Err(ran.err) }
    });
    for cli in [&viewer, &reader] {
        let shown = tail(cli, "tests/masked", &job, &messages);
        assert!(shown.contains(r#""email":"***""#) && shown.contains(r#""id":7"#) && shown.contains("E101"), "{shown}");
        assert!(!shown.contains("secret") && !shown.contains("contains poison"), "{shown}");
    }
    let shown = tail(&reader, "tests/again", &job, &messages);
    assert!(shown.contains(r#""email":"***""#) && shown.contains("sandbar.error.code"), "{shown}");
    assert!(!shown.contains("secret") && !shown.contains("contains poison"), "{shown}");
    let test = reader.run("test tests/masked --live 10 -o json").out;
    assert!(test.contains("\"redacted\":true") && !test.contains("secret"), "{test}");
    for words in ["logs tests/masked -o json", "status tests/masked -o json"] {
        let shown = reader.succeeds(words);
        assert!(!shown.contains("secret") && !shown.contains("contains poison"), "{words}: {shown}");
    }

    // The role `data` in the whole cluster shows all, and the topics hold all.
    let shown = tail(&whole, "tests/masked", &job, &messages);
    assert!(shown.contains("secret@example.com") && shown.contains("contains poison"), "{shown}");
    job.wait_through(wait::PATIENCE);
    let letters = topics::read_committed(kafka, &job.dead_letters);
    assert!(!letters.is_empty() && letters.iter().all(|letter| letter.value_text() == row("secret@poison.example")));
}
