//! The console: the page at `/` and its files, which are a part of the binary.
//!
//! The files are public and the same for everybody. All data comes through the other routes, with the caller's rights. A
//! browser loads nothing from anywhere else, runs no script but these, and asks this host alone (the policy below).

use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use sha2::{Digest, Sha256};

use crate::model::codes::Code;
use crate::model::text::{cut, one_line};

use super::problem::Refusal;
use super::request::PageName;

/// Permits the console's own files, and requests to this host. Scripts and styles within a page are not permitted.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; \
    worker-src 'self'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'";
/// Longest part of a name that a refusal repeats.
const SHOWN_BYTES_MAX: usize = 100;

/// A file of the console.
struct Asset {
    name: &'static str,
    content_type: &'static str,
    bytes: &'static [u8],
}

macro_rules! asset {
    ($name:literal, $content_type:literal) => {
        Asset {
            name: $name,
            content_type: $content_type,
            bytes: include_bytes!(concat!(env!("CARGO_MANIFEST_DIR"), "/console/dist/", $name)),
        }
    };
}

const INDEX: Asset = asset!("index.html", "text/html; charset=utf-8");
const ASSETS: &[Asset] = &[
    asset!("console.js", "text/javascript; charset=utf-8"),
    asset!("layout.js", "text/javascript; charset=utf-8"),
    asset!("console.css", "text/css; charset=utf-8"),
    asset!("icon.svg", "image/svg+xml"),
    asset!("licences.txt", "text/plain; charset=utf-8"),
];

/// Show the console.
#[utoipa::path(get, path = "/", tag = "host",
    responses((status = 200, description = "The page, which asks the other routes", body = String, content_type = "text/html"),
        (status = 304, description = "The client has it already")))]
pub async fn index(headers: HeaderMap) -> Response {
    INDEX.answer(&headers)
}

/// Get a file of the console.
#[utoipa::path(get, path = "/console/{file}", tag = "host", params(("file" = String, Path)),
    responses((status = 200, description = "The file", body = Vec<u8>, content_type = "application/octet-stream"),
        (status = 304, description = "The client has it already"),
        (status = 404, description = "No such file (E002)")))]
pub async fn asset(PageName(file): PageName, headers: HeaderMap) -> Result<Response, Refusal> {
    let found = ASSETS.iter().find(|asset| asset.name == file);
    let missing = || {
        let shown = one_line(cut(&file, SHOWN_BYTES_MAX));
        Refusal::new(Code::NoRoute, format!("the console has no file \"{shown}\""))
    };
    Ok(found.ok_or_else(missing)?.answer(&headers))
}

// === impl Asset ===

impl Asset {
    /// Answers with the file, or with nothing if the client has it. The file may be another one after an upgrade, so a client
    /// asks each time.
    fn answer(&self, headers: &HeaderMap) -> Response {
        let etag = format!("\"{}\"", hex::encode(&Sha256::digest(self.bytes)[..16]));
        let has_it = headers.get(header::IF_NONE_MATCH).is_some_and(|tags| has_tag(tags, &etag));
        let head: [(HeaderName, HeaderValue); 4] = [
            (header::CONTENT_TYPE, HeaderValue::from_static(self.content_type)),
            (header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY)),
            (header::CACHE_CONTROL, HeaderValue::from_static("no-cache")),
            (header::ETAG, HeaderValue::from_str(&etag).expect("digits in quotes")),
        ];
        if has_it { (StatusCode::NOT_MODIFIED, head).into_response() } else { (head, self.bytes).into_response() }
    }
}

fn has_tag(tags: &HeaderValue, etag: &str) -> bool {
    let tags = String::from_utf8_lossy(tags.as_bytes());
    tags.split(',').any(|tag| tag.trim().trim_start_matches("W/") == etag)
}

#[cfg(test)]
mod tests {
    use std::ops::RangeInclusive;
    use std::path::{Path, PathBuf};

    use super::*;
    use crate::model::text::lines;

    /// Largest sum of all files: what a phone loads.
    const BYTES_MAX: usize = 250_000;

    fn folder() -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("console")
    }

    /// The names of the sources below a folder.
    fn sources(below: &Path, found: &mut Vec<String>) {
        for entry in std::fs::read_dir(below).expect("readable").map(|entry| entry.expect("readable").path()) {
            let name = || entry.strip_prefix(folder()).expect("below it").to_str().expect("UTF-8").to_owned();
            if entry.is_dir() { sources(&entry, found) } else { found.push(name()) }
        }
    }

    #[test]
    fn the_built_files_are_those_of_the_sources() {
        let mut names = ["build.mjs", "package.json", "package-lock.json"].map(str::to_owned).to_vec();
        sources(&folder().join("src"), &mut names);
        names.sort();
        let mut digest = Sha256::new();
        for name in names {
            let content = std::fs::read(folder().join(&name)).expect("readable");
            digest.update(format!("{name} {}\n", content.len()));
            digest.update(content);
        }
        let built = std::fs::read_to_string(folder().join("dist/sources.sha256")).expect("readable");
        assert_eq!(built.trim(), hex::encode(digest.finalize()), "the console was changed: run `make console`");
    }

    #[test]
    fn every_built_file_is_served_and_all_are_small() {
        let entries = std::fs::read_dir(folder().join("dist")).expect("readable");
        let names = entries.map(|entry| entry.expect("readable").file_name().into_string().expect("UTF-8"));
        for name in names.filter(|name| name != "sources.sha256") {
            assert!(ASSETS.iter().chain([&INDEX]).any(|asset| asset.name == name), "{name} is not served");
        }
        let code = ASSETS.iter().chain([&INDEX]).filter(|asset| asset.name != "licences.txt");
        assert!(code.map(|asset| asset.bytes.len()).sum::<usize>() < BYTES_MAX);
    }

    #[test]
    fn the_page_has_no_script_or_style_of_its_own() {
        let page = String::from_utf8_lossy(INDEX.bytes);
        assert!(!page.contains("<style") && !page.contains("style=") && !page.contains("onload="));
        assert_eq!(
            page.matches("<script").count(),
            page.matches("<script src=\"/console/").count()
                + page.matches("<script type=\"module\" src=\"/console/").count()
        );
        assert!(!page.contains("http:") && !page.contains("https:"), "nothing comes from elsewhere");
    }

    /// The characters that the console escapes: the class of its expression, whose parts are `\u0000-\u0008`, `\u{e0000}` and
    /// the like.
    fn escaped_by_the_console() -> Vec<RangeInclusive<u32>> {
        let source = std::fs::read_to_string(folder().join("src/format.js")).expect("readable");
        let (_, rest) = source.split_once("const ODD = /[").expect("the expression");
        let (class, _) = rest.split_once("]/gu;").expect("its end");
        let mut ranges = Vec::new();
        let mut start = None;
        for part in class.replace(['{', '}'], "").split("\\u").skip(1) {
            let number = u32::from_str_radix(part.trim_end_matches('-'), 16).expect("hexadecimal");
            if part.ends_with('-') {
                start = Some(number);
            } else {
                ranges.push(start.take().unwrap_or(number)..=number);
            }
        }
        ranges
    }

    #[test]
    fn the_console_escapes_the_characters_that_the_host_escapes() {
        let ranges = escaped_by_the_console();
        for c in '\0'..=char::MAX {
            let is_escaped = lines(c.encode_utf8(&mut [0; 4])) != c.to_string();
            assert_eq!(ranges.iter().any(|range| range.contains(&u32::from(c))), is_escaped, "{c:?}");
        }
    }

    #[test]
    fn a_client_that_has_a_file_is_sent_nothing() {
        let tag = INDEX.answer(&HeaderMap::new()).headers()[header::ETAG].clone();
        for (given, status) in [
            (tag.to_str().expect("ASCII").to_owned(), 304),
            (format!("\"x\", W/{}", tag.to_str().expect("ASCII")), 304),
            ("\"x\"".to_owned(), 200),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(header::IF_NONE_MATCH, given.parse().expect("visible"));
            assert_eq!(INDEX.answer(&headers).status(), status, "{given}");
        }
    }
}
