//! Answers from the program itself, for anyone: no rows, no command, no turn is taken for them. What answers so says only what.

use super::api;
use super::problem::Refusal;
use super::protocol::{Attempt, Body, BodyRule, Broken, Exchange, Next, Reply, Wait};
use crate::access::gate::Permit;
use crate::engine::{ServiceId, services};
use crate::store::Reader;
use bytes::Bytes;
use http::HeaderMap;

/// A request whose answer needs nothing but itself.
pub trait Offhand: Send {
    /// The gate's row for it: open to whoever reaches the listener.
    const INTERACTION: &'static str;
    fn reply(&self) -> Reply;
}

/// What is there only to be looked at.
pub fn only_get() -> Reply {
    let mut reply = api::problem(405, "invalid_request", "Method Not Allowed");
    reply.headers.push(("allow", Bytes::from_static(b"GET")));
    reply
}

impl<A: Offhand> Exchange for A {
    fn interaction(&self) -> &'static str {
        A::INTERACTION
    }
    fn service(&self) -> ServiceId {
        services::ENGINE
    }
    fn body_rule(&self) -> BodyRule {
        BodyRule::Ignored
    }
    fn at_once(&mut self) -> Option<Reply> {
        Some(self.reply())
    }
    fn worth_reading(&mut self, _: &HeaderMap, _: &dyn Reader, _: u64) -> bool {
        false
    }
    fn ask(&mut self, _: &Permit, _: &HeaderMap, _: Body, _: &dyn Reader, _: Attempt) -> Next {
        Next::Answer(self.reply())
    }
    fn replied(&mut self, _: &[Bytes]) -> Result<Wait, Broken> {
        Ok(Wait::default())
    }
    fn answer(&mut self, _: &dyn Reader, _: Option<&dyn Reader>) -> Result<Reply, Broken> {
        Ok(self.reply())
    }
    fn refuse(&self, refusal: &Refusal, _: &str) -> Reply {
        api::refused(refusal)
    }
}
