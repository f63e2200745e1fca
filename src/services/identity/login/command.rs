//! Commands of log-ins (tags 10 and above of the token service), and their reply.

use super::rows::{Grant, LoginRequest};
use crate::{
    record,
    services::{directory::rows::Secret, identity::rows::Citizen},
};
use bytes::Bytes;

record! {
    /// An interaction that needs no row, for the audit trail.
    pub struct Note v1 {
        1 => interaction: String,
        2 => outcome: String,
        3 => object: String,
    }
}

record! {
    /// Hands a secret out: a log-in page's ticket, or an errand through the provider.
    pub struct Open v1 {
        1 => grant: Grant,
        /// Milliseconds.
        2 => life: u64,
        3 => interaction: String,
        /// With a challenge in its row.
        4 => challenge: bool,
    }
}

record! {
    /// Looks a secret up that must come from the browser that began; takes it away unless `keep`.
    pub struct Take v1 {
        1 => place: Bytes,
        /// A [`Kind`](super::rows::Kind).
        2 => kind: u8,
        /// SHA-256 of the browser's cookie.
        3 => browser: Bytes,
        4 => keep: bool,
        5 => interaction: String,
        /// The row's challenge is taken from it, and a new one put in its place.
        6 => challenge: bool,
    }
}

record! {
    /// A person shows password and one-time code. For the partition of the user id.
    pub struct SignIn v1 {
        1 => uid: String,
        /// Whether the password was right, and the hash that it was compared with: a changed one is another.
        2 => right: bool,
        3 => hash: Bytes,
        4 => code: Secret,
        /// Least level that is asked for.
        5 => level: u8,
        /// For whom, for the audit trail.
        6 => client: String,
        /// Nothing comes of it but the answer: no session, and who may not enter may ask.
        7 => prove_only: bool,
    }
}

record! {
    /// Somebody comes with a session.
    pub struct UseSession v1 {
        1 => place: Bytes,
        /// Least level of authentication, for who does not know `acr`.
        2 => level: u8,
        /// One more than the greatest age of the log-in, in seconds; 0 without.
        3 => max_age: u64,
        /// What the log-in must meet (`acr_values`).
        4 => acr: String,
    }
}

record! {
    /// A code of the provider for a session. For the session's partition, as all that follows.
    pub struct IssueCode v1 {
        1 => session: Bytes,
        2 => request: LoginRequest,
        3 => role: String,
    }
}

record! {
    /// A client shows the provider's code.
    pub struct Redeem v1 {
        1 => place: Bytes,
        2 => client: String,
        3 => redirect: String,
        /// S256 of the verifier; empty without.
        4 => challenge: String,
        /// For the token service of the HTTP APIs: gives a code of its own for this application.
        5 => onward: Option<LoginRequest>,
        /// The log-in must not be older, milliseconds since the epoch.
        6 => least_auth_time: u64,
    }
}

record! {
    /// An application shows a code of the HTTP APIs or a refresh token, or exchanges a log-in: it gets tokens.
    pub struct Trade v1 {
        /// Of code or refresh token; empty for an exchange.
        1 => place: Bytes,
        /// The [`Kind`](super::rows::Kind) of secret; `Session` for an exchange.
        2 => kind: u8,
        3 => client: String,
        4 => redirect: String,
        5 => challenge: String,
        /// Longest life of the access token, in milliseconds.
        6 => life: u64,
        /// Longest life of the refresh tokens from the log-in on, in milliseconds.
        7 => refresh_life: u64,
        /// Exchange: the session, and what is wrong with the subject token, a `Refusal`; 0 for nothing.
        8 => session: Bytes,
        9 => refusal: u8,
        /// Exchange: one more than `exp` of the subject token, in seconds; 0 without.
        10 => expires: u64,
        /// Exchange: whom the subject token names.
        11 => user: String,
        12 => role: String,
        /// Exchange: what the log-in of a citizen proved; there is no session of ours yet.
        13 => citizen: Option<Citizen>,
        /// Exchange: one more than `exp` of the JWT of whom the citizen acts for, in seconds; 0 without.
        14 => acted_expires: u64,
    }
}

record! {
    /// A citizen has logged in at the provider, for an application: begins a session, and gives a code of the HTTP APIs.
    pub struct CitizenIn v1 {
        1 => request: LoginRequest,
        2 => user: String,
        /// What the log-in proved.
        3 => citizen: Option<Citizen>,
        /// One more than `exp` of the ID token, in seconds.
        4 => expires: u64,
        /// One more than `exp` of the JWT of whom the citizen acts for, in seconds; 0 without.
        5 => acted_expires: u64,
    }
}

record! {
    /// Ends a session, and with it all codes and tokens that came of it.
    pub struct EndSession v1 {
        1 => place: Bytes,
        2 => interaction: String,
        /// One more than `exp` of the token that asks for it, in seconds; 0 without.
        3 => expires: u64,
    }
}

record! {
    /// Somebody shows a token for user-info.
    pub struct Show v1 {
        1 => place: Bytes,
        /// A token of the HTTP APIs, not of the provider.
        2 => api: bool,
    }
}

record! {
    pub struct LoginReply v1 {
        /// Empty where it was done; else a stable word.
        1 => refusal: String,
        /// The secret that was handed out.
        2 => secret: Secret,
        /// A second one: browser cookie or refresh token.
        3 => other: Secret,
        4 => grant: Option<Grant>,
        /// Of the session.
        5 => session: Bytes,
        /// Role profiles that the person may act in.
        6 => roles: Vec<String>,
        /// Milliseconds since the epoch.
        7 => now: u64,
        /// Of `secret`, in milliseconds.
        8 => life: u64,
        /// Of `other`, in milliseconds.
        9 => other_life: u64,
        /// A `Refusal` of the token service; 0 for none.
        10 => refused: u8,
        /// The challenge that the row holds now.
        11 => challenge: Bytes,
        /// Of the passkey that was enrolled.
        12 => level: u8,
        /// As in [`Stranger`](crate::services::identity::command::Stranger).
        60 => stranger: String,
    }
}

record! {
    /// A person shows a passkey. For the partition of the user id.
    pub struct PasskeySignIn v1 {
        1 => uid: String,
        2 => credential: Bytes,
        3 => client_data: Bytes,
        4 => authenticator_data: Bytes,
        5 => signature: Bytes,
        /// The one that was taken from the page's row.
        6 => challenge: Bytes,
        /// Of the site, as browsers tell it.
        7 => origin: String,
        8 => rp_id: String,
        /// Least level that is asked for.
        9 => level: u8,
        /// For whom, for the audit trail.
        10 => client: String,
    }
}

record! {
    /// A person comes over a connection with their smartcard's certificate. For the partition of the user id.
    pub struct CardSignIn v1 {
        1 => uid: String,
        /// SHA-256, lower-case hex.
        2 => certificate: String,
        3 => client: String,
        /// How long ago the card proved itself, in milliseconds.
        4 => proven_ago: u64,
    }
}

record! {
    /// A person has made a passkey. For the site partition.
    pub struct Enrol v1 {
        1 => uid: String,
        /// SHA-256 of the code that they were given.
        2 => code: Bytes,
        3 => client_data: Bytes,
        4 => attestation: Bytes,
        5 => challenge: Bytes,
        6 => origin: String,
        7 => rp_id: String,
        /// With password and one-time code besides.
        8 => signed_in: bool,
    }
}
