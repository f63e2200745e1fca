//! A site in one process for the engine's tests: nodes share each group's log without Raft, disk or wire. The test
//! says who leads, when entries commit, and which calls get through.

use crate::consensus::{Entry, Leadership, NotLeader, RaftId, StateMachine};
use crate::engine::draft::{Decide, Draft, Fault, MapStore, Stamp, Timer};
use crate::engine::*;
use crate::seam::clock::{Clock, Millis};
use crate::seam::net::{Answer, Handler, Kind, Lane, NodeNumber, Router, Transport};
use crate::seam::{World, fs, rng};
use crate::store::tables::Table;
use crate::store::{Position, Reader, RowOp, StoreError};
use bytes::Bytes;
use std::collections::BTreeSet;
use std::{io, ops::Range, path::Path, sync::Arc, sync::Mutex, sync::atomic::*, time::Duration};
use tokio::sync::watch;

/// A service for tests: payloads are words. `add K` counts a row up and answers the count; `send K` adds in the
/// partition of K; `grudge K` adds there once K was counted before, and faults until then; `at MS K` adds when the time has come; `fault` faults; `refuse` writes and takes it back.
pub struct Counting;
pub const COUNTING: ServiceId = ServiceId(200);

impl Counting {
    fn add(draft: &mut Draft<'_>, key: &str) -> Result<u64, Fault> {
        let row = count_key(key);
        let count = count_of(draft.get(&row.clone().build())?) + 1;
        draft.put(row, Bytes::copy_from_slice(&count.to_be_bytes()));
        draft.audit(note("count.add", key));
        Ok(count)
    }
}

pub fn note(interaction: &str, object: &str) -> draft::AuditNote {
    let (interaction, object) = (interaction.into(), object.into());
    draft::AuditNote { interaction, object, outcome: "ok".into(), ..Default::default() }
}

pub fn count_key(key: &str) -> crate::store::tables::Key {
    Table::MailboxState.key().text(key)
}

pub fn count_of(value: Option<Bytes>) -> u64 {
    value.and_then(|v| v.as_ref().try_into().ok()).map_or(0, u64::from_be_bytes)
}

impl Decide for Counting {
    fn service(&self) -> ServiceId {
        COUNTING
    }
    fn decide(&self, draft: &mut Draft<'_>, stamp: &Stamp, command: &Command) -> Result<Bytes, Fault> {
        let text = String::from_utf8_lossy(&command.payload).into_owned();
        let words: Vec<&str> = text.split(' ').collect();
        match words.as_slice() {
            ["add", key] => Ok(Self::add(draft, key)?.to_string().into()),
            ["send", key] => {
                draft.send(Bytes::copy_from_slice(key.as_bytes()), COUNTING, format!("add {key}").into());
                Ok("sent".into())
            }
            ["poison", key] => {
                draft.send(Bytes::copy_from_slice(key.as_bytes()), COUNTING, "fault".into());
                Ok("sent".into())
            }
            ["grudge", key] => {
                draft.send(Bytes::copy_from_slice(key.as_bytes()), COUNTING, format!("relent {key}").into());
                Ok("sent".into())
            }
            ["relent", key] if count_of(draft.get(&count_key(key).build())?) > 0 => {
                Ok(Self::add(draft, key)?.to_string().into())
            }
            ["at", after, key] => {
                let due = stamp.now + after.parse::<u64>().unwrap_or(0);
                draft.timer(due, COUNTING, Bytes::copy_from_slice(key.as_bytes()));
                Ok("later".into())
            }
            ["refuse", key] => {
                Self::add(draft, key)?;
                draft.abort();
                Ok("refused".into())
            }
            _ => Err(Fault::Other("asked to fault".into())),
        }
    }
    /// What is added to has a body, of its name's first letter.
    fn bodies(&self, payload: &Bytes) -> Vec<Bytes> {
        let key = payload.strip_prefix(b"add ").and_then(|key| key.first());
        key.map(|first| Bytes::from(vec![*first; 32])).into_iter().collect()
    }
    fn timer(&self, draft: &mut Draft<'_>, _: &Stamp, timer: &Timer) -> Result<(), Fault> {
        Self::add(draft, &String::from_utf8_lossy(&timer.payload)).map(drop)
    }
}

/// Rows of one partition on one node.
#[derive(Default)]
pub struct MapRows {
    rows: Mutex<MapStore>,
    index: AtomicU64,
    pub damaged: AtomicBool,
    /// Reads fail, though the store does not know yet that it is damaged.
    pub unreadable: AtomicBool,
}

impl Reader for MapRows {
    fn get(&self, key: &[u8]) -> Result<Option<Bytes>, StoreError> {
        self.readable()?;
        self.rows.lock().unwrap().get(key)
    }
    fn scan(&self, range: Range<Bytes>, reverse: bool, limit: usize) -> Result<Vec<(Bytes, Bytes)>, StoreError> {
        self.readable()?;
        self.rows.lock().unwrap().scan(range, reverse, limit)
    }
}

impl Rows for MapRows {
    fn applied_index(&self) -> u64 {
        self.index.load(Ordering::SeqCst)
    }
    fn apply(&self, at: Position, rows: &[RowOp]) {
        self.rows.lock().unwrap().apply(rows.to_vec());
        self.index.store(at.index, Ordering::SeqCst);
    }
    fn servable(&self) -> bool {
        !self.damaged.load(Ordering::SeqCst)
    }
    fn room(&self) -> Wait<'_, ()> {
        Box::pin(std::future::ready(()))
    }
}

impl MapRows {
    fn readable(&self) -> Result<(), StoreError> {
        match self.unreadable.load(Ordering::SeqCst) {
            true => Err(StoreError::Corrupt("the test".into())),
            false => Ok(()),
        }
    }
    pub fn all(&self) -> Vec<(Bytes, Bytes)> {
        self.rows.lock().unwrap().0.iter().map(|(k, v)| (k.clone(), v.clone())).collect()
    }
}

/// One group's log, shared by the nodes. Committing is applying on every node.
pub struct FakeGroup {
    state: Mutex<GroupState>,
    appliers: Vec<Arc<Applier>>,
    number: u16,
    watchers: Vec<watch::Sender<Leadership>>,
    /// Whom each node would not give leadership to.
    avoided: Mutex<[Vec<u16>; 3]>,
    outside: Arc<Outside>,
}

#[derive(Default)]
struct GroupState {
    term: u64,
    reign: u64,
    index: u64,
    leader: Option<usize>,
    held: bool,
    /// Proposed and not committed.
    pending: Vec<Bytes>,
}

impl FakeGroup {
    /// Keeps entries from committing until [`FakeGroup::release`].
    pub fn hold(&self) {
        self.state.lock().unwrap().held = true;
    }
    pub fn release(&self) {
        self.state.lock().unwrap().held = false;
        self.commit();
    }
    pub fn pending(&self) -> usize {
        self.state.lock().unwrap().pending.len()
    }
    fn commit(&self) {
        let mut state = self.state.lock().unwrap();
        if state.held {
            return;
        }
        let entries: Vec<_> = std::mem::take(&mut state.pending);
        for payload in entries {
            Self::append(&mut state, self, payload);
        }
    }
    fn append(state: &mut GroupState, group: &FakeGroup, payload: Bytes) {
        state.index += 1;
        let entry = Entry { index: state.index, term: state.term, payload };
        for applier in &group.appliers {
            applier.apply(group.number, vec![entry.clone()]);
        }
    }
    /// Takes leadership from whoever has it, and forgets (`keep` false) or commits what is pending.
    pub fn depose(&self, keep: bool) {
        let mut state = self.state.lock().unwrap();
        state.leader = None;
        if !keep {
            state.pending.clear();
        } else {
            for payload in std::mem::take(&mut state.pending) {
                Self::append(&mut state, self, payload);
            }
        }
        drop(state);
        self.tell();
    }
    /// Makes a node the leader of a new term.
    pub fn elect(&self, node: usize) {
        let mut state = self.state.lock().unwrap();
        state.term += 1;
        state.reign += 1;
        state.leader = Some(node);
        state.pending.clear();
        Self::append(&mut state, self, Bytes::new());
        drop(state);
        self.tell();
    }
    /// An entry as another leader would have logged it in the present term, whatever it says inside.
    pub fn force(&self, payload: Bytes) {
        Self::append(&mut self.state.lock().unwrap(), self, payload);
    }
    /// The node that leads, by place.
    pub fn watchers_leader(&self) -> Option<u16> {
        self.state.lock().unwrap().leader.map(|n| n as u16)
    }
    /// Whom a node, by place, would not give leadership to.
    pub fn avoided_by(&self, node: usize) -> Vec<u16> {
        self.avoided.lock().unwrap()[node].clone()
    }
    pub fn term(&self) -> u64 {
        self.state.lock().unwrap().term
    }
    fn tell(&self) {
        let state = self.state.lock().unwrap();
        let leader = state.leader.map(|n| RaftId::new(NodeNumber(n as u16 + 1), 0));
        for (n, watcher) in self.watchers.iter().enumerate() {
            let leading = state.leader == Some(n);
            watcher.send_replace(Leadership { term: state.term, leader, leading, reign: state.reign });
        }
    }
}

/// A node's handle on a group.
struct Handle(Arc<FakeGroup>, usize);

impl Agreement for Handle {
    fn leadership(&self) -> watch::Receiver<Leadership> {
        self.0.watchers[self.1].subscribe()
    }
    fn propose(&self, reign: u64, payload: Bytes) -> Wait<'_, Result<(), NotLeader>> {
        Box::pin(async move {
            let mut state = self.0.state.lock().unwrap();
            if state.leader != Some(self.1) || state.reign != reign {
                return Err(NotLeader::default());
            }
            state.pending.push(payload);
            drop(state);
            self.0.commit();
            Ok(())
        })
    }
    fn read_index(&self) -> Wait<'_, Result<u64, NotLeader>> {
        Box::pin(async move {
            let state = self.0.state.lock().unwrap();
            if state.leader == Some(self.1) { Ok(state.index) } else { Err(NotLeader::default()) }
        })
    }
    fn others(&self, me: NodeNumber) -> Vec<RaftId> {
        (1..=self.0.appliers.len() as u16).filter(|n| *n != me.0).map(|n| RaftId::new(NodeNumber(n), 0)).collect()
    }
    fn hand_over(&self, to: Option<RaftId>) -> Wait<'_, Result<(), String>> {
        Box::pin(async move {
            let to = to.or_else(|| self.others(NodeNumber(self.1 as u16 + 1)).first().copied()).ok_or("alone")?;
            self.0.depose(true);
            self.0.elect(usize::from(to.node().0) - 1);
            Ok(())
        })
    }
    fn avoid(&self, nodes: BTreeSet<NodeNumber>) {
        self.0.avoided.lock().unwrap()[self.1] = nodes.into_iter().map(|node| node.0).collect();
    }
    fn sync_time(&self) -> Option<Duration> {
        let millis = self.0.outside.sync[self.1].load(Ordering::SeqCst);
        (millis > 0).then(|| Duration::from_millis(millis))
    }
}

/// Calls between the nodes; `lost` calls are carried out and their answers lost.
#[derive(Default)]
pub struct Wires {
    routers: Mutex<Vec<Arc<Router>>>,
    pub lose_answers: AtomicBool,
    pub calls: AtomicU64,
    /// Milliseconds that an answer takes.
    pub delay: AtomicU64,
    cut: Mutex<BTreeSet<u16>>,
    frozen: Mutex<BTreeSet<u16>>,
}

struct Wire(Arc<Wires>, NodeNumber);

impl Transport for Wire {
    fn call(&self, to: NodeNumber, _: Lane, kind: Kind, payload: Bytes, timeout: Duration) -> Answer {
        let (wires, from) = (self.0.clone(), self.1);
        Box::pin(async move {
            wires.calls.fetch_add(1, Ordering::SeqCst);
            if wires.cut.lock().unwrap().contains(&to.0) || wires.cut.lock().unwrap().contains(&from.0) {
                return Err(io::ErrorKind::NotConnected.into());
            }
            if wires.frozen.lock().unwrap().contains(&to.0) {
                tokio::time::sleep(timeout).await;
                return Err(io::ErrorKind::TimedOut.into());
            }
            let router = wires.routers.lock().unwrap()[usize::from(to.0) - 1].clone();
            let delay = Duration::from_millis(wires.delay.load(Ordering::SeqCst));
            let answer = tokio::time::timeout(timeout, async {
                tokio::time::sleep(delay / 2).await;
                let answer = router.handle(from, kind, payload).await;
                tokio::time::sleep(delay / 2).await;
                answer
            });
            let answer = answer.await.unwrap_or(Err(io::ErrorKind::TimedOut.into()));
            if wires.lose_answers.load(Ordering::SeqCst) {
                return Err(io::ErrorKind::ConnectionReset.into());
            }
            answer
        })
    }
    fn set_address(&self, _: NodeNumber, _: std::net::SocketAddr) {}
}

impl Wires {
    pub fn cut(&self, node: u16) {
        self.cut.lock().unwrap().insert(node);
    }
    /// A node takes calls and never answers.
    pub fn freeze(&self, node: u16) {
        self.frozen.lock().unwrap().insert(node);
    }
    pub fn heal(&self) {
        self.cut.lock().unwrap().clear();
    }
}

/// Wall time that a test moves, how far each node's clock is from it, free space and disks' pace that it sets.
pub struct Outside {
    pub millis: AtomicU64,
    pub skew: [AtomicI64; 3],
    pub free: [AtomicU64; 3],
    /// How long a sync of each node's log takes, in milliseconds; 0: that is not known.
    pub sync: [AtomicU64; 3],
}

struct NodeFs(Arc<Outside>, usize);
struct NodeClock(Arc<Outside>, usize);

impl Clock for NodeClock {
    fn now(&self) -> Millis {
        let skew = self.0.skew[self.1].load(Ordering::SeqCst);
        Millis(self.0.millis.load(Ordering::SeqCst).saturating_add_signed(skew))
    }
}

fn no<T>() -> io::Result<T> {
    Err(io::ErrorKind::Unsupported.into())
}

impl fs::Fs for NodeFs {
    fn open(&self, _: &Path, _: fs::Open) -> io::Result<Arc<dyn fs::File>> {
        no()
    }
    fn create_dir_all(&self, _: &Path) -> io::Result<()> {
        no()
    }
    fn list(&self, _: &Path) -> io::Result<Vec<String>> {
        no()
    }
    fn rename(&self, _: &Path, _: &Path) -> io::Result<()> {
        no()
    }
    fn remove_file(&self, _: &Path) -> io::Result<()> {
        no()
    }
    fn remove_dir_all(&self, _: &Path) -> io::Result<()> {
        no()
    }
    fn exists(&self, _: &Path) -> bool {
        false
    }
    fn sync_dir(&self, _: &Path) -> io::Result<()> {
        no()
    }
    fn space(&self, _: &Path) -> io::Result<(u64, u64)> {
        Ok((self.0.free[self.1].load(Ordering::SeqCst), 1 << 40))
    }
    fn inline(&self) -> bool {
        true
    }
}

pub struct Site {
    pub engines: Vec<Engine>,
    pub rows: Vec<Vec<Arc<MapRows>>>,
    pub groups: Vec<Arc<FakeGroup>>,
    pub wires: Arc<Wires>,
    pub outside: Arc<Outside>,
}

pub const START: u64 = 1_790_000_000_000;

impl Site {
    /// Three nodes with `partitions` service partitions; node 0 leads every group.
    pub fn start(partitions: u16) -> Site {
        Site::with(partitions, |_| {})
    }

    pub fn with(partitions: u16, tune: impl Fn(&mut EngineOptions)) -> Site {
        Site::with_clocks(partitions, [0; 3], tune)
    }

    /// Nodes whose clocks are so many milliseconds ahead from the start.
    pub fn with_clocks(partitions: u16, skew: [i64; 3], tune: impl Fn(&mut EngineOptions)) -> Site {
        let rows: Vec<Vec<Arc<MapRows>>> =
            (0..3).map(|_| (0..=partitions).map(|_| Arc::new(MapRows::default())).collect()).collect();
        let fatal: crate::consensus::Fatal = Arc::new(|why| panic!("{why}"));
        let appliers: Vec<_> = rows
            .iter()
            .map(|rows| Applier::new(rows.iter().map(|r| r.clone() as Arc<dyn Rows>).collect(), fatal.clone()))
            .collect();
        let wires = Arc::new(Wires::default());
        let free = std::array::from_fn(|_| AtomicU64::new(1 << 40));
        let (millis, sync) = (AtomicU64::new(START), Default::default());
        let outside = Arc::new(Outside { millis, skew: skew.map(AtomicI64::new), free, sync });
        let groups: Vec<_> = (0..=partitions)
            .map(|number| {
                let watchers = (0..3).map(|_| watch::Sender::new(Leadership::default())).collect();
                let (state, avoided, outside) = (Mutex::default(), Mutex::default(), outside.clone());
                Arc::new(FakeGroup { state, appliers: appliers.clone(), number, watchers, avoided, outside })
            })
            .collect();
        let mut engines = vec![];
        for (node, applier) in appliers.iter().enumerate() {
            let router = Arc::new(Router::default());
            wires.routers.lock().unwrap().push(router.clone());
            let number = NodeNumber(node as u16 + 1);
            let world = World {
                fs: Arc::new(NodeFs(outside.clone(), node)),
                clock: Arc::new(NodeClock(outside.clone(), node)),
                rng: Arc::new(rng::SystemRng),
            };
            let mut options = EngineOptions::new(number, "/data".into());
            tune(&mut options);
            let handles = groups.iter().map(|g| Arc::new(Handle(g.clone(), node)) as Arc<dyn Agreement>).collect();
            let wire = Arc::new(Wire(wires.clone(), number));
            let services: Vec<Arc<dyn Decide>> = vec![Arc::new(Counting)];
            engines.push(Engine::start(world, options, applier, handles, wire, &router, services, None));
        }
        let site = Site { engines, rows, groups, wires, outside };
        site.groups.iter().for_each(|g| g.elect(0));
        site
    }

    pub fn pass(&self, millis: u64) {
        self.outside.millis.fetch_add(millis, Ordering::SeqCst);
    }

    /// Sets a node's clock so many milliseconds ahead of the others'.
    pub fn set_clock(&self, node: usize, ahead: i64) {
        self.outside.skew[node].store(ahead, Ordering::SeqCst);
    }

    /// Has a sync of a node's log take so many milliseconds.
    pub fn set_sync(&self, node: usize, millis: u64) {
        self.outside.sync[node].store(millis, Ordering::SeqCst);
    }

    /// A key's count on a node.
    pub fn count(&self, node: usize, key: &str) -> u64 {
        let partition = self.engines[0].partition_of(key.as_bytes());
        count_of(self.rows[node][usize::from(partition.0)].get(&count_key(key).build()).unwrap())
    }

    pub fn group_of(&self, key: &str) -> &Arc<FakeGroup> {
        &self.groups[usize::from(self.engines[0].partition_of(key.as_bytes()).0)]
    }

    pub fn assert_replicas_equal(&self) {
        for partition in 0..self.groups.len() {
            assert!((1..3).all(|n| self.rows[n][partition].all() == self.rows[0][partition].all()), "{partition}");
        }
    }
}

/// `word` for key `key`, to be counted in the key's own partition.
pub fn ask(word: &str, key: &str) -> Command {
    Command {
        service: COUNTING.0,
        key: Bytes::copy_from_slice(key.as_bytes()),
        payload: format!("{word} {key}").into(),
        correlation_id: format!("c-{key}"),
        ..Default::default()
    }
}

/// Waits for a condition, at most a minute of the runtime's time.
pub async fn until(what: &str, mut condition: impl FnMut() -> bool) {
    for _ in 0..6_000 {
        if condition() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("never: {what}");
}
