//! Where an organisation's requests are answered: what may be said of it, and what holds.

use super::*;
use crate::services::directory::arrival::{Arrival, SetArrival, Side, found, is_arriving, is_handed_on, page};
use crate::wire::record::Record;

fn says(service: &str, ods: &str, side: u8, hold: bool) -> SetArrival {
    SetArrival { service: service.into(), ods: ods.into(), side, hold, ..Default::default() }
}

fn side(site: &MapStore, service: &str, ods: Option<&str>) -> (Side, String) {
    let found = found(site, service, ods).unwrap();
    (found.side, found.party)
}

#[test]
fn the_organisations_own_row_wins_over_everybodys_and_nothing_said_is_local() {
    let mut site = MapStore::default();
    assert_eq!(side(&site, "mesh", Some("X26")), (Side::Local, "*".into()));
    assert!(!is_arriving(&site, "mesh").unwrap());
    assert!(set(&mut site, says("mesh", "*", 2, false)).changed);
    assert!(set(&mut site, says("mesh", "x26", 1, false)).changed, "a code is a code in either case");
    assert!(!set(&mut site, says("mesh", "X26", 1, false)).changed, "said twice is said once");
    assert_eq!(side(&site, "mesh", Some("X26")), (Side::Local, "X26".into()));
    assert_eq!(side(&site, "mesh", Some("X27")), (Side::Relay, "*".into()));
    assert_eq!(side(&site, "mesh", None), (Side::Relay, "*".into()), "whom nobody knows goes with everybody");
    assert_eq!(side(&site, "pds", Some("X27")).0, Side::Local, "each service by itself");
    assert!(set(&mut site, says("mesh", "X26", 1, true)).changed && found(&site, "mesh", Some("X26")).unwrap().hold);
    assert!(set(&mut site, says("mesh", "X26", 0, false)).changed);
    assert_eq!(side(&site, "mesh", Some("X26")), (Side::Relay, "*".into()));
}

#[test]
fn what_cannot_be_is_refused_and_changes_nothing() {
    let mut site = MapStore::default();
    let wrong = [
        says("post", "X26", 2, false),
        says("mesh", "no code", 2, false),
        says("mesh", "", 2, false),
        says("mesh", "X26", 3, false),
        says("pds", "X26", 2, true),
    ];
    for command in wrong {
        let reply = set(&mut site, command.clone());
        assert_eq!(reply.refusal, "invalid", "{command:?}");
    }
    let (reply, decided) = run(&mut site, "", says("mesh", "X26", 2, false));
    assert_eq!((reply.refusal.as_str(), site.0.len()), ("forbidden", 0), "an operator's word only");
    assert_eq!(
        (decided.audit[0].interaction.as_str(), decided.audit[0].object.as_str()),
        ("directory.arrival.set", "mesh X26 relay")
    );
}

#[test]
fn a_service_is_handed_on_while_one_row_says_so_however_many_do_not() {
    let mut site = MapStore::default();
    let row = |side: Side| Arrival { side: side as u8, ..Default::default() }.encode();
    for n in 0..2_000 {
        site.0.insert(Table::Arrivals.key().text("mesh").text(format!("X{n:04}")).build(), row(Side::Local));
    }
    assert!(!is_handed_on(&site, "mesh").unwrap());
    site.0.insert(Table::Arrivals.key().text("mesh").text("X9").build(), row(Side::Relay));
    assert!(is_handed_on(&site, "mesh").unwrap() && !is_handed_on(&site, "pds").unwrap());
}

#[test]
fn rows_come_by_the_page_in_their_order() {
    let mut site = MapStore::default();
    for n in 0..5 {
        set(&mut site, says("mesh", &format!("X{n}"), 2, false));
    }
    set(&mut site, says("pds", "X9", 2, false));
    let names = |after: &str, limit| -> Vec<String> {
        page(&site, "mesh", after, limit).unwrap().into_iter().map(|found| found.party).collect()
    };
    assert_eq!(names("", 2), ["X0", "X1"]);
    assert_eq!(names("X1", 9), ["X2", "X3", "X4"]);
}
