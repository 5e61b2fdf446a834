//! A page of another origin in a real browser, against a host on this machine: whatever it sends, nothing is changed.

use std::process::Command;
use std::time::Duration;

use sandbar_harness::child::Process;
use sandbar_harness::{Api, Cli, browser, dirs, guests, ports, wait};
use serde_json::{Value, json};

const TRANSFORM: &str = "shop/echo";
const ROUTE: &str = "/v1/teams/shop/transforms/echo";

/// `sandbar dev`, with a transform at revision 2.
struct Dev {
    port: u16,
    api: Api,
    cli: Cli,
    _process: Process,
}

// === impl Dev ===

impl Dev {
    fn start() -> Self {
        let port = ports::free_port();
        let folder = dirs::fresh("dev");
        let mut command = Command::new(dirs::sandbar());
        command.args(["dev", "--listen", &format!("127.0.0.1:{port}"), "--data-dir"]).arg(folder.join("data"));
        let process = Process::start("sandbar dev", command, &folder.join("log"));
        let address = ([127, 0, 0, 1], port).into();
        let dev = Self { port, api: Api::new(address), cli: Cli::at("browser", address), _process: process };
        wait::until("the host is ready", wait::PATIENCE, || match dev.api.try_get("/readyz")?.status {
            200 => Ok(()),
            status => Err(format!("{status}")),
        });
        for topic in ["in", "out"] {
            dev.api.send("PUT", &format!("/v1/topics/{topic}"), "application/json", b"{}").success();
        }
        for mode in ["echo", "filter-odd"] {
            let spec = json!({"inputs": ["in"], "outputs": {"out": "out"}, "config": {"mode": mode}});
            dev.api.try_deploy_with(TRANSFORM, &spec, &guests::fixture()).success();
        }
        // The rollout is a part of the state that must not change.
        wait::until("revision 2 runs", wait::PATIENCE, || {
            let shown = dev.api.get(ROUTE).json();
            if shown["running_revisions"] == json!([2]) { Ok(()) } else { Err(shown.to_string()) }
        });
        dev
    }

    /// All that a page might change.
    fn state(&self) -> Value {
        let get = |path: &str| self.api.get(path).success().json();
        let mut transform = get(ROUTE);
        // The transform logs the time at which the page was read.
        transform.as_object_mut().expect("an object").remove("changed_at");
        json!([
            transform,
            get(&format!("{ROUTE}/revisions"))["revisions"].as_array().map(Vec::len),
            get("/v1/modules"),
            get("/v1/topics")
        ])
    }

    /// Requests that were refused with this code.
    fn refused(&self, code: &str) -> u64 {
        let metrics = self.api.get("/metrics").success().body.clone();
        let line = format!("sandbar_http_requests_refused_total{{code=\"{code}\"}} ");
        metrics.lines().find_map(|found| found.strip_prefix(&line)?.parse().ok()).unwrap_or(0)
    }
}

/// Tries everything that a page can send without being permitted, and some that it would have to be, and reports.
fn page(port: u16) -> String {
    let attack = r#"<!doctype html><title>page</title><body><script>
const bases = ["http://127.0.0.1:PORT", "http://localhost:PORT"];
const route = "/v1/teams/shop/transforms/echo";
const results = [];
async function attempt(name, send) {
  try {
    const answer = await send();
    results.push(name + ": " + (answer.type === undefined ? answer : answer.type + " " + answer.status));
  } catch (error) { results.push(name + ": " + error.name); }
}
function form(action, enctype, fields) {
  const frame = document.createElement("iframe");
  frame.name = "f" + document.querySelectorAll("iframe").length;
  const form = document.createElement("form");
  Object.assign(form, { action, method: "POST", enctype, target: frame.name });
  for (const [name, value] of Object.entries(fields)) {
    form.append(Object.assign(document.createElement("input"), { name, value }));
  }
  document.body.append(frame, form);
  return new Promise((resolve) => { frame.onload = () => resolve("sent"); setTimeout(() => resolve("late"), 5000); form.submit(); });
}
function image(src) {
  return new Promise((resolve) => { const image = new Image(); image.onload = image.onerror = () => resolve("asked"); image.src = src; });
}
(async () => {
  for (const base of bases) {
    const post = (path, body, rest) => fetch(base + path, { method: "POST", mode: "no-cors", credentials: "include", body, ...rest });
    for (const verb of ["pause", "restart", "resume", "rollback"]) {
      await attempt("bare " + verb, () => post(route + "/" + verb));
      await attempt("text " + verb, () => post(route + "/" + verb, '{"revision": 1}'));
      await attempt("values " + verb, () => post(route + "/" + verb, new URLSearchParams({ revision: 1 })));
      await attempt("blob " + verb, () => post(route + "/" + verb, new Blob(['{"revision": 1}'])));
      await attempt("beacon " + verb, () => String(navigator.sendBeacon(base + route + "/" + verb, "{}")));
      await attempt("own header " + verb, () => post(route + "/" + verb, undefined, { mode: "cors", headers: { "sandbar-request": "1" } }));
      await attempt("json " + verb, () => post(route + "/" + verb, '{"revision": 1}', { mode: "cors", headers: { "content-type": "application/json" } }));
      await attempt("form " + verb, () => form(base + route + "/" + verb, "text/plain", { a: "b" }));
    }
    const upload = new FormData();
    upload.append("spec", '{"inputs": ["in"], "outputs": {"out": "out"}}');
    upload.append("module", new Blob([new Uint8Array([0, 97, 115, 109])]), "m.wasm");
    upload.append("records", '{"value": 1}\n');
    await attempt("form test", () => post(route + "/test", upload));
    await attempt("module", () => post("/v1/modules", new Uint8Array([0, 97, 115, 109])));
    await attempt("typed module", () => post("/v1/modules", new Blob([new Uint8Array([0])], { type: "application/wasm" }), { mode: "cors" }));
    await attempt("records", () => post("/v1/topics/in/records", '{"value": 1}'));
    await attempt("put", () => fetch(base + route, { method: "PUT", body: "{}" }));
    await attempt("delete", () => fetch(base + route, { method: "DELETE" }));
    await attempt("patch", () => fetch(base + route + "/offsets", { method: "PATCH", body: "{}" }));
    await attempt("form upload", () => form(base + route + "/test", "multipart/form-data", { spec: "{}" }));
    await attempt("form values", () => form(base + route + "/pause", "application/x-www-form-urlencoded", { a: "b" }));
    await attempt("image", () => image(base + route + "/tail"));
    await attempt("read", () => fetch(base + route));
    await attempt("socket", () => new Promise((resolve) => {
      const socket = new WebSocket(base.replace("http", "ws") + "/v1/transforms");
      socket.onopen = () => resolve("open"); socket.onerror = () => resolve("closed");
    }));
  }
  await fetch("/report", { method: "POST", body: results.join("\n") });
})();
</script>"#;
    attack.replace("PORT", &port.to_string())
}

#[test]
fn a_page_of_another_origin_changes_nothing() {
    let dev = Dev::start();
    let site = browser::Site::start([("/", page(dev.port))]);
    let before = dev.state();
    let opened = browser::open(&format!("http://{}/", site.address));
    let report = wait::until("the page is through", 2 * wait::PATIENCE, || {
        site.reports().pop().ok_or_else(|| "no report yet".to_owned())
    });
    drop(opened);
    // The requests have reached the host, and none of them had an effect.
    assert_eq!(dev.state(), before, "{report}");
    assert!(dev.refused("E046") >= 40, "{} were refused as of another origin:\n{report}", dev.refused("E046"));
    for line in report.lines() {
        let answered = line.ends_with("open") || line.contains(" 2") || line.contains("cors 2") || line.contains("basic");
        assert!(!answered, "the page got an answer: {line}");
    }
    assert_eq!(report.lines().filter(|line| line.starts_with("delete: TypeError")).count(), 2, "{report}");

    // Clients that may send the requests send them.
    let bare = |verb: &str| dev.api.try_send("POST", &format!("{ROUTE}/{verb}"), &[("idempotency-key", verb)], &json!({}));
    assert_eq!(bare("pause").expect("an answer").status, 202);
    assert_eq!(dev.api.get(ROUTE).success().json()["desired"], "paused");
    assert!(dev.cli.succeeds("resume shop/echo").contains("shop/echo"));
    assert!(dev.cli.succeeds("rollback shop/echo --no-wait").contains("revision 3"));
}

#[test]
fn a_name_that_was_pointed_here_is_refused() {
    let dev = Dev::start();
    let rules = "MAP evil.example 127.0.0.1, MAP other.example 127.0.0.1";
    let at = |host: &str| browser::shown(&format!("http://{host}:{}/v1/transforms", dev.port), rules);
    let before = dev.refused("E045");
    let rebound = at("evil.example");
    assert!(rebound.contains("E045") && !rebound.contains("\"echo\""), "{rebound}");
    assert!(dev.refused("E045") > before);
    let own = at("127.0.0.1");
    assert!(own.contains("\"echo\""), "{own}");
    wait::until("the host goes on", Duration::from_secs(5), || dev.api.try_get("/healthz").map(drop));
}
