//! What each command of a batch trace does. Commands come from MESH, and from the node that works on a file; where two work on one,
//! the one whose cursor is not the stored one changes nothing.

use super::{
    INLINE,
    code::{Code, Generation},
    command::{TraceChecked, TraceEnd, TraceFold, TracePiece, TraceReply},
    layout,
    rows::{self, TraceDone, TraceJob},
};
use crate::{
    access::caller::Caller,
    engine::{
        draft::{AuditNote, Draft, Fault, Stamp},
        services,
    },
    model::{MessageId, NhsNumber},
    record,
    store::tables::Table,
    wire::{
        post::{self, Arrived, Body, Dispatch, Taken},
        record::Record,
    },
};
use bytes::Bytes;

/// An answer's blobs are let go so long after it was sent: its mailbox's partition has it long since.
const LET_GO: u64 = 24 * 3_600_000;
/// What was done with a file can be looked up for so long.
const FORGET: u64 = 30 * LET_GO;

record! {
    /// What a timer is for.
    pub struct TraceTimer v1 {
        1 => mailbox: String,
        2 => message: Bytes,
        /// Forget it altogether; else only let its blobs go.
        3 => forget: bool,
    }
}

fn id_of(message: &Bytes) -> Result<MessageId, Fault> {
    MessageId::from_bytes(message).ok_or_else(|| Fault::Other("a trace without a message id".into()))
}

fn stale() -> Result<Bytes, Fault> {
    Ok(TraceReply { stale: true, ..Default::default() }.encode())
}

fn fine() -> Result<Bytes, Fault> {
    Ok(TraceReply::default().encode())
}

fn put(draft: &mut Draft<'_>, mailbox: &str, id: MessageId, job: &TraceJob) {
    draft.put(rows::key(Table::TraceJobs, mailbox, id), job.encode());
}

/// Which format a file has. A workflow that is neither is answered in the shape of the newer one.
pub fn generation(job: &TraceJob) -> Generation {
    Generation::of_workflow(&job.workflow).unwrap_or(Generation::Mesh)
}

fn note(interaction: &str, code: Code, id: MessageId, mailbox: &str, job: &TraceJob) -> AuditNote {
    AuditNote {
        interaction: interaction.into(),
        outcome: if code == Code::SUCCESS { "ok".into() } else { code.to_string() },
        object: id.to_string(),
        other: job.from.clone(),
        detail: mailbox.to_owned(),
        ..Default::default()
    }
}

/// A file has come.
pub fn arrived(draft: &mut Draft<'_>, stamp: &Stamp, arrived: &Arrived, caller: &Caller) -> Result<Bytes, Fault> {
    let (mailbox, id) = (&arrived.mailbox, id_of(&arrived.message)?);
    if rows::job(draft, mailbox, id)?.is_some() || rows::done(draft, mailbox, id)?.is_some() {
        return fine();
    }
    let file_name = String::from_utf8_lossy(&arrived.file_name).into_owned();
    let job = TraceJob {
        from: arrived.from.clone(),
        workflow: arrived.workflow.clone(),
        local_id: arrived.local_id.clone(),
        chunks: arrived.chunks,
        size: arrived.size,
        gzip: arrived.gzip,
        at: arrived.at,
        caller: caller.clone(),
        answer: layout::answer_name(&file_name, &id.to_string(), stamp.now),
        file_name: arrived.file_name.clone(),
        ..Default::default()
    };
    draft.audit(note("pds.trace_received", Code::SUCCESS, id, mailbox, &job));
    if Generation::of_workflow(&job.workflow).is_none() {
        refuse(draft, stamp, mailbox, id, job, Code::BAD_WORKFLOW)?;
        return fine();
    }
    put(draft, mailbox, id, &job);
    fine()
}

/// The file is sound, and its answer begins; or it is not, and that is its answer, whatever was written of another.
pub fn checked(draft: &mut Draft<'_>, stamp: &Stamp, command: &TraceChecked) -> Result<Bytes, Fault> {
    let (mailbox, id) = (&command.mailbox, id_of(&command.message)?);
    let Some(mut job) = rows::job(draft, mailbox, id)? else { return stale() };
    let code = Code(command.code);
    if code != Code::SUCCESS {
        refuse(draft, stamp, mailbox, id, job, code)?;
        return fine();
    }
    if job.checked {
        return stale();
    }
    let opening = layout::opening(generation(&job), &job.answer, command.rows, code);
    (job.checked, job.rows, job.pieces, job.loose) = (true, command.rows, 1, opening.len() as u64);
    draft.insert(rows::piece_key(mailbox, id, 0), opening.into());
    put(draft, mailbox, id, &job);
    fine()
}

/// The next rows: cursor, answers and the audit record of everyone shown, in one commit.
pub fn piece(draft: &mut Draft<'_>, command: &TracePiece) -> Result<Bytes, Fault> {
    let (mailbox, id) = (&command.mailbox, id_of(&command.message)?);
    let Some(mut job) = rows::job(draft, mailbox, id)? else { return stale() };
    if !job.checked || job.done != command.from || job.done + command.rows > job.rows {
        return stale();
    }
    for (subject, code) in command.subjects.iter().zip(&command.codes) {
        let note = note("pds.trace", Code(*code), id, mailbox, &job);
        let subject = NhsNumber::of(*subject).map(NhsNumber::digits).unwrap_or_default();
        draft.audit(AuditNote { subject, ..note });
    }
    draft.insert(rows::piece_key(mailbox, id, job.pieces), command.answer.clone());
    job.pieces += 1;
    job.done += command.rows;
    job.matched += command.subjects.len() as u64;
    job.loose += command.answer.len() as u64;
    put(draft, mailbox, id, &job);
    fine()
}

/// Pieces have become a blob, which is the next chunk of the answer.
pub fn fold(draft: &mut Draft<'_>, command: &TraceFold) -> Result<Bytes, Fault> {
    let (mailbox, id) = (&command.mailbox, id_of(&command.message)?);
    let Some(mut job) = rows::job(draft, mailbox, id)? else { return stale() };
    let Ok(digest) = <[u8; 32]>::try_from(command.digest.as_ref()) else { return stale() };
    if command.first != job.folded || command.end > job.pieces || command.first >= command.end {
        return stale();
    }
    for piece in command.first..command.end {
        draft.delete(rows::piece_key(mailbox, id, piece));
    }
    draft.put(rows::blob_key(&digest, mailbox, id, job.parts.len() as u32), Bytes::from_static(&[1]));
    job.parts.push(Body { digest: command.digest.clone(), len: command.len, ..Default::default() });
    job.folded = command.end;
    job.loose = job.loose.saturating_sub(command.len);
    put(draft, mailbox, id, &job);
    fine()
}

/// Sends the answer. What is not folded goes along inline.
pub fn end(draft: &mut Draft<'_>, stamp: &Stamp, command: &TraceEnd) -> Result<Bytes, Fault> {
    let (mailbox, id) = (&command.mailbox, id_of(&command.message)?);
    let Some(job) = rows::job(draft, mailbox, id)? else { return stale() };
    if !job.checked || job.done != job.rows || job.loose > INLINE {
        return stale();
    }
    let mut parts = job.parts.clone();
    let loose = rows::pieces(draft, mailbox, id, job.folded, job.pieces)?.concat();
    if !loose.is_empty() {
        parts.push(Body { len: loose.len() as u64, inline: loose.into(), ..Default::default() });
    }
    finish(draft, stamp, mailbox, id, job, Code::SUCCESS, parts);
    fine()
}

/// Answers a file with a code alone.
fn refuse(
    draft: &mut Draft<'_>,
    stamp: &Stamp,
    mailbox: &str,
    id: MessageId,
    job: TraceJob,
    code: Code,
) -> Result<(), Fault> {
    let text = Bytes::from(layout::refusal(generation(&job), &job.answer, code));
    let part = Body { len: text.len() as u64, inline: text, ..Default::default() };
    finish(draft, stamp, mailbox, id, job, code, vec![part]);
    Ok(())
}

/// The answer goes to the sender, the request counts as collected, and the job becomes a line of what was done.
fn finish(
    draft: &mut Draft<'_>,
    stamp: &Stamp,
    mailbox: &str,
    id: MessageId,
    job: TraceJob,
    code: Code,
    parts: Vec<Body>,
) {
    let message = Bytes::copy_from_slice(&id.to_bytes());
    let workflow = match Generation::of_workflow(&job.workflow) {
        Some(generation) => Bytes::from_static(generation.response().as_bytes()),
        None => job.workflow.clone(),
    };
    let dispatch = Dispatch {
        mailbox: mailbox.to_owned(),
        to: job.from.clone(),
        workflow,
        subject: id.to_string().into(),
        local_id: if job.local_id.is_empty() { id.to_string().into() } else { job.local_id.clone() },
        file_name: format!("{}.csv", job.answer).into(),
        content_type: Bytes::from_static(b"text/csv"),
        parts,
        ..Default::default()
    };
    let key = Bytes::copy_from_slice(mailbox.as_bytes());
    draft.send(key.clone(), services::MESH, post::tagged(post::MESH_DISPATCH, &dispatch));
    let taken = Taken { mailbox: mailbox.to_owned(), message: message.clone(), ..Default::default() };
    draft.send(key, services::MESH, post::tagged(post::MESH_TAKEN, &taken));
    for piece in job.folded..job.pieces {
        draft.delete(rows::piece_key(mailbox, id, piece));
    }
    draft.delete(rows::key(Table::TraceJobs, mailbox, id));
    draft.audit(note("pds.trace_answered", code, id, mailbox, &job));
    for (after, forget) in [(LET_GO, false), (FORGET, true)] {
        let timer = TraceTimer { mailbox: mailbox.to_owned(), message: message.clone(), forget, ..Default::default() };
        draft.timer(stamp.now + after, services::PDS, timer.encode());
    }
    let done = TraceDone {
        from: job.from,
        workflow: job.workflow,
        at: job.at,
        ended: stamp.now,
        rows: job.rows,
        matched: job.matched,
        code: code.0,
        parts: job.parts,
        pieces: job.pieces,
        ..Default::default()
    };
    draft.put(rows::key(Table::TracesDone, mailbox, id), done.encode());
}

/// Lets an answer's blobs go, or forgets the file.
pub fn timer(draft: &mut Draft<'_>, payload: &Bytes) -> Result<(), Fault> {
    let timer = TraceTimer::decode(payload).map_err(|e| Fault::Other(format!("pds timer: {e}")))?;
    let (mailbox, id) = (&timer.mailbox, id_of(&timer.message)?);
    let Some(mut done) = rows::done(draft, mailbox, id)? else { return Ok(()) };
    for (n, part) in done.parts.drain(..).enumerate() {
        if let Ok(digest) = <[u8; 32]>::try_from(part.digest.as_ref()) {
            draft.delete(rows::blob_key(&digest, mailbox, id, n as u32));
        }
    }
    let key = rows::key(Table::TracesDone, mailbox, id);
    if timer.forget {
        draft.delete(key);
    } else {
        draft.put(key, done.encode());
    }
    Ok(())
}
