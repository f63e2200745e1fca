//! A service for simulated sites, with one command for each promise that the invariants look at: a write is counted
//! where it is made, where its echo belongs, and when its timer fires; a register holds what was set last.

use bytes::Bytes;
use spine::access::caller::Caller;
use spine::engine::draft::{AuditNote, Decide, Draft, Fault, Stamp, Timer};
use spine::engine::{Command, ServiceId};
use spine::store::Reader;
use spine::store::tables::{Key, Parts, Table};

/// Counts how often each thing was done.
pub struct Once;
pub const ONCE: ServiceId = ServiceId(200);

/// Milliseconds after which a write's timer fires.
const LATER: u64 = 700;

fn row(id: &str) -> Key {
    Table::MailboxState.key().text(id)
}

/// Key of a register's row.
pub fn register_key(name: &str) -> Bytes {
    Table::Mailboxes.key().text(name).build()
}

fn command(key: &str, payload: String, request_id: &str) -> Command {
    Command {
        service: ONCE.0,
        key: Bytes::copy_from_slice(key.as_bytes()),
        payload: payload.into(),
        caller: Caller { asid: "200000000001".into(), ..Default::default() },
        request_id: request_id.into(),
        correlation_id: request_id.into(),
        ..Default::default()
    }
}

/// The write `id`, which may be asked for again.
pub fn put(id: &str) -> Command {
    command(id, format!("put {id}"), id)
}

/// Sets a register; `request_id` may be empty: then it must not be asked for twice.
pub fn set(name: &str, value: u64, request_id: &str) -> Command {
    command(name, format!("set {name} {value}"), request_id)
}

/// Name and count of a row of [`Once`], `None` for others.
pub fn told(key: &[u8], value: &[u8]) -> Option<(String, u8)> {
    if key.first() != Some(&(Table::MailboxState as u8)) {
        return None;
    }
    Some((Parts::of(key).text()?, *value.first()?))
}

/// A register's value; 0 where nothing was set.
pub fn value_of(row: Option<Bytes>) -> u64 {
    row.and_then(|v| v.as_ref().try_into().ok()).map_or(0, u64::from_be_bytes)
}

/// Counts `id`, and leaves a record of it.
fn count(draft: &mut Draft<'_>, id: &str) -> Result<u8, Fault> {
    let count = draft.get(&row(id).build())?.and_then(|v| v.first().copied()).unwrap_or(0) + 1;
    draft.put(row(id), vec![count].into());
    note(draft, "once.put", id);
    Ok(count)
}

fn note(draft: &mut Draft<'_>, interaction: &str, object: &str) {
    let (interaction, object) = (interaction.into(), object.into());
    draft.audit(AuditNote { interaction, outcome: "ok".into(), object, ..Default::default() });
}

impl Decide for Once {
    fn service(&self) -> ServiceId {
        ONCE
    }

    fn decide(&self, draft: &mut Draft<'_>, stamp: &Stamp, command: &Command) -> Result<Bytes, Fault> {
        let text = String::from_utf8_lossy(&command.payload).into_owned();
        match text.split(' ').collect::<Vec<_>>().as_slice() {
            ["put", id] => {
                let count = count(draft, id)?;
                let echo = format!("echo-{id}");
                draft.send(Bytes::copy_from_slice(echo.as_bytes()), ONCE, format!("echo {echo}").into());
                draft.timer(stamp.now + LATER, ONCE, Bytes::copy_from_slice(id.as_bytes()));
                Ok(count.to_string().into())
            }
            ["echo", id] => Ok(count(draft, id)?.to_string().into()),
            ["set", name, value] => {
                let value: u64 = value.parse().map_err(|_| Fault::Other("not a number".into()))?;
                draft.put(Table::Mailboxes.key().text(name), Bytes::copy_from_slice(&value.to_be_bytes()));
                note(draft, "once.set", name);
                Ok(Bytes::new())
            }
            _ => Err(Fault::Other("not a command of this service".into())),
        }
    }

    fn timer(&self, draft: &mut Draft<'_>, _: &Stamp, timer: &Timer) -> Result<(), Fault> {
        count(draft, &format!("timer-{}", String::from_utf8_lossy(&timer.payload))).map(drop)
    }
}
