//! The engine as the node opens it and the rooms above use it.

use super::apply::{Applier, Slot};
use super::backlog::{self, Backlog, Board};
use super::clocks::{self, ClockReport, Clocks};
use super::decide::Rules;
use super::decider::Decider;
use super::disk::{self, Disk, DiskReport};
use super::draft::Decide;
use super::outbox::Deliverer;
use super::ports::Agreement;
use super::queue::Queue;
use super::rows::{self, Mark};
use super::space::{self, Space};
use super::submit::Frames;
use super::survey::Survey;
use super::turning::Turn;
use super::view::{Fences, View, fence_task};
use super::{Outcome, PartitionId, PartitionMap, SITE, Unavailable};
use crate::audit;
use crate::seam::World;
use crate::seam::net::{NodeNumber, Router, Transport, kinds};
use crate::store::Reader;
use std::{path::PathBuf, sync::Arc, time::Duration};
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout_at};

/// Bounds and waits of an engine.
#[derive(Clone, Debug)]
pub struct EngineOptions {
    /// This node.
    pub node: NodeNumber,
    /// Where free space is measured.
    pub data_dir: PathBuf,
    /// Commands that may wait in front of one partition's decider; beyond, Busy.
    pub queue_commands: usize,
    /// The same in bytes.
    pub queue_bytes: usize,
    /// How long a command or fence is tried while the leader changes: long enough to hide an election.
    pub patience: Duration,
    /// How long a request id is remembered (P3 promises a day).
    pub request_memory: Duration,
    /// How long audit records are kept; none: for ever.
    pub audit_retention: Option<Duration>,
    /// Free bytes below which writes are refused.
    pub spare_bytes: u64,
}

/// How often who waits for a delivery looks at the row itself: an installed snapshot moves it without an apply.
const LOOK_AGAIN: Duration = Duration::from_millis(250);
/// P3's promise.
const A_DAY: Duration = Duration::from_secs(24 * 3600);

impl EngineOptions {
    pub fn new(node: NodeNumber, data_dir: PathBuf) -> Self {
        EngineOptions {
            node,
            data_dir,
            queue_commands: 8_192,
            queue_bytes: 64 << 20,
            patience: Duration::from_secs(4),
            request_memory: A_DAY,
            audit_retention: None,
            spare_bytes: 1 << 30,
        }
    }
}

/// One partition as submitters and readers see it.
pub(super) struct Door {
    pub slot: Arc<Slot>,
    pub group: Arc<dyn Agreement>,
    pub queue: Queue,
    pub fences: Fences,
    pub turned: Turn,
}

pub(super) struct Inner {
    pub options: EngineOptions,
    pub map: PartitionMap,
    pub doors: Vec<Door>,
    pub transport: Arc<dyn Transport>,
    pub space: Arc<Space>,
    /// What waits in the outboxes delivered here.
    pub board: Board,
    pub clocks: Arc<Clocks>,
    pub disk: Arc<Disk>,
}

/// Submits commands, reads at fences. Cheap to clone; the tasks behind it end with [`Engine::stop`].
#[derive(Clone)]
pub struct Engine {
    pub(super) inner: Arc<Inner>,
    tasks: Arc<tokio::sync::Mutex<JoinSet<()>>>,
}

impl Engine {
    /// Starts deciders, fences, deliverers and the watches over free space, clocks and disk, and claims the engine's frame kinds.
    /// `groups` are in the order of `applier`'s partitions. Must run inside a tokio runtime.
    #[allow(clippy::too_many_arguments, reason = "one caller, the wiring; each is a room of its own")]
    pub fn start(
        world: World,
        options: EngineOptions,
        applier: &Applier,
        groups: Vec<Arc<dyn Agreement>>,
        transport: Arc<dyn Transport>,
        router: &Router,
        services: Vec<Arc<dyn Decide>>,
        signer: Option<Arc<dyn audit::Signer>>,
    ) -> Engine {
        let mut tasks = JoinSet::new();
        let map = applier.map();
        let space = Arc::new(Space::new(options.data_dir.clone(), options.spare_bytes));
        let clocks = Arc::new(Clocks::new(world.clock.clone()));
        let site = applier.slots[usize::from(SITE.0)].clone();
        let mut doors: Vec<Door> = vec![];
        for (slot, group) in applier.slots.iter().zip(&groups) {
            let (queue, queued) = Queue::new(options.queue_commands, options.queue_bytes);
            let (fences, asked) = Fences::new();
            let site_fences = doors.first().map(|site| site.fences.clone());
            let rules = Rules {
                partition: slot.id,
                map,
                node: options.node.0,
                memory: options.request_memory.as_millis() as u64,
                retention: options.audit_retention.map(|kept| kept.as_millis() as u64),
                services: services.clone(),
            };
            let decider = Decider {
                slot: slot.clone(),
                site: site.clone(),
                site_fences,
                group: group.clone(),
                rules,
                queue: queued,
                world: world.clone(),
                signer: signer.clone(),
                space: space.clone(),
                clocks: clocks.clone(),
                planted: None,
            };
            let turned = Turn::default();
            tasks.spawn(turned.clone().around(decider.run()));
            tasks.spawn(fence_task(slot.id, group.clone(), transport.clone(), options.node, asked));
            doors.push(Door { slot: slot.clone(), group: group.clone(), queue, fences, turned });
        }
        let disk = Arc::new(Disk::new(groups[usize::from(SITE.0)].clone()));
        if let Some(site) = groups.first().cloned() {
            let survey = Arc::new(Survey { me: options.node, site, transport: transport.clone() });
            tasks.spawn(clocks::watch(clocks.clone(), survey.clone(), groups.clone()));
            tasks.spawn(disk::watch(disk.clone(), clocks.clone(), survey.clone(), groups.clone()));
            tasks.spawn(space::watch(space.clone(), world.clone(), clocks.clone(), survey, groups));
        }
        let inner = Arc::new(Inner { options, map, doors, transport, space, clocks, disk, board: Board::default() });
        tasks.spawn(backlog::tell(inner.clone(), world));
        for kind in [kinds::SUBMIT, kinds::READ_FENCE, kinds::ROOM] {
            router.claim(kind, Arc::new(Frames(inner.clone())));
        }
        let engine = Engine { inner, tasks: Arc::default() };
        for source in map.all() {
            for target in map.all().filter(|target| *target != source) {
                tasks.spawn(Deliverer::new(engine.inner.clone(), source, target).run());
            }
        }
        Engine { tasks: Arc::new(tokio::sync::Mutex::new(tasks)), ..engine }
    }

    /// Ends every task. Callers that still wait hear `Unknown`.
    pub async fn stop(&self) {
        self.tasks.lock().await.shutdown().await;
    }

    /// The partition that holds a key; the site's for the empty key.
    pub fn partition_of(&self, key: &[u8]) -> PartitionId {
        self.inner.map.of(key)
    }

    pub fn map(&self) -> PartitionMap {
        self.inner.map
    }

    /// The site partition as this node has applied it: the registry, for reading without a fence.
    pub fn site(&self) -> Arc<dyn Reader + Send + Sync> {
        self.local(SITE)
    }

    /// A partition as this node has applied it, however far that is: for status, audit and search, not for answers.
    /// Reading fails while the partition is being rebuilt.
    pub fn local(&self, partition: PartitionId) -> Arc<dyn Reader + Send + Sync> {
        Arc::new(View::of(self.inner.doors[usize::from(partition.0)].slot.rows.clone()))
    }

    /// What waits here for delivery to another partition, and what was set aside as undeliverable.
    pub fn backlog(&self) -> Backlog {
        self.inner.backlog()
    }

    /// End of a partition's audit chain as this node has applied it.
    pub fn audit_chain(&self, partition: PartitionId) -> Result<audit::Chain, rows::RowError> {
        Ok(Mark::load(self.local(partition).as_ref())?.chain())
    }

    /// Waits until what `outcome` sent to other partitions is decided there and applied here, at most `patience`.
    /// `false` when the time ran out: it will still be delivered.
    pub async fn wait_delivered(&self, outcome: &Outcome, patience: Duration) -> Result<bool, Unavailable> {
        let deadline = Instant::now() + patience;
        for (target, sequence) in &outcome.sent {
            let Some(door) = self.inner.doors.get(usize::from(target.0)) else { continue };
            let rows = door.slot.rows.as_ref();
            let arrivals = &door.slot.inbound[usize::from(outcome.partition.0)];
            while arrivals.index() < *sequence {
                let at = rows::inbound(rows, outcome.partition).map_err(|e| Unavailable::Fault(e.to_string()))?;
                if at >= *sequence {
                    break;
                }
                let look = (Instant::now() + LOOK_AGAIN).min(deadline);
                if timeout_at(look, arrivals.reach(*sequence)).await.is_err() && look == deadline {
                    return Ok(false);
                }
            }
        }
        Ok(true)
    }

    /// How this node's clock stands to the other voters'.
    pub fn clock(&self) -> ClockReport {
        self.inner.clocks.report()
    }

    /// The time by this node's clock, compared with the other voters' if it was not lately; none while that clock is wrong.
    pub async fn moment(&self) -> Option<u64> {
        self.inner.clocks.fresh().await;
        self.inner.clocks.stamp()
    }

    /// How this node's disk stands to the other voters'.
    pub fn disk(&self) -> DiskReport {
        self.inner.disk.report()
    }

    /// By how many milliseconds a partition's newest stamp is ahead of the site's clocks: a leader's was wrong once. Stamps
    /// never go back, so the partition's time stands still until the clocks are there. 0 where all is well, or the row
    /// cannot be read now.
    pub fn stamps_ahead(&self, partition: PartitionId) -> u64 {
        self.inner.stamps_ahead(&self.inner.doors[usize::from(partition.0)])
    }

    /// Says whether this node is being taken out of traffic: then the others give it no leadership.
    pub fn leave(&self, leaving: bool) {
        self.inner.space.leave(leaving);
    }

    /// Gives away leadership of every partition this node leads, for a planned stop. Returns how many are still led.
    pub async fn hand_over_all(&self) -> usize {
        let mut left = 0;
        for door in &self.inner.doors {
            if door.group.leadership().borrow().leading && door.group.hand_over(None).await.is_err() {
                left += 1;
            }
        }
        left
    }
}
