//! A service for simulated sites: counts how often each write was done, here and in the partition of its echo.

use bytes::Bytes;
use spine::access::caller::Caller;
use spine::engine::draft::{AuditNote, Decide, Draft, Fault, Stamp, Timer};
use spine::engine::{Command, ServiceId};
use spine::store::Reader;
use spine::store::tables::{Key, Parts, Table};

/// Each write makes one row in its partition and one where its echo belongs; both say how often that was done.
pub struct Once;
pub const ONCE: ServiceId = ServiceId(200);

fn row(id: &str) -> Key {
    Table::MailboxState.key().text(id)
}

/// The write `id`, which may be asked for again.
pub fn put(id: &str) -> Command {
    Command {
        service: ONCE.0,
        key: Bytes::copy_from_slice(id.as_bytes()),
        payload: Bytes::copy_from_slice(id.as_bytes()),
        caller: Caller { asid: "200000000001".into(), ..Default::default() },
        request_id: id.into(),
        correlation_id: id.into(),
        ..Default::default()
    }
}

/// `id count` of a row of [`Once`], `None` for others.
pub fn told(key: &[u8], value: &[u8]) -> Option<String> {
    if key.first() != Some(&(Table::MailboxState as u8)) {
        return None;
    }
    Some(format!("{} {}", Parts::of(key).text()?, value.first()?))
}

impl Decide for Once {
    fn service(&self) -> ServiceId {
        ONCE
    }
    fn decide(&self, draft: &mut Draft<'_>, _: &Stamp, command: &Command) -> Result<Bytes, Fault> {
        let id = String::from_utf8_lossy(&command.payload).into_owned();
        let count = draft.get(&row(&id).build())?.and_then(|v| v.first().copied()).unwrap_or(0) + 1;
        draft.put(row(&id), vec![count].into());
        let interaction = "once.put".into();
        draft.audit(AuditNote { interaction, outcome: "ok".into(), object: id.clone(), ..Default::default() });
        if !id.starts_with("echo-") {
            let echo: Bytes = format!("echo-{id}").into();
            draft.send(echo.clone(), ONCE, echo);
        }
        Ok(count.to_string().into())
    }
    fn timer(&self, _: &mut Draft<'_>, _: &Stamp, _: &Timer) -> Result<(), Fault> {
        Ok(())
    }
}
