//! An OCI registry as a process of its own: Debian's `docker-registry`, from `tools/setup.sh kafka`.

use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use serde_json::{Value, json};
use ureq::Agent;
use ureq::http::Request;

use crate::child::Process;
use crate::jvm::cached;
use crate::ports::free_port;
use crate::{dirs, wait};

const START_WITHIN: Duration = Duration::from_secs(30);
const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";

/// A registry. Several can have one storage. Stopped when dropped.
#[derive(Debug)]
pub struct Registry {
    address: SocketAddr,
    _process: Process,
}

// === impl Registry ===

impl Registry {
    /// Starts a registry on loopback, with further variables of its configuration (`REGISTRY_AUTH` and so on).
    #[track_caller]
    pub fn start(storage: &Path, variables: &[(&str, &str)]) -> Self {
        let address: SocketAddr = ([127, 0, 0, 1], free_port()).into();
        let folder = dirs::fresh("registry");
        let config = folder.join("config.yml");
        std::fs::write(&config, "version: 0.1\nstorage:\n  filesystem: {}\nhttp:\n  secret: shared\n").expect("writable");
        let mut command = Command::new(cached("registry/usr/bin", "kafka").join("docker-registry"));
        command.arg("serve").arg(&config).envs(variables.iter().copied());
        command.env("REGISTRY_HTTP_ADDR", address.to_string()).env("REGISTRY_STORAGE_FILESYSTEM_ROOTDIRECTORY", storage);
        let mut process = Process::start("docker-registry", command, &folder.join("log"));
        wait::until("the registry listens", START_WITHIN, || {
            assert!(process.ended().is_none(), "{}", dirs::tail(&folder.join("log"), 20));
            TcpStream::connect(address).map(drop).map_err(|error| error.to_string())
        });
        Self { address, _process: process }
    }

    pub fn port(&self) -> u16 {
        self.address.port()
    }

    /// Pushes an artifact with one layer, whose digest the caller knows. The config is an empty object.
    #[track_caller]
    pub fn push(&self, repository: &str, tag: &str, (layer, digest): (&[u8], &str), annotations: &Value) {
        const EMPTY: &str = "sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a";
        self.push_blob(repository, b"{}", EMPTY);
        self.push_blob(repository, layer, digest);
        let descriptor =
            |media_type: &str, digest: &str, size: usize| json!({"mediaType": media_type, "digest": digest, "size": size});
        let manifest = json!({"schemaVersion": 2, "mediaType": MANIFEST, "annotations": annotations,
            "config": descriptor("application/vnd.wasm.config.v0+json", EMPTY, 2),
            "layers": [descriptor("application/wasm", digest, layer.len())]});
        self.send("PUT", &self.url(&format!("/v2/{repository}/manifests/{tag}")), MANIFEST, manifest.to_string().as_bytes());
    }

    #[track_caller]
    fn push_blob(&self, repository: &str, bytes: &[u8], digest: &str) {
        let place = self.send("POST", &self.url(&format!("/v2/{repository}/blobs/uploads/")), "", b"");
        let place = place.expect("the registry says where to");
        let separator = if place.contains('?') { '&' } else { '?' };
        self.send("PUT", &format!("{place}{separator}digest={digest}"), "application/octet-stream", bytes);
    }

    fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// Sends a request that must succeed; the header `Location` of its answer.
    #[track_caller]
    fn send(&self, method: &str, url: &str, content_type: &str, body: &[u8]) -> Option<String> {
        let agent: Agent = Agent::config_builder().http_status_as_error(false).proxy(None).build().into();
        let request = Request::builder().method(method).uri(url).header("content-type", content_type).body(body);
        let mut answer = agent.run(request.expect("a request")).expect("an answer");
        let text = answer.body_mut().read_to_string().unwrap_or_default();
        assert!(answer.status().is_success(), "{method} {url}: {}: {text}", answer.status());
        Some(answer.headers().get("location")?.to_str().ok()?.to_owned())
    }
}
