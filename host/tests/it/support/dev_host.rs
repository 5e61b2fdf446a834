//! `sandbar dev` as a process of its own, and a client of its API.

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

const PATIENCE: Duration = Duration::from_secs(400);
const PAUSE: Duration = Duration::from_millis(5);

/// See the module. It is killed when this is dropped.
pub struct DevHost {
    url: String,
    pub log: PathBuf,
    process: Child,
}

impl DevHost {
    /// Starts it with these options, with its data and its log in `folder`, and waits until it is ready.
    pub fn start(folder: &Path, options: &[&str]) -> Self {
        Self::start_in(folder, options, &[])
    }

    /// Starts it with these variables of the environment.
    pub fn start_in(folder: &Path, options: &[&str], variables: &[(&str, &str)]) -> Self {
        let address = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("a port");
        let log = folder.join("host.log");
        let process = Command::new(env!("CARGO_BIN_EXE_sandbar"))
            .args(["dev", "--data-dir", "data", "--listen", &address.to_string()])
            .args(options)
            .envs(variables.iter().copied())
            .current_dir(folder)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(std::fs::File::create(&log).expect("writable"))
            .spawn()
            .expect("it starts");
        let host = Self { url: format!("http://{address}"), log, process };
        host.wait(|| ureq::get(host.at("/readyz")).call().is_ok());
        host
    }

    pub fn at(&self, path: &str) -> String {
        format!("{}{path}", self.url)
    }

    /// Waits for a condition, and shows the log when time is up.
    #[track_caller]
    pub fn wait(&self, is_so: impl Fn() -> bool) {
        let started = Instant::now();
        while !is_so() {
            assert!(started.elapsed() < PATIENCE, "{}", std::fs::read_to_string(&self.log).unwrap_or_default());
            std::thread::sleep(PAUSE);
        }
    }

    pub fn get(&self, path: &str) -> String {
        let mut answer = ureq::get(self.at(path)).call().unwrap_or_else(|error| panic!("{path}: {error}"));
        answer.body_mut().read_to_string().expect("text")
    }

    pub fn put(&self, path: &str, body: &Value) {
        let request = ureq::put(self.at(path)).header("content-type", "application/json");
        request.send(body.to_string()).unwrap_or_else(|error| panic!("{path}: {error}"));
    }

    /// Uploads a module. Returns its digest.
    pub fn upload(&self, module: &[u8]) -> String {
        let request = ureq::post(self.at("/v1/modules")).header("content-type", "application/wasm");
        let mut answer = request.send(module).expect("stored");
        let answer: Value = serde_json::from_str(&answer.body_mut().read_to_string().expect("text")).expect("JSON");
        answer["digest"].as_str().expect("a digest").to_owned()
    }

    pub fn running(&self) -> usize {
        let list: Value = serde_json::from_str(&self.get("/v1/transforms")).expect("JSON");
        let transforms = list["transforms"].as_array().expect("a list");
        transforms.iter().filter(|transform| transform["state"] == "running").count()
    }

    pub fn metric(&self, name: &str) -> u64 {
        let metrics = self.get("/metrics");
        let value = metrics.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        value.map_or(0, |value| value.parse().expect("a number"))
    }

    /// The process's number.
    pub fn pid(&self) -> u32 {
        self.process.id()
    }

    /// The fixture's file.
    pub fn fixture() -> Vec<u8> {
        let built = || PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../target/guests"));
        let file = std::env::var_os("SANDBAR_GUESTS_DIR").map_or_else(built, PathBuf::from).join("guest_fixture.wasm");
        std::fs::read(&file).unwrap_or_else(|error| panic!("{}: {error}: run `make guests`", file.display()))
    }

    /// Deploys `shop/NAME` with the fixture in a mode, from topic `orders` to topic `out`.
    pub fn deploy(&self, name: &str, module: &str, mode: &str) {
        let outputs = json!({ "out": "out" });
        let spec = json!({ "module": module, "inputs": ["orders"], "outputs": outputs, "config": { "mode": mode } });
        self.put(&format!("/v1/teams/shop/transforms/{name}"), &spec);
    }

    /// Ends it by SIGTERM. Returns its exit code, and the time that it took.
    pub fn terminate(mut self) -> (Option<i32>, Duration) {
        let started = Instant::now();
        let pid = i32::try_from(self.process.id()).expect("a process's number");
        rustix::process::kill_process(rustix::process::Pid::from_raw(pid).expect("not 0"), rustix::process::Signal::TERM)
            .expect("it runs");
        let status = self.process.wait().expect("our own child");
        (status.code(), started.elapsed())
    }
}

impl Drop for DevHost {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
