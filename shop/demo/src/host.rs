//! The host of the demo: a child process that does not outlive it.

use std::fs::File;
use std::net::TcpListener;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};

use crate::api::Api;
use crate::show;

pub struct Host {
    child: Child,
    address: String,
    log: PathBuf,
}

impl Host {
    #[expect(unsafe_code, reason = "a child that ends with the demo")]
    pub fn start(sandbar: &Path, data: &Path) -> anyhow::Result<Self> {
        std::fs::create_dir_all(data)?;
        let log = data.join("host.log");
        let address = format!("127.0.0.1:{}", free_port()?);
        show::step(&format!("starting a host without Kafka (its log: {}):", log.display()));
        println!("    sandbar dev --listen {address} --data-dir {}", data.display());
        let mut command = Command::new(sandbar);
        command.args(["dev", "--listen", &address, "--data-dir"]).arg(data);
        command.stdout(File::create(&log)?).stderr(File::options().append(true).open(&log)?);
        // A group of its own: Ctrl-C is for the demo, which stops the host when everything is through.
        command.process_group(0);
        // SAFETY: prctl is async-signal-safe. The host is told to end when the demo is killed.
        unsafe {
            command.pre_exec(|| {
                libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGTERM);
                Ok(())
            });
        }
        let child = command.spawn().with_context(|| sandbar.display().to_string())?;
        Ok(Self { child, address, log })
    }

    pub fn address(&self) -> &str {
        &self.address
    }

    pub fn wait_ready(&self, api: &Api, time: Duration) -> anyhow::Result<()> {
        let deadline = Instant::now() + time;
        while !api.is_ready() {
            if Instant::now() > deadline {
                bail!("the host is not ready; its log is {}", self.log.display());
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        Ok(())
    }

    #[expect(unsafe_code, reason = "a signal to a child")]
    /// Stops the host as systemd or Kubernetes would: with SIGTERM, so that it ends in good order.
    pub fn stop(mut self) -> anyhow::Result<()> {
        // SAFETY: a signal to our own child, which was not waited for yet.
        unsafe { libc::kill(self.child.id() as i32, libc::SIGTERM) };
        let status = self.child.wait()?;
        ensure!(status.success(), "the host ended with {status}; its log is {}", self.log.display());
        Ok(())
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// 8080 if it is free, else any.
fn free_port() -> anyhow::Result<u16> {
    let listener = TcpListener::bind("127.0.0.1:8080").or_else(|_| TcpListener::bind("127.0.0.1:0"))?;
    Ok(listener.local_addr()?.port())
}
