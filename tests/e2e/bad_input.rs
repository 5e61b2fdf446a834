//! Input that reaches a host by mistake, or to hurt it. Each request gets an answer with a remedy, and nothing breaks.

use sandbar_harness::{Api, Host, KafkaCluster, Response, guests, topics, wait};
use serde_json::{Value, json};

use crate::job::{Job, numbered, unchanged};

/// A component that does nothing but import.
fn importing(import: &str) -> Vec<u8> {
    let text = format!(r#"(component (import "{import}" (instance)))"#);
    wat::parse_str(text).expect("valid text")
}

/// Looks at every answer before it fails: one run shows all that is wrong.
struct Checks {
    api: Api,
    wrong: Vec<String>,
}

impl Checks {
    fn new(host: &Host) -> Self {
        Checks { api: host.api(), wrong: Vec::new() }
    }

    fn check(&mut self, what: &str, answer: &Response, status: u16, code: &str, naming: &str) {
        let problem: Value = serde_json::from_str(&answer.body).unwrap_or_default();
        let text = |field: &str| problem[field].as_str().unwrap_or_default();
        let good = answer.status == status
            && text("code") == code
            && !text("hint").is_empty()
            && answer.content_type.starts_with("application/problem+json")
            && answer.body.contains(naming);
        if !good {
            self.wrong.push(format!("{what}: not {status} {code} naming {naming:?}, but {answer:?}"));
        }
        self.check_health(what);
    }

    /// A request whose body ends early: its sender may be gone, so an answer is no must, but a success is wrong.
    fn check_cut_off(&mut self, answer: &str) {
        if !answer.is_empty() && !answer.starts_with("HTTP/1.1 4") {
            self.wrong.push(format!("a body that was cut off: {answer}"));
        }
        self.check_health("a body that was cut off");
    }

    fn check_health(&mut self, what: &str) {
        let health = self.api.get("/healthz");
        if health.status != 200 {
            self.wrong.push(format!("{what}: afterwards /healthz says {health:?}"));
        }
    }

    #[track_caller]
    fn finish(self) {
        assert!(self.wrong.is_empty(), "{} answers are wrong:\n{}", self.wrong.len(), self.wrong.join("\n"));
    }
}

#[test]
fn a_bad_module_is_refused_by_name() {
    let host = Host::start(KafkaCluster::shared(), "bad-modules");
    let api = host.api();
    let mut checks = Checks::new(&host);
    let fixture = guests::fixture();
    let too_large = vec![0u8; (32 << 20) + 1];
    let header = b"\0asm\x0d\0\x01\0".as_slice();
    let network = importing("wasi:sockets/tcp@0.2.0");
    let unknown = importing("acme:secrets/vault");
    for (what, module, status, code, naming) in [
        ("nothing", b"".as_slice(), 422, "E010", ""),
        ("text", b"(component)", 422, "E010", ""),
        ("a picture", b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR", 422, "E010", ""),
        ("half a header", b"\0asm", 422, "E016", ""),
        ("a core module", b"\0asm\x01\0\0\0", 422, "E011", ""),
        ("an empty component", header, 422, "E013", ""),
        ("a component with rubbish in it", b"\0asm\x0d\0\x01\0\xff\xff\xff\xff\x7f", 422, "E016", ""),
        ("half a component", &fixture[..fixture.len() / 2], 422, "E016", ""),
        ("one that wants a network", &network, 422, "E014", "wasi:sockets/tcp"),
        ("one that wants what there is not", &unknown, 422, "E014", "acme:secrets/vault"),
        ("a large one", &too_large, 413, "E015", ""),
    ] {
        checks.check(what, &api.try_upload(module), status, code, naming);
    }
    let answer = api.send_cut_off("POST", "/v1/modules", fixture.len(), &fixture[..1000]);
    checks.check_cut_off(&answer);
    // The whole one is taken, as is a second copy.
    assert_eq!(api.upload(&fixture), api.upload(&fixture));
    checks.finish();
}

#[test]
fn a_bad_spec_is_refused_by_field() {
    let kafka = KafkaCluster::shared();
    let host = Host::start(kafka, "bad-specs");
    let api = host.api();
    let mut checks = Checks::new(&host);
    let job = Job::new("bad-specs", "echo", 1, guests::fixture(), json!({"mode": "echo"}));
    let mut good = job.spec.clone();
    good["module"] = api.upload(&job.module).into();
    let changed = |field: &str, value: Value| {
        let mut spec = good.clone();
        spec[field] = value;
        spec
    };
    let input = job.input.as_str();
    let stranger = format!("sha256:{}", "0".repeat(64));
    for (what, spec, status, code, naming) in [
        ("an unknown field", changed("replicas", json!(3)), 422, "E020", "replicas"),
        ("an unknown limit", changed("limits", json!({"memroy": "1MiB"})), 422, "E020", "memroy"),
        ("a number for a list", changed("inputs", json!(7)), 422, "E020", ""),
        ("no object", json!([1, 2]), 422, "E020", ""),
        ("a list too long", changed("inputs", json!(vec!["a"; 1000])), 422, "E020", "inputs"),
        ("a topic that is not there", changed("inputs", json!(["bad-specs.nowhere"])), 422, "E021", "bad-specs.nowhere"),
        ("an output that is not there", changed("outputs", json!({"out": "bad-specs.gone"})), 422, "E021", "bad-specs.gone"),
        ("an output that is an input", changed("outputs", json!({"out": input})), 422, "E020", input),
        ("a topic of Sandbar's own", changed("inputs", json!(["_sandbar.bad-specs.deployments"])), 422, "E020", "_sandbar"),
        ("a topic no Kafka has", changed("inputs", json!(["a topic/with everything"])), 422, "E020", "inputs"),
        ("another team", changed("team", json!("others")), 422, "E020", "team"),
        ("too much memory", changed("limits", json!({"memory": "64GiB"})), 422, "E020", "limits.memory"),
        ("no time", changed("limits", json!({"batch_time": "0s"})), 422, "E020", "limits.batch_time"),
        ("no module", changed("module", Value::Null), 422, "E020", "module"),
        ("a module nobody sent", changed("module", json!(stranger)), 422, "E022", &stranger),
        ("a config that init refuses", changed("config", json!({"mode": "fly"})), 422, "E019", "fly"),
        ("a guest that refuses all", changed("config", json!({"mode": "init-error"})), 422, "E019", ""),
    ] {
        checks.check(what, &api.try_deploy(&job.transform, &spec), status, code, naming);
    }
    for topic in ["bad-specs.nowhere", "bad-specs.gone"] {
        assert_eq!(topics::partitions(kafka, topic), None, "{topic} was made by being looked for");
    }
    for (what, path) in [
        ("upper case", "/v1/teams/Tests/transforms/echo"),
        ("a space", "/v1/teams/tests/transforms/ec%20ho"),
        ("a slash", "/v1/teams/tests/transforms/ec%2Fho"),
        ("dots", "/v1/teams/%2E%2E/transforms/echo"),
        ("no UTF-8", "/v1/teams/%FF/transforms/echo"),
        ("a long name", &format!("/v1/teams/tests/transforms/{}", "x".repeat(64))),
    ] {
        checks.check(what, &api.send("PUT", path, "application/json", good.to_string().as_bytes()), 400, "E001", "");
    }
    let route = "/v1/teams/tests/transforms/echo";
    checks.check("half a JSON", &api.send("PUT", route, "application/json", b"{\"inputs\": ["), 400, "E007", "");
    checks.check("a picture", &api.send("PUT", route, "image/png", b"\x89PNG"), 415, "E006", "");
    checks.check(
        "a form without parts",
        &api.send("PUT", route, "multipart/form-data; boundary=x", b"--x--\r\n"),
        400,
        "E031",
        "",
    );
    checks.check("nothing deployed", &api.get(route), 404, "E023", "");
    checks.check("no such route", &api.get("/v1/nothing"), 404, "E002", "");
    checks.check("no such method", &api.send("PATCH", "/v1/modules", "application/json", b"{}"), 405, "E003", "");
    let answer = api.send_cut_off("PUT", route, 5000, b"{\"inputs\": [");
    checks.check_cut_off(&answer);

    // After all that, the right one works; and it takes spec and module in one request, too.
    api.try_deploy_with(&job.transform, &job.spec, &job.module).success();
    let messages = numbered(100, 10);
    job.produce(&messages);
    job.wait_through(wait::PATIENCE);
    job.assert_output(&unchanged(&messages));
    assert_eq!(topics::partitions(kafka, "bad-specs.nowhere"), None, "a topic was created by mistake");
    checks.finish();
}
