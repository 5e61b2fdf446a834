//! A real OpenID provider for the clients of Kafka: npm's `oidc-provider` as `tools/oidc/kafka_provider.mjs` sets it up.

use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::child::Process;
use crate::jvm::cached;
use crate::ports::free_port;
use crate::{dirs, wait};

/// The provider, on a port of its own. It can be stopped, and started again with the same keys.
#[derive(Debug)]
pub struct TokenProvider {
    port: u16,
    folder: PathBuf,
    args: Vec<String>,
    process: Option<Process>,
}

// === impl TokenProvider ===

impl TokenProvider {
    /// Starts a provider that knows these users, each with the seconds that its tokens live.
    pub(crate) fn start(users: &[(&str, u32)], keystore: &Path, password: &str) -> Self {
        let folder = dirs::fresh("token-provider");
        std::os::unix::fs::symlink(cached("oidc/node_modules", "oidc"), folder.join("node_modules")).expect("linked");
        // Node looks for packages beside the program.
        std::fs::copy(dirs::root().join("tools/oidc/kafka_provider.mjs"), folder.join("provider.mjs")).expect("copied");
        let port = free_port();
        let text = |path: &Path| path.to_str().expect("UTF-8").to_owned();
        let mut args = vec![port.to_string(), text(&folder), text(keystore), password.to_owned()];
        args.extend(users.iter().map(|(user, seconds)| format!("{user}={seconds}")));
        let mut provider = Self { port, folder, args, process: None };
        provider.run();
        provider
    }

    pub fn run(&mut self) {
        let mut command = Command::new("node");
        command.arg(self.folder.join("provider.mjs")).args(&self.args);
        let log = self.folder.join("log");
        self.process = Some(Process::start("token provider", command, &log));
        wait::until("the token provider listens", wait::PATIENCE, || {
            let ended = self.process.as_mut().and_then(Process::ended);
            assert!(ended.is_none(), "it ended ({ended:?}):\n{}", dirs::tail(&log, 20));
            TcpStream::connect(("127.0.0.1", self.port)).map(drop).map_err(|error| error.to_string())
        });
    }

    pub fn stop(&mut self) {
        if let Some(process) = self.process.take() {
            process.kill9();
        }
    }

    pub fn token_endpoint(&self) -> String {
        format!("{}/token", self.issuer())
    }

    /// The lines by which a broker's listener verifies tokens.
    pub(crate) fn of_broker(&self, listener: &str) -> String {
        let listener = format!("listener.name.{listener}");
        let classes = "org.apache.kafka.common.security.oauthbearer";
        format!(
            "{listener}.sasl.enabled.mechanisms=OAUTHBEARER\n\
             {listener}.oauthbearer.sasl.jaas.config={classes}.OAuthBearerLoginModule required;\n\
             {listener}.oauthbearer.sasl.server.callback.handler.class={classes}.OAuthBearerValidatorCallbackHandler\n\
             {listener}.oauthbearer.connections.max.reauth.ms=3600000\n\
             sasl.oauthbearer.jwks.endpoint.url={}\nsasl.oauthbearer.expected.audience=kafka\n\
             sasl.oauthbearer.expected.issuer={}\n",
            self.keys_url(),
            self.issuer()
        )
    }

    /// The options of a broker's JVM, which reads no other file of keys.
    pub(crate) fn of_jvm(&self) -> Vec<String> {
        let permitted = "-Dorg.apache.kafka.sasl.oauthbearer.allowed";
        vec![format!("{permitted}.urls={}", self.keys_url()), format!("{permitted}.files={}", self.keys().display())]
    }

    fn issuer(&self) -> String {
        format!("https://127.0.0.1:{}", self.port)
    }

    fn keys(&self) -> PathBuf {
        self.folder.join("jwks.json")
    }

    fn keys_url(&self) -> String {
        format!("file://{}", self.keys().display())
    }
}
