//! What travels to the leader of a partition: one tag byte, then a record. Tags are for ever (docs/formats.md).
//!
//! [`Request`] is a client's interaction, checked by `wire` as far as that needs no rows. The others are a message's
//! halves on their way between two mailboxes' partitions, and what the edge, the operator and the registry ask for.

use super::{refusal::Problem, rows::Event};
use crate::{
    commands,
    engine::draft::Fault,
    model::MessageId,
    record,
    services::directory::notice::MailboxClosed,
    wire::post::{Dispatch, Taken},
    wire::record::Record,
};
use bytes::Bytes;

commands! {
    /// A command, told apart by its first byte.
    #[derive(Clone, Debug)]
    pub enum MeshCommand("mesh") {
        /// A client's interaction, for the partition of its mailbox.
        1 Request(Request),
        /// The recipient's half of a first chunk or whole message.
        2 Deliver(Deliver),
        /// The recipient's half of a later chunk.
        3 DeliverPart(DeliverPart),
        /// The recipient's half of a chunked message's end.
        4 Complete(Complete),
        /// The sender's half of a message's end.
        5 Settle(Settle),
        /// A request was answered so that its client sends the same token again.
        6 Release(Release),
        /// Without a token: lookups and mailbox details.
        7 Enquiry(Enquiry),
        /// The registry has made a mailbox inactive.
        8 Closed(MailboxClosed),
        /// An operator puts an undeliverable message back.
        9 Requeue(Requeue),
        /// Test mode: an inbox and outbox are emptied.
        10 Reset(Reset),
        /// Test mode: a report is made.
        11 MakeReport(MakeReport),
        /// Test mode: a message is given an event.
        12 AddEvent(AddEvent),
        /// A service of the site sends a message from its mailbox.
        64 Dispatch(Dispatch),
        /// A service of the site has done with a message.
        65 Taken(Taken),
    }
}

record! {
    /// A client's interaction with its own mailbox.
    pub struct Request v1 {
        /// Of the path, upper case.
        1 => mailbox: String,
        /// An [`Interaction`].
        2 => interaction: u8,
        /// The `Authorization` header as it came; empty if there was none.
        3 => token: Bytes,
        /// What `wire` found wrong; answered after authorization.
        4 => refusal: Option<Problem>,
        /// Client software as announced, for the audit trail.
        5 => client: String,
        6 => message: String,
        7 => chunk: u32,
        8 => local_id: Bytes,
        9 => page: Option<Page>,
        10 => headers: Option<SendHeaders>,
        /// An encoded [`Part`](super::rows::Part); empty for no body.
        11 => body: Bytes,
        12 => handshake: Option<super::rows::Handshake>,
        /// Attempts that the serving node itself has answered so that their token may come again.
        13 => forgiven: Vec<u64>,
        /// Names this attempt in the token's row: a fresh random number of the serving node.
        16 => attempt: u64,
        /// The edge did not read the body, expecting a refusal.
        14 => unread: bool,
        /// Whether tracking by local id or a listing answers in version 2 (audit and cursors do not depend on it).
        15 => version: u8,
    }
}

/// The interactions that carry a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Interaction {
    Handshake = 1,
    Update = 2,
    List = 3,
    Count = 4,
    Download = 5,
    Head = 6,
    Acknowledge = 7,
    Send = 8,
    SendChunk = 9,
    Track = 10,
    TrackLocal = 11,
    RichInbox = 12,
    RichOutbox = 13,
}

impl Interaction {
    const ALL: [Interaction; 13] = [
        Interaction::Handshake,
        Interaction::Update,
        Interaction::List,
        Interaction::Count,
        Interaction::Download,
        Interaction::Head,
        Interaction::Acknowledge,
        Interaction::Send,
        Interaction::SendChunk,
        Interaction::Track,
        Interaction::TrackLocal,
        Interaction::RichInbox,
        Interaction::RichOutbox,
    ];
    pub fn of(number: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|i| *i as u8 == number)
    }
    /// Stable dotted name, the same as the route's.
    pub fn name(self) -> &'static str {
        match self {
            Interaction::Handshake => "mesh.handshake",
            Interaction::Update => "mesh.update",
            Interaction::List => "mesh.list",
            Interaction::Count => "mesh.count",
            Interaction::Download => "mesh.download",
            Interaction::Head => "mesh.head",
            Interaction::Acknowledge => "mesh.acknowledge",
            Interaction::Send => "mesh.send",
            Interaction::SendChunk => "mesh.send_chunk",
            Interaction::Track => "mesh.track",
            Interaction::TrackLocal => "mesh.track_local",
            Interaction::RichInbox => "mesh.inbox_rich",
            Interaction::RichOutbox => "mesh.outbox_rich",
        }
    }
}

record! {
    /// Which page of a listing.
    pub struct Page v1 {
        1 => max_results: u32,
        /// Eleven bytes of a message id: only what lies behind it. Empty: from the start.
        2 => after: Bytes,
        3 => filter: Option<String>,
        /// Rich listings: only messages made at or after this moment.
        4 => start: u64,
    }
}

record! {
    /// A first chunk's headers (mesh.md §7.1), trimmed, checked and with their defaults.
    pub struct SendHeaders v1 {
        /// Upper case, but as sent where it names a patient for routing.
        1 => to: String,
        2 => workflow: Bytes,
        3 => subject: Bytes,
        4 => local_id: Bytes,
        5 => partner_id: Bytes,
        /// Empty: named after the message.
        6 => file_name: Bytes,
        7 => checksum: Bytes,
        8 => encrypted: bool,
        9 => compressed: bool,
        10 => content_type: Bytes,
        11 => gzip: bool,
        12 => chunks: u32,
    }
}

record! {
    pub struct Deliver v1 {
        1 => mailbox: String,
        2 => message: Bytes,
        /// The encoded `Message` row.
        3 => row: Bytes,
        /// The encoded `Part` row of chunk 1.
        4 => part: Bytes,
        5 => workflow: Bytes,
        /// 0 while chunks are outstanding: the message is not yet collectable.
        6 => expires: u64,
        /// The service of the site that the mailbox belongs to, where that is to be told; 0 for none.
        7 => service: u8,
    }
}

record! {
    pub struct DeliverPart v1 {
        1 => mailbox: String,
        2 => message: Bytes,
        3 => chunk: u32,
        4 => part: Bytes,
    }
}

record! {
    /// All chunks are there, or the upload was given up.
    pub struct Complete v1 {
        1 => mailbox: String,
        2 => message: Bytes,
        3 => size: u64,
        4 => at: u64,
        5 => expires: u64,
        6 => abandoned: bool,
        /// As in [`Deliver`].
        7 => service: u8,
    }
}

record! {
    /// A message's new status, for its sender's copy; with a report where the sender must hear of it.
    pub struct Settle v1 {
        1 => mailbox: String,
        2 => message: Bytes,
        3 => status: u8,
        4 => at: u64,
        5 => error: Event,
        /// New expiry, after a re-queue.
        6 => expires: u64,
        /// Id of the report to make; empty for none.
        7 => report: Bytes,
        8 => workflow: Bytes,
        9 => subject: Bytes,
        10 => local_id: Bytes,
    }
}

record! {
    pub struct Release v1 {
        1 => mailbox: String,
        2 => token: Bytes,
        /// The attempt whose answer was lost or unavailable.
        3 => attempt: u64,
    }
}

record! {
    pub struct Enquiry v1 {
        /// 1 lookup, 2 workflow search, 3 mailbox, 4 admin: mailbox, 5 admin: message.
        1 => kind: u8,
        2 => ods: String,
        3 => workflow: String,
        4 => mailbox: String,
        5 => message: String,
        6 => client: String,
    }
}

record! {
    pub struct Requeue v1 {
        1 => mailbox: String,
        2 => message: String,
    }
}

record! {
    pub struct Reset v1 {
        1 => mailbox: String,
    }
}

record! {
    pub struct MakeReport v1 {
        1 => mailbox: String,
        2 => code: String,
        3 => text: String,
        4 => workflow: String,
        5 => subject: String,
        6 => local_id: String,
        /// `undeliverable` makes a non-delivery report in its own words.
        7 => undeliverable: bool,
        8 => file_name: String,
        9 => linked: String,
    }
}

record! {
    pub struct AddEvent v1 {
        1 => mailbox: String,
        2 => message: String,
        3 => status: u8,
        4 => error: Event,
        5 => linked: String,
    }
}

record! {
    /// What a decision answers; `answer` renders it.
    pub struct Reply v1 {
        /// Set where the request was refused; nothing was changed but tokens and audit.
        1 => problem: Option<Problem>,
        /// The message made or touched.
        2 => message: Bytes,
        /// An encoded `Message` row, from the recipient's or the sender's copy.
        3 => row: Bytes,
        /// An encoded `Part` row.
        4 => part: Bytes,
        /// The listing or the part must be read at this reply's index.
        5 => view: bool,
        /// Message ids, eleven bytes each, of a listing that was short enough to decide along.
        6 => ids: Bytes,
        /// Rows in the inbox.
        7 => count: u64,
        /// Halves of this decision may be on their way to other partitions; the answer waits until they are applied.
        8 => deliveries: bool,
        /// For a fan-out of calls: this one does not hold the message, ask the next.
        9 => elsewhere: bool,
        /// The mailbox's own name, for renderings that show both sides.
        10 => own: Option<super::rows::Party>,
        /// Where the next page of a listing begins, eleven bytes; empty where there is none.
        11 => next: Bytes,
        /// When it was decided.
        12 => now: u64,
    }
}

impl Reply {
    pub fn refused(problem: Problem) -> Self {
        Reply { problem: Some(problem), ..Default::default() }
    }
    pub fn of(bytes: &Bytes) -> Result<Self, Fault> {
        Reply::decode(bytes).map_err(|e| Fault::Other(format!("mesh reply: {e}")))
    }
    /// Whether [`Mesh::answer`](super::Mesh::answer) wants the partition's rows at the reply's index.
    pub fn needs_view(&self) -> bool {
        self.view
    }
    /// The partition whose rows [`Mesh::answer`](super::Mesh::answer) wants instead of the mailbox's, as they are there.
    pub fn probes(&self) -> Option<u16> {
        self.problem.as_ref().map(|p| p.probe).filter(|p| *p != 0)
    }
    /// Whether the answer waits for what this decision sent to other partitions.
    pub fn awaits_deliveries(&self) -> bool {
        self.deliveries
    }
    pub fn message_id(&self) -> Option<MessageId> {
        MessageId::from_bytes(&self.message)
    }
}
