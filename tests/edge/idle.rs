//! Ten thousand idle TLS connections: what each costs the server in memory and descriptors (P6). The server runs in a
//! process of its own, so that the clients' half is not counted; the figure of the release is in docs/performance.md.

use crate::support::client::config_for;
use crate::support::pki::{Identity, Pki};
use crate::support::{Client, Server};
use rustls::version::TLS13;
use spine::edge::options::Options;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::SocketAddr;
use std::process::{Child, ChildStdout, Stdio};
use std::sync::Arc;

const CONNECTIONS: usize = 10_000;
/// The variable that makes the child a server.
const ROLE: &str = "SPINE_TEST_IDLE_SERVER";

/// Lets this process hold both its files and as many connections; `Err` says how many it may.
fn descriptors(wanted: u64) -> Result<(), u64> {
    use nix::sys::resource::{Resource, getrlimit, setrlimit};
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
    setrlimit(Resource::RLIMIT_NOFILE, hard.min(wanted), hard).unwrap();
    if hard < wanted { Err(hard) } else { Ok(()) }
}

/// What the child does: serves until its standard input ends. In the ordinary run of all tests it does nothing.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_server_in_a_process_of_its_own() {
    if std::env::var(ROLE).is_err() {
        return;
    }
    let _ = descriptors(CONNECTIONS as u64 + 500);
    let limits = Options { max_connections_per_system: CONNECTIONS + 10, ..Options::default() };
    let server = Server::start(limits).await;
    let fields = [
        server.address.to_string(),
        hex(&server.pki.authority_pem),
        hex(&server.approved.pem),
        hex(&server.approved.key_pem),
    ];
    println!("\nserving {}", fields.join(" "));
    std::io::stdout().flush().unwrap();
    tokio::task::spawn_blocking(|| std::io::stdin().read_to_end(&mut vec![])).await.unwrap().unwrap();
}

fn hex(text: &str) -> String {
    spine::edge::peer::hex(text.as_bytes())
}

fn unhex(text: &str) -> String {
    let byte = |at: usize| u8::from_str_radix(&text[at..at + 2], 16).unwrap();
    String::from_utf8((0..text.len()).step_by(2).map(byte).collect()).unwrap()
}

struct Other {
    child: Child,
    address: SocketAddr,
    authority: String,
    approved: Identity,
    /// Kept open: a child that cannot say that it takes long would end.
    _told: BufReader<ChildStdout>,
}

impl Other {
    fn start() -> Other {
        let mut command = std::process::Command::new(std::env::current_exe().unwrap());
        command.args(["--exact", "idle::the_server_in_a_process_of_its_own", "--nocapture"]).env(ROLE, "1");
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let mut told = BufReader::new(child.stdout.take().unwrap());
        let mut lines = told.by_ref().lines().map(Result::unwrap);
        let line = lines.find(|l| l.starts_with("serving ")).expect("the child serves");
        let fields: Vec<&str> = line.split(' ').skip(1).collect();
        let approved = Identity { pem: unhex(fields[2]), key_pem: unhex(fields[3]), serial: 100 };
        Other { child, address: fields[0].parse().unwrap(), authority: unhex(fields[1]), approved, _told: told }
    }

    fn resident(&self) -> u64 {
        let statm = std::fs::read_to_string(format!("/proc/{}/statm", self.child.id())).unwrap();
        statm.split(' ').nth(1).unwrap().parse::<u64>().unwrap() * 4096
    }

    fn descriptors(&self) -> usize {
        std::fs::read_dir(format!("/proc/{}/fd", self.child.id())).unwrap().count()
    }
}

impl Drop for Other {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_thousand_idle_connections_cost_bounded_memory() {
    let many = match descriptors(CONNECTIONS as u64 + 500) {
        Ok(()) => CONNECTIONS,
        // A machine that allows fewer shows the same cost of each with what it allows.
        Err(hard) => hard as usize - 500,
    };
    let other = Other::start();
    let tls = Arc::new(config_for(&other.authority, Some(&other.approved), &[&TLS13]));
    // Buffers and caches that the first connections fill for all are no cost of one.
    let mut open = vec![];
    for _ in 0..50 {
        open.push(Client::at(other.address, tls.as_ref().clone()).await.unwrap());
    }
    let (memory, files, warm) = (other.resident(), other.descriptors(), open.len());
    while open.len() < many {
        let some = (0..50.min(many - open.len())).map(|_| Client::at(other.address, tls.as_ref().clone()));
        for client in futures_util::future::join_all(some).await {
            open.push(client.unwrap());
        }
    }
    for client in open.iter_mut().step_by(100) {
        assert_eq!(client.get("/open").await.status, 200);
    }
    let more = (open.len() - warm) as u64;
    let each = other.resident().saturating_sub(memory) / more;
    let descriptors = (other.descriptors() - files) as u64;
    println!("{} idle connections: {each} bytes each, {descriptors} descriptors for {more}", open.len());
    assert_eq!(descriptors, more, "one descriptor each");
    assert!(each < 80 << 10, "{each} bytes for an idle connection");
    let mut late = Client::at(other.address, tls.as_ref().clone()).await.unwrap();
    assert_eq!(late.post("/write", "", b"x").await.status, 202);
}

/// A certificate of ours is what the child's clients show, so both halves speak of one authority.
#[test]
fn texts_survive_the_way_between_the_processes() {
    let pki = Pki::new();
    assert_eq!(unhex(&hex(&pki.authority_pem)), pki.authority_pem);
}
