//! Properties are read, refused, completed and compared.

use super::*;

fn given(text: &str) -> Given {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("own.properties");
    std::fs::write(&path, text).expect("written");
    read(&path).expect(text)
}

#[track_caller]
fn check(check: fn(&Given) -> Result<(), String>, text: &str, refused: Option<&str>) {
    let found = check(&given(text));
    match refused {
        None => assert_eq!(found, Ok(()), "{text}"),
        Some(part) => assert!(found.clone().is_err_and(|why| why.contains(part)), "{text}: {found:?}"),
    }
}

#[test]
fn properties_that_break_a_promise_are_refused() {
    for (name, _) in OWN {
        check(check_host, &format!("{name}=x"), Some("Sandbar's own"));
    }
    check(check_host, "rebalance_cb=x", Some("cannot be set"));
    check(check_host, "session.timeout.ms=5000\nsocket.timeout.ms=1\nsecurity.protocol=SSL\nlinger.ms=3", None);
}

#[test]
fn the_page_of_the_code_names_every_refused_property() {
    let page = include_str!("../../../docs/errors/E240.md");
    let missing: Vec<_> = OWN.iter().filter(|(name, _)| !page.contains(&format!("`{name}`"))).collect();
    assert!(missing.is_empty(), "{missing:?}");
}

#[test]
fn a_team_gives_credentials_and_nothing_else() {
    check(check_team, "# of a team\n\nsasl.username = a\nsasl.password = b = c", None);
    check(check_team, "ssl.certificate.location=c\nssl.key.location=k\nsecurity.protocol=SSL", None);
    check(check_team, "", Some("lacks credentials"));
    check(check_team, "sasl.username=a", Some("lacks credentials"));
    check(check_team, "sasl.username=a\nsasl.password=", Some("lacks credentials"));
    check(check_team, "ssl.certificate.location=c", Some("lacks credentials"));
    check(check_team, "sasl.username=a\nsasl.password=b\nlinger.ms=1", Some("no credential"));
    check(check_team, "sasl.username=a\nsasl.password=b\ngroup.id=x", Some("Sandbar's own"));
    check(check_team, "sasl.oauthbearer.client.id=a\nsasl.oauthbearer.client.secret=b\nhttps.ca.location=c", None);
    let other_names = "sasl.oauthbearer.client.credentials.client.id=a\n\
        sasl.oauthbearer.client.credentials.client.secret=b";
    check(check_team, other_names, None);
    check(check_team, "sasl.oauthbearer.client.id=a", Some("lacks credentials"));
    check(check_team, "sasl.oauthbearer.aws.role.arn=a", None);
    check(check_team, "sasl.oauthbearer.aws.access.key.id=a", Some("lacks credentials"));
    check(check_team, "sasl.oauthbearer.method=aws-msk-iam", Some("lacks credentials"));
}

fn resolved_all(text: &str) -> Properties {
    Properties::resolve(&given(text), Path::new("")).expect(text)
}

/// Checks if a team's file counts under the properties of a host.
#[track_caller]
fn check_of_team(host: &str, own: &str, counts: bool) {
    let found = resolved_all(own).of_team(&resolved_all(host));
    assert_eq!(found.is_ok(), counts, "{own} over {host}: {found:?}");
}

#[test]
fn a_team_never_logs_in_with_the_credentials_of_the_host() {
    let password = "sasl.username=a\nsasl.password=b\n";
    let certificate = "ssl.certificate.location=c\nssl.key.location=k\n";
    let client = "sasl.oauthbearer.client.id=a\nsasl.oauthbearer.client.secret=b\n";
    let scram = "security.protocol=SASL_SSL\nsasl.mechanisms=SCRAM-SHA-512\n";
    let tokens = "security.protocol=sasl_ssl\nsasl.mechanism=OAUTHBEARER\n";
    let tls = "security.protocol=SSL\n";
    for (base, kind) in [(scram, password), (tokens, client), (tls, certificate)] {
        for own in [password, client, certificate] {
            let host = base.to_owned() + kind;
            check_of_team(&host, own, own == kind);
            // The mechanism that the team names is the one that counts.
            check_of_team(&host, &(own.to_owned() + scram), own == password);
            check_of_team(&host, &(own.to_owned() + tokens), own == client);
            check_of_team(&host, &(own.to_owned() + tls), own == certificate);
        }
    }
    check_of_team("", password, true);
}

#[test]
fn a_team_inherits_the_endpoint_of_the_host_and_not_its_name() {
    let host = "security.protocol=SASL_SSL\nsasl.mechanism=OAUTHBEARER\nsasl.oauthbearer.method=aws-msk-iam\n\
        sasl.oauthbearer.aws.region=r\nsasl.oauthbearer.aws.access.key.id=a\n\
        sasl.oauthbearer.aws.secret.access.key=b\nsasl.oauthbearer.aws.session.token=s";
    let own = resolved_all("sasl.oauthbearer.aws.role.arn=c");
    let whole = own.of_team(&resolved_all(host)).expect("complete");
    let expected = ["sasl.oauthbearer.aws.region", "sasl.oauthbearer.aws.role.arn", "sasl.oauthbearer.method"];
    assert_eq!(whole.of_tokens().keys().collect::<Vec<_>>(), expected);
    let left: Vec<&String> = whole.of_librdkafka().map(|(name, _)| name).collect();
    assert_eq!(left, ["sasl.mechanism", "security.protocol"]);
}

/// A certificate with its key, in the forms that librdkafka takes.
const CERTIFICATES: [&str; 4] = [
    "ssl.certificate.location=OWNER\nssl.key.location=OWNER\nssl.key.password=OWNER\n",
    "ssl.certificate.pem=OWNER\nssl.key.pem=OWNER\n",
    "ssl.certificate.pem=OWNER\nssl.key.location=OWNER\n",
    "ssl.keystore.location=OWNER\nssl.keystore.password=OWNER\n",
];

#[test]
fn a_team_with_a_certificate_has_nothing_of_the_hosts() {
    let base = "security.protocol=SSL\nssl.ca.location=ca\nssl.crl.location=crl\n";
    let engine = "ssl.engine.location=OWNER\nssl.engine.id=OWNER\n";
    for of_host in CERTIFICATES.into_iter().chain([engine]) {
        let host = resolved_all(&(base.to_owned() + &of_host.replace("OWNER", "host")));
        for own in CERTIFICATES {
            let own = own.replace("OWNER", "team");
            let whole = resolved_all(&own).of_team(&host).expect(&own);
            assert_eq!(whole.values, resolved_all(&(base.to_owned() + &own)).values, "{own} over {of_host}");
        }
    }
    // A team that logs in with a password has no certificate of its own.
    let host = resolved_all("security.protocol=SASL_SSL\nsasl.mechanism=PLAIN\nssl.keystore.location=host\n");
    let whole = resolved_all("sasl.username=a\nsasl.password=b").of_team(&host).expect("complete");
    assert_eq!(whole.get("ssl.keystore.location"), Some("host"));
}

#[test]
fn a_property_has_one_name() {
    let twice = given("sasl.mechanism=PLAIN\nsasl.mechanisms=OAUTHBEARER");
    let why = Properties::resolve(&twice, Path::new("")).expect_err("refused");
    assert!(why.contains("twice") && !why.contains("PLAIN"), "{why}");
    assert_eq!(resolved_all("sasl.mechanisms=PLAIN").get("sasl.mechanism"), Some("PLAIN"));
}

#[test]
fn secrets_come_from_files_and_the_environment_and_are_not_shown() {
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::write(folder.path().join("password"), "hush hush\r\n").expect("written");
    let text = "sasl.username=env:PATH\nsasl.password=file:password\nclient.id=a=b";
    let properties = Properties::resolve(&given(text), folder.path()).expect("resolved");
    assert_eq!(properties.get("sasl.password"), Some("hush hush"));
    assert_eq!(properties.get("sasl.username"), std::env::var("PATH").ok().as_deref());
    assert_eq!(properties.get("client.id"), Some("a=b"));
    assert_eq!(format!("{properties:?}"), r#"{"client.id", "sasl.password", "sasl.username"}"#);
    for (missing, part) in [("file:none", "none"), ("env:SANDBAR_NO_SUCH", "SANDBAR_NO_SUCH")] {
        let why = Properties::resolve(&given(&format!("sasl.password={missing}")), folder.path()).expect_err(missing);
        assert!(why.contains(part) && why.starts_with("sasl.password: "), "{why}");
    }
}

#[test]
fn only_a_new_password_is_taken_up_by_a_client() {
    let folder = tempfile::tempdir().expect("a folder");
    let key = folder.path().join("key");
    std::fs::write(&key, "one").expect("written");
    let resolve = |user: &str, password: &str| {
        let text = format!("sasl.username={user}\nsasl.password={password}\nssl.key.location={}", key.display());
        Properties::resolve(&given(&text), folder.path()).expect("resolved")
    };
    let before = resolve("a", "1");
    assert_eq!(resolve("a", "2").new_password(&before), Some(("a", "2")));
    assert_eq!(resolve("b", "1").new_password(&before), None);
    std::fs::write(&key, "other").expect("written");
    let renewed = resolve("a", "1");
    assert_ne!(renewed, before);
    assert_eq!(renewed.new_password(&before), None);
}

#[test]
fn a_file_that_is_no_list_of_properties_is_refused_without_its_text() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("bad.properties");
    for (text, part) in [("a=1\nhush", "line 2"), ("a=hush\na=hush", "line 2 sets \"a\" again")] {
        std::fs::write(&path, text).expect("written");
        let why = read(&path).expect_err(text);
        assert!(why.contains(part) && !why.contains("hush"), "{why}");
    }
}
