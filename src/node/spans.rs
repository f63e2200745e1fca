//! Sends the steps of traced requests to a collector: OTLP over HTTP in its JSON form (OpenTelemetry Protocol 1.x, §OTLP/HTTP), so
//! that a trace which a supplier's system began goes on through every node that worked on it (`operations.md` §7).
//! Gathered and sent together; what cannot be sent is dropped and counted, for a trace is no record (P6).

use super::{Node, outgoing::Outgoing};
use crate::{
    model::trace_context::text,
    ops::metrics as names,
    ops::recorder::VERSION,
    seam::spans::{self, Span, Told},
};
use serde_json::{Value, json};
use std::{sync::Arc, time::Duration};
use tokio::sync::mpsc::Receiver;

/// Steps sent together: some 200 KiB.
const AT_ONCE: usize = 512;
/// How long the first of them waits for others.
const GATHER: Duration = Duration::from_secs(1);
/// Between two lines of the log that say that nobody takes them.
const COMPLAIN: Duration = Duration::from_secs(300);

/// Runs until the node stops; not at all where no collector is named.
pub async fn run(node: Arc<Node>) {
    let settings = &node.settings.otlp;
    if settings.endpoint.is_empty() {
        return;
    }
    let mut seed = [0; 8];
    node.world.rng.fill(&mut seed);
    let Some(mut steps) = spans::collect(settings.sample_every, u64::from_le_bytes(seed)) else { return };
    let outgoing = Outgoing::new(node.settings.api.logout_ca.clone());
    let mut complained: Option<tokio::time::Instant> = None;
    while let Some(batch) = gather(&mut steps).await {
        metrics::counter!(names::SPANS, "outcome" => "dropped").increment(spans::dropped());
        let count = batch.len() as u64;
        let sent = outgoing.post_json(&settings.endpoint, document(&batch, &node.settings.node.name).to_string()).await;
        let why = match sent {
            Ok(200..=299) => {
                metrics::counter!(names::SPANS, "outcome" => "sent").increment(count);
                continue;
            }
            Ok(status) => format!("status {status}"),
            Err(e) => e.to_string(),
        };
        metrics::counter!(names::SPANS, "outcome" => "failed").increment(count);
        if complained.is_none_or(|at| at.elapsed() >= COMPLAIN) {
            complained = Some(tokio::time::Instant::now());
            tracing::warn!(event = "spans.not_sent", why, "the collector of traces does not take them");
        }
    }
}

/// Waits for a step, and takes those that come soon after. `None` when there will be no more.
async fn gather(steps: &mut Receiver<Span>) -> Option<Vec<Span>> {
    let mut batch = vec![steps.recv().await?];
    let until = tokio::time::Instant::now() + GATHER;
    while batch.len() < AT_ONCE {
        match tokio::time::timeout_at(until, steps.recv()).await {
            Ok(Some(step)) => batch.push(step),
            _ => break,
        }
    }
    Some(batch)
}

/// An `ExportTraceServiceRequest` in OTLP's JSON: ids in hexadecimal, 64-bit numbers as strings.
fn document(batch: &[Span], node: &str) -> Value {
    let word = |key: &str, value: &str| json!({"key": key, "value": {"stringValue": value}});
    let spans: Vec<Value> = batch.iter().map(step).collect();
    json!({"resourceSpans": [{
        "resource": {"attributes": [
            word("service.name", "spine"), word("service.version", VERSION), word("service.instance.id", node),
        ]},
        "scopeSpans": [{"scope": {"name": "spine", "version": VERSION}, "spans": spans}],
    }]})
}

fn step(span: &Span) -> Value {
    let attribute = |(key, told): &(&str, Told)| match told {
        Told::Word(word) => json!({"key": key, "value": {"stringValue": word}}),
        Told::Number(n) => json!({"key": key, "value": {"intValue": n.to_string()}}),
    };
    let parent = if span.parent == [0; 8] { String::new() } else { text(&span.parent) };
    json!({
        "traceId": text(&span.trace), "spanId": text(&span.id), "parentSpanId": parent,
        "name": span.name, "kind": span.side as u8,
        "startTimeUnixNano": span.begun.to_string(), "endTimeUnixNano": span.ended.to_string(),
        "attributes": span.told.iter().map(attribute).collect::<Vec<_>>(),
        "status": if span.failed { json!({"code": 2}) } else { json!({}) },
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::seam::spans::Side;

    #[test]
    fn a_step_is_told_as_otlps_json_says() {
        let span = Span {
            trace: [0xab; 16],
            id: [1; 8],
            parent: [0; 8],
            name: "request",
            side: Side::Asked,
            begun: 1_790_000_000_000_000_000,
            ended: 1_790_000_000_000_500_000,
            told: vec![
                ("http.response.status_code", Told::Number(503)),
                ("spine.interaction", Told::Word("mesh.send")),
            ],
            failed: true,
        };
        let told = document(&[span], "lab-1");
        let step = &told["resourceSpans"][0]["scopeSpans"][0]["spans"][0];
        assert_eq!(step["traceId"], "abababababababababababababababab");
        assert_eq!((&step["spanId"], &step["parentSpanId"]), (&json!("0101010101010101"), &json!("")));
        assert_eq!((&step["kind"], &step["startTimeUnixNano"]), (&json!(2), &json!("1790000000000000000")));
        let status = json!({"key": "http.response.status_code", "value": {"intValue": "503"}});
        assert_eq!((&step["attributes"][0], &step["status"]["code"]), (&status, &json!(2)));
    }
}
