//! One hostile module against the hosts of a cluster: uploaded, tried, deployed, and held against its rule.

use std::sync::Mutex;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::{Case, Rule};
use crate::http::{Api, Response};
use crate::kafka::KafkaCluster;
use crate::producer::{Message, Producer};
use crate::progress::Progress;
use crate::topics;

/// Records that a case is given where it is held against its rule.
pub const RECORDS: usize = 3;
/// Most bytes of an answer that refuses something.
const PROBLEM_BYTES_MAX: usize = 64 * 1024;
/// Most bytes of any other answer.
const ANSWER_BYTES_MAX: usize = 8 * 1024 * 1024;
/// A host that is attacked still answers a request in this time.
const ANSWERED_WITHIN: Duration = Duration::from_secs(30);
/// Longest time for a few records of each of some hostile transforms: their partitions back off.
const SETTLED_WITHIN: Duration = Duration::from_secs(300);
/// Topics that Kafka is to create within the time of one request.
const TOPICS_AT_ONCE: usize = 20;
const AGAIN_AFTER: Duration = Duration::from_millis(200);
const TEAM: &str = "hostile";

/// The hosts, and the faults found so far.
pub struct Attack<'a> {
    kafka: &'a KafkaCluster,
    cluster: String,
    hosts: Vec<Api>,
    wrong: Mutex<Vec<String>>,
}

// === impl Attack ===

impl<'a> Attack<'a> {
    pub fn new(kafka: &'a KafkaCluster, cluster: &str, hosts: Vec<Api>) -> Self {
        Attack { kafka, cluster: cluster.to_owned(), hosts, wrong: Mutex::default() }
    }

    /// Creates the topics of these cases.
    pub fn create_topics(&self, cases: &[Case]) {
        let names: Vec<String> = cases.iter().flat_map(|case| [self.input(case), self.output(case)]).collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        names.chunks(TOPICS_AT_ONCE).for_each(|names| topics::create(self.kafka, names, 1));
    }

    /// Uploads a module, has its deployment checked, and tries the module over a record, each through every host.
    pub fn try_out(&self, case: &Case) {
        let spec = self.spec(case);
        for number in 0..self.hosts.len() {
            let host = self.hosts[number].clone();
            let refused_upload = matches!(case.rule, Rule::Upload(_) | Rule::Harmless(_));
            let upload = patiently(|| host.send_bytes("POST", "/v1/modules", "application/wasm", &case.module));
            if matches!(case.rule, Rule::Harmless(_)) && matches!(&upload, Ok(answer) if answer.status < 300) {
                continue;
            }
            self.check(case, "upload", upload, refused_upload);
            let refused = refused_upload || matches!(case.rule, Rule::Instance(_));
            let dry_run = patiently(|| host.try_dry_run(&transform(case), &spec, &case.module));
            self.check(case, "dry run", dry_run, refused);
            let record = br#"{"value": "a record"}"#;
            self.check_trial(case, patiently(|| host.try_trial(&transform(case), &spec, &case.module, record)));
        }
    }

    /// Deploys the module through one of the hosts, and sends records to it. Returns false, and notes it, if the host
    /// refused.
    pub fn deploy(&self, case: &Case, through: usize, records: usize) -> bool {
        let host = &self.hosts[through % self.hosts.len()];
        let spec = self.spec(case).to_string();
        let answer = patiently(|| host.try_deploy_json(&transform(case), &spec, &case.module));
        if !matches!(&answer, Ok(answer) if (200..300).contains(&answer.status)) {
            self.note([format!("{}: deploy: {answer:?}", case.name)]);
            return false;
        }
        let records: Vec<Message> = (0..records).map(|i| Message::new("key", format!("record {i}"))).collect();
        Producer::new(self.kafka).send_all(&self.input(case), &records);
        true
    }

    /// Waits until the modules are through with their records, and compares the outcomes with their rules.
    pub fn settle(&self, cases: &[&Case]) {
        let deadline = Instant::now() + SETTLED_WITHIN;
        cases.iter().for_each(|case| self.settle_one(case, deadline));
    }

    fn settle_one(&self, case: &Case, deadline: Instant) {
        let group = format!("sandbar.{}.{TEAM}.{}", self.cluster, case.name);
        let progress = Progress::new(self.kafka, &group, &self.input(case));
        while progress.total() < RECORDS as i64 {
            if Instant::now() > deadline {
                return self.note([format!("{}: it has committed {} records of {RECORDS}", case.name, progress.total())]);
            }
            std::thread::sleep(AGAIN_AFTER);
        }
        let expected: &[&str] = if let Rule::Record(codes) = case.rule { codes } else { &[] };
        let letters = topics::read_committed(self.kafka, &format!("{TEAM}.{}.dead-letter", case.name));
        let codes: Vec<String> = letters.iter().filter_map(|letter| letter.header("sandbar.error.code")).collect();
        let count = if expected.is_empty() { 0 } else { RECORDS };
        if codes.len() != count || codes.iter().any(|code| !expected.contains(&code.as_str())) {
            self.note([format!("{}: its dead letters have {codes:?}, not {count} of {expected:?}", case.name)]);
        }
        let put_out = topics::ends(self.kafka, &self.output(case));
        if put_out != [0] {
            self.note([format!("{}: it put out {put_out:?} records", case.name)]);
        }
    }

    pub fn delete(&self, case: &Case) {
        let answer = self.hosts[0].delete(&format!("/v1/teams/{TEAM}/transforms/{}", case.name));
        assert!((200..300).contains(&answer.status), "{}: {answer:?}", case.name);
    }

    /// Notes something else that is wrong.
    pub fn note(&self, wrong: impl IntoIterator<Item = String>) {
        self.wrong.lock().expect("nobody panics with it").extend(wrong);
    }

    /// All that was wrong.
    pub fn wrong(self) -> Vec<String> {
        self.wrong.into_inner().expect("nobody panicked with it")
    }

    fn check(&self, case: &Case, what: &str, answer: Result<Response, String>, refused: bool) {
        let Some(answer) = self.answered(case, what, answer) else { return };
        let codes = codes(case);
        let code = code_of(&answer);
        let right = if refused {
            (400..500).contains(&answer.status) && code.as_deref().is_some_and(|code| codes.contains(&code))
        } else {
            (200..300).contains(&answer.status)
        };
        if !right {
            let body: String = answer.body.chars().take(300).collect();
            let expected = if refused { format!("a refusal with one of {codes:?}") } else { "a success".to_owned() };
            self.note([format!("{}: {what}: not {expected}, but {} {body}", case.name, answer.status)]);
        }
        let bytes_max = if code.is_some() { PROBLEM_BYTES_MAX } else { ANSWER_BYTES_MAX };
        if answer.body.len() > bytes_max {
            self.note([format!("{}: {what}: an answer of {} bytes", case.name, answer.body.len())]);
        }
    }

    /// A trial answers with the failures of records, or refuses the module as a deployment does.
    fn check_trial(&self, case: &Case, answer: Result<Response, String>) {
        let Rule::Record(codes) = case.rule else {
            return self.check(case, "trial", answer, !case.runs());
        };
        let Some(answer) = self.answered(case, "trial", answer) else { return };
        let body: Value = serde_json::from_str(&answer.body).unwrap_or_default();
        let failed = body["failures"][0]["code"].as_str().or(body["code"].as_str()).unwrap_or_default();
        if !codes.contains(&failed) || answer.body.len() > PROBLEM_BYTES_MAX {
            let start: String = answer.body.chars().take(300).collect();
            self.note([format!("{}: trial: {} {start}", case.name, answer.status)]);
        }
    }

    fn answered(&self, case: &Case, what: &str, answer: Result<Response, String>) -> Option<Response> {
        if let Err(error) = &answer {
            self.note([format!("{}: {what}: {error}", case.name)]);
        }
        answer.ok()
    }

    fn spec(&self, case: &Case) -> Value {
        let mut spec = case.spec.clone();
        spec["inputs"] = json!([self.input(case)]);
        spec["outputs"] = json!({"out": self.output(case)});
        spec
    }

    fn input(&self, case: &Case) -> String {
        format!("{}.{}.in", self.cluster, case.name)
    }

    fn output(&self, case: &Case) -> String {
        format!("{}.{}.out", self.cluster, case.name)
    }
}

/// A host that is busy says so, and takes the request a moment later.
fn patiently(ask: impl Fn() -> Result<Response, String>) -> Result<Response, String> {
    let asked = Instant::now();
    loop {
        let answer = ask();
        let is_busy = matches!(&answer, Ok(answer) if answer.status == 503);
        if !is_busy || asked.elapsed() > ANSWERED_WITHIN {
            return answer;
        }
        std::thread::sleep(AGAIN_AFTER);
    }
}

fn transform(case: &Case) -> String {
    format!("{TEAM}/{}", case.name)
}

fn codes(case: &Case) -> &'static [&'static str] {
    match case.rule {
        Rule::Upload(codes) | Rule::Harmless(codes) | Rule::Instance(codes) | Rule::Record(codes) => codes,
        Rule::Runs => &[],
    }
}

fn code_of(answer: &Response) -> Option<String> {
    let body: Value = serde_json::from_str(&answer.body).ok()?;
    answer.content_type.starts_with("application/problem+json").then(|| body["code"].as_str().map(str::to_owned))?
}
