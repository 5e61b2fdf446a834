//! Whose properties an owner connects with, as files change.

use tempfile::TempDir;

use super::*;

/// Credentials over files that a test writes.
struct Fixture {
    folder: TempDir,
    credentials: Arc<Credentials>,
}

fn config(folder: &TempDir, required: bool) -> KafkaConfig {
    KafkaConfig {
        brokers: "none:1".into(),
        properties: [("client.id".to_owned(), "a".to_owned())].into(),
        file: Some(folder.path().join("host")),
        teams_dir: Some(folder.path().join("teams")),
        team_credentials_required: required,
        session_timeout: None,
        metrics: None,
    }
}

impl Fixture {
    fn new(required: bool) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        std::fs::create_dir(folder.path().join("teams")).expect("made");
        std::fs::write(folder.path().join("host"), user("host", "0")).expect("written");
        let credentials = Credentials::open(&config(&folder, required)).expect("valid");
        Self { folder, credentials }
    }

    /// Writes a file, or removes it, and looks twice.
    fn put(&self, name: &str, text: Option<&str>) {
        let path = self.folder.path().join(name);
        match text {
            Some(text) => std::fs::write(path, text).expect("written"),
            None => std::fs::remove_file(path).expect("removed"),
        }
        self.credentials.look();
        self.credentials.look();
    }

    fn connection(&self, team: Option<&str>) -> Connection {
        let host = Connection::new("none:1", &self.credentials, None);
        team.map_or_else(|| host.clone(), |team| host.of_team(&team.parse().expect("valid")).expect("there are teams"))
    }

    /// Checks the name with which an owner connects; None: not at all.
    #[track_caller]
    fn check(&self, team: Option<&str>, expected: Option<&str>) {
        let found = self.connection(team).properties();
        let name = found.as_ref().ok().map(|properties| properties.get("sasl.username").unwrap_or_default().to_owned());
        assert_eq!(name.as_deref(), expected, "{team:?}: {found:?}");
    }
}

fn user(name: &str, password: &str) -> String {
    format!("sasl.username={name}\nsasl.password={password}\n")
}

#[test]
fn a_team_without_a_file_has_the_hosts_credentials_or_none() {
    let lenient = Fixture::new(false);
    lenient.check(None, Some("host"));
    lenient.check(Some("orders"), Some("host"));
    let strict = Fixture::new(true);
    strict.check(None, Some("host"));
    strict.check(Some("orders"), None);
    strict.put("teams/orders.properties", Some(&user("orders", "1")));
    strict.check(Some("orders"), Some("orders"));
    strict.check(Some("stock"), None);
}

#[test]
fn a_team_that_had_a_file_is_never_the_host() {
    let fixture = Fixture::new(false);
    fixture.put("teams/orders.properties", Some("sasl.username=orders\n"));
    fixture.check(Some("orders"), None);
    fixture.put("teams/orders.properties", Some(&user("orders", "1")));
    fixture.check(Some("orders"), Some("orders"));
    fixture.put("teams/orders.properties", Some(""));
    fixture.check(Some("orders"), Some("orders"));
    fixture.put("teams/orders.properties", None);
    fixture.check(Some("orders"), None);
    fixture.put("teams/orders.properties", Some(&user("again", "1")));
    fixture.check(Some("orders"), Some("again"));
    fixture.check(Some("stock"), Some("host"));
}

#[test]
fn what_cannot_be_read_changes_nothing() {
    let fixture = Fixture::new(false);
    fixture.put("teams/orders.properties", Some(&user("orders", "1")));
    fixture.put("host", Some("group.id=x\n"));
    fixture.check(None, Some("host"));
    fixture.put("host", None);
    fixture.check(None, Some("host"));
    fixture.put("teams/Not A Team.properties", Some(""));
    fixture.check(Some("orders"), Some("orders"));
    fixture.put("teams/..data", Some("not looked at"));
    fixture.put("teams/Not A Team.properties", None);
    fixture.put("host", Some(&user("other", "1")));
    fixture.check(None, Some("other"));
}

#[test]
fn a_content_counts_when_it_was_read_twice() {
    let fixture = Fixture::new(false);
    std::fs::write(fixture.folder.path().join("host"), user("half", "")).expect("written");
    fixture.credentials.look();
    fixture.check(None, Some("host"));
    fixture.put("host", Some(&user("whole", "1")));
    fixture.check(None, Some("whole"));
}

/// Changes a file, and compares the renewal of a session's lease.
#[track_caller]
fn check_renewal(before: &str, after: &str, expected: &Renewal) {
    let fixture = Fixture::new(false);
    fixture.put("teams/orders.properties", Some(before));
    let connection = fixture.connection(Some("orders"));
    let mut lease = connection.lease().expect("valid");
    assert_eq!(connection.renew(&mut lease).expect("valid"), Renewal::Unneeded);
    fixture.put("teams/orders.properties", Some(after));
    assert_eq!(connection.renew(&mut lease).expect("valid"), *expected, "{before} {after}");
    fixture.put("teams/stock.properties", Some(&user("stock", "1")));
    assert_eq!(connection.renew(&mut lease).expect("valid"), Renewal::Unneeded, "of another team");
    fixture.put("teams/orders.properties", None);
    assert!(connection.renew(&mut lease).is_err());
}

#[test]
fn a_session_takes_up_a_password_and_opens_again_for_all_else() {
    let password = Renewal::Password("a".into(), "2".into());
    check_renewal(&user("a", "1"), &user("a", "2"), &password);
    check_renewal(&user("a", "1"), &user("b", "2"), &Renewal::NewClients);
    let mechanism = user("a", "1") + "sasl.mechanism=PLAIN\n";
    check_renewal(&user("a", "1"), &mechanism, &Renewal::NewClients);
    let client = |id: &str, secret: &str| {
        format!(
            "security.protocol=SASL_SSL\nsasl.mechanism=OAUTHBEARER\nsasl.oauthbearer.method=oidc\n\
             sasl.oauthbearer.token.endpoint.url=https://id.example/\nsasl.oauthbearer.client.id={id}\n\
             sasl.oauthbearer.client.secret={secret}\n"
        )
    };
    // The next token is had with the new secret.
    check_renewal(&client("a", "1"), &client("a", "2"), &Renewal::Unneeded);
    check_renewal(&client("a", "1"), &client("b", "1"), &Renewal::NewClients);
    check_renewal(&client("a", "1"), &user("a", "1"), &Renewal::NewClients);
}

#[test]
fn a_source_of_tokens_that_is_incomplete_counts_as_no_credentials() {
    let fixture = Fixture::new(false);
    let incomplete = "security.protocol=SASL_SSL\nsasl.mechanism=OAUTHBEARER\nsasl.oauthbearer.method=oidc\n\
        sasl.oauthbearer.client.id=a\nsasl.oauthbearer.client.secret=hush\n";
    fixture.put("teams/orders.properties", Some(incomplete));
    let why = fixture.connection(Some("orders")).properties().expect_err("none").to_string();
    assert!(why.contains("E241") && why.contains("token.endpoint.url") && !why.contains("hush"), "{why}");
    fixture.check(None, Some("host"));
}

#[test]
fn a_host_does_not_start_with_what_is_not_valid() {
    let fixture = Fixture::new(false);
    let mut config = config(&fixture.folder, false);
    config.properties.insert("isolation.level".into(), "read_uncommitted".into());
    let why = Credentials::open(&config).err().expect("refused").to_string();
    assert!(why.contains("E240") && why.contains("isolation.level"), "{why}");
    config.properties.clear();
    let host = fixture.folder.path().join("host");
    std::fs::write(&host, "sasl.password=hush\ntransactional.id=x\n").expect("written");
    let why = Credentials::open(&config).err().expect("refused").to_string();
    assert!(why.contains("E240") && why.contains("transactional.id") && !why.contains("hush"), "{why}");
    std::fs::write(&host, "sasl.password=file:none\n").expect("written");
    let why = Credentials::open(&config).err().expect("refused").to_string();
    assert!(why.contains("E241") && why.contains("sasl.password"), "{why}");
    std::fs::write(&host, user("host", "0")).expect("written");
    std::fs::write(fixture.folder.path().join("teams/Not A Team.properties"), "").expect("written");
    let why = Credentials::open(&config).err().expect("refused").to_string();
    assert!(why.contains("E241") && why.contains("Not A Team"), "{why}");
}

/// Names and values that librdkafka does not take: the message has the name, and never the value.
#[test]
fn a_refused_property_is_named_and_its_value_is_not_told() {
    for line in ["sasl.pasword=hunter2secret", "socket.timeout.ms=hunter2secret", "security.protocol=hunter2secret"] {
        let (name, _) = line.split_once('=').expect("a line of properties");
        let fixture = Fixture::new(false);
        let path = fixture.folder.path().join("host");
        std::fs::write(&path, line).expect("written");
        let why = Credentials::open(&config(&fixture.folder, false)).err().expect("refused");
        assert_eq!(why.code(), Code::KafkaCredentials);
        let shown = format!("{why} {why:?}");
        assert!(shown.contains(name) && !shown.contains("hunter2"), "{shown}");
        // A host that runs keeps what it has.
        fixture.put("host", Some(&(user("newer", "1") + line)));
        fixture.check(None, Some("host"));
        // The client that is made without these checks.
        let raw = check_properties(&[(name.to_owned(), "hunter2secret".to_owned())]).expect_err("refused").to_string();
        let of_crate = rdkafka::ClientConfig::new().set(name, "hunter2secret").create_native_config().err();
        let of_crate = super::super::error::of_new_client(&of_crate.expect("refused"));
        assert_eq!(of_crate.code(), Code::KafkaCredentials);
        let shown = format!("{raw} {of_crate}");
        assert!(shown.contains(name) && !shown.contains("hunter2"), "{shown}");
    }
}

#[test]
fn a_file_that_is_not_valid_at_the_start_is_its_teams_alone() {
    let fixture = Fixture::new(false);
    let path = |team: &str| fixture.folder.path().join(format!("teams/{team}.properties"));
    std::fs::write(path("orders"), "sasl.password=hush\n").expect("written");
    std::fs::write(path("stock"), user("stock", "1")).expect("written");
    let credentials = Credentials::open(&config(&fixture.folder, false)).expect("the host is valid");
    let fixture = Fixture { credentials, ..fixture };
    fixture.check(Some("stock"), Some("stock"));
    fixture.check(Some("orders"), None);
    let why = fixture.connection(Some("orders")).properties().expect_err("none").to_string();
    assert!(why.contains("E241") && why.contains("orders") && !why.contains("hush"), "{why}");
}
