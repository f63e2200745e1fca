//! What a service takes and gives whose requests and answers are whole documents: the edge carries them (`edge::carried`).
//! Plain values, so that services stay pure and can be asked in tests as the edge asks them.

use bytes::Bytes;

/// One command.
#[derive(Clone, Debug)]
pub struct Call {
    /// Partition key.
    pub key: Bytes,
    pub payload: Bytes,
    /// The id under which the reply is remembered (P3); empty for none.
    pub request_id: String,
}

/// What comes next for a request.
pub enum Step {
    Answer(Response),
    Submit(Vec<Call>),
    /// Show the rows of all partitions.
    Look,
}

/// A request's body.
#[derive(Clone, Debug)]
pub enum BodyIn {
    None,
    Bytes(Bytes),
    TooLarge,
}

/// An answer; header names are lower case.
#[derive(Debug)]
pub struct Response {
    pub status: u16,
    pub headers: Vec<(&'static str, Bytes)>,
    pub body: Bytes,
}
