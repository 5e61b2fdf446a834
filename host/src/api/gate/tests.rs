use axum::http::HeaderValue;

use super::*;

fn gate() -> Gate {
    let allowed = ["sandbar.example", "proxy:8443"].map(|name| name.parse().expect("valid"));
    Gate::new(Some("http://host-a:8080"), &allowed)
}

#[track_caller]
fn check(request: &str, headers: &[(&str, &str)], refused: Option<Code>) {
    let (method, uri) = request.split_once(' ').expect("method and target");
    let mut map = HeaderMap::new();
    for (name, value) in headers {
        let name: HeaderName = name.parse().expect("a name");
        map.append(name, HeaderValue::from_bytes(value.as_bytes()).expect("a value"));
    }
    let checked = gate().check(&method.parse().expect("a method"), &uri.parse().expect("a target"), &map);
    assert_eq!(checked.as_ref().err().map(Refusal::code), refused, "{request} {headers:?}: {checked:?}");
}

#[test]
fn a_host_is_an_address_or_a_name_of_this_host() {
    for own in [
        "localhost",
        "localhost:9999",
        "LOCALHOST:8080",
        "localhost.:8080",
        "host-a",
        "host-a:1",
        "sandbar.example:8080",
        "proxy:8443",
        "127.0.0.1:8080",
        "10.1.2.3",
        "[::1]:8080",
        "[fe80::1]",
        "localhost:",
    ] {
        check("GET /", &[("host", own)], None);
    }
    for other in [
        "",
        "evil.example",
        "localhost.evil.example",
        "evil.example:8080",
        "notlocalhost",
        "proxy",
        "proxy:1",
        "a@localhost",
        "localhost@evil.example",
        "localhost:80:80",
        "localhost:99999",
        "127.1",
        "2130706433",
        "[fe80::1%lo]:80",
        "[::1",
        "::1",
        "localhost evil",
        "foo.localhost",
        "127.0.0.1.evil.example",
        "127.0.0.1.",
        "localhost\u{e4}",
        "localhost/",
        "host-a.",
    ] {
        let expected = if other == "host-a." { None } else { Some(Code::HostName) };
        check("GET /", &[("host", other)], expected);
        check("DELETE /v1", &[("host", other)], expected);
    }
    check("GET /", &[], Some(Code::HostName));
    check("GET /", &[("host", "localhost"), ("host", "localhost")], Some(Code::HostName));
    check("GET /", &[("host", "localhost"), ("host", "evil.example")], Some(Code::HostName));
    check("GET http://localhost:8080/healthz", &[("host", "localhost")], None);
    check("GET http://evil.example/healthz", &[("host", "localhost")], Some(Code::HostName));
    check("GET http://localhost/healthz", &[("host", "evil.example")], Some(Code::HostName));
    check("GET http://a@localhost/healthz", &[("host", "localhost")], Some(Code::HostName));
}

#[test]
fn an_origin_is_where_the_request_goes() {
    let delete = |host: &str, origin: &str, own: bool| {
        let refused = (!own).then_some(Code::ForeignOrigin);
        check("DELETE /v1/x", &[("host", host), ("origin", origin)], refused);
        check("GET /v1/x", &[("host", host), ("origin", origin)], refused);
    };
    delete("localhost:8080", "http://localhost:8080", true);
    delete("localhost:8080", "http://LOCALHOST:8080", true);
    delete("127.0.0.1:8080", "http://127.0.0.1:8080", true);
    delete("[::1]:8080", "http://[::1]:8080", true);
    delete("sandbar.example", "https://sandbar.example", true);
    delete("sandbar.example:443", "https://sandbar.example", true);
    delete("127.0.0.1:8080", "https://sandbar.example", true);
    delete("127.0.0.1:8080", "https://proxy:8443", true);
    delete("127.0.0.1:8080", "http://host-a:8080", true);
    delete("127.0.0.1:8080", "http://host-a", false);
    delete("localhost:8080", "http://localhost:8081", false);
    delete("localhost:8080", "http://localhost", false);
    delete("localhost:8080", "http://127.0.0.1:8080", false);
    delete("127.0.0.1:8080", "http://sandbar.example:9999", false);
    delete("127.0.0.1:8080", "http://evil.example", false);
    delete("127.0.0.1:8080", "http://evil.example@127.0.0.1:8080", false);
    delete("127.0.0.1:8080", "null", false);
    delete("127.0.0.1:8080", "", false);
    delete("127.0.0.1:8080", "file://", false);
    delete("127.0.0.1:8080", "chrome-extension://127.0.0.1:8080", false);
    delete("127.0.0.1:8080", "http://127.0.0.1:8080/", false);
    delete("127.0.0.1:8080", "http://127.0.0.1:8080 http://evil.example", false);
    let twice = [("host", "localhost:1"), ("origin", "http://localhost:1"), ("origin", "http://evil.example")];
    check("GET /", &twice, Some(Code::ForeignOrigin));
}

#[test]
fn browsers_say_where_a_request_comes_from() {
    for (site, look, change) in [
        ("same-origin", true, true),
        ("none", true, true),
        ("same-site", true, false),
        ("cross-site", false, false),
        ("x", false, false),
    ] {
        let headers = [("host", "localhost"), ("sec-fetch-site", site)];
        check("GET /v1/x", &headers, (!look).then_some(Code::ForeignOrigin));
        check("PUT /v1/x", &headers, (!change).then_some(Code::ForeignOrigin));
        // A link leads to the console's page from anywhere. The page is the same for everybody.
        check("GET /", &headers, None);
        check("GET /?x", &headers, None);
        check("PUT /", &headers, (!change).then_some(Code::ForeignOrigin));
        check("GET //", &headers, (!look).then_some(Code::ForeignOrigin));
    }
}

#[test]
fn a_post_has_what_a_page_cannot_send() {
    let post = |headers: &[(&str, &str)], refused: bool| {
        let all: Vec<_> = [("host", "localhost")].iter().chain(headers).copied().collect();
        check("POST /v1/x", &all, refused.then_some(Code::PageRequest));
    };
    for simple in [
        "text/plain",
        "TEXT/PLAIN; charset=utf-8",
        "application/x-www-form-urlencoded",
        "multipart/form-data; boundary=x",
        " multipart/form-data",
        "text/plain;application/json",
        "",
        "json",
        "application/",
        "/json",
        "text/plain, application/json",
    ] {
        post(&[("content-type", simple)], true);
        post(&[("content-type", simple), ("sandbar-request", "1")], false);
        post(&[("content-type", simple), ("idempotency-key", "k")], false);
        post(&[("content-type", simple), ("if-match", "*")], false);
    }
    post(&[], true);
    post(&[("content-type", "application/json"), ("content-type", "text/plain")], true);
    post(&[("if-none-match", "*"), ("accept", "application/json")], true);
    for own in ["application/json", "application/wasm", "application/x-ndjson; charset=utf-8", "application/octet-stream"] {
        post(&[("content-type", own)], false);
    }
    for method in ["PUT", "PATCH", "DELETE", "BREW"] {
        check(&format!("{method} /v1/x"), &[("host", "localhost")], None);
    }
}
