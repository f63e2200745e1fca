//! Phased arrival: for a service and an organisation, whether requests are answered here or handed to the system that is being
//! replaced (docs/decisions/phased-arrival.md). Every node acts on a row as soon as it has applied it.
//!
//! Invariants: a service without a row is answered here; an organisation's own row wins over that of everybody.

use super::{
    decide::{Done, No, invalid},
    rows::read,
};
use crate::{
    engine::draft::{Draft, Fault},
    model::OdsCode,
    record,
    store::{
        Reader,
        tables::{Key, Parts, Table},
    },
    wire::record::{Malformed, Record},
};

/// The services whose requests can be handed on: the first word of their interactions.
pub const SERVICES: &[&str] = &["mesh", "smsp", "identity", "pds", "eps", "directory", "relationships"];
/// In the place of an ODS code: every organisation without a row of its own, and those whom this site does not know.
pub const EVERYBODY: &str = "*";
/// Most rows of a service: more organisations than send messages.
pub const MOST: usize = 50_000;

/// Rows that are looked at together.
const PAGE: usize = 1_000;

/// Where a request is answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Side {
    Local = 1,
    Relay = 2,
}

impl Side {
    pub fn word(self) -> &'static str {
        match self {
            Side::Local => "local",
            Side::Relay => "relay",
        }
    }
    fn of(number: u8) -> Option<Side> {
        [Side::Local, Side::Relay].into_iter().find(|side| *side as u8 == number)
    }
}

record! {
    /// Where an organisation's requests to a service are answered, under both.
    pub struct Arrival v1 {
        /// A [`Side`].
        1 => side: u8,
        /// MESH: its mailboxes take no new messages, so that they can be emptied before it goes to the other side.
        2 => hold: bool,
    }
}

record! {
    /// Says where they are answered from now on.
    pub struct SetArrival v1 {
        1 => service: String,
        /// An ODS code, or [`EVERYBODY`].
        2 => ods: String,
        /// A [`Side`]; 0 takes the row away.
        3 => side: u8,
        4 => hold: bool,
    }
}

/// Where one request is answered, and by whose row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    pub side: Side,
    /// Nothing new is taken for it.
    pub hold: bool,
    /// The organisation where the row is its own, else [`EVERYBODY`].
    pub party: String,
}

fn key(service: &str, ods: &str) -> Key {
    Table::Arrivals.key().text(service).text(ods)
}

fn side_of(row: &Arrival) -> Result<Side, Fault> {
    Side::of(row.side).ok_or(Fault::Row(Table::Arrivals, Malformed::Range(1)))
}

fn row(site: &dyn Reader, service: &str, ods: &str) -> Result<Option<Found>, Fault> {
    let Some(row): Option<Arrival> = read(site, Table::Arrivals, key(service, ods))? else { return Ok(None) };
    Ok(Some(Found { side: side_of(&row)?, hold: row.hold, party: ods.to_owned() }))
}

/// Whether anything was ever said of a service: where not, its requests cost one look here and no more.
pub fn is_arriving(site: &dyn Reader, service: &str) -> Result<bool, Fault> {
    Ok(!site.scan(Table::Arrivals.key().text(service).prefix(), false, 1)?.is_empty())
}

/// Where the requests of an organisation are answered; of one that nobody knows, as everybody's.
pub fn found(site: &dyn Reader, service: &str, ods: Option<&str>) -> Result<Found, Fault> {
    if let Some(ods) = ods.filter(|ods| !ods.is_empty())
        && let Some(found) = row(site, service, ods)?
    {
        return Ok(found);
    }
    let nothing_said = Found { side: Side::Local, hold: false, party: EVERYBODY.to_owned() };
    Ok(row(site, service, EVERYBODY)?.unwrap_or(nothing_said))
}

/// Up to `limit` rows of a service, in order of the organisation, from the first behind `after`.
pub fn page(site: &dyn Reader, service: &str, after: &str, limit: usize) -> Result<Vec<Found>, Fault> {
    let of_service = Table::Arrivals.key().text(service).prefix();
    let from = if after.is_empty() { of_service.start } else { key(service, after).prefix().end };
    let rows = site.scan(from..of_service.end, false, limit)?;
    rows.into_iter()
        .map(|(key, value)| {
            let mut parts = Parts::of(&key);
            let names = parts.text().zip(parts.text()).ok_or(Fault::Row(Table::Arrivals, Malformed::Truncated))?;
            let row = Arrival::decode(&value).map_err(|e| Fault::Row(Table::Arrivals, e))?;
            Ok(Found { side: side_of(&row)?, hold: row.hold, party: names.1 })
        })
        .collect()
}

/// Whether anybody's requests to a service are handed on.
pub fn is_handed_on(site: &dyn Reader, service: &str) -> Result<bool, Fault> {
    let mut after = String::new();
    loop {
        let rows = page(site, service, &after, PAGE)?;
        if rows.iter().any(|row| row.side == Side::Relay) {
            return Ok(true);
        }
        match rows.into_iter().nth(PAGE - 1) {
            Some(last) => after = last.party,
            None => return Ok(false),
        }
    }
}

/// What the trail calls it.
pub(super) fn told(command: &SetArrival) -> String {
    let word = Side::of(command.side).map_or("none", Side::word);
    let hold = if command.hold { " hold" } else { "" };
    format!("{} {} {word}{hold}", command.service, command.ods)
}

pub(super) fn set(draft: &mut Draft<'_>, command: &SetArrival) -> Done {
    let service = command.service.as_str();
    if !SERVICES.contains(&service) {
        return Err(invalid(format!("{service} is no service that can be handed on: {}", SERVICES.join(", "))));
    }
    let ods = match command.ods.trim() {
        EVERYBODY => EVERYBODY.to_owned(),
        ods => OdsCode::parse(ods)?.into_string(),
    };
    let old = row(draft, service, &ods)?;
    if command.side == 0 {
        draft.delete(key(service, &ods));
        return Ok((old.is_some(), 0));
    }
    let side =
        Side::of(command.side).ok_or_else(|| invalid("requests are answered here (local) or handed on (relay)"))?;
    if command.hold && service != "mesh" {
        return Err(invalid("only messages can be held back: hold is for mesh"));
    }
    let prefix = Table::Arrivals.key().text(service).prefix();
    if old.is_none() && draft.scan(prefix, false, MOST)?.len() >= MOST {
        return Err(No::Refused("invalid", format!("a service has at most {MOST} organisations of its own")));
    }
    let new = Some(Found { side, hold: command.hold, party: ods.clone() });
    if old != new {
        let row = Arrival { side: side as u8, hold: command.hold, ..Default::default() };
        draft.put(key(service, &ods), row.encode());
    }
    Ok((old != new, 0))
}
