//! The transforms that run during an upgrade, with the sources of their records and the oracles of their outputs.

use sandbar_harness::{Api, Message, Response, Seed, guests, topics, wait};
use serde_json::{Value, json};

use crate::job::{ByKey, Job};
use crate::load::Source;
use crate::stateful::{Stateful, messages};

const PARTITIONS: i32 = 4;
const KEYS: u64 = 200;

/// A transform without state, whose outputs are its inputs.
pub struct Echo {
    pub job: Job,
}

/// A transform with a store on disk.
pub struct Sums {
    pub stateful: Stateful,
}

/// Sends a request again while Kafka keeps the host from its answer: a new topic on a busy machine has no leader at times. E211
/// is an answer, as the change may be there.
#[track_caller]
pub fn answered(request: impl Fn() -> Response) -> Response {
    wait::until("the host answers", wait::PATIENCE, || {
        let answer = request();
        let is_busy = answer.status == 503 && answer.json()["code"] != "E211";
        if is_busy { Err(answer.body) } else { Ok(answer) }
    })
}

/// Uploads the module of a job; the job's spec with its digest.
#[track_caller]
pub fn uploaded(job: &Job, api: &Api) -> Value {
    let mut spec = job.spec.clone();
    spec["module"] = answered(|| api.try_upload(&job.module)).success().json()["digest"].clone();
    spec
}

/// Deploys a spec.
#[track_caller]
pub fn deploy(api: &Api, job: &Job, spec: &Value) {
    answered(|| api.try_deploy(&job.transform, spec)).success();
}

/// Uploads the module of a job, deploys it, and waits until two hosts run it; the deployed spec.
#[track_caller]
pub fn deploy_everywhere(job: &Job, api: &Api) -> Value {
    let spec = uploaded(job, api);
    deploy(api, job, &spec);
    job.wait_for_hosts(api, 2);
    spec
}

// === impl Echo ===

impl Echo {
    pub fn new(cluster: &str) -> Echo {
        Echo { job: Job::new(cluster, "echo", PARTITIONS, guests::fixture(), json!({"mode": "echo", "tag": "first"})) }
    }

    pub fn source(&self) -> Source<'static> {
        let mut next = 0_u64;
        Box::new(move |count| {
            let numbers = next..next + count as u64;
            next = numbers.end;
            numbers.map(|number| Message::new(format!("key-{}", number % KEYS), format!("value-{number}"))).collect()
        })
    }

    /// Asserts that each record came out once, in the order of its key.
    #[track_caller]
    pub fn assert_exact(&self) {
        let mut expected = ByKey::new();
        let input = topics::read_committed(self.job.kafka, &self.job.input);
        let count = input.len();
        for record in input {
            expected.entry(record.key).or_default().push(record.value);
        }
        self.job.assert_output(&expected);
        println!("{}: {count} outputs are right", self.job.transform);
    }
}

// === impl Sums ===

impl Sums {
    pub fn new(cluster: &str) -> Sums {
        Sums { stateful: Stateful::new(cluster, PARTITIONS, json!({"mode": "fold"}), json!({})) }
    }

    pub fn job(&self) -> &Job {
        &self.stateful.job
    }

    pub fn source(&self, seed: &mut Seed) -> Source<'static> {
        let mut seed = seed.fork();
        Box::new(move |count| messages(&mut seed, count, KEYS))
    }

    /// Asserts that outputs, changelog and local stores are the fold of the input.
    #[track_caller]
    pub fn assert_exact(&self) {
        self.stateful.probe(KEYS);
        self.stateful.assert_exact();
    }
}
