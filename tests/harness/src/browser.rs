//! A web page in a real browser: Chromium without a window, and the page's own server.

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};

use crate::child::Process;
use crate::dirs;

const NAMES: [&str; 2] = ["chromium", "chromium-browser"];
/// Nothing that Chromium does by itself: no updates, no accounts, no network but the page's.
const FLAGS: [&str; 11] = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-extensions",
    "--disable-dev-shm-usage",
    "--mute-audio",
];

/// Pages by path, on a port of their own, and their reports.
pub struct Site {
    pub address: SocketAddr,
    reports: Arc<Mutex<Vec<String>>>,
}

// === impl Site ===

impl Site {
    /// Serves these pages, and keeps the reports that they send to `/report`.
    pub fn start(pages: impl IntoIterator<Item = (&'static str, String)>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("bound");
        let pages = Arc::new(pages.into_iter().collect::<HashMap<_, _>>());
        let reports = Arc::default();
        let kept: Arc<Mutex<Vec<String>>> = Arc::clone(&reports);
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let pages = pages.clone();
                let kept = kept.clone();
                std::thread::spawn(move || answer(stream, &pages, &kept));
            }
        });
        Self { address, reports }
    }

    pub fn reports(&self) -> Vec<String> {
        self.reports.lock().expect("no panic under it").clone()
    }
}

/// One request a connection.
fn answer(mut stream: TcpStream, pages: &HashMap<&str, String>, reports: &Mutex<Vec<String>>) -> Option<()> {
    let mut reader = BufReader::new(stream.try_clone().ok()?);
    let mut first = String::new();
    reader.read_line(&mut first).ok()?;
    let path = first.split(' ').nth(1)?.to_owned();
    let mut length = 0;
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).ok().filter(|&read| read > 0)?;
        if line.trim().is_empty() {
            break;
        }
        if let Some((name, value)) = line.split_once(':')
            && name.eq_ignore_ascii_case("content-length")
        {
            length = value.trim().parse().ok()?;
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    if path == "/report" {
        reports.lock().expect("no panic under it").push(String::from_utf8_lossy(&body).into_owned());
    }
    let (status, page) = pages.get(path.as_str()).map_or(("404 Not Found", ""), |page| ("200 OK", page.as_str()));
    let head = format!(
        "HTTP/1.1 {status}\r\nContent-Type: text/html; charset=utf-8\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
        page.len()
    );
    stream.write_all((head + page).as_bytes()).ok()
}

/// Opens a page, and leaves it open until the process is dropped.
#[track_caller]
pub fn open(url: &str) -> Process {
    let folder = dirs::fresh("browser");
    let mut command = chromium(&folder.join("profile"));
    // Chromium with a debugging port does not end when the page is loaded.
    command.args(["--remote-debugging-port=0", url]);
    Process::start("chromium", command, &folder.join("log"))
}

/// Loads a page and ends; the document that it shows. `rules` say which names are which addresses (`MAP NAME ADDRESS`).
#[track_caller]
pub fn shown(url: &str, rules: &str) -> String {
    let folder = dirs::fresh("browser");
    let mut command = chromium(&folder.join("profile"));
    command.arg(format!("--host-resolver-rules={rules}")).args(["--timeout=20000", "--dump-dom", url]);
    let output = command.stdin(Stdio::null()).output().expect("it can be started");
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// The path of Chromium.
#[track_caller]
pub fn program() -> PathBuf {
    let folders = std::env::var_os("PATH").unwrap_or_default();
    let found = std::env::split_paths(&folders)
        .flat_map(|folder| NAMES.map(|name| folder.join(name)))
        .find(|program| program.is_file());
    found.expect("Chromium is missing: run `tools/setup.sh browser`")
}

#[track_caller]
fn chromium(profile: &Path) -> Command {
    let mut command = Command::new(program());
    command.args(FLAGS).arg(format!("--user-data-dir={}", profile.display()));
    command
}
