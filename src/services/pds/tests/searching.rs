//! Search (spec/pds.md §8): the order of checks, what matches, scores, labels, too many, and that the work stays bounded.

use super::*;

const MINIMUM: &str = "Invalid search data provided - 'No searches were performed as the search criteria did not meet the \
                       minimum requirements'";
const FUZZY: &str = "Invalid search data provided - 'A fuzzy search was requested however the data given did not meet the \
                     fuzzy search criteria'";

const MISSING: &str = "Missing value - 'birth_date/birth_date_range_start/birth_date_range_end'";
const REFUSED: &[(&str, u16, &str, &str)] = &[
    ("", 400, "UNSUPPORTED_SERVICE", ""),
    ("?&=", 400, "UNSUPPORTED_SERVICE", ""),
    (
        "?a=1&birthdate=20101022",
        400,
        "ADDITIONAL_PROPERTIES",
        "Invalid request with error - Additional properties are not allowed ('a' was unexpected)",
    ),
    (
        "?a=1&b=2&family=x",
        400,
        "ADDITIONAL_PROPERTIES",
        "Invalid request with error - Additional properties are not allowed ('a', 'b' were unexpected)",
    ),
    (
        "?Family=Smith",
        400,
        "ADDITIONAL_PROPERTIES",
        "Invalid request with error - Additional properties are not allowed ('Family' was unexpected)",
    ),
    ("?birthdate=20101022", 400, "INVALID_VALUE", "Invalid value - '20101022' in field 'birthdate'"),
    ("?birthdate=2010-02-30", 400, "INVALID_VALUE", "Invalid value - '2010-02-30' in field 'birthdate'"),
    ("?family=x&death-date=ge2010", 400, "INVALID_VALUE", "Invalid value - 'ge2010' in field 'death-date'"),
    ("?gender=male", 400, "MISSING_VALUE", MISSING),
    ("?email=a%40b.cc&phone=1", 400, "MISSING_VALUE", MISSING),
    ("?birthdate=2010-10-22", 400, "INVALID_SEARCH_DATA", MINIMUM),
    ("?birthdate=2010-10-22&given=Jane&gender=female", 400, "INVALID_SEARCH_DATA", MINIMUM),
    ("?birthdate=2010-10-22&family=S*", 400, "INVALID_SEARCH_DATA", MINIMUM),
    ("?birthdate=2010-10-22&family=Smith&_fuzzy-match=true", 400, "INVALID_SEARCH_DATA", FUZZY),
    ("?birthdate=2010-10-22&family=Smi*&given=Jane&_fuzzy-match=true", 400, "INVALID_SEARCH_DATA", FUZZY),
    (
        "?birthdate=2010-10-22&family=Smith&gender=robot",
        400,
        "INVALID_VALUE",
        "Invalid value - 'robot' in field 'gender'",
    ),
    ("?birthdate=2010-10-22&family=Smith&_history=x", 400, "INVALID_VALUE", "Invalid value - 'x' in field '_history'"),
    (
        "?birthdate=2010-10-22&family=Smith&_max-results=51",
        400,
        "INVALID_VALUE",
        "Invalid value - '51' in field '_max-results'",
    ),
    (
        "?birthdate=2010-10-22&family=Smith&_max-results=0",
        400,
        "INVALID_VALUE",
        "Invalid value - '0' in field '_max-results'",
    ),
];

#[test]
fn every_refusal_in_its_order() {
    for mut site in sites() {
        for (query, status, code, text) in REFUSED {
            let response = site.get(&worker(), &format!("/Patient{query}"));
            assert_eq!(error(&response), (*status, (*code).into(), (*text).into()), "{query}");
            assert_eq!(site.last_note(), ("pds.search", *code, ""));
        }
        let denied = site.get(&patient(JANE), "/Patient?family=Smith&birthdate=2010-10-22");
        assert_eq!((denied.status, error(&denied).1.as_str()), (403, "ACCESS_DENIED"));
        let many = site.get(&app(), "/Patient?family=Smith&birthdate=2010-10-22&_max-results=2");
        expect(
            &many,
            403,
            "INVALID_VALUE",
            "Your app has insufficient permissions to perform this search. Please contact support.",
        );
        let display = &json(&many)["issue"][0]["details"]["coding"][0]["display"];
        assert_eq!(display, "Cannot retrieve more than one result with application-restricted access token");
    }
}

#[test]
fn an_exact_search_finds_the_published_person_in_the_published_shape() {
    for mut site in sites() {
        let response = site.get(&app(), "/Patient?family=smith&gender=Female&birthdate=eq2010-10-22&given=jane");
        assert_eq!(found(&response), [(JANE.to_owned(), 1.0)]);
        let body = json(&response);
        assert_eq!(body["timestamp"], "2026-11-22T00:59:33+00:00");
        assert_eq!(
            body["entry"][0]["fullUrl"],
            "https://api.example.org/personal-demographics/FHIR/R4/Patient/9000000009"
        );
        let resource = &body["entry"][0]["resource"];
        assert_eq!(resource["address"].as_array().unwrap().len(), 1, "home only");
        assert_eq!(resource["extension"].as_array().unwrap().len(), 1, "death notification only");
        assert!(resource.get("managingOrganization").is_none());
        assert_eq!(site.last_note(), ("pds.search", "ok", JANE));
        let none = site.get(&worker(), "/Patient?family=Nobody&birthdate=2010-10-22");
        let body = json(&none);
        assert_eq!((&body["total"], body.get("entry")), (&json!(0), None));
    }
}

#[test]
fn what_matches_and_what_does_not() {
    let rows: &[(&str, &[&str])] = &[
        ("family=Smi*&birthdate=2010-10-22&gender=female", &[JANE]),
        ("family=Smith&birthdate=2010-10-22&given=John%20Paul", &["9000000041"]),
        ("family=Smith&birthdate=2010-10-22&given=Joh*", &["9000000041"]),
        ("family=Smith&birthdate=2010-10-22&given=Pau*", &[]),
        ("family=Smith&birthdate=2010-10-22&given=John%20Paul&given=James", &["9000000041"]),
        ("family=Smith&birthdate=ge2010-10-01&birthdate=le2010-10-31&gender=female", &[JANE]),
        ("family=GARTON&birthdate=le1960-01-01", &["9693632109"]),
        ("family=Smith&birthdate=2010-10-22&address-postalcode=ls16ae&given=Jane", &[JANE]),
        ("family=Smith&birthdate=2010-10-22&address-postcode=LS1*&given=Jane", &[JANE]),
        ("family=Smith&birthdate=2010-10-22&phone=01632960587&email=JANE.smith%40example.com", &[JANE]),
        ("family=Smith&birthdate=2010-10-22&phone=01632960587&email=johnp.smith%40example.com&given=Jane", &[]),
        ("family=Smith&birthdate=2010-10-22&general-practitioner=Y12345&given=Jane", &[JANE]),
        ("family=Smith&birthdate=2010-10-22&general-practitioner=Y99999&given=Jane", &[]),
        ("family=Smith&birthdate=2010-10-22&death-date=ge2010-10-22&given=Jane", &[JANE]),
        ("family=Smith&birthdate=2010-10-22&death-date=le2010-10-21&given=Jane", &[]),
        // History: names and genders, never a birth date.
        ("family=Bloggs&birthdate=1955-11-05", &[]),
        ("family=Bloggs&birthdate=1955-11-05&_history=true", &["9693632109"]),
        ("family=HUME&given=Casey&gender=female&birthdate=1999-09-09&_history=true", &["9733162450"]),
        ("family=MED&birthdate=2024-01-12&_history=true", &[]),
        ("family=Smith&birthdate=2000-05-05&email=Historic%40historic.com&_history=true", &["5900020584"]),
        ("family=Smith&birthdate=2000-05-05&email=Historic%40historic.com", &[]),
        // Hidden is not historic.
        ("family=LEEKE&birthdate=1956-05-02&address-postalcode=DN163SS&_history=true", &[]),
        // Restricted: stripped, and never by place. Very restricted and invalid: never.
        ("family=Smythe&birthdate=2005-06-16", &[RESTRICTED]),
        ("family=Smythe&birthdate=2005-06-16&address-postalcode=LS16AE", &[]),
        ("family=Smythe&birthdate=2005-06-16&general-practitioner=Y12345", &[]),
        ("family=Smythe&birthdate=2005-06-16&phone=01632960587", &[]),
    ];
    for mut site in sites() {
        for (query, wanted) in rows {
            assert_eq!(numbers(&site.get(&worker(), &format!("/Patient?{query}"))), *wanted, "{query}");
        }
        let all = numbers(&site.get(&worker(), "/Patient?family=WINTERBOURNE&birthdate=1980-01-01"));
        assert!(!all.contains(&"9727024610".to_owned()) && all.contains(&"9727022820".to_owned()));
        assert!(all.windows(2).all(|w| w[0] < w[1]), "equal scores by number");
        let stripped = json(&site.get(&privileged(), "/Patient?family=Smythe&birthdate=2005-06-16"));
        assert!(stripped["entry"][0]["resource"].get("address").is_none(), "for privileged callers too");
    }
}

#[test]
fn fuzzy_finds_homophones_transposed_accented_and_historic_names() {
    let rows: &[(&str, &[&str])] = &[
        ("family=Smyth&given=Jayne&birthdate=2010-10-22&gender=female", &["9000000017", JANE, "9000000041"]),
        ("given=GARTON&family=BILL&birthdate=1955-11-05", &["9693632109"]),
        ("family=ATTS%C3%96N&given=Pauline&birthdate=1960-07-14", &["9693633148", "9693633121"]),
        ("family=Bloggs&given=Joe&birthdate=1955-11-05", &["9693632109"]),
        ("family=Hume&given=Casey&birthdate=1999-09-09&gender=female&address-postalcode=DN163JW", &["9733162450"]),
        ("given=Bart&gender=male&birthdate=2015-10-22&address-postalcode=DN20%208TD", &["9733162337"]),
        ("given=Bart&gender=male&birthdate=2015-10-22&address-postalcode=ZZ99%203VZ", &[]),
        ("family=MEEK&given=Nathan&birthdate=2015-10-22&address-postalcode=DN208TB", &["9733162337"]),
        ("family=MEEK&given=Nathan&birthdate=2015-10-23", &[]),
    ];
    for mut site in sites() {
        for (query, wanted) in rows {
            let got = found(&site.get(&worker(), &format!("/Patient?_fuzzy-match=true&{query}")));
            let names: Vec<&str> = got.iter().map(|(nhs, _)| nhs.as_str()).collect();
            assert_eq!(names, *wanted, "{query}");
            assert!(got.iter().all(|(_, score)| (0.5..=1.0).contains(score)), "{got:?}");
        }
        let exact = "/Patient?_fuzzy-match=true&_exact-match=true&family=Smith&given=Jane&birthdate=2010-10-22";
        assert_eq!(found(&site.get(&worker(), exact)), [(JANE.to_owned(), 1.0)]);
        let near = site.get(
            &worker(),
            "/Patient?_fuzzy-match=true&_exact-match=true&family=Smyth&given=Jane&birthdate=2010-10-22",
        );
        assert_eq!(numbers(&near), Vec::<String>::new());
    }
}

#[test]
fn more_than_may_be_shown_is_no_list_at_all() {
    for mut site in sites() {
        let smiths = "family=Smith&birthdate=2000-05-05";
        let many = site.get(&app(), &format!("/Patient?{smiths}"));
        assert_eq!(many.status, 200);
        assert_eq!(json(&many), example("errors/TOO_MANY_MATCHES.json"));
        assert_eq!(site.last_note(), ("pds.search", "TOO_MANY_MATCHES", ""));
        let count = numbers(&site.get(&worker(), &format!("/Patient?{smiths}"))).len();
        assert!(count > 15);
        assert_eq!(
            error(&site.get(&worker(), &format!("/Patient?{smiths}&_max-results={}", count - 1))).1,
            "TOO_MANY_MATCHES"
        );
        let notes = site.notes.len();
        assert_eq!(numbers(&site.get(&worker(), &format!("/Patient?{smiths}&_max-results={count}"))).len(), count);
        assert_eq!(site.notes.len() - notes, count, "each person shown is in the trail");
    }
}

#[test]
fn a_merged_record_is_found_as_the_one_it_became() {
    let line = |nhs: &str, family: &str, more: Value| {
        let mut line = json!({"nhsNumber": nhs, "resource": {"resourceType": "Patient", "id": nhs, "birthDate": "1970-02-03",
            "name": [{"use": "usual", "family": family, "given": ["Ada"]}]}});
        line.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        line.to_string()
    };
    for mut site in sites() {
        site.import(&line("9990000018", "Oldname", json!({}))).unwrap();
        site.import(&line("9990000026", "Newname", json!({"supersedes": ["9990000018"]}))).unwrap();
        assert_eq!(numbers(&site.get(&app(), "/Patient?family=Oldname&birthdate=1970-02-03")), ["9990000026"]);
        assert_eq!(numbers(&site.get(&app(), "/Patient?family=Newname&birthdate=1970-02-03")), ["9990000026"]);
    }
}
