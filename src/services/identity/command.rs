//! Commands of the token service: one tag byte, then a record; and their reply.

use super::login::command::{
    CardSignIn, CitizenIn, EndSession, Enrol, IssueCode, Note, Open, PasskeySignIn, Redeem, Show, SignIn, Take, Trade,
    UseSession,
};
use super::login::notices::NoticeSent;
use super::rows::AccessToken;
use crate::{commands, engine::draft::Fault, record, services::directory::rows::Secret, wire::record::Record};
use bytes::Bytes;

commands! {
    /// A command, told apart by its first byte.
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub enum IdentityCommand("identity") without From {
        /// For the partition of the JWT.
        1 Claim(Claim),
        /// For the partition of the token.
        2 Revoke(OnToken),
        /// For the partition of the token.
        3 Introspect(OnToken),
        10 Note(Note),
        11 Open(Open),
        12 Take(Take),
        /// For the partition of the user id.
        13 SignIn(SignIn),
        /// For the partition of the session, as all that follow.
        14 UseSession(UseSession),
        15 IssueCode(IssueCode),
        16 Redeem(Redeem),
        17 Trade(Trade),
        18 EndSession(EndSession),
        19 Show(Show),
        /// For the partition of the user id.
        50 PasskeySignIn(PasskeySignIn),
        /// For the partition of the user id.
        51 CardSignIn(CardSignIn),
        /// For the site partition.
        52 Enrol(Enrol),
        55 NoticeSent(NoticeSent),
        56 CitizenIn(CitizenIn),
    }
}

record! {
    /// A signed JWT was shown: it is used up, and gives a token where one was asked for.
    pub struct Claim v1 {
        /// What is wrong with it as far as the asking node sees, a [`Refusal`](super::refusal::Refusal); 0 for nothing.
        1 => refusal: u8,
        /// The client that it names.
        2 => client: String,
        /// SHA-256 of client id and jti.
        3 => jti: Bytes,
        /// `exp` and one more, in seconds; 0 where it is no integer.
        4 => expires: u64,
        /// SHA-256 of the key that signed it.
        5 => key: Bytes,
        /// Longest life of the token, in milliseconds; 0 where none was asked for.
        6 => life: u64,
        /// Interaction, for the audit trail.
        7 => interaction: String,
    }
}

record! {
    /// An application asks about, or gives up, a token.
    pub struct OnToken v1 {
        /// The client that has proven itself.
        1 => client: String,
        2 => hour: u64,
        /// SHA-256 of the token.
        3 => hash: Bytes,
        /// `exp` of the client's JWT, in seconds: an expired one does nothing here either. The greatest there is for a secret.
        4 => expires: u64,
    }
}

record! {
    pub struct IdentityReply v1 {
        /// A [`Refusal`](super::refusal::Refusal); 0 for none.
        1 => refusal: u8,
        /// The token's text, which is stored nowhere.
        2 => token: Secret,
        /// Milliseconds since the epoch.
        3 => issued: u64,
        /// The token's life, in milliseconds.
        4 => life: u64,
        /// The token that was asked about, where it is in force and the client may know.
        5 => found: Option<AccessToken>,
        /// It is a refresh token.
        6 => refresh: bool,
        /// As in [`Stranger`].
        60 => stranger: String,
    }
}

record! {
    /// What every reply of the service may hold beside its own fields.
    pub struct Stranger v1 {
        /// Why somebody whom nobody knows was refused, where that left no record: the edge tells of it with others.
        60 => reason: String,
    }
}

impl Stranger {
    /// The reason of these replies, where there is one.
    pub fn among(replies: &[Bytes]) -> Option<String> {
        let reasons = replies.iter().filter_map(|reply| Stranger::decode(reply).ok()).map(|told| told.reason);
        reasons.into_iter().find(|reason| !reason.is_empty())
    }
}

impl IdentityReply {
    pub fn of(bytes: &Bytes) -> Result<Self, Fault> {
        IdentityReply::decode(bytes).map_err(|e| Fault::Other(format!("identity reply: {e}")))
    }
}
