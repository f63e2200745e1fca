//! Members of staff: the OpenID provider (spec/identity.md §2) and tokens of the HTTP APIs for a person (§4, §5).
//!
//! | file | duty |
//! |---|---|
//! | `routes` | paths below the issuer and of the token service → interaction |
//! | `visit` | one request: what is asked, what follows from each reply |
//! | `provider` | authorization, log-in pages, code → tokens |
//! | `leave` | end of session |
//! | `platform` | authorization for applications, codes and refresh tokens → tokens |
//! | `exchange` | ID token → tokens |
//! | `citizens` | a citizen logs in at a provider elsewhere, for an application |
//! | `delegation` | a citizen who acts for another |
//! | `notices` | relying parties that are to be told of the end of a session |
//! | `signout` | the token service is told of it |
//! | `means` | `acr_values` → which authenticators will do |
//! | `passkey` | logging in with a passkey or a smartcard |
//! | `enrol` | a person makes a passkey |
//! | `webauthn` | what a passkey says, checked |
//! | `rows` | what a log-in leaves while it lasts |
//! | `command` | commands and their reply |
//! | `decide` `devices` `trade` | what the leader decides |
//! | `claims` | ID token, user-info, discovery, key set |
//! | `page` `passkey_page` | pages and other answers |

pub mod citizens;
pub mod claims;
pub mod command;
mod decide;
mod delegation;
mod devices;
mod enrol;
mod exchange;
mod leave;
mod means;
pub mod notices;
pub mod page;
mod passkey;
mod passkey_page;
mod platform;
mod provider;
pub mod routes;
pub mod rows;
mod signout;
mod trade;
pub mod visit;
mod webauthn;

/// What a passkey says, opened to `crate::fuzz` alone.
#[cfg(any(test, feature = "fuzz"))]
pub(crate) mod parsers {
    pub use super::webauthn::*;
}

pub(super) use platform::secret_flaw;
pub(super) use trade::refresh_token;

use super::command::IdentityCommand;
use crate::engine::draft::{AuditNote, Draft, Fault, Stamp};
use command::LoginReply;

/// A command of a log-in, decided.
pub(super) fn decide(
    draft: &mut Draft<'_>,
    stamp: &Stamp,
    command: IdentityCommand,
) -> Result<(LoginReply, AuditNote), Fault> {
    match command {
        IdentityCommand::Note(c) => Ok(decide::noted(&c)),
        IdentityCommand::Open(c) => decide::open(draft, stamp, c),
        IdentityCommand::Take(c) => decide::take(draft, stamp, &c),
        IdentityCommand::SignIn(c) => decide::sign_in(draft, stamp, &c),
        IdentityCommand::UseSession(c) => decide::use_session(draft, stamp, &c),
        IdentityCommand::IssueCode(c) => decide::issue_code(draft, stamp, c),
        IdentityCommand::Redeem(c) => decide::redeem(draft, stamp, c),
        IdentityCommand::Trade(c) => trade::trade(draft, stamp, &c),
        IdentityCommand::CitizenIn(c) => trade::citizen_in(draft, stamp, c),
        IdentityCommand::EndSession(c) => decide::end_session(draft, stamp, &c),
        IdentityCommand::Show(c) => decide::show(draft, stamp, &c),
        IdentityCommand::NoticeSent(c) => notices::sent(draft, stamp, &c),
        IdentityCommand::PasskeySignIn(c) => devices::passkey_sign_in(draft, stamp, &c),
        IdentityCommand::CardSignIn(c) => devices::card_sign_in(draft, stamp, &c),
        IdentityCommand::Enrol(c) => devices::enrol(draft, stamp, &c),
        _ => Err(Fault::Other("not a command of a log-in".into())),
    }
}
