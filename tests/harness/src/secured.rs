//! A Kafka that is locked: TLS, SCRAM, PLAIN, tokens and client certificates, and an authorizer that allows nothing by itself.
//!
//! The plain listener stays for the tests' own clients: who comes by it is a superuser. Keys are made by `keytool`, which comes
//! with Java.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::dirs;
use crate::kafka::{KafkaCluster, Listener, OwnKafka, Secured};
use crate::ports::free_port;
use crate::token_provider::TokenProvider;

/// The password of every key store.
const STORE_PASSWORD: &str = "sandbar-tests";

/// One node with its keys.
#[derive(Debug)]
pub struct SecuredKafka {
    pub kafka: &'static KafkaCluster,
    /// The address for those who log in with a password, over TLS.
    pub passwords: String,
    /// The address for those who show a certificate.
    pub certificates: String,
    keys: PathBuf,
    _own: OwnKafka,
}

// === impl SecuredKafka ===

impl SecuredKafka {
    /// Starts a node that knows these users with their passwords, by SCRAM-SHA-512 and by PLAIN. It ends
    /// with the value.
    pub fn start(users: &[(&str, &str)]) -> Self {
        Self::start_on(make_authority(), users, "", Secured::default())
    }

    /// Starts a node that knows users by their tokens, and a provider that gives them, each for its seconds. Returns the
    /// address for those who log in so.
    pub fn start_with_tokens(users: &[(&str, u32)]) -> (Self, TokenProvider, String) {
        let keys = make_authority();
        make_key(&keys, "provider", "CN=provider");
        let provider = TokenProvider::start(users, &keys.join("provider.p12"), STORE_PASSWORD);
        let port = free_port();
        let listener = Listener { name: "TOKENS", protocol: "SASL_SSL", port };
        let more = Secured { listeners: vec![listener], users: Vec::new(), options: provider.of_jvm() };
        let kafka = Self::start_on(keys, &[], &provider.of_broker("tokens"), more);
        (kafka, provider, format!("127.0.0.1:{port}"))
    }

    fn start_on(keys: PathBuf, users: &[(&str, &str)], lines: &str, mut more: Secured) -> Self {
        make_key(&keys, "broker", "CN=broker");
        let [passwords, certificates] = [(); 2].map(|()| free_port());
        more.listeners.extend([
            Listener { name: "SECURE", protocol: "SASL_SSL", port: passwords },
            Listener { name: "MUTUAL", protocol: "SSL", port: certificates },
        ]);
        let scram = |(name, password): &(&str, &str)| format!("SCRAM-SHA-512=[name={name},password={password}]");
        more.users = users.iter().map(scram).collect();
        let kafka = KafkaCluster::start_secured(1, &(properties(&keys, users) + lines), &more);
        let [passwords, certificates] = [passwords, certificates].map(|port| format!("127.0.0.1:{port}"));
        let own = OwnKafka::of(kafka);
        Self { kafka: own.cluster(), _own: own, passwords, certificates, keys }
    }

    /// The certificate of the authority that signs all others, as PEM.
    pub fn authority(&self) -> PathBuf {
        self.keys.join("ca.pem")
    }

    /// A client's key and certificate for the principal `User:<name>`, as properties of librdkafka.
    pub fn certificate_of(&self, name: &str) -> String {
        make_key(&self.keys, name, &format!("CN={name}"));
        let store = self.keys.join(format!("{name}.p12"));
        let authority = self.authority();
        format!(
            "security.protocol=SSL\nssl.ca.location={}\nssl.keystore.location={}\nssl.keystore.password={STORE_PASSWORD}\n",
            authority.display(),
            store.display()
        )
    }

    /// Changes the SCRAM password of a user.
    pub fn set_password(&self, user: &str, password: &str) {
        let config = format!("SCRAM-SHA-512=[password={password}]");
        let args = ["--alter", "--entity-type", "users", "--entity-name", user, "--add-config", &config];
        self.kafka.tool("kafka.admin.ConfigCommand", &args);
    }
}

/// Makes a folder with an authority's keys.
fn make_authority() -> PathBuf {
    let keys = dirs::fresh("keys");
    keytool(&keys, "-genkeypair -alias ca -keyalg EC -dname CN=ca -ext bc:c -keystore ca.p12");
    keytool(&keys, "-exportcert -rfc -alias ca -keystore ca.p12 -file ca.pem");
    keys
}

fn properties(keys: &Path, users: &[(&str, &str)]) -> String {
    let plain: String = users.iter().map(|(name, password)| format!(" user_{name}=\"{password}\"")).collect();
    let [store, authority] = ["broker.p12", "ca.pem"].map(|name| keys.join(name).display().to_string());
    format!(
        "ssl.keystore.type=PKCS12\nssl.keystore.location={store}\nssl.keystore.password={STORE_PASSWORD}\n\
         ssl.key.password={STORE_PASSWORD}\nssl.truststore.type=PEM\nssl.truststore.location={authority}\n\
         listener.name.mutual.ssl.client.auth=required\n\
         ssl.principal.mapping.rules=RULE:^CN=(.*)$/$1/\n\
         listener.name.secure.sasl.enabled.mechanisms=SCRAM-SHA-512,PLAIN\n\
         listener.name.secure.scram-sha-512.sasl.jaas.config=\
         org.apache.kafka.common.security.scram.ScramLoginModule required;\n\
         listener.name.secure.plain.sasl.jaas.config=\
         org.apache.kafka.common.security.plain.PlainLoginModule required{plain};\n\
         authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer\n\
         super.users=User:ANONYMOUS\n"
    )
}

/// Makes `<name>.p12`: a key with a certificate of the authority's for this machine's loopback.
fn make_key(keys: &Path, name: &str, subject: &str) {
    let store = format!("-keystore {name}.p12");
    keytool(keys, &format!("-genkeypair -alias own -keyalg EC -dname {subject} {store}"));
    keytool(keys, &format!("-certreq -alias own -file {name}.csr {store}"));
    let signed = format!("-infile {name}.csr -outfile {name}.pem -rfc -ext san=ip:127.0.0.1");
    keytool(keys, &format!("-gencert -alias ca -keystore ca.p12 {signed}"));
    keytool(keys, &format!("-importcert -noprompt -alias ca -file ca.pem {store}"));
    keytool(keys, &format!("-importcert -noprompt -alias own -file {name}.pem {store}"));
}

fn keytool(folder: &Path, args: &str) {
    let mut command = Command::new("keytool");
    command.args(args.split(' ')).args(["-storetype", "PKCS12"]).current_dir(folder);
    command.args(["-storepass", STORE_PASSWORD]);
    let output = command.output().expect("keytool is on the PATH: it comes with Java");
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "keytool {args}: {text}{}", String::from_utf8_lossy(&output.stderr));
}
