//! Tells relying parties of sessions that ended (spec/identity.md §2.5; OpenID Connect Back-Channel Logout 1.0): whichever node leads a
//! partition posts the notices that lie there and says what came of each by a command. A node that takes over goes on with
//! what is still there, so that each is told at least once.

use super::{Node, outgoing::Outgoing, rooms::Rooms};
use crate::{
    access::caller::Caller,
    edge::id_tokens::IdTokens,
    engine::{Command, PartitionId, SITE, services},
    ops::metrics as names,
    seam::clock::Clock,
    services::{
        directory::applications,
        identity::{
            command::IdentityCommand,
            login::{
                notices::{self, Due, NO_ADDRESS, NoticeSent, TOLD},
                rows::place_of,
            },
        },
    },
};
use bytes::Bytes;
use std::{sync::Arc, time::Duration};

/// How often it looks for notices.
const LOOK: Duration = Duration::from_millis(500);
/// Notices of one partition that are told side by side. One that gets no answer holds its fifteen neighbours up for ten seconds at most,
/// and comes again later each time.
const AT_ONCE: usize = 16;

/// Runs until the node stops.
pub async fn run(node: Arc<Node>) {
    let Some(rooms) = node.rooms.get() else { return };
    if node.settings.api.listen.is_none() {
        return;
    }
    let teller = Teller {
        rooms,
        outgoing: Outgoing::new(node.settings.api.logout_ca.clone()),
        id_tokens: IdTokens::default(),
        clock: node.world.clock.as_ref(),
        me: format!("node:{}", node.settings.node.number),
    };
    let partitions = rooms.engine.map().all().filter(|partition| *partition != SITE);
    futures_util::future::join_all(partitions.map(|partition| teller.serve(partition))).await;
}

struct Teller<'a> {
    rooms: &'a Rooms,
    outgoing: Outgoing,
    id_tokens: IdTokens,
    clock: &'a dyn Clock,
    /// Who commands, for the audit trail.
    me: String,
}

impl Teller<'_> {
    async fn serve(&self, partition: PartitionId) {
        let mut leadership = self.rooms.groups[usize::from(partition.0)].leadership();
        loop {
            if !leadership.borrow_and_update().leading {
                if leadership.changed().await.is_err() {
                    return;
                }
                continue;
            }
            let rows = self.rooms.engine.local(partition);
            let found = notices::due(rows.as_ref(), self.clock.now().0, AT_ONCE);
            let found = found.unwrap_or_else(|e| {
                tracing::warn!(event = "logout.unreadable", partition = partition.0, error = %e, "notices of log-outs");
                vec![]
            });
            if found.is_empty() {
                tokio::time::sleep(LOOK).await;
                continue;
            }
            let settled = futures_util::future::join_all(found.iter().map(|due| self.tell(due))).await;
            if settled.contains(&false) {
                // What came of it could not be written: it would only be told again and again.
                tokio::time::sleep(LOOK).await;
            }
        }
    }

    /// Tells one; whether what came of it is stored.
    async fn tell(&self, due: &Due) -> bool {
        let outcome = self.post(due).await;
        metrics::counter!(names::LOGOUT_NOTICES, "outcome" => if outcome == TOLD { "ok" } else { "failed" })
            .increment(1);
        let Some(session) = place_of(&due.notice.session) else { return false };
        let sent = NoticeSent { due: due.due, id: due.id.clone(), outcome: outcome.into(), ..Default::default() };
        let command = Command {
            service: services::IDENTITY.0,
            key: Bytes::copy_from_slice(&session.hash),
            payload: IdentityCommand::NoticeSent(sent).encode(),
            caller: Caller { operator: self.me.clone(), ..Default::default() },
            ..Default::default()
        };
        let done = self.rooms.engine.submit(command).await;
        done.inspect_err(|e| tracing::debug!(event = "logout.unsettled", error = %e, "it will be told again")).is_ok()
    }

    /// A stable word for what came of it.
    async fn post(&self, due: &Due) -> &'static str {
        let site = self.rooms.engine.local(SITE);
        let client = &due.notice.client;
        let application = match applications::application(site.as_ref(), client) {
            Ok(application) => application.unwrap_or_default(),
            Err(_) => return "unreadable",
        };
        if application.backchannel_logout_uri.is_empty() {
            return NO_ADDRESS;
        }
        let claims = self.rooms.tokens.logout_token(due, self.clock.now().0);
        let Ok(token) = self.id_tokens.sign_as(site.as_ref(), "logout+jwt", &claims) else { return "unsigned" };
        match self.outgoing.post(&application.backchannel_logout_uri, format!("logout_token={token}")).await {
            Ok(200..=204) => TOLD,
            Ok(status) => {
                tracing::warn!(event = "logout.refused", client, status, "a relying party does not take a log-out");
                "refused"
            }
            Err(e) => {
                tracing::warn!(event = "logout.unsent", client, error = %e, "a relying party cannot be told of a log-out");
                e.word
            }
        }
    }
}
