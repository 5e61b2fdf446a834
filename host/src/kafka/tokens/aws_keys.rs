//! Keys for AWS, from the first place that has some: the properties, the environment, a web identity (IRSA of EKS), the
//! container (pod identities of EKS, tasks of ECS), the machine (IMDSv2 of EC2).
//!
//! A team's own properties name keys or a role, so it never gets to the places that are the host's.

use std::path::Path;
use std::time::{Duration, Instant};

use serde::Deserialize;
use ureq::http::Request;
use ureq::http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE};

use super::https::{Https, check_url, encoded, foreign, form};
use super::sigv4::Keys;
use crate::followed_file;
use crate::model::json;
use crate::model::units::{Rfc3339, Timestamp};

/// Reads a variable of the environment.
pub type Environment = Box<dyn Fn(&str) -> Option<String> + Send + Sync>;

/// Addresses at which AWS answers a container, and a machine, over plain HTTP.
const CONTAINER_LINKS: [&str; 3] = ["169.254.170.2", "169.254.170.23", "fd00:ec2::23"];
const MACHINE_LINKS: [&str; 2] = ["169.254.169.254", "fd00:ec2::254"];
const MACHINE_URL: &str = "http://169.254.169.254";
/// Seconds for which a token of the machine's service holds.
const MACHINE_TOKEN_S: &str = "60";
const IDENTITY_BYTES_MAX: u64 = 64 << 10;

/// Keys and the time that they have left, if they end.
pub struct FoundKeys {
    pub keys: Keys,
    pub lifetime: Option<Duration>,
}

/// The properties of an owner that say where its keys are.
pub enum Own {
    Keys(Keys),
    /// A role for a web identity.
    Role {
        arn: String,
        session: Option<String>,
        token_file: Option<String>,
    },
    /// The places of the host.
    Host,
}

/// The places that may have one owner's keys for AWS.
pub struct KeyChain {
    pub own: Own,
    pub region: String,
    /// The endpoint of STS in place of the region's.
    pub sts: Option<String>,
    pub https: Https,
    pub environment: Environment,
}

/// Keys as the services of containers and machines answer.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Answered {
    access_key_id: String,
    secret_access_key: String,
    token: Option<String>,
    expiration: Option<String>,
}

// === impl KeyChain ===

impl KeyChain {
    /// Finds keys. Blocks for a bounded time.
    pub fn find(&self, now: impl Fn() -> Instant) -> Result<FoundKeys, String> {
        let deadline = now() + self.https.time;
        match &self.own {
            Own::Keys(keys) => return Ok(FoundKeys { keys: keys.clone(), lifetime: None }),
            Own::Role { arn, session, token_file } => {
                return self.web_identity(arn, session.clone(), token_file.clone(), deadline);
            }
            Own::Host => {}
        }
        if let Some((id, secret)) = self.variable("AWS_ACCESS_KEY_ID").zip(self.variable("AWS_SECRET_ACCESS_KEY")) {
            let keys = Keys { id, secret, session: self.variable("AWS_SESSION_TOKEN") };
            return Ok(FoundKeys { keys, lifetime: None });
        }
        if let Some(arn) = self.variable("AWS_ROLE_ARN").filter(|_| self.variable("AWS_WEB_IDENTITY_TOKEN_FILE").is_some()) {
            return self.web_identity(&arn, None, None, deadline);
        }
        if let Some(url) = self.container_url() {
            return self.container(&url, deadline);
        }
        let is_off = self.variable("AWS_EC2_METADATA_DISABLED").is_some_and(|value| value.eq_ignore_ascii_case("true"));
        if is_off { Err("there are no keys of AWS".to_owned()) } else { self.machine(deadline) }
    }

    fn variable(&self, name: &str) -> Option<String> {
        (self.environment)(name).filter(|value| !value.is_empty())
    }

    /// Takes a role, as the identity that a file has.
    fn web_identity(
        &self,
        arn: &str,
        session: Option<String>,
        token_file: Option<String>,
        deadline: Instant,
    ) -> Result<FoundKeys, String> {
        let file = token_file.or_else(|| self.variable("AWS_WEB_IDENTITY_TOKEN_FILE"));
        let file =
            file.ok_or("there is no web identity: neither a property nor AWS_WEB_IDENTITY_TOKEN_FILE names its file")?;
        let identity = read(&file)?;
        let session = session.or_else(|| self.variable("AWS_ROLE_SESSION_NAME")).unwrap_or_else(|| "sandbar".to_owned());
        let domain = if self.region.starts_with("cn-") { "amazonaws.com.cn" } else { "amazonaws.com" };
        let url = self.sts.clone().or_else(|| self.variable("AWS_ENDPOINT_URL_STS"));
        let url = url.unwrap_or_else(|| format!("https://sts.{}.{domain}/", self.region));
        check_url(&url, &[]).map_err(|why| format!("the endpoint of STS: {why}"))?;
        let body = form(&[
            ("Action", "AssumeRoleWithWebIdentity"),
            ("Version", "2011-06-15"),
            ("RoleArn", arn),
            ("RoleSessionName", &session),
            ("WebIdentityToken", &identity),
        ]);
        let request = Request::post(&url).header(CONTENT_TYPE, "application/x-www-form-urlencoded").body(body);
        let answer = self.https.send(request.map_err(|error| error.to_string())?, deadline)?;
        let text = &answer.text;
        if answer.status != 200 {
            let said =
                [element(text, "Code"), element(text, "Message")].into_iter().flatten().collect::<Vec<_>>().join(": ");
            return Err(format!("STS answers {}, {}", answer.status, foreign(&said, &[&identity, &encoded(&identity)])));
        }
        let part = |name| element(text, name).ok_or_else(|| format!("the answer of STS has no {name}"));
        let keys = Keys {
            id: part("AccessKeyId")?.to_owned(),
            secret: part("SecretAccessKey")?.to_owned(),
            session: Some(part("SessionToken")?.to_owned()),
        };
        found(keys, element(text, "Expiration"))
    }

    fn container_url(&self) -> Option<String> {
        let relative = self.variable("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI");
        let url = relative.map(|path| format!("http://{}{path}", CONTAINER_LINKS[0]));
        url.or_else(|| self.variable("AWS_CONTAINER_CREDENTIALS_FULL_URI"))
    }

    fn container(&self, url: &str, deadline: Instant) -> Result<FoundKeys, String> {
        check_url(url, &CONTAINER_LINKS).map_err(|why| format!("AWS_CONTAINER_CREDENTIALS_FULL_URI: {why}"))?;
        let token = match self.variable("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE") {
            Some(file) => Some(read(&file)?),
            None => self.variable("AWS_CONTAINER_AUTHORIZATION_TOKEN"),
        };
        let request = Request::get(url).header(ACCEPT, "application/json");
        let request = token.iter().fold(request, |request, token| request.header(AUTHORIZATION, token));
        answered(&self.text(request, deadline)?)
    }

    /// Asks the machine for a token first (IMDSv2), then for its role, then for the role's keys.
    fn machine(&self, deadline: Instant) -> Result<FoundKeys, String> {
        const KEYS: &str = "/latest/meta-data/iam/security-credentials/";
        let url = self.variable("AWS_EC2_METADATA_SERVICE_ENDPOINT").unwrap_or_else(|| MACHINE_URL.to_owned());
        let url = url.trim_end_matches('/');
        check_url(url, &MACHINE_LINKS).map_err(|why| format!("AWS_EC2_METADATA_SERVICE_ENDPOINT: {why}"))?;
        let request = Request::put(format!("{url}/latest/api/token"));
        let token = self.text(request.header("x-aws-ec2-metadata-token-ttl-seconds", MACHINE_TOKEN_S), deadline)?;
        let get = |path: String| Request::get(format!("{url}{path}")).header("x-aws-ec2-metadata-token", token.trim());
        let roles = self.text(get(KEYS.to_owned()), deadline)?;
        let role = roles.lines().next().unwrap_or_default().trim();
        answered(&self.text(get(format!("{KEYS}{}", encoded(role))), deadline)?)
    }

    fn text(&self, request: ureq::http::request::Builder, deadline: Instant) -> Result<String, String> {
        let request = request.body(String::new()).map_err(|error| error.to_string())?;
        let place = request.uri().authority().map(ToString::to_string).unwrap_or_default();
        let answer = self.https.send(request, deadline)?;
        let refused = || format!("{place}: the service of AWS answers {}", answer.status);
        if answer.status == 200 { Ok(answer.text) } else { Err(refused()) }
    }
}

fn answered(text: &str) -> Result<FoundKeys, String> {
    // The error would quote the keys.
    let answer: Answered = json::read(text.as_bytes()).map_err(|_| "the service of AWS answers without keys")?;
    let Answered { access_key_id: id, secret_access_key: secret, token: session, expiration } = answer;
    found(Keys { id, secret, session }, expiration.as_deref())
}

fn found(keys: Keys, expiration: Option<&str>) -> Result<FoundKeys, String> {
    let end = expiration.map(|text| text.trim().parse::<Rfc3339>().map_err(|_| "the keys of AWS end at an unknown time"));
    let left = |end: Rfc3339| Duration::from_millis(end.0.millis_since(Timestamp::now()));
    Ok(FoundKeys { keys, lifetime: end.transpose()?.map(left) })
}

/// The text of the first element of a name. The values that are read have no markup in them.
fn element<'a>(xml: &'a str, name: &str) -> Option<&'a str> {
    let (_, rest) = xml.split_once(&format!("<{name}>"))?;
    let (text, _) = rest.split_once(&format!("</{name}>"))?;
    let text = text.trim();
    (!text.is_empty() && !text.contains('<')).then_some(text)
}

fn read(file: &str) -> Result<String, String> {
    let here = |why: String| format!("{file}: {why}");
    let bytes = followed_file::read(Path::new(file), IDENTITY_BYTES_MAX).map_err(here)?;
    let text = String::from_utf8(bytes).map_err(|_| here("it is not UTF-8".to_owned()))?;
    Ok(text.trim().to_owned())
}

#[cfg(test)]
#[path = "aws_keys_tests.rs"]
mod tests;
