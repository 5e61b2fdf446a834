//! The calls that the demo makes: the same that anybody makes with curl.

use std::time::Duration;

use anyhow::{Context, bail};
use serde_json::{Value, json};

#[derive(Clone)]
pub struct Api {
    agent: ureq::Agent,
    base: String,
}

impl Api {
    pub fn new(address: &str) -> Self {
        let config = ureq::Agent::config_builder().timeout_global(Some(Duration::from_secs(90))).http_status_as_error(false);
        Self { agent: config.build().into(), base: format!("http://{address}") }
    }

    /// `http://host:port`.
    pub fn base(&self) -> &str {
        &self.base
    }

    pub fn is_ready(&self) -> bool {
        self.agent.get(format!("{}/readyz", self.base)).call().is_ok_and(|answer| answer.status() == 200)
    }

    pub fn get_text(&self, path: &str) -> anyhow::Result<String> {
        let request = self.agent.get(format!("{}{path}", self.base)).header("accept", "application/json, text/plain");
        let mut answer = request.call().with_context(|| path.to_owned())?;
        let text = answer.body_mut().with_config().limit(64 << 20).read_to_string()?;
        match answer.status().as_u16() {
            200..300 => Ok(text),
            status => bail!("GET {path}: {status} {text}"),
        }
    }

    pub fn get(&self, path: &str) -> anyhow::Result<Value> {
        Ok(serde_json::from_str(&self.get_text(path)?)?)
    }

    pub fn create_topic(&self, topic: &str, partitions: u32) -> anyhow::Result<()> {
        let body = json!({ "partitions": partitions }).to_string();
        self.send("PUT", &format!("/v1/topics/{topic}"), "application/json", body.as_bytes()).map(drop)
    }

    pub fn write(&self, topic: &str, ndjson: &str) -> anyhow::Result<()> {
        self.send("POST", &format!("/v1/topics/{topic}/records"), "application/x-ndjson", ndjson.as_bytes()).map(drop)
    }

    /// Uploads as `curl -X PUT -F spec=@.. -F module=@..` does.
    pub fn deploy(&self, path: &str, spec: &str, module: &[u8]) -> anyhow::Result<Value> {
        const BOUNDARY: &str = "sandbar-demo-7d1c4f";
        let mut body = format!(
            "--{BOUNDARY}\r\nContent-Disposition: form-data; name=\"spec\"; filename=\"transform.yaml\"\r\n\r\n{spec}\r\n\
             --{BOUNDARY}\r\nContent-Disposition: form-data; name=\"module\"; filename=\"module.wasm\"\r\n\
             Content-Type: application/wasm\r\n\r\n"
        )
        .into_bytes();
        body.extend_from_slice(module);
        body.extend_from_slice(format!("\r\n--{BOUNDARY}--\r\n").as_bytes());
        self.send("PUT", path, &format!("multipart/form-data; boundary={BOUNDARY}"), &body)
    }

    fn send(&self, method: &str, path: &str, content_type: &str, body: &[u8]) -> anyhow::Result<Value> {
        let url = format!("{}{path}", self.base);
        let request = if method == "PUT" { self.agent.put(url) } else { self.agent.post(url) };
        let mut answer = request.header("content-type", content_type).send(body).with_context(|| path.to_owned())?;
        let text = answer.body_mut().read_to_string()?;
        match answer.status().as_u16() {
            200..300 => Ok(serde_json::from_str(&text).unwrap_or(Value::Null)),
            status => bail!("{method} {path}: {status} {text}"),
        }
    }
}
