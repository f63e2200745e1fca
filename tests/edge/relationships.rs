//! Legitimate relationships and privacy alerts through the gate: who is let in by scope and activity, what each answer says, and
//! that a refused one is in the trail with the patient whom it was about (P4, P5).

use crate::support::client::config;
use crate::support::{Client, Server};
use serde_json::{Value, json};
use spine::access::caller::Caller;
use spine::access::gate::{Proven, Standing};
use spine::access::rules;
use spine::edge::relationships::RelationshipsProtocol;
use std::sync::Arc;

const JANE: &str = "9990000018";

/// A member of staff of the practice with these activities.
fn staff(user: &str, activities: &[&str]) -> Standing {
    let caller = Caller {
        application: "portal".into(),
        ods: "A83001".into(),
        level: "aal3".into(),
        user: user.into(),
        scopes: vec!["urn:nhsd:apim:user-nhs-id:aal3:legitimate-relationships".into()],
        activities: activities.iter().map(|a| (*a).into()).collect(),
        ..Default::default()
    };
    Standing::Proven(Box::new(Proven { caller, ..Default::default() }))
}

fn citizen() -> Standing {
    let caller = Caller {
        application: "nhs-app".into(),
        level: "P9".into(),
        nhs_number: JANE.into(),
        scopes: vec!["urn:nhsd:apim:user-nhs-login:P9:legitimate-relationships".into()],
        ..Default::default()
    };
    Standing::Proven(Box::new(Proven { caller, ..Default::default() }))
}

/// A request of the holder of a token: status and body.
async fn ask(client: &mut Client, token: &str, method: &str, path: &str, body: Value) -> (u16, Value) {
    let id = uuid::Uuid::new_v4();
    let headers = format!("authorization: Bearer {token}\r\nx-request-id: {id}\r\ncontent-type: application/json\r\n");
    let path = format!("/legitimate-relationships{path}");
    let answer = match method {
        "GET" => client.ask(format!("GET {path} HTTP/1.1\r\nhost: localhost\r\n{headers}\r\n")).await,
        _ => client.post(&path, &headers, body.to_string().as_bytes()).await,
    };
    assert_eq!(answer.header("x-request-id"), Some(id.to_string().as_str()), "it is given back");
    let body = serde_json::from_slice(&answer.body).unwrap_or_else(|e| panic!("{e}: {}", answer.text()));
    (answer.status, body)
}

#[tokio::test]
async fn a_claim_alerts_and_who_may_not_is_in_the_trail() {
    let (server, site) = Server::services(vec![Arc::new(RelationshipsProtocol)], &[rules::RELATIONSHIPS]).await;
    let known = [("nurse", staff("1", &["B0820"])), ("officer", staff("2", &["B0016"])), ("citizen", citizen())];
    let known = known.map(|(token, standing)| (format!("bearer {token}"), standing));
    server.memory.registry.lock().unwrap().extend(known);
    let mut client = Client::with(&server, config(&server, None, rustls::ALL_VERSIONS)).await.unwrap();
    let patient = format!("/patients/{JANE}/relationships");

    let claim = json!({"kind": "self-claimed", "reason": "on call tonight"});
    let (status, made) = ask(&mut client, "nurse", "POST", &patient, claim.clone()).await;
    assert_eq!((status, &made["state"], &made["holder"]["user"]), (201, &json!("active"), &json!("1")));
    let (status, told) = ask(&mut client, "nurse", "GET", &format!("{patient}/check"), json!(null)).await;
    assert_eq!((status, &told["access"]), (200, &json!(true)));

    // Who claimed does not see the alerts; the gate says so, and the trail too.
    let (status, told) = ask(&mut client, "nurse", "GET", "/alerts", json!(null)).await;
    assert_eq!((status, &told["error"]), (403, &json!("ACCESS_DENIED")));
    let (interaction, outcome) = site.told().last().map(|n| (n.interaction.clone(), n.outcome.clone())).unwrap();
    assert_eq!((interaction.as_str(), outcome.as_str()), ("alerts.list", "SPN-1027"));

    let (status, list) = ask(&mut client, "officer", "GET", "/alerts", json!(null)).await;
    assert_eq!((status, list["items"].as_array().unwrap().len()), (200, 1));
    let alert = &list["items"][0];
    assert_eq!((&alert["patient"], &alert["reason"]), (&json!(JANE), &json!("on call tonight")));
    let path = format!("/alerts/{}", alert["id"].as_str().unwrap());
    assert_eq!(ask(&mut client, "officer", "POST", &format!("{path}/acknowledge"), json!({})).await.0, 200);
    let note = json!({"note": "she was on call"});
    let (status, told) = ask(&mut client, "officer", "POST", &format!("{path}/close"), note).await;
    assert_eq!((status, &told["state"]), (200, &json!("closed")));

    let before = site.told().len();
    let (status, told) = ask(&mut client, "citizen", "POST", &patient, claim).await;
    assert_eq!((status, &told["error"]), (403, &json!("ACCESS_DENIED")));
    let told = site.told();
    assert_eq!(told.len(), before + 1);
    let last = told.last().unwrap();
    let seen = (last.interaction.as_str(), last.outcome.as_str(), last.subject.as_str());
    assert_eq!(seen, ("relationships.create", "SPN-1026", JANE), "with the patient whom the path named");
    let (status, told) = ask(&mut client, "nobody", "GET", &patient, json!(null)).await;
    assert_eq!((status, &told["error"]), (401, &json!("ACCESS_DENIED")));
    let told = site.told();
    let last = told.last().unwrap();
    let seen = (last.interaction.as_str(), last.outcome.as_str(), last.subject.as_str());
    assert_eq!(
        (told.len(), seen),
        (before + 2, ("relationships.list", "SPN-1023", JANE)),
        "a stranger's first is told too"
    );
    for _ in 0..50 {
        ask(&mut client, "nobody", "GET", &patient, json!(null)).await;
    }
    assert_eq!(site.told().len(), before + 2, "and those that follow together");
}
