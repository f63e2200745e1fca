//! The wires between nodes, in the tests' own hands: a TCP proxy in front of every node's peer listener, which nodes take for
//! the node's address (`peer.advertise`). Who calls is found by asking the kernel which process holds the other end, so
//! that each direction between two nodes can be good, bad, silent or cut by itself.
//!
//! Where the kernel may be told to (nft), lost packets are really lost and really sent again; else the proxy keeps bytes back
//! for as long as TCP would take, and says so.

use super::packets::Dropper;
use std::{
    collections::HashMap,
    fs, io,
    net::{Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
    sync::Arc,
    thread::JoinHandle,
    time::Duration,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{
        TcpListener, TcpSocket, TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
    sync::{Notify, mpsc, watch},
    time::{Instant, sleep, sleep_until, timeout},
};

/// TCP gives a connection up whose bytes stay unacknowledged for so long (the nodes' own setting).
const USER_TIMEOUT: Duration = Duration::from_secs(5);
/// Shortest time after which TCP sends lost bytes again; doubled each time.
const RETRANSMIT: Duration = Duration::from_millis(200);
/// A packet of the proxy's imagination.
const CHUNK: usize = 16 << 10;
/// Chunks under way in one direction; more wait at the sender.
const UNDER_WAY: usize = 256;

/// One direction between two nodes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Wire {
    Good,
    /// Nothing arrives, nobody is told.
    Silent,
    /// Connections are reset, new ones are refused.
    Cut,
    Poor {
        /// Of a hundred packets so many are lost.
        loss: u8,
        delay: Duration,
        /// Up to so much more delay for each packet; order is kept, as TCP does.
        jitter: Duration,
    },
}

type Pair = (u64, u64);

struct Shared {
    /// How each direction is, and since when.
    states: watch::Sender<HashMap<Pair, (Wire, Instant)>>,
    /// The folder of the site, by which its processes are known.
    folder: PathBuf,
    first_port: u16,
    /// Drops packets of a pair's connections.
    dropper: Option<Dropper>,
    over: Notify,
}

pub struct Wires {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
    ports: Vec<u16>,
}

impl Wires {
    /// Takes the place of the first `nodes` nodes' addresses in a demo that is about to start.
    pub fn lay(folder: &Path, first_port: u16, nodes: u64) -> Wires {
        let listen = |_| std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port for a wire");
        let listeners: Vec<_> = (1..=nodes).map(listen).collect();
        let ports: Vec<u16> = listeners.iter().map(|l| l.local_addr().expect("a bound port").port()).collect();
        let shared = Shared {
            states: watch::Sender::new(HashMap::new()),
            folder: folder.to_owned(),
            first_port,
            dropper: Dropper::new(),
            over: Notify::new(),
        };
        let shared = Arc::new(shared);
        let mut wires = Wires { shared: Arc::clone(&shared), thread: None, ports };
        (1..=nodes).for_each(|node| wires.configure(node));
        wires.thread = Some(std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
            runtime.block_on(async {
                for (node, listener) in (1..).zip(listeners) {
                    listener.set_nonblocking(true).expect("a listener that does not block");
                    let listener = TcpListener::from_std(listener).expect("a listener");
                    tokio::spawn(serve(Arc::clone(&shared), node, listener));
                }
                shared.over.notified().await;
            });
        }));
        wires
    }

    /// Tells a node, before it starts, under which addresses the others and itself are reached.
    fn configure(&self, node: u64) {
        let folder = self.shared.folder.join(format!("node-{node}/conf.d"));
        fs::create_dir_all(&folder).expect("a folder for the node's configuration");
        let all: Vec<String> = (1..).zip(&self.ports).map(|(n, port)| format!("\"{n}=127.0.0.1:{port}\"")).collect();
        let own = self.ports[node as usize - 1];
        let text = format!("[peer]\nadvertise = \"127.0.0.1:{own}\"\nnodes = [{}]\n", all.join(", "));
        fs::write(folder.join("wires.toml"), text).expect("the node's configuration");
    }

    /// One direction.
    pub fn set(&self, from: u64, to: u64, wire: Wire) {
        if let Some(dropper) = &self.shared.dropper {
            let loss = if let Wire::Poor { loss, .. } = wire { loss } else { 0 };
            dropper.lose((from, to), loss);
        }
        self.shared.states.send_modify(|states| {
            states.insert((from, to), (wire, Instant::now()));
        });
    }

    /// Both directions between a node and some others.
    pub fn between(&self, node: u64, others: &[u64], wire: Wire) {
        for other in others {
            self.set(node, *other, wire);
            self.set(*other, node, wire);
        }
    }

    pub fn all(&self, wire: Wire) {
        let nodes = 1..=self.ports.len() as u64;
        nodes.clone().for_each(|a| nodes.clone().filter(|b| a != *b).for_each(|b| self.set(a, b, wire)));
    }
}

impl Drop for Wires {
    fn drop(&mut self) {
        self.shared.over.notify_one();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl Shared {
    fn now(&self, pair: Pair) -> Wire {
        self.states.borrow().get(&pair).map_or(Wire::Good, |(wire, _)| *wire)
    }

    /// Waits until bytes pass in a direction. Where the other one is silent, nothing that arrives is acknowledged, and TCP
    /// sends nothing new after its first vain retransmission.
    async fn passable(&self, pair: Pair) {
        let mut states = self.states.subscribe();
        let silent = |states: &HashMap<Pair, (Wire, Instant)>, pair: Pair, grace: Duration| {
            states.get(&pair).is_some_and(|(wire, since)| *wire == Wire::Silent && since.elapsed() >= grace)
        };
        let open = |states: &HashMap<Pair, (Wire, Instant)>| {
            !silent(states, pair, Duration::ZERO) && !silent(states, (pair.1, pair.0), RETRANSMIT)
        };
        let _ = states.wait_for(open).await;
    }

    /// Waits until a direction is in a state that `fits`.
    async fn until(&self, pair: Pair, fits: impl Fn(Wire) -> bool) {
        let mut states = self.states.subscribe();
        let fits =
            |states: &HashMap<Pair, (Wire, Instant)>| fits(states.get(&pair).map_or(Wire::Good, |(wire, _)| *wire));
        let _ = states.wait_for(fits).await;
    }
}

async fn serve(shared: Arc<Shared>, node: u64, listener: TcpListener) {
    let listens = listener.local_addr().expect("a bound port");
    while let Ok((stream, caller)) = listener.accept().await {
        tokio::spawn(connect(Arc::clone(&shared), stream, caller, listens, node));
    }
}

/// Carries one connection until it ends or its wires are cut.
async fn connect(shared: Arc<Shared>, near: TcpStream, caller: SocketAddr, listens: SocketAddr, to: u64) {
    // A process that is no node of the site (a joining one, say) is node 0, whose wires nobody touches.
    let from = holder(&shared.folder, caller, listens).unwrap_or(0);
    let pairs = [(from, to), (to, from)];
    // The first packets of a connection go both ways.
    let open = async {
        for pair in pairs {
            shared.until(pair, |wire| wire != Wire::Silent).await;
        }
    };
    if timeout(USER_TIMEOUT, open).await.is_err() || pairs.iter().any(|pair| shared.now(*pair) == Wire::Cut) {
        return reset(near);
    }
    let Ok(far) = dial(&shared, from, to).await else { return reset(near) };
    let _ = (near.set_nodelay(true), far.set_nodelay(true));
    let (near_read, near_write) = near.into_split();
    let (far_read, far_write) = far.into_split();
    let cut = async {
        tokio::select! {
            () = shared.until(pairs[0], |wire| wire == Wire::Cut) => {}
            () = shared.until(pairs[1], |wire| wire == Wire::Cut) => {}
        }
    };
    tokio::select! {
        () = carry(&shared, pairs[0], near_read, far_write) => {}
        () = carry(&shared, pairs[1], far_read, near_write) => {}
        () = cut => {}
    }
}

fn reset(stream: TcpStream) {
    let _ = stream.set_zero_linger();
}

/// From an address that names the pair, so that packet rules can tell pairs apart.
async fn dial(shared: &Shared, from: u64, to: u64) -> io::Result<TcpStream> {
    let socket = TcpSocket::new_v4()?;
    if let Some(dropper) = &shared.dropper {
        socket.bind((dropper.address((from, to)), 0).into())?;
    }
    let port = shared.first_port + 10 * (to as u16 - 1) + 1;
    socket.connect((Ipv4Addr::LOCALHOST, port).into()).await
}

/// Carries one direction until either end is closed, or bytes have waited for longer than TCP would.
async fn carry(shared: &Shared, pair: Pair, read: OwnedReadHalf, write: OwnedWriteHalf) {
    let (queue, waiting) = mpsc::channel(UNDER_WAY);
    tokio::select! {
        () = take_in(shared, pair, read, queue) => {}
        () = give_out(shared, pair, write, waiting) => {}
    }
}

type Chunk = (Instant, Vec<u8>);

async fn take_in(shared: &Shared, pair: Pair, mut read: OwnedReadHalf, queue: mpsc::Sender<Chunk>) {
    let mut last = Instant::now();
    let mut buffer = vec![0; CHUNK];
    while let Ok(bytes) = read.read(&mut buffer).await {
        if bytes == 0 {
            break;
        }
        let late = match shared.now(pair) {
            Wire::Poor { loss, delay, jitter } => {
                let lost = if shared.dropper.is_some() { 0 } else { loss };
                delay + jitter.mul_f64(luck()) + retransmissions(lost)
            }
            _ => Duration::ZERO,
        };
        last = last.max(Instant::now() + late);
        if queue.send((last, buffer[..bytes].to_vec())).await.is_err() {
            return;
        }
    }
    // What was sent before the end still arrives.
    queue.closed_when_empty().await;
}

/// Waits until all that was queued has been given out.
trait Emptied {
    async fn closed_when_empty(&self);
}

impl Emptied for mpsc::Sender<Chunk> {
    async fn closed_when_empty(&self) {
        while self.capacity() < self.max_capacity() {
            sleep(Duration::from_millis(5)).await;
        }
        sleep(Duration::from_millis(5)).await;
    }
}

async fn give_out(shared: &Shared, pair: Pair, mut write: OwnedWriteHalf, mut waiting: mpsc::Receiver<Chunk>) {
    while let Some((due, bytes)) = waiting.recv().await {
        sleep_until(due).await;
        if timeout(USER_TIMEOUT, shared.passable(pair)).await.is_err() {
            return;
        }
        if write.write_all(&bytes).await.is_err() {
            return;
        }
    }
}

fn luck() -> f64 {
    let mut bytes = [0; 4];
    let _ = fs::File::open("/dev/urandom").and_then(|mut f| io::Read::read_exact(&mut f, &mut bytes));
    f64::from(u32::from_le_bytes(bytes)) / f64::from(u32::MAX)
}

/// How long TCP takes for a packet that may be lost, and lost again.
fn retransmissions(loss: u8) -> Duration {
    let (mut late, mut next) = (Duration::ZERO, RETRANSMIT);
    while loss > 0 && luck() * 100.0 < f64::from(loss) {
        late += next;
        next *= 2;
    }
    late
}

/// The node of the site in `folder` whose process holds the socket from `caller` to `listens`.
fn holder(folder: &Path, caller: SocketAddr, listens: SocketAddr) -> Option<u64> {
    let shown = |a: SocketAddr| match a {
        SocketAddr::V4(a) => format!("{:08X}:{:04X}", u32::from(*a.ip()).swap_bytes(), a.port()),
        SocketAddr::V6(_) => String::new(),
    };
    let (local, remote) = (shown(caller), shown(listens));
    let table = fs::read_to_string("/proc/net/tcp").ok()?;
    let line = table.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
    let inode = line.filter(|f| f.len() > 9 && f[1] == local && f[2] == remote).map(|f| f[9].to_owned()).next()?;
    let socket = PathBuf::from(format!("socket:[{inode}]"));
    let holds = |process: &Path| {
        let descriptors = fs::read_dir(process.join("fd")).into_iter().flatten().flatten();
        descriptors.into_iter().any(|fd| fs::read_link(fd.path()).is_ok_and(|to| to == socket))
    };
    for process in fs::read_dir("/proc").ok()?.flatten() {
        let Ok(command) = fs::read(process.path().join("cmdline")) else { continue };
        let command = String::from_utf8_lossy(&command).into_owned();
        let Some((_, rest)) = command.split_once(&format!("{}/node-", folder.display())) else { continue };
        if command.contains("\0serve\0") && holds(&process.path()) {
            return rest.split('/').next()?.parse().ok();
        }
    }
    None
}
