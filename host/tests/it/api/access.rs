//! Who may do what: every route for every role, two teams with two tokens, and tokens that end.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use reqwest::StatusCode;
use sandbar::access::{AdminTokens, TokenSecret};
use sandbar::api::{ApiState, ServerLimits};
use sandbar::model::names::Digest;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::host::{Answer, GOOD, Host, access, serve, shop_log};

/// The routes with the roles that each is for, in the team of the path; `*` stands for the whole cluster. `signed-in` is for
/// everybody who has signed in, and `all` for everybody.
const RIGHTS: &str = "
    GET    /                                                        all
    GET    /console/{file}                                          all
    GET    /errors                                                  all
    GET    /errors/{code}                                           all
    GET    /healthz                                                 all
    GET    /openapi.json                                            all
    GET    /transform.schema.json                                   all
    GET    /readyz                                                  all
    GET    /v1/sign-in                                              all
    GET    /metrics                                                 signed-in
    GET    /v1/audit                                                signed-in
    GET    /v1/flow                                                 signed-in
    GET    /v1/hosts                                                signed-in
    GET    /v1/modules                                              signed-in
    POST   /v1/modules                                              signed-in
    GET    /v1/modules/{digest}                                     signed-in
    GET    /v1/teams                                                signed-in
    GET    /v1/teams/{team}                                         view data deploy operate admin
    GET    /v1/teams/{team}/transforms                              view data deploy operate admin
    DELETE /v1/teams/{team}/transforms/{name}                       deploy admin
    GET    /v1/teams/{team}/transforms/{name}                       view data deploy operate admin
    PUT    /v1/teams/{team}/transforms/{name}                       deploy admin
    GET    /v1/teams/{team}/transforms/{name}/dead-letters          data admin
    GET    /v1/teams/{team}/transforms/{name}/history               view data deploy operate admin
    GET    /v1/teams/{team}/transforms/{name}/logs                  data deploy operate admin
    DELETE /v1/teams/{team}/transforms/{name}/offsets               operate admin
    GET    /v1/teams/{team}/transforms/{name}/offsets               view data deploy operate admin
    PATCH  /v1/teams/{team}/transforms/{name}/offsets               operate admin
    POST   /v1/teams/{team}/transforms/{name}/pause                 operate admin
    POST   /v1/teams/{team}/transforms/{name}/restart               operate admin
    POST   /v1/teams/{team}/transforms/{name}/resume                operate admin
    GET    /v1/teams/{team}/transforms/{name}/revisions             view data deploy operate admin
    GET    /v1/teams/{team}/transforms/{name}/revisions/{revision}  view data deploy operate admin
    POST   /v1/teams/{team}/transforms/{name}/rollback              deploy admin
    DELETE /v1/teams/{team}/transforms/{name}/state                 operate admin
    GET    /v1/teams/{team}/transforms/{name}/state/{store}/{key}   data admin
    GET    /v1/teams/{team}/transforms/{name}/status                view data deploy operate admin
    GET    /v1/teams/{team}/transforms/{name}/tail                  data admin
    POST   /v1/teams/{team}/transforms/{name}/test                  data deploy admin
    GET    /v1/tokens                                               signed-in
    POST   /v1/tokens                                               signed-in
    DELETE /v1/tokens/{token}                                       signed-in
    GET    /v1/topics                                               *view *data *deploy *operate *admin
    PUT    /v1/topics/{topic}                                       *admin
    GET    /v1/topics/{topic}/records                               *data *admin
    POST   /v1/topics/{topic}/records                               *admin
    GET    /v1/transforms                                           signed-in
    GET    /v1/whoami                                               signed-in
";

const ROLES: [&str; 5] = ["view", "data", "deploy", "operate", "admin"];

/// A host that asks its callers to sign in, with its admin's token.
pub struct Guarded {
    pub host: Host,
    pub state: ApiState,
    base: String,
    pub admin: String,
    _folder: tempfile::TempDir,
}

impl Guarded {
    async fn start() -> Self {
        Self::start_with(|state| state).await
    }

    async fn start_with(change: impl FnOnce(ApiState) -> ApiState) -> Self {
        Self::start_on(Host::start_on(shop_log()).await, change).await
    }

    /// Guards the API of a host.
    pub async fn start_on(host: Host, change: impl FnOnce(ApiState) -> ApiState) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("admin");
        let secret = TokenSecret::generate().expect("randomness");
        std::fs::write(&path, secret.hash().to_string()).expect("written");
        let admin_tokens = AdminTokens::open(Some(&path)).expect("a file");
        let access = Arc::new(access(&host.log, true, admin_tokens.clone()));
        tokio::spawn(admin_tokens.follow_for_ever(host.state.shutdown.clone()));
        let metrics = host.metrics.clone();
        let render_metrics = Arc::new(move |sees: &dyn Fn(Option<&str>) -> bool| metrics.render_for(sees));
        let state = change(ApiState { access, render_metrics, ..host.state.clone() });
        let base = serve(&state, ServerLimits::default()).await;
        Self { host, state, base, admin: secret.expose().to_owned(), _folder: folder }
    }

    pub fn request(&self, token: &str, method: &str, path: &str) -> reqwest::RequestBuilder {
        let request = self.host.request(method, "/");
        let (client, request) = request.build_split();
        let mut request = request.expect("a request");
        *request.url_mut() = format!("{}{path}", self.base).parse().expect("a URL");
        let request = reqwest::RequestBuilder::from_parts(client, request);
        if token.is_empty() { request } else { request.bearer_auth(token) }
    }

    pub async fn ask(&self, token: &str, method: &str, path: &str) -> Answer {
        Answer::of(self.request(token, method, path)).await
    }

    pub async fn send(&self, token: &str, method: &str, path: &str, body: &Value) -> Answer {
        Answer::of(self.request(token, method, path).json(body)).await
    }

    /// Makes a token with these roles; `team` may be `*`. Returns its secret and its id.
    pub async fn token(&self, by: &str, team: &str, roles: &[&str]) -> (String, String) {
        let mut request = json!({"name": "test", "roles": roles});
        if team != "*" {
            request["team"] = team.into();
        }
        let made = self.send(by, "POST", "/v1/tokens", &request).await.expect(201);
        let text = |field: &str| made[field].as_str().expect("a text").to_owned();
        (text("secret"), text("id"))
    }

    pub async fn deploy(&self, token: &str, team: &str, name: &str, module: &'static [u8]) -> Answer {
        let path = format!("/v1/modules?team={team}");
        let upload = self.request(token, "POST", &path).header("content-type", "application/wasm").body(module);
        let digest = Answer::of(upload).await.json()["digest"].clone();
        let spec = json!({"module": digest, "inputs": ["shop.orders"], "outputs": {"o": "orders.out"}});
        self.send(token, "PUT", &format!("/v1/teams/{team}/transforms/{name}"), &spec).await
    }
}

fn code(answer: &Answer) -> String {
    serde_json::from_str::<Value>(&answer.text)
        .ok()
        .and_then(|json| Some(json["code"].as_str()?.to_owned()))
        .unwrap_or_default()
}

/// The path with a value for each of its parameters.
fn filled(path: &str) -> String {
    [
        ("{team}", "orders"),
        ("{name}", "none"),
        ("{code}", "E001"),
        ("{file}", "icon.svg"),
        ("{revision}", "1"),
        ("{store}", "s"),
        ("{key}", "k"),
    ]
    .into_iter()
    .chain([("{topic}", "shop.orders"), ("{token}", "t1"), ("{digest}", "sha256:00")])
    .fold(path.to_owned(), |path, (parameter, value)| path.replace(parameter, value))
}

#[tokio::test(flavor = "multi_thread")]
async fn each_route_is_for_its_roles() {
    let guarded = Guarded::start().await;
    let rights: BTreeMap<String, Vec<&str>> = RIGHTS
        .lines()
        .filter(|line| !line.trim().is_empty())
        .map(|line| {
            let mut words = line.split_whitespace();
            let route = [words.next(), words.next()].map(|word| word.expect("a method and a path")).join(" ");
            (route, words.collect())
        })
        .collect();
    let document = guarded.ask("", "GET", "/openapi.json").await.expect(200);
    let mut described = Vec::new();
    for (path, item) in document["paths"].as_object().expect("paths") {
        for method in item.as_object().expect("operations").keys() {
            described.push(format!("{} {path}", method.to_uppercase()));
        }
    }
    described.sort();
    let mut listed: Vec<String> = rights.keys().cloned().collect();
    listed.sort();
    assert_eq!(described, listed, "the table has a row for each route");

    let mut callers = vec![(String::new(), String::new())];
    for role in ROLES {
        for (team, mark) in [("orders", ""), ("stock", "~"), ("*", "*")] {
            let (secret, _) = guarded.token(&guarded.admin, team, &[role]).await;
            callers.push((format!("{mark}{role}"), secret));
        }
    }
    for (route, roles) in &rights {
        let (method, path) = route.split_once(' ').expect("a method and a path");
        for (caller, token) in &callers {
            let answer = guarded.ask(token, method, &filled(path)).await;
            let own = caller.trim_start_matches('*');
            let is_let_in = match roles.as_slice() {
                ["all"] => true,
                ["signed-in"] => !caller.is_empty(),
                // A role in the cluster is one in each of its teams.
                roles => roles.contains(&caller.as_str()) || (caller.starts_with('*') && roles.contains(&own)),
            };
            match code(&answer).as_str() {
                "E075" => assert!(caller.is_empty() && !is_let_in, "{route} refuses {caller:?}: {answer:?}"),
                // The handlers of these check the scope that the request names.
                "E076" if ["/v1/tokens", "/v1/audit", "/v1/modules"].contains(&path) => {}
                "E076" => assert!(!caller.is_empty() && !is_let_in, "{route} refuses {caller:?}: {answer:?}"),
                _ => assert!(is_let_in, "{route} lets {caller:?} in: {answer:?}"),
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_not_known_learns_nothing() {
    let guarded = Guarded::start().await;
    guarded.deploy(&guarded.admin, "orders", "strip", GOOD).await.expect(202);
    let (revoked, id) = guarded.token(&guarded.admin, "orders", &["admin"]).await;
    guarded.ask(&guarded.admin, "DELETE", &format!("/v1/tokens/{id}")).await;
    let other = TokenSecret::generate().expect("randomness");
    let mut answers = Vec::new();
    for path in ["/v1/teams/orders/transforms/strip", "/v1/teams/orders/transforms/none", "/v1/teams/none", "/metrics"] {
        for header in [
            String::new(),
            "Bearer".to_owned(),
            "Bearer ".to_owned(),
            format!("Basic {}", guarded.admin),
            format!("Bearer {}", other.expose()),
            format!("Bearer {revoked}"),
            format!("Bearer {} {}", guarded.admin, guarded.admin),
            format!("Bearer {}x", guarded.admin),
            format!("Bearer {}", guarded.admin.to_uppercase()),
            "Bearer \u{e9}\u{1}".to_owned(),
            format!("Bearer {}", "a".repeat(20_000)),
        ] {
            let Ok(value) = reqwest::header::HeaderValue::from_bytes(header.as_bytes()) else { continue };
            let mut request = guarded.request("", "GET", path);
            if !header.is_empty() {
                request = request.header("authorization", value);
            }
            let answer = Answer::of(request).await;
            answer.refused(401, "E075");
            assert_eq!(answer.header("www-authenticate"), "Bearer realm=\"sandbar\"");
            assert!(!answer.text.contains("sbr_") || !answer.text.contains(&guarded.admin), "{}", answer.text);
            answers.push((header, answer.text));
        }
    }
    // Existing and missing transforms are refused in the same words.
    for (header, text) in &answers {
        assert!(answers.iter().filter(|(other, _)| other == header).all(|(_, other)| other == text), "{header}");
    }
    let two = guarded.request(&guarded.admin, "GET", "/v1/teams").header("authorization", "Bearer x");
    Answer::of(two).await.refused(401, "E075");
    // A token in the URL is none.
    guarded.ask("", "GET", &format!("/v1/teams?access_token={}", guarded.admin)).await.refused(401, "E075");
    for path in ["/healthz", "/readyz", "/openapi.json", "/transform.schema.json"] {
        assert_eq!(guarded.ask(other.expose(), "GET", path).await.status, StatusCode::OK, "{path}");
    }
    let ready = guarded.ask("", "GET", "/readyz").await.expect(200);
    assert_eq!((&ready["host"], &ready["ready"]), (&json!(""), &json!(true)));
    let metrics = guarded.ask(&guarded.admin, "GET", "/metrics").await.text;
    for reason in ["missing", "malformed", "unknown"] {
        let line = format!("sandbar_sign_in_failures_total{{reason=\"{reason}\"}}");
        assert!(metrics.lines().any(|found| found.starts_with(&line)), "{reason}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn two_teams_see_nothing_of_each_other() {
    let guarded = Guarded::start().await;
    let (orders, _) = guarded.token(&guarded.admin, "orders", &["admin"]).await;
    let (stock, stock_id) = guarded.token(&guarded.admin, "stock", &["admin"]).await;
    guarded.deploy(&orders, "orders", "strip", GOOD).await.expect(202);
    guarded.deploy(&stock, "stock", "levels", b"\0asm other").await.expect(202);
    guarded.deploy(&stock, "orders", "intruder", GOOD).await.refused(403, "E076");
    for (team, name) in [("orders", "strip"), ("stock", "levels")] {
        guarded.host.metrics.transform(&format!("{team}/{name}").parse().expect("an id")).skipped.inc();
    }
    for (token, own, other) in [(&orders, "orders", "stock"), (&stock, "stock", "orders")] {
        for path in ["/v1/transforms", "/v1/modules", "/v1/teams", "/v1/tokens", "/metrics", "/v1/audit"] {
            let answer = guarded.ask(token, "GET", path).await;
            assert_eq!(answer.status, StatusCode::OK, "{path}: {}", answer.text);
            assert!(answer.text.contains(own) && !answer.text.contains(other), "{own}, {path}: {}", answer.text);
        }
        let listed = guarded.ask(token, "GET", "/v1/modules").await.json();
        assert_eq!(listed["modules"].as_array().map(Vec::len), Some(1), "{listed}");
    }
    // The module of another team is as good as none, also to somebody who knows its digest.
    let digest = guarded.ask(&orders, "GET", "/v1/modules").await.json()["modules"][0]["digest"].clone();
    let path = format!("/v1/modules/{}", digest.as_str().expect("a digest"));
    guarded.ask(&orders, "GET", &path).await.expect(200);
    guarded.ask(&stock, "GET", &path).await.refused(404, "E024");
    // Nor can somebody deploy or run it by its digest: the answer is that for a module which nobody has.
    let digest = digest.as_str().expect("a digest").to_owned();
    let nobodys = Digest::of(b"nobody's").to_string();
    for (method, path) in [("PUT", "/v1/teams/stock/transforms/thief"), ("POST", "/v1/teams/stock/transforms/thief/test")] {
        let mut answers = Vec::new();
        for module in [&digest, &nobodys] {
            let spec = json!({"module": module, "inputs": ["shop.orders"], "outputs": {"o": "orders.out"}});
            let request = if method == "PUT" { spec } else { json!({"spec": spec, "records": [{"value": {}}]}) };
            let answer = guarded.send(&stock, method, path, &request).await;
            answer.refused(422, "E022");
            let mut told = answer.json();
            told["request_id"] = Value::Null;
            answers.push(told.to_string().replace(module.as_str(), "DIGEST"));
        }
        assert_eq!(answers[0], answers[1], "{path}");
    }
    // An upload of the same bytes does not tell that they were there.
    let upload = guarded.request(&stock, "POST", "/v1/modules?team=stock").header("content-type", "application/wasm");
    assert_eq!(Answer::of(upload.body(GOOD)).await.status, StatusCode::CREATED);
    // Whoever has the bytes may deploy them, by their digest, too.
    let spec = json!({"module": digest, "inputs": ["shop.orders"], "outputs": {"o": "orders.out"}});
    let test = json!({"spec": spec, "records": [{"value": {}}]});
    assert_ne!(code(&guarded.send(&stock, "POST", "/v1/teams/stock/transforms/thief/test", &test).await), "E022");
    // Tokens are made for the own team alone, and those of others cannot be revoked.
    for team in [json!("stock"), Value::Null] {
        let request = json!({"name": "x", "team": team, "roles": ["view"]});
        guarded.send(&orders, "POST", "/v1/tokens", &request).await.refused(403, "E076");
    }
    guarded.ask(&orders, "DELETE", &format!("/v1/tokens/{stock_id}")).await.refused(404, "E079");
    guarded.ask(&orders, "DELETE", "/v1/tokens/0000000000000000").await.refused(404, "E079");
    guarded.ask(&orders, "GET", "/v1/audit?team=stock").await.refused(403, "E076");
    // A path that only looks like the own team's.
    for path in ["/v1/teams/%73tock/transforms", "/v1/teams/orders%2f..%2fstock/transforms", "/v1/teams/orders/../stock"] {
        let refused = code(&guarded.ask(&orders, "GET", path).await);
        assert!(["E076", "E001", "E002"].contains(&refused.as_str()), "{path}: {refused}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_newest_records_need_the_role_for_them() {
    let guarded = Guarded::start().await;
    let (deploy, _) = guarded.token(&guarded.admin, "orders", &["deploy"]).await;
    let (both, _) = guarded.token(&guarded.admin, "orders", &["deploy", "data"]).await;
    guarded.deploy(&deploy, "orders", "strip", GOOD).await.expect(202);
    let path = "/v1/teams/orders/transforms/strip/test";
    let given = json!({"records": [{"value": {"text": "x"}}]});
    let live = json!({"live": {"records": 5}});
    assert_ne!(code(&guarded.send(&deploy, "POST", path, &given).await), "E076");
    guarded.send(&deploy, "POST", path, &live).await.refused(403, "E076");
    assert_ne!(code(&guarded.send(&both, "POST", path, &live).await), "E076");
}

/// Asks until the answer has this status; it must within a minute.
async fn until(guarded: &Guarded, token: &str, status: u16) {
    let deadline = Instant::now() + Duration::from_secs(60);
    while guarded.ask(token, "GET", "/v1/whoami").await.status != status {
        assert!(Instant::now() < deadline, "not {status} in time");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_ends_on_all_hosts() {
    let guarded = Guarded::start().await;
    let other = Guarded { base: String::new(), ..Guarded::start().await };
    // A second host on the log of the first.
    let access = Arc::new(access(&guarded.host.log, true, AdminTokens::default()));
    let state = ApiState { access, ..guarded.state.clone() };
    let other = Guarded { base: serve(&state, ServerLimits::default()).await, state, ..other };
    let (token, id) = guarded.token(&guarded.admin, "orders", &["admin"]).await;
    until(&other, &token, 200).await;
    let path = "/v1/teams/orders/transforms/strip/logs?follow";
    guarded.deploy(&guarded.admin, "orders", "strip", GOOD).await.expect(202);
    let mut stream = other.request(&token, "GET", path).send().await.expect("a stream");
    assert_eq!(stream.status(), StatusCode::OK);
    guarded.ask(&guarded.admin, "DELETE", &format!("/v1/tokens/{id}")).await;
    guarded.ask(&token, "GET", "/v1/whoami").await.refused(401, "E075");
    until(&other, &token, 401).await;
    let ended = tokio::time::timeout(Duration::from_secs(60), async { while let Ok(Some(_)) = stream.chunk().await {} });
    ended.await.expect("the stream ends");

    let request = json!({"name": "short", "team": "orders", "roles": ["view"], "expires_in": "1s"});
    let short = guarded.send(&guarded.admin, "POST", "/v1/tokens", &request).await.expect(201);
    let short = short["secret"].as_str().expect("a secret");
    until(&guarded, short, 401).await;
    let refused = guarded.ask(short, "GET", "/v1/whoami").await;
    assert!(refused.text.contains("expired"), "{}", refused.text);
    // The tokens of the file change with the file.
    let next = TokenSecret::generate().expect("randomness");
    std::fs::write(guarded._folder.path().join("admin"), next.expose()).expect("written");
    until(&guarded, next.expose(), 200).await;
    guarded.ask(&guarded.admin, "GET", "/v1/whoami").await.refused(401, "E075");
}

/// Sends a request whose body comes when the token has been revoked. Returns the answer.
async fn revoked_meanwhile(guarded: &Guarded, route: &str, media: &str, body: &[u8]) -> String {
    /// The host asks for the body when it has let the caller in.
    const GO_ON: &[u8] = b"HTTP/1.1 100 Continue\r\n\r\n";
    let (token, id) = guarded.token(&guarded.admin, "*", &["admin"]).await;
    let head = format!(
        "{route} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {token}\r\nContent-Type: {media}\r\n\
        Content-Length: {}\r\nExpect: 100-continue\r\nConnection: close\r\n\r\n",
        body.len()
    );
    let address = guarded.base.strip_prefix("http://").expect("a URL");
    let mut stream = TcpStream::connect(address).await.expect("the host listens");
    stream.write_all(head.as_bytes()).await.expect("it is taken");
    let mut go_on = vec![0; GO_ON.len()];
    stream.read_exact(&mut go_on).await.expect("the host goes on");
    assert_eq!(go_on, GO_ON, "{route}");
    guarded.ask(&guarded.admin, "DELETE", &format!("/v1/tokens/{id}")).await.expect(204);
    stream.write_all(body).await.expect("it is taken");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.expect("an answer");
    answer
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_that_is_revoked_while_the_body_arrives_changes_nothing() {
    let guarded = Guarded::start_with(|mut state| {
        state.limits.body_time = Duration::from_secs(60);
        state
    })
    .await;
    guarded.deploy(&guarded.admin, "orders", "strip", GOOD).await.expect(202);
    let strip = "/v1/teams/orders/transforms/strip";
    let seen = ["/v1/tokens", "/v1/transforms", "/v1/modules", "/v1/topics"];
    let mut before = Vec::new();
    for path in seen {
        before.push(guarded.ask(&guarded.admin, "GET", path).await.expect(200));
    }
    let spec = json!({"module": Digest::of(GOOD).to_string(), "inputs": ["shop.restocks"], "outputs": {"o": "orders.out"}});
    for (route, body) in [
        ("POST /v1/tokens".to_owned(), json!({"name": "another", "roles": ["admin"]})),
        (format!("PUT {strip}"), spec),
        (format!("POST {strip}/rollback"), json!({"revision": 1})),
        (format!("POST {strip}/test"), json!({"records": [{"value": 1}]})),
        (format!("PATCH {strip}/offsets"), json!({"to": "earliest"})),
        ("PUT /v1/topics/orders.more".to_owned(), json!({"partitions": 2})),
        ("POST /v1/topics/shop.orders/records".to_owned(), json!([{"value": 1}])),
    ] {
        let answer = revoked_meanwhile(&guarded, &route, "application/json", body.to_string().as_bytes()).await;
        assert!(answer.starts_with("HTTP/1.1 401") && answer.contains("E075"), "{route}: {answer}");
        assert!(answer.to_lowercase().contains("www-authenticate: bearer"), "{route}: {answer}");
    }
    let answer = revoked_meanwhile(&guarded, "POST /v1/modules", "application/wasm", b"\0asm another").await;
    assert!(answer.starts_with("HTTP/1.1 401") && answer.contains("E075"), "{answer}");
    for (path, before) in seen.iter().zip(before) {
        assert_eq!(guarded.ask(&guarded.admin, "GET", path).await.expect(200), before, "{path}");
    }
    let list = guarded.ask(&guarded.admin, "GET", "/v1/audit").await.expect(200);
    let refused = |entry: &&Value| entry["action"] == "request" && entry["code"] == "E075" && entry["actor"] == "test";
    let entries = list["entries"].as_array().expect("entries");
    assert_eq!(entries.iter().filter(refused).count(), 8, "{list}");
}

#[tokio::test(flavor = "multi_thread")]
async fn every_change_and_every_refusal_has_its_entry() {
    let guarded = Guarded::start().await;
    let (deploy, id) = guarded.token(&guarded.admin, "orders", &["deploy"]).await;
    guarded.deploy(&deploy, "orders", "strip", GOOD).await.expect(202);
    let again = guarded.deploy(&deploy, "orders", "strip", GOOD).await;
    assert_eq!(again.expect(200)["outcome"], "unchanged");
    guarded.ask(&deploy, "POST", "/v1/teams/orders/transforms/strip/pause").await.refused(403, "E076");
    guarded.ask(&guarded.admin, "POST", "/v1/teams/orders/transforms/strip/pause").await.expect(202);
    guarded.ask(&guarded.admin, "DELETE", "/v1/teams/orders/transforms/strip/offsets").await;
    guarded.ask(&guarded.admin, "DELETE", &format!("/v1/tokens/{id}")).await;
    let list = guarded.ask(&guarded.admin, "GET", "/v1/audit?team=orders").await.expect(200);
    let shown: Vec<String> = list["entries"]
        .as_array()
        .expect("entries")
        .iter()
        .map(|entry| {
            let text = |field: &str| entry[field].as_str().unwrap_or("-").to_owned();
            assert_eq!(entry["address"], "127.0.0.1", "{entry}");
            assert!(!text("request").is_empty() && !entry.to_string().contains("sbr_"), "{entry}");
            [text("actor"), text("action"), text("outcome"), text("transform"), text("code")].join(" ")
        })
        .collect();
    assert_eq!(
        shown,
        [
            "admin create-token done - -",
            "test upload-module begun - -",
            "test deploy done strip -",
            "test upload-module begun - -",
            "test request refused - E076",
            "admin pause done strip -",
            "admin reset-offsets begun strip -",
            "admin revoke-token done - -",
        ]
    );
    // The topic and its records are as compacted topics' are: nothing in them is a secret.
    let (orders, _) = guarded.token(&guarded.admin, "orders", &["admin"]).await;
    let page = guarded.ask(&orders, "GET", "/v1/audit?from=0").await.expect(200);
    assert!(page["entries"].as_array().is_some_and(|entries| !entries.is_empty()), "{page}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_principal_that_asks_too_often_waits() {
    let guarded = Guarded::start_with(|mut state| {
        state.limits.requests_per_principal_max = 20;
        state
    })
    .await;
    let (loud, _) = guarded.token(&guarded.admin, "orders", &["view"]).await;
    let mut refused = 0;
    for _ in 0..60 {
        let answer = guarded.ask(&loud, "GET", "/v1/whoami").await;
        if answer.status == StatusCode::TOO_MANY_REQUESTS {
            answer.refused(429, "E077");
            assert_eq!(answer.header("retry-after"), "1");
            refused += 1;
        }
    }
    assert!(refused > 0);
    guarded.ask(&guarded.admin, "GET", "/v1/whoami").await.expect(200);
    until(&guarded, &loud, 200).await;
}

/// Guesses have the form of tokens, so that each is looked up. They lock nobody out, and take no permits from others.
#[tokio::test(flavor = "multi_thread")]
async fn guesses_at_speed_hold_up_nobody_and_are_counted() {
    const GUESSERS: usize = 8;
    const GUESSES: usize = 250;
    let guarded = Guarded::start_with(|mut state| {
        state.limits.requests_per_principal_max = u32::MAX;
        state
    });
    let guarded = Arc::new(guarded.await);
    let (own, _) = guarded.token(&guarded.admin, "orders", &["view"]).await;
    let guess = |guarded: Arc<Guarded>| async move {
        for _ in 0..GUESSES {
            let secret = TokenSecret::generate().expect("randomness");
            guarded.ask(secret.expose(), "GET", "/v1/whoami").await.refused(401, "E075");
        }
    };
    let guessers: Vec<_> = (0..GUESSERS).map(|_| tokio::spawn(guess(guarded.clone()))).collect();
    let mut answers = 0;
    while !guessers.iter().all(tokio::task::JoinHandle::is_finished) {
        guarded.ask(&own, "GET", "/v1/whoami").await.expect(200);
        answers += 1;
    }
    for guesser in guessers {
        guesser.await.expect("each guess is refused");
    }
    assert!(answers > 0, "nobody else was answered meanwhile");
    let metrics = guarded.ask(&guarded.admin, "GET", "/metrics").await.text;
    let line = format!("sandbar_sign_in_failures_total{{reason=\"unknown\"}} {}", GUESSERS * GUESSES);
    assert!(metrics.lines().any(|found| found == line), "{line}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_is_refused_field_by_field() {
    let guarded = Guarded::start_with(|mut state| {
        state.limits.tokens_per_team_max = 2;
        state
    })
    .await;
    let ok = json!({"name": "ci", "team": "orders", "roles": ["view"]});
    let check = async |field: &str, value: Value| {
        let mut request = ok.clone();
        request[field] = value;
        let refused = guarded.send(&guarded.admin, "POST", "/v1/tokens", &request).await;
        refused.refused(422, "E078");
        assert_eq!(refused.json()["errors"][0]["field"], field, "{request}");
    };
    check("name", json!("")).await;
    check("name", json!("a b")).await;
    check("name", json!("admin")).await;
    check("team", json!("*")).await;
    check("roles", json!([])).await;
    check("roles", json!(["view", "root"])).await;
    for wrong in ["0s", "soon", "4000d", "-1d"] {
        check("expires_in", json!(wrong)).await;
    }
    guarded.send(&guarded.admin, "POST", "/v1/tokens", &json!({"name": "ci", "rolls": []})).await.refused(400, "E007");
    let mut brief = ok.clone();
    brief["expires_in"] = "1s".into();
    let brief = guarded.send(&guarded.admin, "POST", "/v1/tokens", &brief).await.expect(201);
    guarded.send(&guarded.admin, "POST", "/v1/tokens", &ok).await.expect(201);
    guarded.send(&guarded.admin, "POST", "/v1/tokens", &ok).await.refused(422, "E078");
    // An expired one makes room for the next.
    until(&guarded, brief["secret"].as_str().expect("a secret"), 401).await;
    guarded.send(&guarded.admin, "POST", "/v1/tokens", &ok).await.expect(201);
    let listed = guarded.ask(&guarded.admin, "GET", "/v1/tokens").await.json();
    assert!(
        listed["tokens"].as_array().is_some_and(|all| all.len() == 2) && !listed.to_string().contains(":true"),
        "{listed}"
    );
    guarded.send(&guarded.admin, "POST", "/v1/tokens", &ok).await.refused(422, "E078");
}
