use super::*;
use crate::model::units::Timestamp;

/// A certificate with names: `uri:..`, `dns:..` or a subject.
fn certificate(names: &[&str]) -> ClientCertificate {
    let of = |kind: &str| names.iter().filter_map(|name| name.strip_prefix(kind)).map(str::to_owned).collect::<Vec<_>>();
    let subject = of("subject:").first().map(|name| name.parse().expect("a name"));
    let fingerprint = "ff".to_owned();
    ClientCertificate { subject, dns_names: of("dns:"), uri_names: of("uri:"), fingerprint, not_after: Timestamp(1) }
}

/// Checks the name and the grants of a certificate under one rule, as `name role..`; empty: it has none.
#[track_caller]
fn check(rule: &str, names: &[&str], expected: &str) {
    let rules = Rules::parse(format!("certificates:\n- {rule}\n").as_bytes()).expect("valid");
    let found = rules.of(&certificate(names)).map(|(name, _)| name).unwrap_or_default();
    assert_eq!(found, expected, "{rule} {names:?}");
}

#[test]
fn a_uri_matches_as_a_whole_or_below_a_slash() {
    let exact = "{uri: 'spiffe://shop/ci', roles: ['stock:view']}";
    check(exact, &["uri:spiffe://shop/ci"], "spiffe://shop/ci");
    for other in ["spiffe://shop/ci/", "spiffe://shop/ci/x", "spiffe://shop/CI", "spiffe://shop/c", "spiffe://shop.evil/ci"]
    {
        check(exact, &[&format!("uri:{other}")], "");
    }
    let below = "{uri: 'spiffe://shop/ci/*', roles: ['stock:view']}";
    for own in ["spiffe://shop/ci/a", "spiffe://shop/ci/a/b"] {
        check(below, &[&format!("uri:{own}")], own);
    }
    for other in [
        "spiffe://shop/ci",
        "spiffe://shop/ci/",
        "spiffe://shop/ci-tools/a",
        "spiffe://shop/ci/../admin",
        "spiffe://shop/ci/./a",
        "spiffe://shop/ci//a",
        "spiffe://shop/ci/%2e%2e/admin",
        "spiffe://shop/ci/a?b",
        "spiffe://shop/ci/a#b",
        "x-spiffe://shop/ci/a",
    ] {
        check(below, &[&format!("uri:{other}")], "");
    }
    check("{uri: 'spiffe://shop/*', roles: ['stock:view']}", &["uri:spiffe://shop/a"], "spiffe://shop/a");
    // Two URIs, one of which matches; and names of another kind with the same text.
    check(exact, &["uri:spiffe://shop/ci", "uri:spiffe://shop/x"], "");
    check(exact, &["dns:spiffe://shop/ci"], "");
}

#[test]
fn a_dns_name_and_a_subject_match_as_a_whole() {
    let dns = "{dns: CI.shop.example, roles: ['stock:view']}";
    check(dns, &["dns:other.example", "dns:ci.Shop.example"], "ci.Shop.example");
    for other in ["dns:x.ci.shop.example", "dns:ci.shop.example.evil", "dns:*.shop.example", "uri:ci.shop.example"] {
        check(dns, &[other], "");
    }
    check(dns, &["subject:CN=ci.shop.example"], "");
    let subject = "{subject: 'CN=ci,O=Shop', roles: ['stock:view']}";
    check(subject, &["subject:CN=ci,O=Shop"], "CN=ci,O=Shop");
    for other in ["CN=ci", "CN=ci,O=Shop,C=DE", "O=Shop,CN=ci", "CN=ci+O=Shop", r"CN=ci\,O=Shop", "CN=CI,O=Shop"] {
        check(subject, &[&format!("subject:{other}")], "");
    }
}

#[test]
fn the_roles_of_all_rules_that_match_are_added() {
    let text = "certificates:
    - {dns: a.example, roles: ['stock:view', 'stock:deploy']}
    - {uri: 'spiffe://shop/a', roles: ['shop:view', 'stock:view']}
    - {dns: b.example, roles: ['*:admin']}";
    let rules = Rules::parse(text.as_bytes()).expect("valid");
    let (name, grants) = rules.of(&certificate(&["uri:spiffe://shop/a", "dns:a.example"])).expect("it matches");
    let grants: Vec<String> = grants.iter().map(ToString::to_string).collect();
    assert_eq!((name.as_str(), grants.join(" ").as_str()), ("a.example", "shop:view stock:view stock:deploy"));
    assert_eq!(rules.of(&certificate(&[])), None);
}

#[test]
fn a_file_that_could_mean_something_else_is_refused() {
    #[track_caller]
    fn check(text: &str, part: &str) {
        let error = Rules::parse(text.as_bytes()).expect_err("not valid").to_string();
        assert!(error.contains(part), "{text}: {error}");
    }
    for (rule, part) in [
        ("{roles: ['a:view']}", "needs one of"),
        ("{dns: a, uri: 'a://b/c', roles: ['a:view']}", "needs one of"),
        ("{dns: a, roles: []}", "certificates[0].roles is empty"),
        ("{dns: a, roles: [view]}", "TEAM:ROLE"),
        ("{cn: a, roles: ['a:view']}", "cn"),
        ("{dns: '*.a', roles: ['a:view']}", "certificates[0].dns"),
        ("{dns: '', roles: ['a:view']}", "dns"),
        ("{uri: 'spiffe://shop/ci*', roles: ['a:view']}", "certificates[0].uri may have one *"),
        ("{uri: 'spiffe://*/ci/*', roles: ['a:view']}", "one *"),
        ("{uri: 'spiffe://*', roles: ['a:view']}", "uri"),
        ("{uri: 'spiffe:///*', roles: ['a:view']}", "AUTHORITY"),
        ("{uri: '*', roles: ['a:view']}", "uri"),
        ("{subject: ci, roles: ['a:view']}", "certificates[0].subject"),
    ] {
        check(&format!("certificates:\n- {rule}\n"), part);
    }
    check("", "");
    check("{}", "certificates");
    check("certificates: [[a, b]]", "");
    assert_eq!(Rules::parse(b"certificates: []").expect("nobody").count(), 0);
}
