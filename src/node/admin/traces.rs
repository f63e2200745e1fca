//! Files for batch trace, for operators: what is under way here, and the newest that were answered. Shows no row of any file (P10).

use super::{Told, fault, moment, rooms};
use crate::{
    engine::SITE,
    node::Node,
    ops::admin::AdminRequest,
    services::pds::trace::{
        code::Code,
        rows::{self, TraceDone, TraceJob},
    },
    store::tables::Table,
};
use serde_json::{Value, json};
use std::sync::Arc;

/// Files shown of each partition and kind.
const MOST: usize = 500;

/// `GET /v1/traces`: as this node has applied it.
pub async fn list(node: Arc<Node>, _: AdminRequest) -> Told {
    let engine = &rooms(&node)?.engine;
    let (mut items, mut over): (Vec<Value>, Vec<Value>) = (vec![], vec![]);
    for partition in engine.map().all().filter(|partition| *partition != SITE) {
        let reader = engine.local(partition);
        for (mailbox, id, job) in rows::list::<TraceJob>(reader.as_ref(), Table::TraceJobs, MOST).map_err(fault)? {
            let state = if job.checked { "answering" } else { "waiting" };
            items.push(json!({
                "message": id.to_string(), "mailbox": mailbox, "from": job.from, "state": state, "code": "",
                "rows": job.rows, "done": job.done, "matched": job.matched, "arrived": moment(job.at),
            }));
        }
        for (mailbox, id, done) in rows::newest(reader.as_ref(), MOST).map_err(fault)? {
            let TraceDone { from, rows, matched, code, at, ended, .. } = done;
            over.push(json!({
                "message": id.to_string(), "mailbox": mailbox, "from": from, "state": "answered", "rows": rows,
                "code": Code(code).to_string(), "done": rows, "matched": matched, "arrived": moment(at), "ended": moment(ended),
            }));
        }
    }
    let newest = |a: &Value, b: &Value| b["message"].as_str().cmp(&a["message"].as_str());
    over.sort_by(newest);
    items.extend(over.into_iter().take(MOST));
    Ok(json!({ "items": items }))
}
