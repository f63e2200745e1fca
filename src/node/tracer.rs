//! Works on the files of batch traces (docs/decisions/batch-trace.md): on whichever node leads the partition of the service's mailbox, a
//! file is read through, then answered piece by piece, each piece a command that moves the cursor. A node that takes over goes
//! on where the last commit stands.
//!
//! Small files and large ones have a lane each, so that a question of ten rows does not wait behind one of a million; a lane
//! works at most half of the time, and at a bounded rate, so that others do not wait for it (P6).

use super::{Node, rooms::Rooms};
use crate::{
    edge::{coding, payload::Pieces},
    engine::{Command, Fence, PartitionId, SITE, Unavailable, View, bulk::BulkError, draft::Fault, services},
    model::{MessageId, day},
    ops::metrics as names,
    services::{
        mesh,
        pds::{
            command::PdsCommand,
            trace::{
                self, Answer, FOLD_PIECES, INLINE, PIECE_BYTES, PIECE_ROWS,
                code::Code,
                command::{TraceChecked, TraceEnd, TraceFold, TracePiece, TraceReply},
                intake::{Intake, Row},
                layout,
                rows::{self, TraceJob},
            },
        },
    },
    store::{Reader, blobs::BlobId},
    wire::record::Record,
};
use bytes::Bytes;
use std::{
    collections::{HashMap, VecDeque},
    sync::Arc,
    time::Duration,
};
use tokio::time::Instant;

/// How often it looks for files.
const LOOK: Duration = Duration::from_millis(500);
/// A file that cannot be worked on now comes again after this long.
const LATER: Duration = Duration::from_secs(10);
/// Files read at once while it looks for one of its lane.
const PAGE: usize = 256;
/// Files up to this size have a lane of their own.
const SMALL: u64 = 1 << 20;
/// Work done without a pause in which others get their turn.
const AT_ONCE: Duration = Duration::from_millis(2);

/// Why a file is left for now, or for good.
enum Trouble {
    /// Not now: another leader, a node that does not answer, rows that cannot be read.
    Later(String),
    /// Somebody else went on with it: look at what is stored.
    Stale,
    /// It is answered with this code.
    Refused(Code),
}

impl From<Unavailable> for Trouble {
    fn from(e: Unavailable) -> Trouble {
        Trouble::Later(e.to_string())
    }
}
impl From<Fault> for Trouble {
    fn from(e: Fault) -> Trouble {
        Trouble::Later(e.to_string())
    }
}
impl From<BulkError> for Trouble {
    fn from(e: BulkError) -> Trouble {
        match e {
            BulkError::Lost(_) => Trouble::Refused(Code::DATA_STORE),
            other => Trouble::Later(other.to_string()),
        }
    }
}

/// Runs until the node stops.
pub async fn run(node: Arc<Node>) {
    let Some(rooms) = node.rooms.get() else { return };
    let partitions = rooms.engine.map().all().filter(|partition| *partition != SITE);
    let lanes = partitions.flat_map(|partition| [true, false].map(|small| (partition, small)));
    let lanes = lanes.map(|(partition, small)| {
        let settings = &node.settings.trace;
        let (limit, rate) = (settings.rows, settings.rate);
        Lane { rooms, partition, small, limit, rate, clock: node.world.clock.as_ref(), later: HashMap::new() }.run()
    });
    futures_util::future::join_all(lanes).await;
}

/// Files of one partition, one at a time: small ones, or the others.
struct Lane<'a> {
    rooms: &'a Rooms,
    partition: PartitionId,
    small: bool,
    /// Most rows of a file.
    limit: u64,
    /// Most rows a second.
    rate: u64,
    clock: &'a dyn crate::seam::clock::Clock,
    /// Files that are left alone until then.
    later: HashMap<MessageId, Instant>,
}

/// One file.
struct Work {
    mailbox: String,
    id: MessageId,
    job: TraceJob,
}

impl Lane<'_> {
    async fn run(mut self) {
        let mut leadership = self.rooms.groups[usize::from(self.partition.0)].leadership();
        loop {
            if !leadership.borrow_and_update().leading {
                if leadership.changed().await.is_err() {
                    return;
                }
                continue;
            }
            let Some(work) = self.next() else {
                tokio::time::sleep(LOOK).await;
                continue;
            };
            let id = work.id;
            let done = tokio::select! {
                biased;
                done = self.answer(work) => done,
                _ = leadership.wait_for(|now| !now.leading) => Err(Trouble::Stale),
            };
            match done {
                Ok(()) => drop(self.later.remove(&id)),
                Err(Trouble::Later(why)) => {
                    tracing::warn!(event = "trace.waits", message = %id, why, "a file for batch trace is left for later");
                    self.later.insert(id, Instant::now() + LATER);
                }
                // What is stored says how it goes on.
                Err(_) => tokio::time::sleep(LOOK).await,
            }
        }
    }

    fn rows(&self) -> Arc<dyn Reader + Send + Sync> {
        self.rooms.engine.local(self.partition)
    }

    /// The oldest file of this lane that may be worked on.
    fn next(&mut self) -> Option<Work> {
        let now = Instant::now();
        self.later.retain(|_, until| *until > now);
        let wanted = |id: &_, job: &TraceJob| (job.size <= SMALL) == self.small && !self.later.contains_key(id);
        let job = rows::first(self.rows().as_ref(), PAGE, wanted).inspect_err(|e| {
            tracing::warn!(event = "trace.unreadable", partition = self.partition.0, error = %e, "files for batch trace");
        });
        let job = job.ok()?;
        job.map(|(mailbox, id, job)| Work { mailbox, id, job })
    }

    /// Carries a file to its answer.
    async fn answer(&self, mut work: Work) -> Result<(), Trouble> {
        let done = match work.job.checked {
            false => self.check(&mut work).await,
            true => Ok(()),
        };
        let done = match done {
            Ok(()) => self.trace(&mut work).await,
            Err(trouble) => Err(trouble),
        };
        match done {
            Err(Trouble::Refused(code)) => self.checked(&work, code, 0).await,
            other => other,
        }
    }

    /// Reads the file through: is it one, and how many rows has it?
    async fn check(&self, work: &mut Work) -> Result<(), Trouble> {
        let mut intake = self.intake(work);
        let mut file = self.file(work);
        let mut breath = Breath::new();
        while let Some(piece) = file.next().await? {
            for part in piece.chunks(16 << 10) {
                intake.feed(part, drop).map_err(Trouble::Refused)?;
                breath.take().await;
            }
        }
        let count = intake.finish(drop).map_err(Trouble::Refused)?;
        self.checked(work, Code::SUCCESS, count).await?;
        work.job = self.again(work)?;
        Ok(())
    }

    async fn checked(&self, work: &Work, code: Code, rows: u64) -> Result<(), Trouble> {
        let (mailbox, message) = named(work);
        let command = TraceChecked { mailbox, message, code: code.0, rows, ..Default::default() };
        self.submit(work, command).await
    }

    /// Answers the rows behind the cursor, then sends the answer.
    async fn trace(&self, work: &mut Work) -> Result<(), Trouble> {
        let mut intake = self.intake(work);
        let mut file = self.file(work);
        let mut breath = Breath::new();
        // Rows that were answered before are read again for their references alone.
        let (mut skip, mut ended) = (work.job.done, false);
        let mut waiting: VecDeque<Row> = VecDeque::new();
        while work.job.done < work.job.rows {
            while waiting.len() < PIECE_ROWS && !ended {
                let take = |row: Row| match skip {
                    0 => waiting.push_back(row),
                    _ => skip -= 1,
                };
                match file.next().await? {
                    Some(piece) => {
                        // Rows of one piece may be many: what is read is bounded by the piece.
                        intake.feed(&piece, take).map_err(Trouble::Refused)?;
                        breath.take().await;
                    }
                    None => {
                        intake.finish(take).map_err(Trouble::Refused)?;
                        ended = true;
                    }
                }
            }
            if waiting.is_empty() {
                // Fewer rows than there were: its bodies are not those that were checked.
                return Err(Trouble::Refused(Code::DATA_STORE));
            }
            while waiting.len() >= PIECE_ROWS || (ended && !waiting.is_empty()) {
                let begun = Instant::now();
                let count = self.piece(work, &mut waiting).await?;
                let share = Duration::from_secs_f64(count as f64 / self.rate.max(1) as f64);
                tokio::time::sleep(share.max(begun.elapsed())).await;
            }
        }
        if work.job.loose > INLINE {
            self.fold(work).await?;
        }
        let (mailbox, message) = named(work);
        self.submit(work, TraceEnd { mailbox, message, ..Default::default() }).await
    }

    /// Traces the next rows and commits their answers with the cursor. Gives how many they were.
    async fn piece(&self, work: &mut Work, waiting: &mut VecDeque<Row>) -> Result<u64, Trouble> {
        let views = self.views().await?;
        let today = day::of_millis(self.clock.now().0);
        let mut piece = Piece::default();
        while piece.fill(&views, &work.job, waiting, today)? {
            tokio::task::yield_now().await;
        }
        let (mailbox, message) = named(work);
        let (count, matched, bytes) = (piece.rows, piece.subjects.len() as u64, piece.text.len() as u64);
        let command = TracePiece {
            mailbox,
            message,
            from: work.job.done,
            rows: count,
            answer: piece.text.into(),
            subjects: piece.subjects,
            codes: piece.codes.into(),
            ..Default::default()
        };
        self.submit(work, command).await?;
        metrics::counter!(names::TRACE_ROWS, "outcome" => "matched").increment(matched);
        metrics::counter!(names::TRACE_ROWS, "outcome" => "other").increment(count - matched);
        let job = &mut work.job;
        (job.done, job.pieces, job.loose) = (job.done + count, job.pieces + 1, job.loose + bytes);
        if job.pieces - job.folded >= FOLD_PIECES {
            self.fold(work).await?;
        }
        Ok(count)
    }

    /// Puts the loose pieces together in a blob, which is the next chunk of the answer.
    async fn fold(&self, work: &mut Work) -> Result<(), Trouble> {
        let (first, end) = (work.job.folded, work.job.pieces);
        let pieces = rows::pieces(self.rows().as_ref(), &work.mailbox, work.id, first, end)?;
        if pieces.len() != (end - first) as usize {
            return Err(Trouble::Stale);
        }
        let mut upload = self.rooms.bulk.upload().await?;
        for piece in pieces {
            upload.piece(piece).await?;
        }
        let (blob, len) = upload.commit().await?;
        let (mailbox, message) = named(work);
        let digest = Bytes::copy_from_slice(&blob.0);
        let command = TraceFold { mailbox, message, first, end, digest, len, ..Default::default() };
        self.submit(work, command).await?;
        work.job = self.again(work)?;
        Ok(())
    }

    /// People as of a moment after the question came (P2).
    async fn views(&self) -> Result<Vec<View>, Unavailable> {
        let engine = &self.rooms.engine;
        let all = engine.map().all().filter(|partition| *partition != SITE);
        futures_util::future::try_join_all(all.map(|partition| engine.view(partition, Fence::Linearizable))).await
    }

    /// In the name of who sent the file, whom the audit trail is to name.
    async fn submit(&self, work: &Work, command: impl Into<PdsCommand>) -> Result<(), Trouble> {
        let command = Command {
            service: services::PDS.0,
            key: Bytes::copy_from_slice(work.mailbox.as_bytes()),
            payload: command.into().encode(),
            caller: work.job.caller.clone(),
            correlation_id: work.id.to_string(),
            ..Default::default()
        };
        let outcome = self.rooms.engine.submit(command).await?;
        match TraceReply::decode(&outcome.reply) {
            Ok(reply) if !reply.stale => Ok(()),
            _ => Err(Trouble::Stale),
        }
    }

    fn again(&self, work: &Work) -> Result<TraceJob, Trouble> {
        rows::job(self.rows().as_ref(), &work.mailbox, work.id)?.ok_or(Trouble::Stale)
    }

    fn intake(&self, work: &Work) -> Intake {
        let name = String::from_utf8_lossy(&work.job.file_name).into_owned();
        Intake::new(trace::generation(&work.job), &name, self.limit)
    }

    fn file(&self, work: &Work) -> File<'_> {
        let (mailbox, id) = (work.mailbox.clone(), work.id);
        let (chunks, gzip) = (work.job.chunks, work.job.gzip);
        File { rooms: self.rooms, rows: self.rows(), mailbox, id, chunks, gzip, chunk: 0, pieces: None }
    }
}

fn named(work: &Work) -> (String, Bytes) {
    (work.mailbox.clone(), Bytes::copy_from_slice(&work.id.to_bytes()))
}

/// The answers of one commit in the making.
#[derive(Default)]
struct Piece {
    rows: u64,
    text: String,
    subjects: Vec<u64>,
    codes: Vec<u8>,
}

impl Piece {
    /// Answers rows for a moment. True where there are more that go into this commit.
    fn fill(
        &mut self,
        views: &[View],
        job: &TraceJob,
        waiting: &mut VecDeque<Row>,
        today: u32,
    ) -> Result<bool, Trouble> {
        let views: Vec<&dyn Reader> = views.iter().map(|view| view as &dyn Reader).collect();
        let (generation, begun) = (trace::generation(job), Instant::now());
        while self.rows < PIECE_ROWS as u64 && self.text.len() < PIECE_BYTES {
            if begun.elapsed() >= AT_ONCE {
                return Ok(!waiting.is_empty());
            }
            let Some(row) = waiting.pop_front() else { return Ok(false) };
            let (request, sound) = layout::request(generation, &row.fields, row.repeated);
            let answer = match sound {
                Ok(()) => trace::trace(&views, &request, today)?,
                Err(code) => Answer::refused(code),
            };
            layout::answer(&mut self.text, generation, &request, &answer);
            if answer.subject != 0 {
                self.subjects.push(answer.subject);
                self.codes.push(answer.code.0);
            }
            self.rows += 1;
        }
        Ok(false)
    }
}

/// The bytes of a message, chunk by chunk, inflated where they are gzip.
struct File<'a> {
    rooms: &'a Rooms,
    rows: Arc<dyn Reader + Send + Sync>,
    mailbox: String,
    id: MessageId,
    chunks: u32,
    gzip: bool,
    /// The last chunk that was opened.
    chunk: u32,
    pieces: Option<Pieces>,
}

impl File<'_> {
    async fn next(&mut self) -> Result<Option<Bytes>, Trouble> {
        loop {
            if let Some(pieces) = &mut self.pieces {
                match pieces.recv().await {
                    Some(Ok(piece)) => return Ok(Some(piece)),
                    // Gzip that is none; a body that cannot be read on is told apart when it is opened again.
                    Some(Err(e)) if self.gzip && e.kind() != std::io::ErrorKind::Other => {
                        return Err(Trouble::Refused(Code::NOT_PARSED));
                    }
                    Some(Err(e)) => return Err(Trouble::Later(e.to_string())),
                    None => self.pieces = None,
                }
            }
            if self.chunk == self.chunks {
                return Ok(None);
            }
            self.chunk += 1;
            let part = mesh::rows::part(self.rows.as_ref(), &self.mailbox, self.id, self.chunk)?;
            // Somebody else has acknowledged the message: its bodies are gone.
            let part = part.ok_or(Trouble::Refused(Code::DATA_STORE))?;
            let stored = match part.blob() {
                Some(digest) => self.rooms.bulk.open(BlobId(digest), part.len).await?,
                None if !self.gzip => return Ok(Some(part.inline)),
                None => {
                    self.pieces = Some(coding::inflated(part.inline, coding::whole()));
                    continue;
                }
            };
            self.pieces = Some(if self.gzip { coding::inflated(Bytes::new(), stored) } else { stored });
        }
    }
}

/// Lets others have their turn after a little work.
struct Breath(Instant);

impl Breath {
    fn new() -> Breath {
        Breath(Instant::now())
    }
    async fn take(&mut self) {
        if self.0.elapsed() >= AT_ONCE {
            tokio::task::yield_now().await;
            self.0 = Instant::now();
        }
    }
}
