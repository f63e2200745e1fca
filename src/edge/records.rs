//! Records that the edge itself leaves in the trail, of requests that no service decided: refused by the gate, or handed on (P4).

use super::Edge;
use super::flow::Ids;
use super::problem::Refusal;
use super::turns::{TooLong, Who};
use crate::access::caller::Caller;
use crate::engine::{Command, services};
use crate::ops::codes;
use crate::services::trail::command::TrailCommand;
use bytes::Bytes;

/// Leaves a record where the person's other records are, so that who asks for them finds this one with them; of nobody (`subject` is empty)
/// where the caller's are. The turn is for the record alone. The error is what the caller is to hear: without a record nothing is answered.
pub async fn leave(
    edge: &Edge,
    note: impl Into<TrailCommand>,
    subject: &str,
    (caller, who): (Caller, Who),
    ids: &Ids,
) -> Result<(), Refusal> {
    let key =
        if subject.is_empty() { Bytes::copy_from_slice(&who.0) } else { Bytes::copy_from_slice(subject.as_bytes()) };
    let command = Command {
        service: services::TRAIL.0,
        key,
        payload: note.into().encode(),
        caller,
        correlation_id: ids.correlation.clone(),
        asked_as: ids.asked_as(),
        trace: ids.trace.encode(),
        ..Default::default()
    };
    let turn = edge.turn(who).await;
    let _turn = turn.map_err(|TooLong(away)| Refusal::new(&codes::OVERLOADED).after(away))?;
    edge.backend.submit(command).await.map(|_| ()).map_err(Refusal::from)
}
