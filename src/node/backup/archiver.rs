//! A node archives the log behind its newest backup, every so often: what every partition has agreed since, and bodies that its rows
//! name, into the folder `log` of that backup (`pieces`). A piece counts when it is synced and its head has its name; until then the
//! entries stay in this node's log (`hold`). What cannot be read from there any more ends the archive, and says so (P6, P7).

use super::{
    BackupError,
    archive::{ArchivedEntry, Content},
    chain::{self, Chain, Found},
    desk,
    hold::{self, Stand},
    manifest,
};
use crate::{
    consensus::{Entry, Unread},
    engine::{Fence, bodies::of_row, cut::rows_of},
    node::{Node, rooms::Rooms},
    seam::fs::blocking,
    store::{RowOp, blobs::BlobId},
};
use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
    sync::Arc,
};
use tokio::time::{Duration, MissedTickBehavior, interval};

/// Content after which a piece is full: it is in memory while it is written.
const PIECE: usize = 16 << 20;
/// Content of entries read at a time.
pub const PAGE: usize = 4 << 20;

/// What was read from the log for a piece.
pub struct Gathered {
    pub content: Content,
    pub reach: Vec<u64>,
    pub ids: BTreeSet<BlobId>,
    pub gap: Option<String>,
}

pub struct Archiver<'a> {
    pub node: &'a Arc<Node>,
    pub rooms: &'a Rooms,
    /// The backup whose archive goes on, whatever is in the way of that: another takes its place only when this one reaches to it.
    at: Option<PathBuf>,
    /// Its archive; after a write that failed it is read again: then what is on the disk decides.
    chain: Option<Chain>,
    /// Backups among which the newest was looked for last.
    seen: Vec<PathBuf>,
}

/// Archives as long as the node runs, where the settings say so.
pub async fn run(node: Arc<Node>) {
    let (Some(every), Some(rooms)) = (node.settings.backup.archive_every, node.rooms.get()) else { return };
    let archiver = Archiver { node: &node, rooms, at: None, chain: None, seen: vec![] };
    tokio::join!(hold::watch(&node, rooms), archiver.go_on(every));
}

impl Archiver<'_> {
    async fn go_on(mut self, every: Duration) {
        self.node.archive.begun();
        let mut tick = interval(every);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tick.tick().await;
            let why = self.round().await.err().map(|e| format!("{e} ({})", e.code().code));
            if self.node.archive.trouble(why.clone())
                && let Some(why) = why
            {
                tracing::error!(event = "backup.archive_failed", %why, "the log is not archived; it is tried again");
            }
        }
    }

    /// Archives what was agreed since the last time: behind the newest backup, or, while one is made or the newest cannot be told,
    /// behind the one that it was.
    async fn round(&mut self) -> Result<(), BackupError> {
        let (making, begun) = self.node.backups.begun();
        let mut chosen = Ok(());
        if !making {
            chosen = self.choose().await;
            if chosen.is_ok() {
                self.node.archive.settled(begun);
            }
        }
        let extended = self.onward().await;
        chosen.and(extended)
    }

    /// Finds the newest backup of this node. Only a folder that was read, and in which this node never made one, holds none.
    async fn choose(&mut self) -> Result<(), BackupError> {
        let (dir, kept) = (self.node.settings.backup.dir.clone(), desk::kept(&self.node.settings.node.data).path);
        let (ca, own) = (self.rooms.ca.clone(), (self.rooms.identity.cluster.clone(), self.node.settings.node.number));
        let (mut seen, first) = (std::mem::take(&mut self.seen), self.at.is_none());
        let found = blocking(&self.node.world.fs, move |fs| {
            let found = chain::look(fs, (&dir, &kept), (&ca, &own), &mut seen, first);
            (found, seen)
        });
        let (found, seen) = found.await;
        self.seen = seen;
        match (found?, self.at.clone()) {
            (Found::AsBefore, _) => Ok(()),
            (Found::Nothing, None) => {
                self.node.archive.nothing();
                Ok(())
            }
            (Found::Nothing, Some(at)) => {
                Err(BackupError::Archiving(format!("the backup {} is not there", at.display())))
            }
            (Found::Newest(path, _), Some(at)) if path == at => Ok(()),
            (Found::Newest(path, before), at) => {
                let changed = self.change(path, before, at).await;
                if changed.is_err() {
                    // Looked for again, even if nothing is new in the folder.
                    self.seen.clear();
                }
                changed
            }
        }
    }

    /// Goes over to another backup. What was archived before goes on to this moment first, so that no moment lies between two
    /// archives: until that is done the next does not begin, unless more waits than is held for it.
    async fn change(
        &mut self,
        path: PathBuf,
        before: Option<PathBuf>,
        mut at: Option<PathBuf>,
    ) -> Result<(), BackupError> {
        let over = self.node.archive.over();
        if at.is_none()
            && let Some(before) = before
            && self.read(&path).await?.number == 0
        {
            // The node was restarted before it came to this one.
            match self.read(&before).await {
                Ok(chain) if chain.number > 0 && chain.gap.is_none() => {
                    (self.at, self.chain, at) = (Some(before.clone()), Some(chain), Some(before));
                }
                Err(e @ BackupError::Io { .. }) if !over => return Err(e),
                _ => {}
            }
        }
        if let Some(at) = at {
            let manifest = at.join(manifest::NAME);
            let ended = match blocking(&self.node.world.fs, move |fs| chain::is_there(fs, &manifest)).await {
                Ok(true) => self.onward().await,
                // It was removed, and its archive with it.
                Ok(false) => Ok(()),
                Err(error) => Err(BackupError::Io { path: at.clone(), error }),
            };
            match ended {
                Err(e) if !over => {
                    let why = format!("the archive of {} does not reach to {} yet: {e}", at.display(), path.display());
                    return Err(BackupError::Archiving(why));
                }
                Err(e) => tracing::warn!(event = "backup.archive_short", error = %e),
                Ok(()) => {}
            }
        }
        let mut next = self.read(&path).await?;
        next.before = self.at.take();
        self.tell(&next);
        (self.at, self.chain) = (Some(path), Some(next));
        Ok(())
    }

    /// Brings the archive on to this moment.
    async fn onward(&mut self) -> Result<(), BackupError> {
        let Some(at) = self.at.clone() else { return Ok(()) };
        let mut chain = match self.chain.take() {
            Some(chain) if !chain.torn => chain,
            torn => Chain { before: torn.and_then(|torn| torn.before), ..self.read(&at).await? },
        };
        let done = self.extend(&mut chain).await;
        self.tell(&chain);
        self.chain = Some(chain);
        done
    }

    async fn read(&self, backup: &Path) -> Result<Chain, BackupError> {
        let (backup, ca) = (backup.to_owned(), self.rooms.ca.clone());
        blocking(&self.node.world.fs, move |fs| Chain::read(fs, backup, &ca)).await
    }

    fn tell(&self, chain: &Chain) {
        let stand = Stand { backup: chain.backup.clone(), until: chain.until, gap: chain.gap.clone() };
        self.node.archive.archived(stand, chain.reach.clone());
    }

    /// Writes pieces until all that was agreed before this moment is in them.
    async fn extend(&self, chain: &mut Chain) -> Result<(), BackupError> {
        if chain.gap.is_some() {
            return Ok(());
        }
        // By a clock that most others agree with: an archive that says to reach further than it does is worse than one that does not.
        let moment = self.rooms.engine.moment().await;
        let mut goal = vec![];
        for (partition, group) in self.rooms.engine.map().all().zip(&self.rooms.groups) {
            // Everything that was acknowledged before is applied here.
            let fenced = self.rooms.engine.view(partition, Fence::Linearizable).await;
            fenced.map_err(|e| BackupError::Archiving(e.to_string()))?;
            let rows = self.rooms.store.partition(group.number()).map_err(BackupError::rows(group.number()))?;
            goal.push(rows.applied().index);
        }
        // A clock that was found to be wrong meanwhile may have been then.
        let moment = moment.filter(|_| !self.rooms.engine.clock().is_off());
        loop {
            let found = self.gather(chain, &goal).await?;
            let ended = found.gap.is_some() || found.reach.iter().zip(&goal).all(|(reach, goal)| reach >= goal);
            let now = moment.filter(|_| ended && found.gap.is_none());
            let until = now.map_or(chain.until, |moment| moment.max(chain.until));
            if until > chain.until || found.gap.is_some() || found.reach != chain.reach {
                let written = self.write(chain, found, until).await;
                chain.torn = written.is_err();
                written?;
            }
            if ended {
                break;
            }
        }
        match moment {
            Some(_) => Ok(()),
            None if chain.gap.is_some() => Ok(()),
            None => Err(BackupError::Archiving(
                "no moment can be told, because this node's clock is wrong, or was just set".into(),
            )),
        }
    }

    /// The next entries behind those that are archived.
    async fn gather(&self, chain: &Chain, goal: &[u64]) -> Result<Gathered, BackupError> {
        let mut found =
            Gathered { content: Content::begin(), reach: chain.reach.clone(), ids: BTreeSet::new(), gap: chain.full() };
        if found.gap.is_some() {
            return Ok(found);
        }
        for ((group, goal), reach) in self.rooms.groups.iter().zip(goal).zip(0..) {
            while found.reach[reach] < *goal && found.content.bytes() < PIECE {
                let page = match group.committed(found.reach[reach] + 1, PAGE).await {
                    Ok(page) => page,
                    Err(e @ Unread::Cut { .. }) => {
                        tracing::error!(event = "backup.archive_gap", code = crate::ops::codes::ARCHIVE_GAP.code,
                            why = %e, "the archive ends here; a new backup begins another");
                        found.gap = Some(e.to_string());
                        return Ok(found);
                    }
                    Err(e) => return Err(BackupError::Archiving(e.to_string())),
                };
                let page: Vec<Entry> = page.into_iter().take_while(|entry| entry.index <= *goal).collect();
                let Some(last) = page.last().map(|entry| entry.index) else {
                    return Err(BackupError::Archiving("the log ends before what is applied".into()));
                };
                let number = group.number();
                let (content, ids) =
                    (std::mem::replace(&mut found.content, Content::begin()), std::mem::take(&mut found.ids));
                let taken = blocking(&self.node.world.fs, move |_| take(number, &page, content, ids)).await;
                (found.content, found.ids) = taken?;
                found.reach[reach] = last;
            }
        }
        Ok(found)
    }
}

/// Puts entries behind those of a piece, and the bodies that their rows name among the others.
fn take(
    partition: u16,
    page: &[Entry],
    mut content: Content,
    mut ids: BTreeSet<BlobId>,
) -> Result<(Content, BTreeSet<BlobId>), BackupError> {
    let unread = |e: &dyn std::fmt::Display| BackupError::Rows { partition, error: e.to_string() };
    for entry in page {
        for op in rows_of(&entry.payload, entry.term).map_err(|e| unread(&e))? {
            if let RowOp::Put { key, value, .. } = op {
                ids.extend(of_row(&key, &value).map_err(|e| unread(&e))?);
            }
        }
        let (index, term, payload) = (entry.index, entry.term, entry.payload.clone());
        content.push(&ArchivedEntry { partition, index, term, payload, ..Default::default() });
    }
    Ok((content, ids))
}
