//! Look-ups read what they show, not what there is: counted in rows, which no clock can blur.

use super::{
    imports::import,
    ldap::{asked, equal},
    *,
};
use crate::{
    services::directory::{
        find::{Found, How, Term, find},
        ldap::search,
        systems,
        users::{
            self, RoleProfile, User,
            lookups::{self, By},
        },
    },
    store::{Reader, StoreError},
    wire::{
        ldap::{Code, Paged, Scope},
        record::Record,
    },
};
use bytes::Bytes;
use std::{cell::Cell, ops::Range};

/// Counts the rows that are read.
pub struct Counting<'a>(pub &'a MapStore, pub Cell<usize>);

impl Reader for Counting<'_> {
    fn get(&self, key: &[u8]) -> Result<Option<Bytes>, StoreError> {
        self.1.set(self.1.get() + 1);
        self.0.get(key)
    }
    fn scan(&self, range: Range<Bytes>, reverse: bool, limit: usize) -> Result<Vec<(Bytes, Bytes)>, StoreError> {
        let rows = self.0.scan(range, reverse, limit)?;
        self.1.set(self.1.get() + 1 + rows.len());
        Ok(rows)
    }
}

fn site(count: usize) -> MapStore {
    let mut site = MapStore::default();
    for n in 0..count {
        let line = serde_json::json!({
            "ods_code": format!("B{n:05}"), "name": format!("PRACTICE {n} SURGERY"),
            "roles": [{"code": "RO177", "primary": true}], "address": {"postcode": format!("LS{n} 1AA")},
        });
        import(&mut site, &line.to_string());
        let system = serde_json::json!({
            "asid": format!("{n}"), "ods_code": format!("B{n:05}"), "party_key": format!("B{n:05}-1"),
            "interactions": [format!("urn:a:{n}")],
        });
        import(&mut site, &system.to_string());
    }
    site
}

#[test]
fn ten_times_the_organisations_cost_no_more_rows() {
    let rows_read = |site: &MapStore| -> Vec<usize> {
        let questions: [&[Term]; 5] = [
            &[Term::Code("B00007".into())],
            &[Term::Name(How::Begins, "practice 7 s".into())],
            &[Term::Name(How::Contains, "ctice 7 su".into())],
            &[Term::Postcode(How::Begins, "LS7 1".into())],
            &[Term::Active(true)],
        ];
        let mut counts: Vec<usize> = questions
            .iter()
            .map(|terms| {
                let counting = Counting(site, Cell::new(0));
                let clauses: Vec<_> = terms.iter().map(|term| vec![term.clone()]).collect();
                let Found::Page { total, .. } = find(&counting, &clauses, 0, 20).unwrap() else { panic!("too broad") };
                assert!(total >= 1, "{terms:?}");
                counting.1.get()
            })
            .collect();
        let counting = Counting(site, Cell::new(0));
        let words = [(systems::By::Organisation, "B00007"), (systems::By::Interaction, "urn:a:7")];
        assert_eq!(systems::systems(&counting, &words).unwrap().len(), 1);
        counts.push(counting.1.get());
        counts
    };
    let (small, large) = (rows_read(&site(60)), rows_read(&site(600)));
    // The third question is led by its longest word, which every name of this site has: proved row by row.
    let few = |counts: &[usize]| counts.iter().enumerate().filter(|(n, _)| *n != 2).all(|(_, rows)| *rows <= 90);
    assert!(few(&small) && few(&large), "{small:?} {large:?}");
}

#[test]
fn a_question_about_what_no_entry_has_reads_no_entries() {
    use crate::services::directory::ldap::search;
    use crate::wire::ldap::{Code, Filter, Scope, Search};
    let site = site(200);
    let told = |filter: Filter| {
        let counting = Counting(&site, Cell::new(0));
        let asked = Search {
            base: "o=nhs".into(),
            scope: Scope::Sub,
            size_limit: 0,
            types_only: false,
            filter,
            attributes: vec![],
        };
        let told = search(&counting, &asked, None).unwrap();
        (told.code, told.entries.len(), counting.1.get())
    };
    let equal = |name: &str| Filter::Equal(name.into(), "1".into());
    for filter in
        [equal("uid"), Filter::Present("uid".into()), Filter::And(vec![equal("uid"), Filter::Present("o".into())])]
    {
        let (code, entries, read) = told(filter);
        assert_eq!((code, entries), (Code::Success, 0));
        assert!(read < 20, "{read} rows were read");
    }
    let all = told(Filter::Present("objectClass".into()));
    assert!(all.1 > 400 && all.2 > 400, "and everything is found by what everything has");
}

/// Role profiles of active people straight into the store: `others` at one hospital, then `count` at X26.
fn roles(others: usize, count: usize) -> MapStore {
    let mut site = MapStore::default();
    for n in 0..others + count {
        let ods = if n < others { "A1" } else { "X26" };
        let (uid, urp) = (format!("{:012}", 600_000_000_000 + n), format!("{:012}", 700_000_000_000 + n));
        let user = User { given: "S".into(), family: "F".into(), state: 2, generation: 1, ..Default::default() };
        let role = RoleProfile { uid: uid.clone(), ods: ods.into(), role_code: "S1".into(), ..Default::default() };
        site.0.insert(users::user_key(&uid).build(), user.encode());
        site.0.insert(users::role_key(&urp).build(), role.encode());
        site.0.insert(lookups::key(By::RolesAt, ods).text(&urp).build(), rows::NOTHING);
    }
    site
}

#[test]
fn more_roles_than_are_listed_come_from_their_look_up_rows_page_by_page() {
    let site = roles(21_000, 6_000);
    let filter = equal("nhsIDCode", "X26");
    let search_for = asked("ou=People,o=nhs", Scope::Sub, filter, &["1.1"]);
    let told = search(&site, &search_for, None).unwrap();
    assert_eq!((told.code, told.entries.len()), (Code::SizeLimit, 1_000));
    let (mut seen, mut cookie, mut pages) = (0, vec![], 0);
    loop {
        let counting = Counting(&site, Cell::new(0));
        let paged = Paged { size: 900, cookie };
        let told = search(&counting, &search_for, Some(&paged)).unwrap();
        assert!(counting.1.get() < 10_000, "page {pages} read {} rows", counting.1.get());
        (seen, pages) = (seen + told.entries.len(), pages + 1);
        cookie = told.cookie.unwrap();
        if cookie.is_empty() {
            break;
        }
    }
    assert_eq!((seen, pages), (6_000, 7));
    // A word that no look-up has: so many rows, and no more.
    let unindexed = asked("ou=People,o=nhs", Scope::Sub, equal("nhsJobRoleCode", "none"), &["1.1"]);
    let counting = Counting(&site, Cell::new(0));
    assert_eq!(search(&counting, &unindexed, None).unwrap().code, Code::AdminLimit);
    assert!(counting.1.get() < 70_000, "{}", counting.1.get());
}
