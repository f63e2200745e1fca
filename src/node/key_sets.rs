//! Key sets that applications publish themselves (spec/identity.md §3, row 20): fetched from their address into the registry, so that
//! every node takes their signed JWTs by the same keys. Where the address gives none, those that were had stay good.
//!
//! The leader of the site partition fetches each every quarter of an hour, and a new one within ten seconds; a node that was shown a
//! key that it does not know fetches at once, and one set not more than once a minute (P6). Time and size are `outgoing`'s.

use super::{Node, outgoing::Outgoing, report, rooms::Rooms};
use crate::{
    engine::SITE,
    services::directory::applications::{self, Application, PublicKey, SetApplication},
    store::{
        Reader,
        tables::{Parts, Table},
    },
    wire::{jwt::key_set, record::Record},
};
use bytes::Bytes;
use std::{
    collections::{BTreeSet, HashMap},
    sync::Arc,
    time::Duration,
};
use tokio::time::Instant;

/// How often it looks whether a key was asked for.
const LOOK: Duration = Duration::from_secs(1);
/// In every so many looks the leader goes through all applications.
const ALL_EVERY: u32 = 10;
/// Least time between two fetches of one set.
const AGAIN: Duration = Duration::from_secs(60);
/// And how long a set is good without one.
const REGULAR: Duration = Duration::from_secs(900);
/// Sets that are fetched side by side; one that gets no answer holds the others up for ten seconds.
const AT_ONCE: usize = 16;
/// Most applications that are gone through.
const MOST: usize = 100_000;

/// Runs until the node stops.
pub async fn run(node: Arc<Node>) {
    let Some(rooms) = node.rooms.get() else { return };
    if node.settings.api.listen.is_none() {
        return;
    }
    let fetcher = Fetcher {
        rooms,
        outgoing: Outgoing::new(node.settings.api.logout_ca.clone()),
        me: format!("node:{}", node.settings.node.number),
    };
    let leadership = rooms.groups[usize::from(SITE.0)].leadership();
    let (mut fetched, mut looks) = (HashMap::new(), 0u32);
    loop {
        tokio::time::sleep(LOOK).await;
        looks = looks.wrapping_add(1);
        let wanted = rooms.tokens.wanted_keys();
        let all = looks.is_multiple_of(ALL_EVERY) && leadership.borrow().leading;
        if wanted.is_empty() && !all {
            continue;
        }
        let published = published(rooms.engine.local(SITE).as_ref(), if all { None } else { Some(&wanted) });
        if all {
            fetched.retain(|client, _| published.iter().any(|(known, _)| known == client));
        }
        let due: Vec<_> = published.into_iter().filter(|(client, _)| due(&fetched, &wanted, client)).collect();
        for some in due.chunks(AT_ONCE) {
            fetched.extend(some.iter().map(|(client, _)| (client.clone(), Instant::now())));
            futures_util::future::join_all(some.iter().map(|(client, row)| fetcher.fetch(client, row))).await;
        }
    }
}

/// Applications with an address of keys: all, or of these.
fn published(site: &dyn Reader, of: Option<&BTreeSet<String>>) -> Vec<(String, Application)> {
    let has = |row: &Application| !row.jwks_uri.is_empty();
    if let Some(clients) = of {
        let one = |client: &String| Some((client.clone(), applications::application(site, client).ok()??));
        return clients.iter().filter_map(one).filter(|(_, row)| has(row)).collect();
    }
    let rows = site.scan(Table::Applications.key().prefix(), false, MOST).unwrap_or_default();
    let read = |(key, value): (Bytes, Bytes)| Some((Parts::of(&key).text()?, Application::decode(&value).ok()?));
    rows.into_iter().filter_map(read).filter(|(_, row)| has(row)).collect()
}

/// Whether a set is to be fetched now.
fn due(fetched: &HashMap<String, Instant>, wanted: &BTreeSet<String>, client: &str) -> bool {
    let rest = if wanted.contains(client) { AGAIN } else { REGULAR };
    fetched.get(client).is_none_or(|at| at.elapsed() >= rest)
}

/// The command that makes the registry's keys those of the set; `None` where they are.
fn taken(client: &str, row: &Application, text: &str) -> Result<Option<SetApplication>, String> {
    let keys: Vec<PublicKey> = key_set(text).map_err(|bad| bad.to_string())?.into_iter().map(PublicKey::from).collect();
    if keys == row.keys {
        return Ok(None);
    }
    Ok(Some(SetApplication { client: client.to_owned(), keys, ..Default::default() }))
}

struct Fetcher<'a> {
    rooms: &'a Rooms,
    outgoing: Outgoing,
    /// Who commands, for the audit trail.
    me: String,
}

impl Fetcher<'_> {
    async fn fetch(&self, client: &str, row: &Application) {
        let taken = match self.outgoing.get(&row.jwks_uri).await {
            Ok(body) => taken(client, row, &String::from_utf8_lossy(&body)),
            Err(e) => Err(e.to_string()),
        };
        match taken {
            Ok(None) => {}
            Ok(Some(command)) => {
                if let Err(why) = report::submit(self.rooms, self.me.clone(), command.into()).await {
                    tracing::warn!(
                        event = "keys.unsettled",
                        client,
                        why,
                        "an application's new keys wait for the next fetch"
                    );
                }
            }
            Err(why) => {
                tracing::warn!(event = "keys.unfetched", client, why, "an application's key set cannot be had or used");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{engine::draft::MapStore, services::directory::applications::application_key};

    #[tokio::test(start_paused = true)]
    async fn a_set_is_fetched_in_its_time_and_for_an_unknown_key_once_a_minute() {
        let (mut fetched, mut wanted) = (HashMap::new(), BTreeSet::new());
        assert!(due(&fetched, &wanted, "app"), "a new one at once");
        fetched.insert("app".to_owned(), Instant::now());
        wanted.insert("app".to_owned());
        tokio::time::advance(AGAIN - LOOK).await;
        assert!(!due(&fetched, &wanted, "app"));
        tokio::time::advance(LOOK).await;
        assert!(due(&fetched, &wanted, "app") && !due(&fetched, &BTreeSet::new(), "app"));
        tokio::time::advance(REGULAR).await;
        assert!(due(&fetched, &BTreeSet::new(), "app"));
    }

    #[test]
    fn what_is_published_takes_the_place_of_what_is_known_and_nonsense_does_not() {
        let mut site = MapStore::default();
        let row = Application { jwks_uri: "https://keys.test/".into(), ..Default::default() };
        site.0.insert(application_key("app-with-keys").build(), row.encode());
        site.0.insert(application_key("app-without").build(), Application::default().encode());
        let clients = |of| published(&site, of).into_iter().map(|(client, _)| client).collect::<Vec<_>>();
        assert_eq!(clients(None), ["app-with-keys"]);
        assert_eq!(clients(Some(&BTreeSet::from(["app-without".to_owned(), "nobody".to_owned()]))), [""; 0]);
        let n = crate::wire::jwt::to_base64url(&[0xc5; 256]);
        let set = format!(r#"{{"keys":[{{"kty":"RSA","kid":"1","n":"{n}","e":"AQAB"}}]}}"#);
        let command = taken("app-with-keys", &row, &set).unwrap().expect("it is new");
        assert_eq!((command.keys[0].kid.as_str(), command.keys.len(), command.add_keys), ("1", 1, false));
        let known = Application { keys: command.keys, ..row.clone() };
        assert_eq!(taken("app-with-keys", &known, &set).unwrap(), None);
        for bad in ["", "{}", r#"{"keys":[]}"#, "<html>"] {
            assert!(taken("app-with-keys", &known, bad).is_err(), "{bad}");
        }
    }
}
