//! The commands of the pages around a host with TLS and sign-in, against the one that the page starts, on Kafka.

use std::process::Command;

use rcgen::{CertifiedKey, generate_simple_self_signed};
use sandbar_harness::{Cli, KafkaCluster, dirs, guests, ports, topics, wait};

use super::shell::PageShell;

const RUNNER: &str = "tests/e2e/pages/hosts.rs";
const INPUT: &str = "billing.orders";
const OUTPUT: &str = "billing.echoes";
const SPEC: &str = "team: billing
name: echo
inputs: [billing.orders]
outputs: { out: billing.echoes }
config: { mode: echo }
module: echo.wasm
";

/// The shell of the page's reader, who has certificates and a transform, and the host's URL.
fn reader(kafka: &KafkaCluster) -> (PageShell, String) {
    let port = ports::free_port();
    let own = format!("localhost:{port}");
    let mut shell = PageShell::new(RUNNER, Vec::new());
    for (theirs, ours) in [
        ("kafka-1:9092,kafka-2:9092", kafka.brokers()),
        ("kafka-1:9092", kafka.brokers()),
        ("kafka:9092", kafka.brokers()),
        ("--cluster shop", "--cluster pages"),
        ("0.0.0.0:8443", &format!("127.0.0.1:{port}")),
        ("host-a.example:8443", &own),
        ("https://sandbar.example", &format!("https://{own}")),
    ] {
        shell.name(theirs, ours);
    }
    for (certificate, key, name) in [("host.pem", "host.key", "localhost"), ("me.pem", "me.key", "me.example")] {
        let CertifiedKey { cert, signing_key } = generate_simple_self_signed([name.to_owned()]).expect("a certificate");
        shell.write(certificate, cert.pem());
        shell.write(key, signing_key.serialize_pem());
    }
    std::fs::copy(shell.folder.join("host.pem"), shell.folder.join("authority.pem")).expect("copied");
    shell.write("sandbar.toml", format!("brokers = {:?}\ncluster = \"pages-of-a-file\"\n", kafka.brokers()));
    shell.write("transform.yaml", SPEC);
    shell.write("echo.wasm", guests::fixture());
    // As an authority that the system knows.
    let authority = shell.path("authority.pem");
    shell.set("SSL_CERT_FILE", &authority);
    (shell, format!("https://{own}"))
}

/// A command line of the administrator.
fn as_admin(shell: &PageShell, url: &str, token: &str, words: &str) -> Command {
    let mut command = Command::new(dirs::sandbar());
    command.args(words.split(' ')).args(["--url", url, "--ca", &shell.path("authority.pem")]);
    command.env("SANDBAR_TOKEN", token).env("XDG_CONFIG_HOME", shell.folder.join("admin"));
    command
}

#[test]
fn the_commands_around_a_host_with_tls_run() {
    let kafka = KafkaCluster::shared();
    topics::create(kafka, &[INPUT, OUTPUT], 1);
    let (mut shell, url) = reader(kafka);
    shell.set("SANDBAR_DATA_DIR", &shell.path("data"));
    shell.interrupts("hosts");
    let shown = shell.runs("doctor-of-a-cluster");
    assert!(shown.contains(" checks, 0 failures"), "{shown}");

    let admin = Cli::at("pages-admin", ([127, 0, 0, 1], 1).into()).succeeds("token generate").trim().to_owned();
    let hash =
        Cli::ended(Command::new("bash").args(["-c", "exec \"$0\" token hash <<< \"$1\""]).arg(dirs::sandbar()).arg(&admin));
    shell.write("admin.hash", hash.out);
    shell.set("SANDBAR_ADMIN_TOKEN_FILE", &shell.path("admin.hash"));
    let host = shell.start("tls-host");
    wait::until("the host is ready", wait::PATIENCE, || {
        let ran = Cli::ended(&mut as_admin(&shell, &url, &admin, "hosts"));
        if ran.code == Some(0) { Ok(()) } else { Err(format!("{ran:?}\n{}", host.text())) }
    });
    let ready = shell.runs("tls-ready");
    assert!(ready.contains("ready"), "{ready}");

    let words = "token create --team billing --role deploy --role operate --role data --name ci";
    let created = Cli::ended(&mut as_admin(&shell, &url, &admin, words));
    shell.write("billing.token", &created.out);
    let shown = shell.runs("company");
    assert!(shown.contains("billing:deploy") && shown.contains("revision 1"), "{shown}");

    // From here on the commands are the administrator's.
    shell.set("SANDBAR_TOKEN", &admin);
    shell.runs("tls-hosts");
    shell.runs("tls-context");
    shell.end();
}
