//! One command to rows, an audit note and a reply. What each interaction does is in `collect`, `send`, `track`,
//! `deliver` and `admin`; here is the order that holds for all: authorization, replay, what `wire` found wrong, the
//! interaction, then token and note, whatever came out.

use super::{
    Mesh, admin,
    auth::{self, Use, Verified},
    collect,
    command::{Enquiry, Interaction, MeshCommand, Reply, Request},
    deliver, post,
    refusal::{self, Problem},
    rows::{self, MailboxState, Part, Party, UsedToken},
    send, timers, track,
};
use crate::{
    engine::ServiceId,
    engine::{
        Command,
        draft::{AuditNote, Decide, Draft, Fault, Stamp, Timer},
        services,
    },
    model::{EpochMillis, MessageId},
    services::directory::rows::{Mailbox, NOTHING},
    store::tables::Table,
    wire::record::Record,
};
use bytes::Bytes;

/// Why an interaction ends early: the caller's doing, or ours.
#[derive(Debug)]
pub enum No {
    Refused(Problem),
    Fault(Fault),
}

impl From<Problem> for No {
    fn from(problem: Problem) -> Self {
        No::Refused(problem)
    }
}
impl From<Fault> for No {
    fn from(fault: Fault) -> Self {
        No::Fault(fault)
    }
}
impl From<crate::store::StoreError> for No {
    fn from(error: crate::store::StoreError) -> Self {
        No::Fault(error.into())
    }
}

pub type Answer = Result<Reply, No>;

/// What every step of a decision works with.
pub struct Cx<'c, 'd> {
    pub mesh: &'c Mesh,
    pub draft: &'c mut Draft<'d>,
    pub stamp: &'c Stamp,
}

impl Cx<'_, '_> {
    /// The `nth` message id of this decision.
    pub fn mint(&self, nth: u32) -> MessageId {
        MessageId::mint(self.stamp.now, self.stamp.partition.0, self.stamp.sequence, &self.stamp.entropy, nth)
    }
    pub fn now(&self) -> EpochMillis {
        self.stamp.now
    }
    /// When a message accepted now expires.
    pub fn expiry(&self) -> EpochMillis {
        self.stamp.now + self.mesh.options.inbox_expiry.as_millis() as u64
    }
    /// Sends a command to the partition of a mailbox; decided at once where that is this one.
    pub fn tell(&mut self, mailbox: &str, command: impl Into<MeshCommand>) {
        let key = Bytes::copy_from_slice(mailbox.as_bytes());
        self.draft.send(key, services::MESH, command.into().encode());
    }
    /// Marks a message as one of this partition's.
    pub fn know(&mut self, id: MessageId) {
        self.draft.insert(Table::MessageIds.key().fixed(&id.to_bytes()), NOTHING);
    }
    /// No mailbox of the caller's has this message: 403 where another has it, 404 where none (mesh.md §6.4). Where the
    /// sender lives in another partition, the answer asks there.
    pub fn not_here(&self, id: MessageId) -> Result<Problem, Fault> {
        if rows::known(self.draft, id)? {
            return Ok(refusal::forbidden().about(id));
        }
        let home = id.partition();
        let elsewhere = home != self.stamp.partition.0 && (1..=self.stamp.partitions).contains(&home);
        Ok(Problem { probe: if elsewhere { home } else { 0 }, ..refusal::no_message().about(id) })
    }
    pub fn state(&self, mailbox: &str) -> Result<MailboxState, Fault> {
        rows::state(self.draft, mailbox)
    }
}

/// A mailbox as a party to messages.
pub fn party(id: &str, row: &Mailbox) -> Party {
    Party {
        mailbox: id.to_owned(),
        name: row.name.clone(),
        ods: row.ods.clone(),
        org_code: row.org_code.clone(),
        org_name: row.org_name.clone(),
        billing: row.billing.clone(),
        ..Default::default()
    }
}

impl Decide for Mesh {
    fn service(&self) -> ServiceId {
        services::MESH
    }

    fn decide(&self, draft: &mut Draft<'_>, stamp: &Stamp, command: &Command) -> Result<Bytes, Fault> {
        let mut cx = Cx { mesh: self, draft, stamp };
        let nothing = |()| Reply::default();
        let reply = match MeshCommand::decode(&command.payload)? {
            MeshCommand::Request(request) => request_reply(&mut cx, &request)?,
            MeshCommand::Deliver(deliver) => deliver::deliver(&mut cx, &deliver).map(nothing)?,
            MeshCommand::DeliverPart(part) => deliver::part(&mut cx, &part).map(nothing)?,
            MeshCommand::Complete(complete) => deliver::complete(&mut cx, &complete).map(nothing)?,
            MeshCommand::Settle(settle) => deliver::settle(&mut cx, &settle).map(nothing)?,
            MeshCommand::Release(r) => auth::release(&mut cx, &r.token, &r.mailbox, r.attempt).map(nothing)?,
            MeshCommand::Enquiry(enquiry) => enquire(&mut cx, &enquiry)?,
            MeshCommand::Closed(closed) => timers::drain(&mut cx, &closed.mailbox).map(nothing)?,
            MeshCommand::Requeue(requeue) => admin::requeue(&mut cx, &requeue, &command.caller)?,
            MeshCommand::Reset(reset) => admin::reset(&mut cx, &reset)?,
            MeshCommand::MakeReport(report) => admin::make_report(&mut cx, &report)?,
            MeshCommand::AddEvent(event) => admin::add_event(&mut cx, &event)?,
            MeshCommand::Dispatch(dispatch) => post::dispatch(&mut cx, &dispatch).map(nothing)?,
            MeshCommand::Taken(taken) => post::taken(&mut cx, &taken).map(nothing)?,
        };
        Ok(reply.encode())
    }

    /// Only sends fill the disk; what collects, tracks or acknowledges goes on.
    fn may_when_full(&self, command: &Command) -> bool {
        match MeshCommand::decode(&command.payload) {
            Ok(MeshCommand::Request(r)) => {
                !matches!(Interaction::of(r.interaction), Some(Interaction::Send | Interaction::SendChunk))
            }
            Ok(MeshCommand::Settle(settle)) => settle.report.is_empty(),
            Ok(MeshCommand::Release(_) | MeshCommand::Enquiry(_) | MeshCommand::Reset(_)) => true,
            _ => false,
        }
    }

    fn bodies(&self, payload: &Bytes) -> Vec<Bytes> {
        let of_part = |part: &Bytes| Part::decode(part).ok().map(|part| part.digest);
        let named: Vec<Bytes> = match MeshCommand::decode(payload) {
            Ok(MeshCommand::Deliver(deliver)) => of_part(&deliver.part).into_iter().collect(),
            Ok(MeshCommand::DeliverPart(deliver)) => of_part(&deliver.part).into_iter().collect(),
            Ok(MeshCommand::Dispatch(dispatch)) => dispatch.parts.into_iter().map(|body| body.digest).collect(),
            _ => vec![],
        };
        named.into_iter().filter(|digest| !digest.is_empty()).collect()
    }

    fn timer(&self, draft: &mut Draft<'_>, stamp: &Stamp, timer: &Timer) -> Result<(), Fault> {
        timers::fire(&mut Cx { mesh: self, draft, stamp }, &timer.payload)
    }
}

/// A client's interaction, from authorization to audit note.
fn request_reply(cx: &mut Cx<'_, '_>, request: &Request) -> Result<Reply, Fault> {
    let interaction = Interaction::of(request.interaction)
        .ok_or_else(|| Fault::Other(format!("mesh interaction {} is unknown", request.interaction)))?;
    let (reply, other) = match authorised(cx, request)? {
        Err(problem) => (Reply::refused(problem), String::new()),
        Ok((verified, how)) => carry_out(cx, request, interaction, &verified, &how)?,
    };
    let id = reply.message_id().map(|id| id.to_string()).unwrap_or_else(|| request.message.clone());
    cx.draft.audit(AuditNote {
        interaction: interaction.name().into(),
        outcome: reply.problem.as_ref().map_or_else(|| "ok".into(), Problem::outcome),
        object: bounded(if id.is_empty() { &request.mailbox } else { &id }),
        other: if id.is_empty() { other } else { bounded(&[&request.mailbox, other.as_str()].join(" ")) },
        detail: request.client.clone(),
        ..Default::default()
    });
    Ok(reply)
}

fn authorised<'r>(cx: &Cx<'_, '_>, request: &'r Request) -> Result<Result<(Verified<'r>, Use), Problem>, Fault> {
    let verified = auth::verify(cx.mesh, cx.draft.site(), &request.mailbox, &request.token, cx.now())?;
    let verified = match verified {
        Ok(verified) => verified,
        Err(problem) => return Ok(Err(problem)),
    };
    Ok(auth::replay(cx, &verified, request)?.map(|how| (verified, how)))
}

/// The interaction itself; then the token is spent, whatever came out, but where the client shall come again with it.
fn carry_out(
    cx: &mut Cx<'_, '_>,
    request: &Request,
    interaction: Interaction,
    verified: &Verified<'_>,
    how: &Use,
) -> Result<(Reply, String), Fault> {
    let content = match interaction {
        Interaction::Send => Some(send::content(request)),
        Interaction::SendChunk => Some(send::chunk_content(request)),
        _ => None,
    };
    let answer = match (&request.refusal, request.unread, how) {
        (Some(problem), ..) => Err(problem.clone().into()),
        (None, true, _) => Err(refusal::try_again().into()),
        (None, false, Use::Again(_, used)) if !used.message.is_empty() && Some(used.content) == content => {
            Ok(Reply { message: used.message.clone(), deliveries: true, ..Default::default() })
        }
        _ => interact(cx, request, interaction, &verified.mailbox),
    };
    let mut reply = match answer {
        Ok(reply) => reply,
        Err(No::Fault(fault)) => return Err(fault),
        Err(No::Refused(problem)) => {
            cx.draft.abort();
            Reply::refused(problem)
        }
    };
    reply.now = cx.now();
    if reply.problem.as_ref().is_none_or(|p| p.status != 503) {
        let sent = content.filter(|_| reply.problem.is_none());
        let used = UsedToken {
            attempt: request.attempt,
            message: sent.map(|_| reply.message.clone()).unwrap_or_default(),
            content: sent.unwrap_or_default(),
            ..Default::default()
        };
        auth::spend(cx, verified, how, used)?;
    }
    let other = match (&request.headers, interaction) {
        (Some(headers), Interaction::Send) if !send::is_demographic(&headers.to) => bounded(&headers.to),
        _ => String::new(),
    };
    Ok((reply, other))
}

fn interact(cx: &mut Cx<'_, '_>, request: &Request, interaction: Interaction, own: &Mailbox) -> Answer {
    match interaction {
        Interaction::Handshake => collect::handshake(cx, request),
        Interaction::Update => Ok(Reply::default()),
        Interaction::List => collect::list(cx, request),
        Interaction::Count => collect::count(cx, request),
        Interaction::Download => collect::download(cx, request),
        Interaction::Head => collect::head(cx, request, own),
        Interaction::Acknowledge => collect::acknowledge(cx, request),
        Interaction::Send => send::send(cx, request, own),
        Interaction::SendChunk => send::chunk(cx, request),
        Interaction::Track => track::by_id(cx, request, own),
        Interaction::TrackLocal => track::by_local_id(cx, request, own),
        Interaction::RichInbox | Interaction::RichOutbox => {
            Ok(Reply { view: true, own: Some(party(&request.mailbox, own)), ..Default::default() })
        }
    }
}

/// Interactions without a token: what is asked for is in the registry; here it is noted who asked.
fn enquire(cx: &mut Cx<'_, '_>, enquiry: &Enquiry) -> Result<Reply, Fault> {
    let mut reply = match enquiry.kind {
        5 => admin::message(cx, enquiry)?,
        4 => Reply { count: cx.state(&enquiry.mailbox)?.accepted, ..Default::default() },
        _ => Reply::default(),
    };
    reply.now = cx.now();
    if !reply.elsewhere {
        let interaction = match enquiry.kind {
            1 => "mesh.lookup",
            2 => "mesh.workflow_search",
            3 => "mesh.mailbox",
            4 => "mesh.admin_mailbox",
            _ => "mesh.admin_message",
        };
        let objects = [&enquiry.message, &enquiry.mailbox, &enquiry.ods, &enquiry.workflow];
        let mut objects = objects.into_iter().filter(|o| !o.is_empty());
        cx.draft.audit(AuditNote {
            interaction: interaction.into(),
            outcome: "ok".into(),
            object: bounded(objects.next().map_or("", |o| o)),
            other: bounded(objects.next().map_or("", |o| o)),
            detail: enquiry.client.clone(),
            ..Default::default()
        });
    }
    Ok(reply)
}

/// Ids come from paths: an audit record holds no more of one than any real id has.
pub fn bounded(text: &str) -> String {
    const MOST: usize = 300;
    text.chars().take(MOST).collect()
}
