//! A real OpenID provider: npm's `oidc-provider`, with the clients and groups of `tools/oidc/provider.mjs`.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use serde_json::{Value, json};
use ureq::Agent;

use crate::child::Process;
use crate::{dirs, ports, wait};

/// The audience of a host's tokens.
pub const AUDIENCE: &str = "urn:sandbar";

/// The provider, on a port of its own. It can be stopped and started again, with its keys or with others.
#[derive(Debug)]
pub struct OidcProvider {
    port: u16,
    folder: PathBuf,
    agent: Agent,
    process: Option<Process>,
}

// === impl OidcProvider ===

impl OidcProvider {
    /// Makes a provider that does not run yet.
    pub fn new() -> Self {
        let folder = dirs::fresh("oidc");
        let cache = std::env::var_os("SANDBAR_CACHE").map_or_else(|| dirs::root().join(".sandbar"), PathBuf::from);
        let packages = cache.join("oidc/node_modules");
        assert!(packages.is_dir(), "{} is missing: run `tools/setup.sh oidc`", packages.display());
        std::os::unix::fs::symlink(packages, folder.join("node_modules")).expect("linked");
        // Node looks for packages beside the program.
        std::fs::copy(dirs::root().join("tools/oidc/provider.mjs"), folder.join("provider.mjs")).expect("copied");
        let config = Agent::config_builder().http_status_as_error(false).timeout_global(Some(Duration::from_secs(30)));
        Self { port: ports::free_port(), folder, agent: config.proxy(None).build().into(), process: None }
    }

    pub fn start() -> Self {
        let mut provider = Self::new();
        provider.run();
        provider
    }

    /// Makes another provider with the keys of this one.
    pub fn twin(&self) -> Self {
        let mut twin = Self::new();
        std::fs::copy(self.keys(), twin.keys()).expect("copied");
        twin.run();
        twin
    }

    pub fn run(&mut self) {
        let mut command = Command::new("node");
        command.arg(self.folder.join("provider.mjs")).arg(self.port.to_string()).arg(self.keys());
        self.process = Some(Process::start("oidc-provider", command, &self.folder.join("log")));
        wait::until("the OpenID provider answers", wait::PATIENCE, || {
            let document = format!("{}/.well-known/openid-configuration", self.issuer());
            self.agent.get(&document).call().map(drop).map_err(|error| error.to_string())
        });
    }

    pub fn stop(&mut self) {
        if let Some(process) = self.process.take() {
            process.kill9();
        }
    }

    /// Starts it again with new keys, as if it had taken back all that it had.
    pub fn rotate(&mut self) {
        self.stop();
        std::fs::remove_file(self.keys()).expect("it had keys");
        self.run();
    }

    pub fn issuer(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    pub fn folder(&self) -> &Path {
        &self.folder
    }

    fn keys(&self) -> PathBuf {
        self.folder.join("keys.json")
    }

    /// The access token of a machine's client for a resource.
    #[track_caller]
    pub fn token(&self, client: &str, resource: &str) -> String {
        let fields = [
            ("grant_type", "client_credentials"),
            ("client_id", client),
            ("client_secret", "secret"),
            ("resource", resource),
            ("scope", "use"),
        ];
        let answer = self.post("/token", &fields);
        answer["access_token"].as_str().unwrap_or_else(|| panic!("no token: {answer}")).to_owned()
    }

    /// All tokens of a person who signs in with the client of the command line.
    pub fn person(&self, account: &str) -> Value {
        let client = ("client_id", "sandbar-cli");
        let begun = self.post("/device/auth", &[client, ("scope", "openid profile"), ("resource", AUDIENCE)]);
        let text = |field: &str| begun[field].as_str().unwrap_or_else(|| panic!("{begun}")).to_owned();
        self.approve(&text("user_code"), account);
        let grant = ("grant_type", "urn:ietf:params:oauth:grant-type:device_code");
        self.post("/token", &[client, grant, ("device_code", &text("device_code"))])
    }

    /// Enters a code, as a person does in a browser.
    pub fn approve(&self, user_code: &str, account: &str) {
        assert_eq!(self.ask("/test/approve", &[("user_code", user_code), ("account", account)]), json!({}));
    }

    /// A token that somebody made of a valid one, without the private keys.
    pub fn forged(&self, kind: &str, token: &str) -> String {
        let answer = self.ask("/test/forge", &[("kind", kind), ("token", token)]);
        answer["token"].as_str().unwrap_or_else(|| panic!("{kind}: {answer}")).to_owned()
    }

    /// Requests that the provider has counted: `keys` or `revoked`.
    pub fn count(&self, what: &str) -> u64 {
        self.ask("/test/counts", &[])[what].as_u64().expect("a number")
    }

    fn ask(&self, path: &str, query: &[(&str, &str)]) -> Value {
        let request = self.agent.get(format!("{}{path}", self.issuer())).query_pairs(query.iter().copied());
        json(request.call(), path)
    }

    fn post(&self, path: &str, fields: &[(&str, &str)]) -> Value {
        json(self.agent.post(format!("{}{path}", self.issuer())).send_form(fields.iter().copied()), path)
    }
}

impl Default for OidcProvider {
    fn default() -> Self {
        Self::new()
    }
}

fn json(answer: Result<ureq::http::Response<ureq::Body>, ureq::Error>, path: &str) -> Value {
    let mut answer = answer.unwrap_or_else(|error| panic!("{path}: {error}"));
    let text = answer.body_mut().read_to_string().unwrap_or_else(|error| panic!("{path}: {error}"));
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{path}: {error}: {text}"))
}
