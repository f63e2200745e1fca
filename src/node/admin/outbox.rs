//! Dead letters for operators: commands that another partition could not decide, looked at, decided again, given up.

use super::{Told, moment, rooms, unavailable};
use crate::{
    access::caller::Caller,
    engine::{DeadLetter, DeadLetterId, Engine, ServiceId, Settle, Settled, services},
    node::Node,
    ops::{
        admin::{AdminError, AdminRequest},
        codes,
    },
};
use serde::Deserialize;
use serde_json::{Value, json};
use std::sync::Arc;

/// Letters of one page at most.
const MAX_PAGE: usize = 1_000;

pub async fn list(node: Arc<Node>, r: AdminRequest) -> Told {
    listed(&rooms(&node)?.engine, &r).await
}

pub async fn retry(node: Arc<Node>, r: AdminRequest) -> Told {
    settled(&rooms(&node)?.engine, &r, Settle::Retry).await
}

pub async fn give_up(node: Arc<Node>, r: AdminRequest) -> Told {
    settled(&rooms(&node)?.engine, &r, Settle::Drop).await
}

async fn listed(engine: &Engine, r: &AdminRequest) -> Told {
    let limit = r.query("limit").and_then(|l| l.parse().ok()).unwrap_or(MAX_PAGE).clamp(1, MAX_PAGE);
    let after = match r.query("after").filter(|after| !after.is_empty()) {
        Some(after) => Some(parsed(after)?),
        None => None,
    };
    let found = engine.dead_letters(after, limit).await.map_err(unavailable)?;
    let next = found.last().filter(|_| found.len() == limit).map(|(id, _)| id.to_string());
    let items: Vec<Value> = found.iter().map(|(id, letter)| shown(*id, letter)).collect();
    Ok(json!({"items": items, "next": next}))
}

/// What an operator sees: whence, whither, why. The command's key and content name people and stay out (P10).
fn shown(id: DeadLetterId, letter: &DeadLetter) -> Value {
    let item = letter.item.clone().unwrap_or_default();
    let service = match ServiceId(item.service) {
        services::DIRECTORY => "directory".to_owned(),
        services::MESH => "mesh".to_owned(),
        other => other.0.to_string(),
    };
    let sent = if item.at == 0 { String::new() } else { moment(item.at) };
    json!({
        "id": id.to_string(), "from": id.source.0, "to": id.target.0, "service": service, "sent": sent,
        "set_aside": moment(letter.at), "fault": letter.fault, "correlation_id": item.correlation_id,
        "ods": item.caller.ods, "bytes": item.payload.len(),
    })
}

#[derive(Deserialize)]
struct Ask {
    dry_run: bool,
}

async fn settled(engine: &Engine, r: &AdminRequest, how: Settle) -> Told {
    let (id, ask): (DeadLetterId, Ask) = (parsed(r.path("id"))?, r.input()?);
    let caller = Caller { operator: r.caller.operator.clone(), ..Default::default() };
    let correlation_id = uuid::Uuid::new_v4().to_string();
    let answer = engine.settle_dead_letter(id, how, ask.dry_run, caller, correlation_id).await;
    let outcome = match (answer.map_err(unavailable)?, how) {
        (Settled::Done, Settle::Retry) => "delivered",
        (Settled::Done, Settle::Drop) => "dropped",
        (Settled::Gone, _) => {
            let what = format!("there is no undelivered command {id}");
            let error = AdminError::of(&codes::CLI_NOT_FOUND, what, "it was never there, or has been settled since");
            return Err(error.with_fix("see `spine outbox list` for those that are there"));
        }
        (Settled::Faulted(why), _) => {
            return Err(AdminError::of(&codes::CLI_UNDELIVERED, format!("{id} cannot be delivered"), why));
        }
    };
    Ok(json!({"id": id.to_string(), "outcome": outcome, "dry_run": ask.dry_run}))
}

fn parsed(text: &str) -> Result<DeadLetterId, AdminError> {
    let wrong = |()| AdminError::bad_input(format!("{text} names no undelivered command: such a name is like 2.1.17"));
    text.parse().map_err(wrong)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{audit, engine::tests::dead::with_dead_letter};

    fn request(id: &str, dry_run: bool) -> AdminRequest {
        AdminRequest {
            caller: Caller { operator: "uid:7".into(), ..Default::default() },
            path: [("id", id.to_owned())].into(),
            query: Default::default(),
            body: json!({"dry_run": dry_run}),
        }
    }

    #[tokio::test(start_paused = true)]
    async fn an_operator_sees_why_tries_again_and_gives_up_with_exit_codes_for_scripts() {
        let (site, id, away) = with_dead_letter().await;
        let (engine, id) = (&site.engines[1], id.to_string());
        let told = listed(engine, &request("", false)).await.unwrap();
        let item = &told["items"][0];
        assert_eq!((&item["id"], &item["fault"]), (&json!(id), &json!("asked to fault")));
        assert!(!item.to_string().contains(&format!("\"{away}\"")), "its key stays out: {item}");
        for dry_run in [true, false] {
            let failed = settled(engine, &request(&id, dry_run), Settle::Retry).await.unwrap_err();
            assert_eq!((failed.code.as_str(), failed.exit), ("SPN-2021", 1));
        }
        let plan = settled(engine, &request(&id, true), Settle::Drop).await.unwrap();
        assert_eq!(plan, json!({"id": id, "outcome": "dropped", "dry_run": true}));
        assert!(settled(engine, &request(&id, false), Settle::Drop).await.is_ok());
        assert_eq!(settled(engine, &request(&id, false), Settle::Drop).await.unwrap_err().exit, 6);
        assert_eq!(settled(engine, &request("x", false), Settle::Drop).await.unwrap_err().exit, 2);
        assert_eq!(listed(engine, &request("", false)).await.unwrap(), json!({"items": [], "next": null}));
        let query = audit::Query { id, ..Default::default() };
        let target = engine.partition_of(away.as_bytes());
        let records = audit::search(engine.local(target).as_ref(), &query, 0, 10).unwrap().records;
        let line = |r: &audit::Record| (r.interaction.clone(), r.outcome.clone(), r.operator.clone());
        let lines: Vec<_> = records.iter().map(line).collect();
        let expected = [("outbox.retry", "fault"), ("outbox.drop", "ok")];
        assert_eq!(lines, expected.map(|(what, how)| (what.into(), how.into(), "uid:7".into())));
    }
}
