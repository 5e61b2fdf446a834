//! `sandbar pull` against a real registry: Debian's `docker-registry`, with passwords and with TLS.

use std::path::Path;
use std::process::{Command, Stdio};

use rcgen::{CertifiedKey, generate_simple_self_signed};
use sandbar::model::names::Digest;
use sandbar_harness::registry::Registry;
use sandbar_harness::{Cli, Host, KafkaCluster, dirs, guests, topics};
use serde_json::json;

use crate::pages::shell::PageShell;

const MODULE: &[u8] = b"\0asm, as far as a registry knows";
/// `me` with the password `hunter2`.
const USERS: &str = "me:$2b$05$abcdefghijklmnopqrstuuoXuKqgZXLiJqzfmMXDDhSFPIvxV7t8.\n";

/// Pulls into `m.wasm`; the output, or the error.
fn pull(folder: &Path, reference: &str, words: &[&str], password: &str) -> Result<String, String> {
    let mut command = Command::new(dirs::sandbar());
    command.args(["pull", reference, "--out", "m.wasm"]).args(words).current_dir(folder).stdin(Stdio::null());
    command.env("DOCKER_CONFIG", folder).env("SANDBAR_REGISTRY_PASSWORD", password);
    let output = command.output().expect("the binary runs");
    let text = |bytes| String::from_utf8(bytes).expect("text");
    if output.status.success() { Ok(text(output.stdout)) } else { Err(text(output.stderr)) }
}

#[test]
fn a_module_comes_from_a_registry_with_a_password_and_with_tls() {
    let folder = dirs::fresh("pulled");
    let storage = dirs::fresh("registry-storage");
    let users = folder.join("users");
    std::fs::write(&users, USERS).expect("writable");
    let CertifiedKey { cert, signing_key } =
        generate_simple_self_signed(vec!["localhost".to_owned()]).expect("a certificate");
    let files = [folder.join("host.pem"), folder.join("host.key")];
    std::fs::write(&files[0], cert.pem()).expect("writable");
    std::fs::write(&files[1], signing_key.serialize_pem()).expect("writable");
    let [certificate, key] = files.each_ref().map(|path| path.to_str().expect("text"));
    let users = users.to_str().expect("text");
    let sign_in =
        [("REGISTRY_AUTH", "htpasswd"), ("REGISTRY_AUTH_HTPASSWD_REALM", "shop"), ("REGISTRY_AUTH_HTPASSWD_PATH", users)];
    let tls = [("REGISTRY_HTTP_TLS_CERTIFICATE", certificate), ("REGISTRY_HTTP_TLS_KEY", key)];

    // Whoever pushes is not the subject here: a registry without protections over the same storage takes it.
    let open = Registry::start(&storage, &[]);
    let digest = Digest::of(MODULE).to_string();
    let annotations = json!({"io.github.sandbar-rs.signature": "{\"signed\":1}"});
    open.push("shop/echo", "1.4", (MODULE, &digest), &annotations);
    let plain = Registry::start(&storage, &sign_in);
    let secure = Registry::start(&storage, &[&sign_in[..], &tls[..]].concat());

    let anonymous = format!("oci+http://127.0.0.1:{}/shop/echo:1.4", open.port());
    let shown = pull(&folder, &anonymous, &[], "").expect("pulled");
    assert_eq!(std::fs::read(folder.join("m.wasm")).expect("written"), MODULE);
    assert_eq!(std::fs::read(folder.join("m.wasm.sig")).expect("written"), b"{\"signed\":1}");
    let (_, pinned) = shown.split_once("/shop/echo@").expect("the digest of the manifest is shown");
    let pinned = pinned.split(',').next().expect("a digest").to_owned();

    let user = ["--registry-user", "me"];
    let trusted = [&user[..], &["--registry-ca", certificate]].concat();
    let by_digest = format!("oci+http://127.0.0.1:{}/shop/echo@{pinned}", plain.port());
    let over_tls = format!("oci://localhost:{}/shop/echo@{pinned}", secure.port());
    pull(&folder, &by_digest, &user, "hunter2").expect("with a password");
    pull(&folder, &over_tls, &trusted, "hunter2").expect("over TLS");
    for (reference, words, password, part) in [
        (&by_digest, &[][..], "", "asks for a user and a password"),
        (&by_digest, &user, "hunter3", "with these credentials"),
        (&by_digest.replace("shop/echo", "shop/other"), &user, "hunter2", "no such artifact"),
        (&over_tls, &trusted, "hunter3", "with these credentials"),
        (&over_tls, &user, "hunter2", "E073"),
        (&over_tls.replace("oci://localhost", "oci+http://localhost"), &trusted, "hunter2", "E111"),
        (&by_digest.replace("oci+http://127.0.0.1", "oci://localhost"), &trusted, "hunter2", "E073"),
    ] {
        let refused = pull(&folder, reference, words, password).expect_err(reference);
        assert!(refused.contains(part) && !refused.contains("hunter"), "{reference}: {part:?} is not in {refused}");
    }
}

#[test]
fn the_commands_of_the_pages_take_modules_from_it() {
    let kafka = KafkaCluster::shared();
    topics::create(kafka, &["registry.in", "registry.out"], 1);
    let host = Host::start(kafka, "registry");
    let module = guests::fixture();
    let digest = Digest::of(&module).to_string();
    let registry = Registry::start(&dirs::fresh("registry-storage"), &[]);
    let mut shell = PageShell::new("tests/e2e/registry.rs", Vec::new());
    shell.write("big_orders.wasm", &module);
    for words in ["key generate --out shop.key", "big_orders.wasm --key shop.key --team shop --out big-orders.sig"] {
        let ran = Cli::ended(&mut shell.command("set -e", &format!("sandbar sign {words}")));
        assert_eq!(ran.code, Some(0), "{ran:?}");
    }
    let ours = format!("oci+http://127.0.0.1:{}/shop", registry.port());
    for repository in ["order-lines", "big-orders"] {
        registry.push(&format!("shop/{repository}"), "1.4", (&module, &digest), &json!({}));
    }
    let shown = pull(&shell.folder, &format!("{ours}/order-lines:1.4"), &[], "").expect("pulled");
    let (_, pinned) = shown.split_once("/order-lines@sha256:").expect("the digest of the manifest is shown");
    shell.name("oci://ghcr.io/shop", &ours);
    shell.name(
        "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
        pinned.split(',').next().expect("a digest"),
    );
    shell.set("SANDBAR_URL", &format!("http://{}", host.address()));
    shell.write(
        "transform.yaml",
        "team: shop\nname: echo\ninputs: [registry.in]\noutputs: { out: registry.out }\nconfig: { mode: echo }\n",
    );
    for (block, file) in [("pull-and-deploy", "order_lines.wasm"), ("cli-pull", "big_orders.wasm")] {
        let _ = std::fs::remove_file(shell.folder.join(file));
        shell.runs(block);
        assert_eq!(std::fs::read(shell.folder.join(file)).expect("written"), *module, "{block}");
    }
    let shown = shell.runs("cli-deploy");
    assert!(shown.contains("shop/echo"), "{shown}");
    shell.end();
}
