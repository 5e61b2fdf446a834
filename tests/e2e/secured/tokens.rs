//! Log-ins with tokens of a real OpenID provider (OAUTHBEARER): they are renewed, and a provider that fails stops nobody
//! before its token ends.

use sandbar_harness::TokenProvider;

use super::*;

/// A site whose host and teams log in with tokens.
pub(crate) struct TokenSite {
    site: Site,
    pub(crate) provider: TokenProvider,
    brokers: String,
}

// === impl TokenSite ===

impl TokenSite {
    /// The tokens of `orders` live for these seconds, those of others for as long as the test.
    pub(crate) fn new(cluster: &'static str, lifetime_s: u32) -> Self {
        let users = [("sandbar", 3600), ("orders", lifetime_s), ("stock", 3600)];
        let (kafka, provider, brokers) = SecuredKafka::start_with_tokens(&users);
        let site = Site { kafka, cluster, folder: dirs::fresh("credentials") };
        std::fs::create_dir(site.teams_dir()).expect("made");
        std::fs::write(site.folder.join("secret"), "secret-of-sandbar\n").expect("written");
        let authority = site.kafka.authority().display().to_string();
        let host = format!(
            "security.protocol=SASL_SSL\nssl.ca.location={authority}\nsasl.mechanism=OAUTHBEARER\n\
             sasl.oauthbearer.method=oidc\nsasl.oauthbearer.token.endpoint.url={}\nhttps.ca.location={authority}\n\
             sasl.oauthbearer.client.id=sandbar\nsasl.oauthbearer.client.secret=file:secret\n",
            provider.token_endpoint()
        );
        std::fs::write(site.folder.join("host.properties"), host).expect("written");
        site.grant("User:sandbar", &[]);
        let this = Self { site, provider, brokers };
        for team in ["orders", "stock"] {
            this.write_team(team, &format!("secret-of-{team}"));
            this.site.grant("User:TEAM", &[("TEAM", team)]);
        }
        this
    }

    fn write_team(&self, team: &str, secret: &str) {
        let text = format!("sasl.oauthbearer.client.id={team}\nsasl.oauthbearer.client.secret={secret}\n");
        self.site.write_team(team, &text);
    }

    pub(crate) fn host(&self) -> Host {
        self.site.host_at(&self.brokers, &["--kafka-teams-required"])
    }
}

/// A job, and the records that it was given so far.
pub(crate) struct Flow {
    job: Job,
    given: Vec<Message>,
}

impl Flow {
    pub(crate) fn new(site: &TokenSite, api: &Api, team: &str, name: &str) -> Self {
        let job = site.site.job(team, name, json!({}));
        job.deploy(api);
        Self { job, given: Vec::new() }
    }

    /// Gives it more records, and waits until they have come out.
    #[track_caller]
    pub(crate) fn goes_on(&mut self, api: &Api) {
        let more = numbered(50, 3);
        self.job.produce(&more);
        self.given.extend(more);
        self.job.wait_through(wait::PATIENCE);
        wait_code(api, &self.job, None);
    }

    #[track_caller]
    fn assert_output(&self) {
        self.job.assert_output(&unchanged(&self.given));
    }
}

/// A series of a team's token.
fn metric(api: &Api, name: &str, team: &str) -> f64 {
    let series = format!("sandbar_kafka_token_{name}{{team=\"{team}\"}} ");
    let text = api.get("/metrics").body;
    let found = text.lines().find_map(|line| line.strip_prefix(&series)?.parse().ok());
    found.unwrap_or_else(|| panic!("there is no {series}"))
}

fn host_log(host: &Host) -> String {
    std::fs::read_to_string(host.log()).expect("readable")
}

/// Brokers end a connection with its token, so records flow on only with new ones.
#[test]
fn tokens_are_renewed_while_records_flow() {
    let site = TokenSite::new("tokened", 30);
    let host = site.host();
    let api = host.api();
    let mut orders = Flow::new(&site, &api, "orders", "copy");
    orders.goes_on(&api);
    let end = || metric(&api, "end_timestamp_seconds", "orders");
    let first = end();
    // Each token is there before the one before it ends.
    let later = first + 40.0;
    wait::until("two more tokens have come", 2 * wait::PATIENCE, || {
        orders.goes_on(&api);
        if end() > later { Ok(()) } else { Err(format!("{} after {first}", end())) }
    });
    orders.goes_on(&api);
    orders.assert_output();
    let log = host_log(&host);
    assert!(!log.contains("E204") && !log.contains("E243"), "no token was missed:\n{log}");
    assert!(!log.contains("secret-of") && !log.contains("eyJ"), "a secret or a token is in the log");
}

/// A provider that is away, and one that refuses a secret: an owner waits when its token has ended, and no other does.
#[test]
fn a_provider_that_fails_stops_its_owner_when_the_token_ends() {
    let mut site = TokenSite::new("refused-tokens", 60);
    let host = site.host();
    let api = host.api();
    let mut orders = Flow::new(&site, &api, "orders", "copy-orders");
    let mut stock = Flow::new(&site, &api, "stock", "copy-stock");
    orders.goes_on(&api);
    stock.goes_on(&api);

    // Records flow while attempts fail and the token holds.
    site.provider.stop();
    let fails = || metric(&api, "failures_total", "orders");
    stock.goes_on(&api);
    wait::until("an attempt has failed", wait::PATIENCE, || if fails() > 0.0 { Ok(()) } else { Err("none has".to_owned()) });
    orders.goes_on(&api);
    let status = wait_code(&api, &orders.job, Some("E243"));
    assert!(status.to_string().contains("127.0.0.1"), "the place is named: {status}");
    stock.goes_on(&api);
    site.provider.run();
    orders.goes_on(&api);

    // A wrong secret counts for the next token. It is told without its text, and mended.
    site.write_team("orders", "wrong-secret");
    let status = wait_code(&api, &orders.job, Some("E243")).to_string();
    assert!(status.contains("invalid_client") && !status.contains("wrong-secret"), "{status}");
    stock.goes_on(&api);
    let mut spec = orders.job.spec.clone();
    spec["module"] = api.upload(&guests::fixture()).into();
    let refused = api.try_deploy("orders/other", &spec);
    assert_eq!((refused.status, refused.json()["code"].as_str()), (502, Some("E243")), "{refused:?}");
    site.write_team("orders", "secret-of-orders");
    orders.goes_on(&api);
    orders.assert_output();
    stock.assert_output();
    let log = host_log(&host);
    assert!(log.contains("E243") && !log.contains("wrong-secret"), "the log tells of it without the secret");
    assert!(!log.contains("secret-of") && !log.contains("eyJ"), "a secret or a token is in the log");
}
