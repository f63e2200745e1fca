//! Coverage (spec/pds.md §13).

use super::*;

fn post(site: &mut Site, caller: &Caller, version: &str, body: &Value) -> Response {
    let headers = [("content-type", "application/json"), ("if-match", version)];
    site.ask(caller, "POST", "/Coverage", &headers, body.to_string().as_bytes())
}

#[test]
fn a_card_is_read_and_replaced() {
    for mut site in sites() {
        let target = format!("/Coverage?subscriber:identifier={JANE}");
        let read = site.get(&patient(JANE), &target);
        assert_eq!((read.status, header(&read, "etag").as_str()), (200, "W/\"2\""));
        assert_eq!(json(&read)["entry"][0]["resource"]["identifier"][0]["value"], "ES456789012345");
        let made = post(&mut site, &patient(JANE), "W/\"2\"", &example("coverage-post.json"));
        assert_eq!((made.status, header(&made, "etag").as_str()), (201, "W/\"3\""));
        let (mut got, mut published) = (json(&made), example("coverage-bundle.json"));
        published["meta"]["versionId"] = json!("3");
        for body in [&mut got, &mut published] {
            body["timestamp"] = json!("");
            body["entry"][0]["fullUrl"] = json!("");
        }
        assert_eq!(got, published);
        assert_eq!(post(&mut site, &patient(JANE), "W/\"2\"", &example("coverage-post.json")).status, 409);
        let none = site.get(&patient(MINIMAL), &format!("/Coverage?subscriber:identifier={MINIMAL}"));
        assert_eq!((&json(&none)["total"], header(&none, "etag").as_str()), (&json!(0), "W/\"1\""));
    }
}

#[test]
fn one_request_id_for_two_kinds_of_write_does_both() {
    let id = "60e0b220-8136-4ca5-ae46-1d97ef59d068";
    for mut site in sites() {
        let patch = [("content-type", "application/json-patch+json"), ("if-match", "W/\"2\""), ("x-request-id", id)];
        let body = br#"{"patches":[{"op":"replace","path":"/gender","value":"male"}]}"#;
        let patched = site.raw(&patient(JANE), "PATCH", &format!("/Patient/{JANE}"), &patch, body);
        let post = [("content-type", "application/json"), ("if-match", "W/\"2\""), ("x-request-id", id)];
        let card = example("coverage-post.json").to_string();
        let made = site.raw(&patient(JANE), "POST", "/Coverage", &post, card.as_bytes());
        assert_eq!(made.status, 201);
        assert_eq!(json(&made)["total"], 1, "the card is there, whatever became of the PATCH ({})", patched.status);
        assert_eq!(header(&made, "etag"), "W/\"3\"");
        let again = site.raw(&patient(JANE), "POST", "/Coverage", &post, card.as_bytes());
        assert_eq!((again.status, header(&again, "etag").as_str()), (201, "W/\"3\""), "a repeat writes nothing");
    }
}

#[test]
fn every_refusal() {
    let format = "Invalid search data provided - 'Coverage search request must follow the format \
                  /Coverage?subscriber:identifier=NHS_NUMBER'";
    for mut site in sites() {
        let me = patient(JANE);
        for query in ["", "?x=1", &format!("?subscriber:identifier={JANE}&x=1")] {
            expect(&site.get(&me, &format!("/Coverage{query}")), 400, "INVALID_SEARCH_DATA", format);
        }
        assert_eq!(site.get(&me, &format!("/Coverage?subscriber:identifier={MINIMAL}")).status, 403);
        for caller in [app(), worker(), privileged()] {
            let denied = site.get(&caller, &format!("/Coverage?subscriber:identifier={JANE}"));
            assert_eq!((denied.status, error(&denied).1.as_str()), (403, "ACCESS_DENIED"));
            assert_eq!(post(&mut site, &caller, "W/\"2\"", &json!({})).status, 403);
        }
        let card = || example("coverage-post.json");
        let set = |path: &str, value: Value| {
            let mut body = card();
            *body.pointer_mut(path).unwrap() = value;
            body
        };
        let rows: Vec<(Value, &str, &str)> = vec![
            (json!({}), "MISSING_VALUE", "Missing value - 'identifier/0/value'"),
            (set("/status", Value::Null), "MISSING_VALUE", "Missing value - 'status'"),
            (
                set("/subscriber/identifier/value", json!("")),
                "MISSING_VALUE",
                "Missing value - 'subscriber/identifier/value'",
            ),
            (set("/beneficiary", json!({})), "MISSING_VALUE", "Missing value - 'beneficiary/identifier/value'"),
            (set("/period", Value::Null), "MISSING_VALUE", "Missing value - 'period'"),
            (set("/period/end", json!("soon")), "INVALID_VALUE", "Invalid value - 'soon' in field 'period/end'"),
            (
                set("/identifier/0/value", json!("a_b")),
                "INVALID_VALUE",
                "Invalid value - 'a_b' in field 'identifier/value'",
            ),
            (
                set("/payor/0/identifier/value", json!("?")),
                "INVALID_VALUE",
                "Invalid value - '?' in field 'payor/0/identifier/value'",
            ),
            (set("/status", json!("old")), "INVALID_VALUE", "Invalid value - 'old' in field 'status'"),
        ];
        for (body, code, text) in rows {
            expect(&post(&mut site, &me, "W/\"2\"", &body), 400, code, text);
        }
        assert_eq!(post(&mut site, &me, "2", &card()).status, 412);
        let other = set("/subscriber/identifier/value", json!(MINIMAL));
        assert_eq!(post(&mut site, &me, "W/\"2\"", &other).status, 403);
    }
}
