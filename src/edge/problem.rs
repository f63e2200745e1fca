//! Refusals of the edge's own: public words from the catalogue, private words for the log, kept apart by type.
//!
//! One table turns kinds into HTTP statuses. 5xx is 503 with Retry-After wherever a client may come again, 500 only
//! for our own faults.

use super::protocol::Broken;
use crate::engine::Unavailable;
use crate::ops::codes::{self, Code, Kind};
use http::StatusCode;
use std::time::Duration;

/// Retry-After where nothing better is known, in seconds: an election takes less.
pub const RETRY_AFTER: u32 = 1;

/// Why a request is not done. `Debug` shows private words; clients get [`Refusal::words`] only.
#[derive(Clone, Debug)]
pub struct Refusal {
    pub code: &'static Code,
    /// Seconds after which to come again, where that makes sense.
    pub retry_after: Option<u32>,
    /// Headers that a refused method must name.
    pub allow: Option<&'static str>,
    private: String,
}

impl Refusal {
    pub fn new(code: &'static Code) -> Self {
        let retry_after = (code.kind == Kind::Busy).then_some(RETRY_AFTER);
        Refusal { code, retry_after, allow: None, private: String::new() }
    }
    /// Words for the log; still no patient data (P10).
    pub fn because(mut self, private: impl Into<String>) -> Self {
        self.private = private.into();
        self
    }
    pub fn after(mut self, wait: Duration) -> Self {
        self.retry_after = Some(u32::try_from(wait.as_millis().div_ceil(1000)).unwrap_or(u32::MAX).max(1));
        self
    }
    /// What a client may read.
    pub fn words(&self) -> &'static str {
        self.code.words
    }
    /// Whether the system that is being replaced is the cause.
    pub fn is_upstream(&self) -> bool {
        ("SPN-1032"..="SPN-1037").contains(&self.code.code)
    }
    /// Whether the cause is that organisations move from one system to another: operators of both look for its code.
    pub fn is_of_a_move(&self) -> bool {
        self.is_upstream() || [codes::RECIPIENT_ELSEWHERE.code, codes::RECIPIENT_MOVES.code].contains(&self.code.code)
    }
    pub fn private(&self) -> &str {
        &self.private
    }
    /// The plain HTTP status; protocols may have their own (MESH answers 403 where this says 401).
    pub fn status(&self) -> StatusCode {
        match self.code.code {
            code if code == codes::BODY_TOO_LARGE.code => StatusCode::PAYLOAD_TOO_LARGE,
            code if code == codes::BODY_TOO_SLOW.code => StatusCode::REQUEST_TIMEOUT,
            code if code == codes::WRONG_METHOD.code => StatusCode::METHOD_NOT_ALLOWED,
            code if code == codes::RATE_LIMITED.code => StatusCode::TOO_MANY_REQUESTS,
            code if code == codes::UPSTREAM_LATE.code => StatusCode::GATEWAY_TIMEOUT,
            code if [&codes::UPSTREAM_UNREACHABLE, &codes::UPSTREAM_UNTRUSTED, &codes::UPSTREAM_BROKEN]
                .iter()
                .any(|of| of.code == code) =>
            {
                StatusCode::BAD_GATEWAY
            }
            _ => status_of(self.code.kind),
        }
    }
}

/// The table.
pub fn status_of(kind: Kind) -> StatusCode {
    match kind {
        Kind::Incorrect => StatusCode::BAD_REQUEST,
        Kind::Unauthenticated => StatusCode::UNAUTHORIZED,
        Kind::Forbidden => StatusCode::FORBIDDEN,
        Kind::NotFound => StatusCode::NOT_FOUND,
        Kind::Gone => StatusCode::GONE,
        Kind::Conflict => StatusCode::CONFLICT,
        Kind::Stale => StatusCode::PRECONDITION_FAILED,
        Kind::Unsupported => StatusCode::UNPROCESSABLE_ENTITY,
        Kind::Busy => StatusCode::SERVICE_UNAVAILABLE,
        Kind::Fault => StatusCode::INTERNAL_SERVER_ERROR,
    }
}

/// The outcome of an answer by its status, for metrics. `None` is success.
pub fn kind_of(status: u16) -> Option<Kind> {
    Some(match status {
        100..=399 => return None,
        401 => Kind::Unauthenticated,
        403 => Kind::Forbidden,
        404 => Kind::NotFound,
        405 | 406 | 415 | 422 => Kind::Unsupported,
        409 | 423 => Kind::Conflict,
        410 => Kind::Gone,
        412 => Kind::Stale,
        425 | 429 | 502..=504 => Kind::Busy,
        400..=499 => Kind::Incorrect,
        _ => Kind::Fault,
    })
}

impl From<Broken> for Refusal {
    fn from(why: Broken) -> Self {
        match why {
            Broken::Unreadable(text) => {
                tracing::warn!(
                    event = "edge.rows_unreadable",
                    cause = text,
                    "an answer needs rows that cannot be read here now"
                );
                Refusal::new(&codes::NO_LEADER).because(text)
            }
            Broken::Fault(text) => Refusal::new(&codes::FAULT).because(text),
        }
    }
}

impl From<Unavailable> for Refusal {
    fn from(why: Unavailable) -> Self {
        let code = match &why {
            Unavailable::Busy => &codes::OVERLOADED,
            Unavailable::NoLeader => &codes::NO_LEADER,
            Unavailable::NoSpace => &codes::NO_SPACE,
            Unavailable::Unknown => &codes::OUTCOME_UNKNOWN,
            Unavailable::Fault(_) => &codes::FAULT,
            Unavailable::Lost(_) => &codes::BODY_LOST,
        };
        Refusal::new(code).because(why.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_that_may_come_again_is_told_when() {
        for why in [Unavailable::Busy, Unavailable::NoLeader, Unavailable::NoSpace, Unavailable::Unknown] {
            let refusal = Refusal::from(why);
            assert_eq!((refusal.status().as_u16(), refusal.retry_after), (503, Some(RETRY_AFTER)));
        }
        let fault = Refusal::from(Unavailable::Fault("row 7 is unreadable".into()));
        assert_eq!((fault.status().as_u16(), fault.retry_after), (500, None));
        assert!(!fault.words().contains("row 7"));
        let lost = Refusal::from(Unavailable::Lost("body 7".into()));
        assert_eq!((lost.status().as_u16(), lost.retry_after), (500, None), "coming again is of no use");
        let unreadable = Refusal::from(Broken::Unreadable("being rebuilt".into()));
        assert_eq!((unreadable.status().as_u16(), unreadable.retry_after), (503, Some(RETRY_AFTER)));
        assert_eq!(Refusal::new(&codes::RATE_LIMITED).after(Duration::from_millis(1100)).retry_after, Some(2));
    }

    #[test]
    fn statuses_lead_back_to_their_kinds() {
        for kind in Kind::ALL {
            assert_eq!(kind_of(status_of(kind).as_u16()), Some(kind));
        }
        assert_eq!((kind_of(202), kind_of(417)), (None, Some(Kind::Incorrect)));
    }
}
