//! What each message does to the stored prescription, decided without I/O: the record before and the message in, the record after,
//! the answer and what follows outside out.
//!
//! Invariants: a refusal changes nothing but what was overdue (then `record` stands beside it); a message whose id is in the change
//! log gets its first answer again and changes nothing (§3.7); no status is reached that `states::TRANSITIONS` does not have.

pub mod cancel;
mod claim;
mod dispense;
mod draft;
mod give_back;
pub(super) mod items;
pub(super) mod next_issue;
mod order;
mod patient;
pub(super) mod pending;
mod release;
#[cfg(test)]
mod tests;
mod withdraw;

pub use cancel::{Cancelled, Code, cancel};
pub use claim::claim;
pub use dispense::dispense;
pub(super) use draft::Draft;
pub use give_back::give_back;
pub use order::order;
pub use patient::{Nominate, died, nominate};
pub use release::{ANSWERED, Released, release};
pub use withdraw::withdraw;

use super::{
    clock,
    message::Sender,
    read::codes,
    record::{Cancellation, Id, Issue, Prescription},
    refused::Refused,
};
use crate::model::EpochMillis;

/// Change number beyond which messages are refused (§16); what time and a death do goes on.
pub const SCN_LIMIT: u32 = 512;
/// Cancellations that may wait or be noted as unsuccessful, each: a prescription has four items.
pub const MAX_CANCELLATIONS: usize = 16;
/// Items of a prescription.
pub const MAX_ITEMS: usize = 4;
/// Issues of a prescription.
pub const MAX_ISSUES: u32 = 99;

/// Rules that a site may switch (§21 no. 2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rules {
    /// A notification or claim of somebody else than the holder is refused.
    pub holder_only: bool,
    /// A return or withdrawal of somebody else is refused too; the live service lets it pass (§11).
    pub holder_only_returns: bool,
}

impl Default for Rules {
    fn default() -> Self {
        Rules { holder_only: true, holder_only_returns: false }
    }
}

/// When a step is carried out, and under which rules.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Moment {
    pub now: EpochMillis,
    /// Day in the United Kingdom.
    pub today: u32,
    pub rules: Rules,
}

impl Moment {
    pub fn of(now: EpochMillis) -> Moment {
        Moment { now, today: clock::uk_day(now), rules: Rules::default() }
    }
}

/// What follows outside the record.
#[allow(clippy::large_enum_variant, reason = "few are made, and each is acted on at once")]
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Then {
    /// A pending cancellation took effect: tell who asked for it (§8.5).
    LaterCancellation { cancellation: Box<Cancellation>, to: Box<Sender>, at: EpochMillis },
    /// Something for the reimbursement agency.
    Reimburse(Reimbursement),
    /// Somebody else than the holder returned or withdrew: a warning in the trail (§11).
    NotHolder { holder: String, sender: String, issue: u32 },
    /// Documents to delete, by message id.
    DeleteDocuments(Vec<Id>),
    /// The record itself goes, with its rows; `Outcome::record` is then `None`.
    Remove,
}

/// A claim, an amended claim or a no-claim.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reimbursement {
    pub issue: u32,
    /// The claim's document; none: a no-claim.
    pub claim: Id,
    /// The claim that it replaces; none: a first claim.
    pub replaces: Id,
    /// Who is told: `T1450`, `RQFZ1`. By a claim the one that it names, of a no-claim [`agency`].
    pub payer: String,
    /// ODS code.
    pub dispenser: String,
}

/// The agency that hears that nobody claimed for an issue (§18.2): the one that pays its dispenser, which every dispense notification
/// names (§10.1). England's for one that names another than the two there are, and for issues of before that was kept.
pub(super) fn agency(issue: &Issue) -> String {
    let named = codes::PAYERS.iter().find(|payer| **payer == issue.payer);
    named.or(codes::PAYERS.first()).copied().unwrap_or_default().to_owned()
}

/// What a step decided.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome<T> {
    /// To be written; also beside a refusal (an overdue expiry). `None`: the stored record stays as it is.
    pub record: Option<Prescription>,
    pub then: Vec<Then>,
    pub result: Result<T, Refused>,
}

impl<T> Outcome<T> {
    fn refused(why: Refused) -> Self {
        Outcome { record: None, then: Vec::new(), result: Err(why) }
    }
}

/// How the body of a step ends when it does not refuse.
enum Step<T> {
    /// The record changed.
    Wrote(T),
    /// Answered, nothing changed: a replay.
    Same(T),
}

/// Carries a step out on a record that has not been changed too often.
fn run<T>(draft: Draft, body: impl FnOnce(&mut Draft) -> Result<Step<T>, Refused>) -> Outcome<T> {
    let full = draft.p.scn >= SCN_LIMIT;
    run_always(draft, |d| match body(d)? {
        Step::Wrote(_) if full => Err(too_many_changes()),
        step => Ok(step),
    })
}

/// Carries a step out on a record, and counts the change.
fn run_always<T>(mut draft: Draft, body: impl FnOnce(&mut Draft) -> Result<Step<T>, Refused>) -> Outcome<T> {
    match body(&mut draft) {
        Ok(Step::Same(answer)) => draft.undone(Ok(answer)),
        Ok(Step::Wrote(answer)) => {
            let (record, then) = draft.finish();
            Outcome { record: Some(record), then, result: Ok(answer) }
        }
        Err(why) => draft.undone(Err(why)),
    }
}

fn too_many_changes() -> Refused {
    Refused::Failure("prescription was changed too often".into())
}

/// Reads a message's id.
fn id_of(text: &str) -> Result<Id, Refused> {
    Id::read(text).ok_or_else(|| Refused::Failure("messageID has invalid format".into()))
}
