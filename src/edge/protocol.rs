//! What the request path needs of a service's protocol. Implementations parse, render and refuse in their own words;
//! they are pure and never wait: `flow` does the waiting.

use super::backend::Stored;
use super::problem::Refusal;
use crate::access::gate::Permit;
use crate::engine::{PartitionId, ServiceId, draft::Fault};
use crate::model::NhsNumber;
use crate::store::Reader;
use bytes::Bytes;
use http::HeaderMap;

/// What the edge does with a request's body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BodyRule {
    /// Read and thrown away, up to the inline bound.
    Ignored,
    /// Kept in memory, up to the inline bound.
    Inline,
    /// Kept in memory, up to the bound of documents. Above the inline bound it counts as an upload.
    Document,
    /// In memory up to the inline bound, above it to the blob store.
    Payload,
}

/// A body as it was received.
#[derive(Clone, Debug)]
pub enum Body {
    None,
    Inline(Bytes),
    Stored(Stored),
    /// Longer than one request may carry; not kept.
    TooLarge,
    /// Not read, because [`Exchange::worth_reading`] said no.
    Skipped,
}

/// One command: partition key and the service's payload.
#[derive(Clone, Debug)]
pub struct Call {
    pub key: Bytes,
    pub payload: Bytes,
    /// Where it is not empty, a repeat of it by the same caller gets the first reply and has no second effect (P3).
    pub request_id: String,
}

impl Call {
    /// A call whose repeats the engine need not know.
    pub fn new(key: Bytes, payload: Bytes) -> Call {
        Call { key, payload, request_id: String::new() }
    }

    /// A call that a repeat under the same id *and of the same content* does not do again. Who gives one id to two different
    /// requests gets both done: neither is taken for the other, and lost.
    pub fn once(key: Bytes, payload: Bytes, request_id: &str) -> Call {
        let request_id = match request_id.is_empty() {
            true => String::new(),
            false => {
                let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, &payload);
                let half = digest.as_ref().first_chunk().map_or(0, |half| u128::from_be_bytes(*half));
                format!("{request_id} {half:032x}")
            }
        };
        Call { key, payload, request_id }
    }
}

/// An answer, ready for HTTP. Header names are lower case; `content-length` is the edge's business.
#[derive(Debug)]
pub struct Reply {
    pub status: u16,
    pub headers: Vec<(&'static str, Bytes)>,
    pub body: ReplyBody,
}

#[derive(Debug)]
pub enum ReplyBody {
    Bytes(Bytes),
    /// Gunzipped on the way.
    Inflate(Bytes),
    /// Streamed from the blob store.
    Stored {
        body: Stored,
        coding: Coding,
    },
}

/// What becomes of a stored body on its way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Coding {
    AsIs,
    /// Gunzipped. A body that is no gzip at all goes out as stored, with the `content-encoding` that it was given.
    Inflate,
    /// Gzipped; the protocol has said so in the headers.
    Zip,
}

/// What to do after the protocol has read the request.
pub enum Next {
    Answer(Reply),
    /// Submit all of these, then ask [`Exchange::replied`].
    Submit(Vec<Call>),
    /// Do this on a thread that may be slow, then ask [`Exchange::thought`]. Few are done at once.
    Think(Box<dyn FnOnce() -> bool + Send>),
    /// Show the rows of all data partitions, as of a moment after the question came (P2), then ask [`Exchange::looked`].
    Look,
}

/// A form that is posted to an address outside the site. It holds secrets: it is in no log.
#[derive(Default)]
pub struct Question {
    pub address: String,
    pub form: String,
    /// Headers that go with it, of the trace that the question is part of.
    pub trace: Vec<(&'static str, http::HeaderValue)>,
}

/// Status and body of the answer; or why there is none, a stable word.
pub type Heard = Result<(u16, Bytes), &'static str>;

/// What the edge adds to a request of its own.
#[derive(Clone, Debug, Default)]
pub struct Attempt {
    /// Names this attempt; unique over the site, never from anything the client sent.
    pub number: u64,
    /// Earlier attempts with the same credentials that this node told to come again; mostly none.
    pub forgiven: Vec<u64>,
    /// How long ago the connection's handshake proved its certificate, in milliseconds.
    pub proven_ago: u64,
}

/// What to wait for before the answer can be rendered.
#[derive(Clone, Copy, Debug, Default)]
pub struct Wait {
    /// The call whose reply is the answer.
    pub call: usize,
    /// Rows of that call's partition, as of its decision.
    pub view: bool,
    /// Until that call's deliveries to other partitions are applied.
    pub deliveries: bool,
    /// Rows of this partition instead, as far as this node has them: a hint, not a fence.
    pub other: Option<PartitionId>,
}

/// Why a decided request cannot be answered. The texts are for the log.
#[derive(Debug)]
pub enum Broken {
    /// Rows of this node cannot be read now (being rebuilt, damaged): another node, or this one later, can.
    Unreadable(String),
    /// The program's fault, or a row's.
    Fault(String),
}

impl From<crate::engine::draft::Fault> for Broken {
    fn from(fault: crate::engine::draft::Fault) -> Self {
        match fault {
            crate::engine::draft::Fault::Store(e) => Broken::Unreadable(e.to_string()),
            other => Broken::Fault(other.to_string()),
        }
    }
}

/// Whose organisation decides where a request is answered (`relay`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Party {
    /// That of the system or application that asks.
    Callers,
    /// This one (ODS code); of what nobody knows here, none.
    Of(Option<String>),
}

/// How those who ask on a listener prove who they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Proof {
    /// By the client certificate of their connection, which every one of them has.
    Certificate,
    /// By an API key or an access token in each request (spec/identity.md §1); a client certificate is not asked for.
    Credentials,
}

pub trait Protocol: Send + Sync + 'static {
    /// The service's word in metrics and logs.
    fn name(&self) -> &'static str;
    fn proof(&self) -> Proof {
        Proof::Certificate
    }
    /// Whether a path is this protocol's, where several share a listener (`api`).
    fn takes(&self, path: &str) -> bool {
        let _ = path;
        true
    }
    /// The names of all interactions; each needs a rule (P5) and has metrics of its own.
    fn interactions(&self) -> Vec<&'static str>;
    /// Reads method, path, query and headers of one request.
    fn begin(&self, head: &http::request::Parts) -> Box<dyn Exchange>;
}

/// One request and its answer. Calls come in the order of the trait.
pub trait Exchange: Send {
    fn interaction(&self) -> &'static str;
    /// Whose commands this exchange's calls are.
    fn service(&self) -> ServiceId;
    fn body_rule(&self) -> BodyRule;
    /// An answer that needs neither body nor engine.
    fn at_once(&mut self) -> Option<Reply>;
    /// Would a large body of this caller be used? Saves disks from bodies that will be refused.
    fn worth_reading(&mut self, headers: &HeaderMap, site: &dyn Reader, now_ms: u64) -> bool;
    fn ask(&mut self, permit: &Permit, headers: &HeaderMap, body: Body, site: &dyn Reader, attempt: Attempt) -> Next;
    /// Once the request was read: which of the caller's scopes and activities it needed, where its rule admits by several and only the
    /// message says by which. The audit trail names them (spec/identity.md §9.1); `None` leaves what the gate noted.
    fn granted(&self) -> Option<&str> {
        None
    }
    /// The rows asked for by [`Next::Look`], by partition from 1. Nothing of them may be answered before a call has left its
    /// audit record (P4). Not asked of protocols that never look.
    fn looked(&mut self, views: &[&dyn Reader]) -> Next {
        let _ = views;
        Next::Submit(vec![])
    }
    /// What came of [`Next::Think`]. Not asked of protocols that never think.
    fn thought(&mut self, good: bool) -> Next {
        let _ = good;
        Next::Submit(vec![])
    }
    /// Replies of the calls, in their order.
    fn replied(&mut self, replies: &[Bytes]) -> Result<Wait, Broken>;
    /// After [`Exchange::replied`]: slow work that what was decided has made worth doing; then [`Exchange::thought`] is asked, whose
    /// calls are submitted in their turn.
    fn thinks(&mut self) -> Option<Box<dyn FnOnce() -> bool + Send>> {
        None
    }
    /// After [`Exchange::replied`]: what must be asked outside the site first; then [`Exchange::heard`] is told the answer.
    fn asks(&mut self) -> Option<Question> {
        None
    }
    /// What came of [`Exchange::asks`]: calls that are submitted in their turn.
    fn heard(&mut self, heard: Heard) -> Vec<Call> {
        let _ = heard;
        vec![]
    }
    /// After [`Exchange::replied`]: calls that must be made before there is an answer, such as one on the record that the
    /// first was merged into. They are submitted and replied to in their turn; a bounded number of times.
    fn onward(&mut self) -> Vec<Call> {
        vec![]
    }
    fn answer(&mut self, site: &dyn Reader, view: Option<&dyn Reader>) -> Result<Reply, Broken>;
    /// A refusal of the edge's own, in the protocol's shape. `correlation` names the request.
    fn refuse(&self, refusal: &Refusal, correlation: &str) -> Reply;
    /// The person whose data the request's head names, if it does: for the record of a refusal that comes before any code
    /// of the service (P4).
    fn subject(&self) -> Option<NhsNumber> {
        None
    }
    /// Once there is an answer: why the service turned away somebody whom nobody knows, where it left no record of that: the edge
    /// tells of it together with others (`strangers`).
    fn stranger(&self) -> Option<&str> {
        None
    }
    /// How long the caller wants to wait for the work, where it says so. Then it is refused as if the outcome were unknown, and
    /// what was begun goes on.
    fn patience(&self, headers: &HeaderMap) -> Option<std::time::Duration> {
        let _ = headers;
        None
    }
    /// A share of its own, and its requests a second, of an application without a quota: where the specification names a rate
    /// for this beside the usual one.
    fn usual_quota(&self) -> Option<(&'static str, u32)> {
        None
    }
    /// Whose request it is, where a service moves organisation by organisation. `form`: the body, if [`Exchange::party_is_in_body`].
    fn party(&self, form: &[u8], site: &dyn Reader) -> Result<Party, Fault> {
        let _ = (form, site);
        Ok(Party::Callers)
    }
    /// Whether only the body says whose request it is; then it is read first.
    fn party_is_in_body(&self) -> bool {
        false
    }
    /// The organisation whose data the request writes beside the caller's: both must be on one side.
    fn counterpart(&self, headers: &HeaderMap, site: &dyn Reader) -> Result<Option<String>, Fault> {
        let _ = (headers, site);
        Ok(None)
    }
    /// Whether answers name a correlation id that the caller did not give.
    fn names_correlation(&self) -> bool {
        true
    }
    /// After an answer that invites to repeat the request: what makes the request's token usable again, if anything.
    fn release(&self) -> Option<Call> {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_repeat_is_known_by_its_id_and_its_content() {
        let call = |payload: &'static str, id| Call::once(Bytes::from("k"), Bytes::from(payload), id).request_id;
        assert_eq!(call("a", "1"), call("a", "1"));
        assert_ne!(call("a", "1"), call("b", "1"), "two requests under one id are two requests");
        assert_ne!(call("a", "1"), call("a", "2"));
        assert_eq!(call("a", ""), "", "without an id nothing is remembered");
    }
}
