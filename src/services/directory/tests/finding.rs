//! Finding compared with looking at every row: any clauses, any page, the same answer.

use super::{imports::import, *};
use crate::services::directory::find::{Clause, Found, How, RoleKind, Term, find};
use proptest::prelude::*;

const NAMES: [&str; 8] = [
    "ST MARY'S SURGERY",
    "St. Marys Hospital",
    "THE SURGERY",
    "GREEN LANE SURGERY",
    "GREENFIELD MEDICAL CENTRE",
    "EVERGREEN",
    "LANE END",
    "YNYS MÔN",
];

fn site() -> (MapStore, Vec<String>) {
    let mut site = MapStore::default();
    let mut codes = vec![];
    for n in 0..40 {
        let code = format!("A{n:02}");
        let (name, class, status) = (NAMES[n % 8], ["RC1", "RC2"][n % 2], ["Active", "Inactive"][n / 7 % 2]);
        let (role, town) = (["RO177", "RO182"][n / 3 % 2], ["LEEDS", "LEEK", "YORK"][n % 3]);
        let line = serde_json::json!({
            "ods_code": code, "name": name, "record_class": class, "status": status, "ref_only": n % 5 == 0,
            "last_change": format!("2024-01-{:02}", n % 28 + 1),
            "roles": [{"code": role, "primary": true}, {"code": "RO76", "status": status}],
            "address": {"town": town, "postcode": format!("LS{} 1AA", n % 4), "county": "WEST"},
        });
        import(&mut site, &line.to_string());
        codes.push(code);
    }
    (site, codes)
}

fn text() -> impl Strategy<Value = String> {
    prop_oneof![
        Just("surg"),
        Just("GREEN"),
        Just("st mary"),
        Just("marys hos"),
        Just("lane sur"),
        Just("een lane"),
        Just("môn"),
        Just("L"),
        Just("ls1"),
        Just("LEE"),
        Just("THE SURGERY"),
        Just("LEEDS"),
        Just("zz")
    ]
    .prop_map(str::to_owned)
}

fn term() -> impl Strategy<Value = Term> {
    let how = || prop_oneof![Just(How::Begins), Just(How::Contains), Just(How::Exact)];
    let kind =
        (any::<Option<bool>>(), any::<bool>()).prop_map(|(primary, active_only)| RoleKind { primary, active_only });
    let role = prop_oneof![Just("RO177"), Just("RO76"), Just("RO999")];
    prop_oneof![
        (how(), text()).prop_map(|(h, t)| Term::Name(h, t)),
        (how(), text()).prop_map(|(h, t)| Term::Town(h, t)),
        (how(), text()).prop_map(|(h, t)| Term::Postcode(h, t)),
        (how(), text()).prop_map(|(h, t)| Term::Address(h, t)),
        (role, kind).prop_map(|(r, k)| Term::Role(r.into(), k)),
        (1u32..29, 1u32..29).prop_map(|(a, b)| Term::Changed(20_240_100 + a, 20_240_100 + b)),
        any::<bool>().prop_map(Term::Active),
        (1u8..3).prop_map(Term::Class),
        any::<bool>().prop_map(Term::RefOnly),
        (0usize..45).prop_map(|n| Term::Code(format!("A{n:02}"))),
        Just(Term::Never),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn look_up_rows_answer_as_the_rows_themselves(
        clauses in proptest::collection::vec(proptest::collection::vec(term(), 1..3), 0..4),
        offset in 0usize..12,
        limit in 0usize..9,
    ) {
        thread_local!(static SITE: (MapStore, Vec<String>) = site());
        SITE.with(|(site, codes)| {
            let holds = |code: &String| {
                let row = rows::organisation(site, code).unwrap().unwrap();
                clauses.iter().all(|clause: &Clause| clause.iter().any(|term| term.holds(code, &row)))
            };
            let all: Vec<&String> = codes.iter().filter(|code| holds(code)).collect();
            let Found::Page { total, items } = find(site, &clauses, offset, limit).unwrap() else { panic!("too broad") };
            let got: Vec<&String> = items.iter().map(|(code, _)| code).collect();
            let wanted: Vec<&String> = all.iter().skip(offset).take(limit).copied().collect();
            assert_eq!((total, got), (all.len(), wanted), "{clauses:?}");
        });
    }
}
