//! The gate before every route: a request must be meant for this host, and no web page of another origin may have sent it.
//!
//! A host without sign-in answers everybody who reaches it. A browser reaches it on behalf of every page that it shows:
//! directly, with requests that need no permission (a form, an image, `fetch` with `no-cors`), or through a name of the
//! page's own that is pointed at this host after the page was loaded (DNS rebinding). Three checks come before every
//! route:
//! - the Host is an address, or a name that is known to be this host's (E045);
//! - neither `Origin` nor `Sec-Fetch-Site` names another origin (E046);
//! - a request that changes something has a part that a browser sends to another origin only with permission, which no
//!   origin ever gets (E048): the Fetch standard calls requests without such a part CORS-safelisted.

use axum::http::{HeaderMap, HeaderName, Method, Uri, header};

use crate::model::authority::{Authority, HostName};
use crate::model::codes::Code;
use crate::model::text::{cut, one_line};

use super::problem::Refusal;

/// The header of a client whose request has no other such part. It may have any value.
const SANDBAR_REQUEST: HeaderName = HeaderName::from_static("sandbar-request");
const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");
const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");
/// Longest part of a header that a refusal repeats.
const SHOWN_BYTES_MAX: usize = 100;

/// The names of this host, beside its addresses.
#[derive(Debug, Clone)]
pub struct Gate {
    /// A name without a port stands for every port.
    names: Vec<Authority>,
    /// Origins of pages that may use this host although the request's Host is another, as behind a proxy. An origin without
    /// a port stands for the usual port of its scheme.
    origins: Vec<Authority>,
}

// === impl Gate ===

impl Gate {
    /// Makes the gate of a host. `advertise` is the URL that other hosts give their clients.
    pub fn new(advertise: Option<&str>, allowed: &[Authority]) -> Self {
        let localhost = Authority { host: HostName::Name("localhost".into()), port: None };
        let own = advertise.and_then(Authority::of_url).map(|(own, _)| own);
        let any_port = own.clone().map(|own| Authority { port: None, ..own });
        Self {
            names: [localhost].into_iter().chain(any_port).chain(allowed.iter().cloned()).collect(),
            origins: own.into_iter().chain(allowed.iter().cloned()).collect(),
        }
    }

    pub fn check(&self, method: &Method, uri: &Uri, headers: &HeaderMap) -> Result<(), Refusal> {
        let host = self.host(uri, headers)?;
        self.origin(&host, headers)?;
        site(method, uri, headers)?;
        changing(method, headers)
    }

    /// Checks the Host of the request. A request whose target is a whole URL must name this host in both places.
    fn host(&self, uri: &Uri, headers: &HeaderMap) -> Result<Authority, Refusal> {
        let refuse = |detail: String| Refusal::new(Code::HostName, detail);
        let mut hosts = headers.get_all(header::HOST).iter();
        let (Some(raw), None) = (hosts.next(), hosts.next()) else {
            return Err(refuse("a request needs one Host header".into()));
        };
        let known = |raw: &[u8]| {
            let raw = String::from_utf8_lossy(raw);
            let host: Authority =
                raw.parse().map_err(|why: &str| refuse(format!("the request's Host {} {why}", shown(&raw))))?;
            if self.is_own(&host) { Ok(host) } else { Err(refuse(format!("this host is not known as {}", shown(&raw)))) }
        };
        let host = known(raw.as_bytes())?;
        uri.authority().map_or(Ok(host), |authority| known(authority.as_str().as_bytes()))
    }

    /// An address is always this host's own: the owner of a name cannot point it elsewhere.
    fn is_own(&self, host: &Authority) -> bool {
        let same = |name: &Authority| name.host == host.host && (name.port.is_none() || name.port == host.port);
        matches!(host.host, HostName::Address(_)) || self.names.iter().any(same)
    }

    fn origin(&self, host: &Authority, headers: &HeaderMap) -> Result<(), Refusal> {
        for raw in headers.get_all(header::ORIGIN) {
            let raw = String::from_utf8_lossy(raw.as_bytes());
            let origin = Authority::of_url(&raw).filter(|_| !raw.ends_with('/'));
            if !origin.is_some_and(|(origin, port)| self.is_own_origin(host, &origin, port)) {
                let detail = format!("a page of {} may not use this host", shown(&raw));
                return Err(Refusal::new(Code::ForeignOrigin, detail));
            }
        }
        Ok(())
    }

    /// Another port of the same machine is another origin.
    fn is_own_origin(&self, host: &Authority, origin: &Authority, scheme_port: u16) -> bool {
        let port = |authority: &Authority| authority.port.unwrap_or(scheme_port);
        let same = |own: &Authority| own.host == origin.host && port(own) == port(origin);
        same(host) || self.origins.iter().any(same)
    }
}

/// Checks the header in which browsers name the relation of a page to the target of its request.
fn site(method: &Method, uri: &Uri, headers: &HeaderMap) -> Result<(), Refusal> {
    // A link to the console, in an alert say, leads from elsewhere. Its page is the same for everybody.
    if is_safe(method) && uri.path() == "/" {
        return Ok(());
    }
    for raw in headers.get_all(SEC_FETCH_SITE) {
        let own = match raw.as_bytes() {
            b"same-origin" | b"none" => true,
            // A page of another port or name of the same site may read, as with a link.
            b"same-site" => is_safe(method),
            _ => false,
        };
        if !own {
            let detail = format!("a page of another origin sent this (Sec-Fetch-Site: {})", shown_bytes(raw.as_bytes()));
            return Err(Refusal::new(Code::ForeignOrigin, detail));
        }
    }
    Ok(())
}

fn is_safe(method: &Method) -> bool {
    matches!(*method, Method::GET | Method::HEAD | Method::OPTIONS)
}

/// Checks that no page can have sent the change. Without permission a page may send POST, and no other method that changes
/// something, and only with a content type that a form has.
fn changing(method: &Method, headers: &HeaderMap) -> Result<(), Refusal> {
    if *method != Method::POST
        || [SANDBAR_REQUEST, IDEMPOTENCY_KEY, header::IF_MATCH].iter().any(|name| headers.contains_key(name))
    {
        return Ok(());
    }
    let mut types = headers.get_all(header::CONTENT_TYPE).iter();
    match (types.next(), types.next()) {
        (Some(only), None) if !is_safelisted(only.as_bytes()) => Ok(()),
        (None, _) => Err(Refusal::new(Code::PageRequest, "a POST without a body's type could come from any web page")),
        (Some(first), _) => {
            let detail = format!("a POST of {} could come from any web page", shown_bytes(first.as_bytes()));
            Err(Refusal::new(Code::PageRequest, detail))
        }
    }
}

/// Returns true for content types that a page may send anywhere, and for a text that is not a content type.
fn is_safelisted(raw: &[u8]) -> bool {
    let raw = String::from_utf8_lossy(raw);
    let essence = raw.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    let token = |part: &str| {
        !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"!#$&-^_.+".contains(&byte))
    };
    let well_formed = essence.split_once('/').is_some_and(|(kind, subtype)| token(kind) && token(subtype));
    !well_formed || matches!(essence.as_str(), "application/x-www-form-urlencoded" | "multipart/form-data" | "text/plain")
}

fn shown(raw: &str) -> String {
    format!("\"{}\"", one_line(cut(raw, SHOWN_BYTES_MAX)))
}

fn shown_bytes(raw: &[u8]) -> String {
    shown(&String::from_utf8_lossy(raw))
}

#[cfg(test)]
mod tests;
