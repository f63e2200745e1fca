//! The product's backend: the engine for commands and views, the registry's rows for certificates, `bulk` for bodies.

use super::backend::{Answering, Backend, Courier, Credentials, Hearing, Stored, Upload, View};
use super::payload::Pieces;
use super::protocol::Question;
use super::relays::Relays;
use crate::access::gate::{Denied, Proven, Standing};
use crate::engine::bulk::{Bulk, BulkError, upload};
use crate::engine::draft::Fault;
use crate::engine::{Command, Engine, Fence, Outcome, PartitionId, SITE, Unavailable};
use crate::seam::clock::Clock;
use crate::services::directory::rows;
use crate::services::identity::tokens::{self, Place};
use crate::store::blobs::BlobId;
use bytes::Bytes;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

/// How long an answer waits for its deliveries to other partitions. They are certain; only their moment is not.
const DELIVERY_PATIENCE: Duration = Duration::from_secs(3);

#[derive(Clone)]
pub struct EngineBackend {
    pub engine: Engine,
    pub bulk: Bulk,
    pub clock: Arc<dyn Clock>,
    pub courier: Arc<dyn Courier>,
    pub relays: Arc<Relays>,
}

impl Backend for EngineBackend {
    fn submit(&self, command: Command) -> Answering<'_, Outcome> {
        Box::pin(self.engine.submit(command))
    }

    fn view(&self, partition: PartitionId, index: u64) -> Answering<'_, View> {
        Box::pin(async move { Ok(Arc::new(self.engine.view(partition, Fence::At(index)).await?) as View) })
    }

    fn views_now(&self) -> Answering<'_, Vec<View>> {
        Box::pin(async move {
            let all = self.engine.map().all().filter(|p| *p != SITE);
            let views = all.map(|partition| self.engine.view(partition, Fence::Linearizable));
            let views = futures_util::future::try_join_all(views).await?;
            Ok(views.into_iter().map(|view| Arc::new(view) as View).collect())
        })
    }

    fn settled<'a>(&'a self, outcome: &'a Outcome) -> Pin<Box<dyn Future<Output = ()> + Send + 'a>> {
        Box::pin(async move {
            if let Err(e) = self.engine.wait_delivered(outcome, DELIVERY_PATIENCE).await {
                tracing::warn!(event = "edge.delivery_unseen", error = %e, "a delivery could not be watched");
            }
        })
    }

    fn site(&self) -> View {
        self.engine.site()
    }

    fn standing(&self, certificate: &str) -> Result<Standing, Unavailable> {
        let found = rows::system_of_certificate(self.engine.site().as_ref(), certificate);
        Ok(match found.map_err(unread)? {
            None => Standing::Unknown,
            Some((_, system)) if system.disabled => Standing::Disabled,
            Some((asid, system)) => {
                let rows::System { ods, party_key, emergency, .. } = system;
                Standing::Approved { asid, ods, party_key, emergency }
            }
        })
    }

    fn known<'a>(&'a self, shown: &'a Credentials) -> Answering<'a, Standing> {
        Box::pin(async move {
            let site = self.engine.site();
            match shown {
                Credentials::Key(key) => {
                    let standing = tokens::standing_of_key(site.as_ref(), key).map_err(unread)?;
                    named(standing, || tokens::holder_of_key(site.as_ref(), key))
                }
                Credentials::Bearer(token, role) => {
                    let Some(place) = Place::of(token) else { return Ok(Standing::Refused(Denied::TokenUnknown)) };
                    let partition = self.engine.partition_of(&place.hash);
                    let view = self.engine.view(partition, Fence::Linearizable).await?;
                    let standing = tokens::standing(&view, site.as_ref(), &place, role, self.clock.now().0);
                    named(standing.map_err(unread)?, || tokens::holder(&view, site.as_ref(), &place))
                }
            }
        })
    }

    fn seen(&self, shown: &Credentials) -> Option<Proven> {
        let site = self.engine.site();
        let standing = match shown {
            Credentials::Key(key) => tokens::standing_of_key(site.as_ref(), key),
            Credentials::Bearer(token, role) => {
                let place = Place::of(token)?;
                let rows = self.engine.local(self.engine.partition_of(&place.hash));
                tokens::standing(rows.as_ref(), site.as_ref(), &place, role, self.clock.now().0)
            }
        };
        match standing {
            Ok(Standing::Proven(proven) | Standing::Lapsed(_, proven)) => Some(*proven),
            _ => None,
        }
    }

    fn ask<'a>(&'a self, question: &'a Question) -> Hearing<'a> {
        self.courier.ask(question)
    }

    fn relays(&self) -> Option<Arc<Relays>> {
        Some(self.relays.clone())
    }

    fn upload(&self) -> Answering<'_, Box<dyn Upload>> {
        Box::pin(async move {
            let upload = self.bulk.upload().await.map_err(not_stored)?;
            Ok(Box::new(Uploading(upload)) as Box<dyn Upload>)
        })
    }

    fn download(&self, body: Stored) -> Answering<'_, Pieces> {
        Box::pin(async move { self.bulk.open(BlobId(body.digest), body.len).await.map_err(not_stored) })
    }
}

/// Credentials that are refused, with whoever is known to hold them: that goes into the audit trail (P4).
fn named(standing: Standing, holder: impl FnOnce() -> Result<Option<Proven>, Fault>) -> Result<Standing, Unavailable> {
    let Standing::Refused(why) = standing else { return Ok(standing) };
    Ok(match holder().map_err(unread)? {
        Some(holder) => Standing::Lapsed(why, Box::new(holder)),
        None => Standing::Refused(why),
    })
}

/// Rows that cannot be read now are being rebuilt: nothing is guessed, and another node knows.
fn unread(fault: Fault) -> Unavailable {
    match fault {
        Fault::Store(_) => Unavailable::NoLeader,
        other => Unavailable::Fault(other.to_string()),
    }
}

struct Uploading(upload::Upload);

impl Upload for Uploading {
    fn piece(&mut self, piece: Bytes) -> Answering<'_, ()> {
        Box::pin(async move { self.0.piece(piece).await.map_err(not_stored) })
    }
    fn commit(self: Box<Self>) -> Answering<'static, Stored> {
        Box::pin(async move {
            let (id, len) = self.0.commit().await.map_err(not_stored)?;
            Ok(Stored { digest: id.0, len })
        })
    }
}

/// Nothing was done: the command that would name the body was not yet submitted.
fn not_stored(e: BulkError) -> Unavailable {
    tracing::warn!(event = "edge.body_not_stored", error = %e, "a body could not be stored or read");
    match e {
        BulkError::Lost(_) => Unavailable::Lost(e.to_string()),
        BulkError::NoMajority(..) | BulkError::Nowhere(_) => Unavailable::NoLeader,
        // A full or failing disk of this node: another may do better.
        BulkError::Blob(_) => Unavailable::NoSpace,
    }
}
