//! `GET /Task` against the published answer.

use super::{differences, example, ids, json, numbered};
use crate::{
    model::time,
    services::eps::{
        message::Sender,
        record::{Claim, Dispenser, Id, Issue, LineItem, Nomination, Prescription},
        show::{
            task,
            task_query::{Bound, TaskQuery},
        },
    },
};
use bytes::Bytes;

fn at(text: &str) -> u64 {
    time::parse_iso(text).unwrap()
}

const ITEM: &str = "862e9637-3516-4073-801d-f2bfa0d28f98";

/// The prescription of the published answer: six issues, the third with its dispenser.
pub fn record() -> Prescription {
    let issue = |number: u32, status: u16, item: u8| Issue {
        number,
        status,
        items: Bytes::copy_from_slice(&[item]),
        ..Default::default()
    };
    let mut instances =
        vec![issue(1, 8, 1), issue(2, 6, 1), issue(3, 2, 8), issue(4, 9000, 7), issue(5, 9000, 7), issue(6, 9000, 7)];
    instances[0].claim = Claim { received_on: 20210720, ..Default::default() };
    instances[2].dispenser = 1;
    instances[2].available_at = at("2021-08-01T00:00:00Z");
    instances[2].released_at = at("2021-08-06T10:11:12Z");
    instances[2].dispensed_at = at("2021-08-06T10:11:12Z");
    instances[2].previous_issue_at = at("2021-07-06T10:11:12Z");
    Prescription {
        id: "CDF34E-A99968-4FF3BQ".into(),
        nhs: 9912003489,
        treatment: 3,
        prescribed_at: at("2021-06-06T13:42:28Z"),
        issues: 6,
        current: 3,
        order: Id::or_none("5742a989-9cd3-4f8c-8e7c-780915adfd9c"),
        prescriber: 1,
        nomination: Nomination { ods: "FA565".into(), kind: "P1".into(), ..Default::default() },
        items: vec![LineItem { id: Id::or_none(ITEM), issues: 6, ..Default::default() }],
        instances,
        senders: vec![Sender { ods: "C81007".into(), name: "VERNON STREET MEDICAL CTR".into(), ..Default::default() }],
        dispensers: vec![Dispenser { ods: "FA666".into(), name: "CROYDON PHARMACY".into(), ..Default::default() }],
        ..Default::default()
    }
}

fn ask(query: TaskQuery) -> serde_json::Value {
    task::answer(&query, &[record()], at("2021-09-06T13:42:28Z"), &mut ids())
}

fn by_id() -> TaskQuery {
    TaskQuery { prescription: Some("CDF34E-A99968-4FF3BQ".into()), ..Default::default() }
}

/// The published answer comes of a sandbox: where §14.1 says otherwise, §14.1 is followed.
#[test]
fn a_task_is_as_published_where_the_specification_agrees() {
    let ours = ask(TaskQuery { status: Some("0002".into()), ..by_id() });
    let published = json(example!("13-tracker/task-search-response.json"));
    let paths: Vec<String> = differences(&numbered(&ours), &numbered(&published))
        .into_iter()
        .map(|d| d.split(": ").next().unwrap().to_owned())
        .filter(|path| ![".value", ".id", "fullUrl"].iter().any(|end| path.ends_with(end)))
        .collect();
    let task = ".entry[0].resource";
    let expected = [
        format!("{task}.authoredOn"),
        format!("{task}.code.coding[0].code"),
        format!("{task}.code.coding[0].display"),
        format!("{task}.code.coding[0].system"),
        format!("{task}.extension[1].extension[0].valueInteger"),
        format!("{task}.extension[1].extension[0].valueUnsignedInt"),
        format!("{task}.extension[1].extension[1].valueInteger"),
        format!("{task}.extension[1].extension[1].valueUnsignedInt"),
        // Status of the item, not of the prescription.
        format!("{task}.input[0].extension[0].extension[0].valueCoding.code"),
        format!("{task}.input[0].extension[0].extension[0].valueCoding.display"),
        format!("{task}.input[0].extension[0].extension[0].valueCoding.system"),
        format!("{task}.input[0].valueReference.identifier.system"),
        // The day on which the issue before was dispensed, and that of the download.
        format!("{task}.output[0].extension[0].extension"),
        format!("{task}.output[0].valueReference.identifier.system"),
        format!("{task}.status"),
        ".total".to_owned(),
    ];
    assert_eq!(paths, expected);
    let shown = &ours["entry"][0]["resource"];
    assert_eq!(shown["status"], "accepted");
    assert_eq!(shown["authoredOn"], "2021-08-01T00:00:00+00:00");
    assert_eq!(shown["input"][0]["valueReference"]["identifier"]["value"], ITEM);
    assert_eq!(
        shown["output"][0]["extension"][0]["extension"].to_string(),
        concat!(
            r#"[{"url":"dateLastIssuedDispensed","valueDate":"2021-07-06"},"#,
            r#"{"url":"dateDownloaded","valueDate":"2021-08-06"}]"#
        )
    );
}

#[test]
fn every_issue_is_a_task_and_who_has_it_is_told_by_id_only() {
    let all = ask(by_id());
    let statuses: Vec<_> =
        all["entry"].as_array().unwrap().iter().map(|e| e["resource"]["status"].as_str().unwrap()).collect();
    assert_eq!(statuses, ["completed", "completed", "accepted", "requested", "requested", "requested"]);
    assert_eq!(all["total"], 6);
    let of = |nth: usize| &all["entry"][nth]["resource"];
    assert_eq!(of(0)["output"][0]["extension"][0]["extension"][0]["url"], "dateClaimed");
    assert_eq!(
        (&of(2)["owner"]["display"], &of(3)["owner"]["identifier"]["value"]),
        (&"CROYDON PHARMACY".into(), &"FA565".into())
    );
    let patient = ask(TaskQuery { patient: Some(9912003489), ..Default::default() });
    assert_eq!(patient["total"], 6);
    assert_eq!(
        (patient["entry"][2]["resource"].get("owner"), patient["entry"][2]["resource"].get("requester")),
        (None, None)
    );
    let dated = ask(TaskQuery { authored: vec![Bound::From(20210701)], ..by_id() });
    assert_eq!(dated["total"], 1);
    assert_eq!(ask(TaskQuery { patient: Some(0), ..Default::default() })["entry"], json("[]"));
}

#[test]
fn an_acute_prescription_has_no_repeat_numbers() {
    let mut record = record();
    (record.treatment, record.issues) = (1, 1);
    record.instances.truncate(1);
    let shown = task::answer(&by_id(), &[record], 0, &mut ids());
    let extensions = shown["entry"][0]["resource"]["extension"].as_array().unwrap();
    assert_eq!(extensions.len(), 1);
    assert_eq!(extensions[0]["extension"][0]["valueCoding"]["code"], "acute");
}

#[test]
fn nobody_knows_it() {
    let other = TaskQuery { identifier: Some("24F5DA-A83008-7EFE6Z".into()), ..Default::default() };
    let shown = ask(other);
    assert_eq!(shown["resourceType"], "OperationOutcome");
    assert_eq!(
        (&shown["issue"][0]["code"], &shown["issue"][0]["details"]["coding"][0]["code"]),
        (&"invalid".into(), &"INVALID".into())
    );
    let shell = Prescription { deleted_on: 20220101, ..record() };
    assert_eq!(task::answer(&by_id(), &[shell], 0, &mut ids())["resourceType"], "OperationOutcome");
}
