//! `sandbar doctor`: checks the settings of a host, its machine and its Kafka cluster, and says what to correct. It starts no
//! host, writes no record and changes no topic. It asks the coordinator of transactions for a producer, which registers one
//! transactional id.
//!
//! Facts are read first, and rules judge them: [`machine`], [`brokers`] and [`control_topics`] have pure rules over plain
//! values.

mod brokers;
mod clock;
mod control_topics;
mod data_dir;
mod kafka;
mod machine;

use std::net::TcpListener;
use std::path::Path;

use self::kafka::KafkaChecks;
use self::machine::{Machine, Needs};
use super::backend::Backend;
use super::{access, descriptors, modules, open_tls, teams};
use crate::config::{Config, Flags, KafkaFlags, exposure};
use crate::guest;
use crate::guest::compile::Jail;
use crate::model::codes::Code;
use crate::model::finding::Finding;
use crate::secrets::Secrets;
use crate::telemetry::metrics::Metrics;

/// A certificate that ends within this time is told.
const CERTIFICATE_DAYS_MIN: i64 = 30;

/// Makes all checks for a host with these flags. Blocks: brokers that do not answer are waited for.
pub fn doctor(flags: Flags, kafka: KafkaFlags) -> Vec<Finding> {
    let mut kafka = kafka;
    let resolved = flags.resolve(Some(&mut kafka), ".sandbar/serve").map_err(anyhow::Error::msg);
    let resolved = resolved.and_then(|config| Ok((config, Backend::kafka(kafka)?)));
    let (config, backend) = match resolved {
        Ok(resolved) => resolved,
        Err(error) => return vec![Finding::failure("settings", format!("{error:#}"), "correct the flag, variable or file")],
    };
    let mut findings = vec![Finding::ok("settings", "flags, environment and files can be read")];
    findings.extend(Machine::read().findings(&Needs {
        open_files: descriptors::needed(config.server.limits.descriptors()),
        guest_memory_bytes: config.modules.memory_bytes_max,
    }));
    findings.extend(data_dir::findings(&config.data_dir, config.stores.disk_free_bytes_min));
    findings.push(machine_code());
    findings.push(compiler(&config));
    findings.extend(api(&config));
    findings.extend(files(&config));
    if let Backend::Kafka { config: kafka, cluster } = backend {
        let checks = KafkaChecks { kafka, cluster, group_keep_alive_interval: config.group_keep_alive_interval };
        findings.extend(checks.findings());
    }
    findings
}

fn machine_code() -> Finding {
    match guest::runs_machine_code() {
        Ok(()) => Finding::ok("machine-code", "this process may run code that it has made"),
        Err(error) => Finding::failure(
            "machine-code",
            error,
            "allow executable memory: no MemoryDenyWriteExecute= of systemd, no denial of execmem by SELinux",
        ),
    }
}

fn compiler(config: &Config) -> Finding {
    match modules::compiler(config.modules.compiler.clone()).map(|compiler| compiler.jail()) {
        Ok(Ok(jail)) if jail.is_full() => Finding::ok("compiler", "compilers have no files, no network, few system calls"),
        Ok(Ok(Jail { landlock, seccomp })) => Finding::warning(
            "compiler",
            format!("compilers are shut in only in part: Landlock is {landlock}, seccomp is {seccomp}"),
            "run Linux 6.12 or newer, and the default seccomp profile of the container engine",
        ),
        Ok(Err(error)) => Finding::failure("compiler", error, "let the host start processes of its own program"),
        Err(error) => Finding::failure("compiler", format!("{error:#}"), "let the host read its own program"),
    }
}

fn api(config: &Config) -> Vec<Finding> {
    let server = &config.server;
    let exposed = exposure::check(server.listen, server.tls.is_some(), config.access.is_required, server.insecure);
    let exposure = match exposed {
        Ok(()) if server.listen.ip().to_canonical().is_loopback() => {
            Finding::ok("exposure", format!("{} is reached from this machine alone", server.listen))
        }
        Ok(()) if server.insecure.no_tls || server.insecure.no_auth => Finding::warning(
            "exposure",
            format!("{} is reached from other machines, and a flag says that something else protects it", server.listen),
            "keep everybody from passing by that proxy; without one, use --tls-cert, --tls-key and --auth required",
        ),
        Ok(()) => Finding::ok("exposure", format!("{} has TLS and sign-in", server.listen)),
        Err(error) => Finding::failure("exposure", &error, error.code.hint()),
    };
    let listen = match TcpListener::bind(server.listen) {
        Ok(_) => Finding::ok("listen", format!("{} is free", server.listen)),
        Err(error) => Finding::warning(
            "listen",
            format!("{}: {error}", server.listen),
            "if this host does not run already, choose another --listen, or an address of this machine",
        ),
    };
    vec![exposure, listen]
}

/// The files that a host reads at its start, read as it does.
fn files(config: &Config) -> Vec<Finding> {
    let metrics = Metrics::new();
    let access = access::open(&config.access, &metrics);
    let secrets = Secrets::open(config.secrets.clone()).map_err(anyhow::Error::msg);
    let mut findings = vec![
        read("sign-in", access, "correct the file of --admin-token-file, --client-roles or --oidc-roles"),
        read("teams", teams::open(&config.teams), "correct the file of --teams"),
        read("secrets", secrets, "correct --secrets-dir"),
    ];
    let Some(options) = &config.server.tls else { return findings };
    let hint = Code::TlsFiles.hint();
    findings.push(match open_tls(options, &metrics).map(|tls| tls.days_left()) {
        Ok(days) if days < 0 => Finding::failure("tls", ends(days, &options.certificate), "renew it"),
        Ok(days) if days < CERTIFICATE_DAYS_MIN => Finding::warning("tls", ends(days, &options.certificate), "renew it"),
        Ok(days) => Finding::ok("tls", ends(days, &options.certificate)),
        Err(error) => Finding::failure("tls", format!("{error:#}"), hint),
    });
    findings
}

fn read<T>(check: &'static str, read: anyhow::Result<T>, fix: &str) -> Finding {
    match read {
        Ok(_) => Finding::ok(check, "the files of the settings can be used"),
        Err(error) => Finding::failure(check, format!("{error:#}"), fix),
    }
}

fn ends(days: i64, certificate: &Path) -> String {
    let certificate = certificate.display();
    if days < 0 { format!("the certificate {certificate} has ended") } else { format!("{certificate} ends in {days} days") }
}
