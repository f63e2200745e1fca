//! Which process speaks for each node. Two that run under one number and certificate, a machine and its copy say, would make
//! different promises in one name (P1): the first is listened to while it lives, and the other is told so.

use crate::seam::net::NodeNumber;
use std::{
    collections::HashMap,
    io,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};
use tokio::time::Instant;

/// A process of which nothing was heard for so long may be gone without a word, as its machine was. One that lives asks
/// each peer something every second.
pub const SILENCE: Duration = Duration::from_secs(3);
/// A process that is refused for so long is the second one: by then whoever was gone without a word is forgotten.
pub const PATIENCE: Duration = Duration::from_secs(5);

/// The processes that this node hears.
#[derive(Default)]
pub struct Lives(Mutex<HashMap<NodeNumber, Life>>);

struct Life {
    /// Random, chosen by the process when it started.
    name: u64,
    connections: usize,
    heard: Instant,
}

impl Lives {
    fn all(&self) -> MutexGuard<'_, HashMap<NodeNumber, Life>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes a connection of a process in; `None` while another one speaks for the node. A release that does not name its
    /// processes (0) is let in as ever.
    pub fn enter(self: &Arc<Self>, node: NodeNumber, name: u64) -> Option<Presence> {
        if name != 0 {
            let mut all = self.all();
            let life = all.entry(node).or_insert(Life { name, connections: 0, heard: Instant::now() });
            if life.name != name {
                if life.connections > 0 && life.heard.elapsed() < SILENCE {
                    return None;
                }
                *life = Life { name, connections: 0, heard: Instant::now() };
            }
            life.connections += 1;
            life.heard = Instant::now();
        }
        Some(Presence { lives: self.clone(), node, name })
    }
}

/// One connection of a process.
pub struct Presence {
    lives: Arc<Lives>,
    node: NodeNumber,
    name: u64,
}

impl Presence {
    /// Something came over the connection. An error where another process speaks for the node now.
    pub fn heard(&self) -> io::Result<()> {
        if self.name == 0 {
            return Ok(());
        }
        match self.lives.all().get_mut(&self.node).filter(|life| life.name == self.name) {
            Some(life) => {
                life.heard = Instant::now();
                Ok(())
            }
            None => Err(taken()),
        }
    }
}

impl Drop for Presence {
    fn drop(&mut self) {
        let mut all = self.lives.all();
        if let Some(life) = all.get_mut(&self.node).filter(|life| life.name == self.name) {
            life.connections = life.connections.saturating_sub(1);
            if life.connections == 0 {
                all.remove(&self.node);
            }
        }
    }
}

/// How the second process is refused.
pub fn taken() -> io::Error {
    io::Error::new(io::ErrorKind::AlreadyExists, "another process runs as this node")
}

/// Peers that refuse this process: because another one runs as this node, and since when; or because its site was given up.
#[derive(Default)]
pub struct Refusals {
    twins: Mutex<HashMap<NodeNumber, Instant>>,
    given_up: Mutex<Option<(NodeNumber, String)>>,
}

impl Refusals {
    /// Notes how trying to reach a peer went.
    pub fn note(&self, peer: NodeNumber, tried: Result<(), &io::Error>) {
        let mut all = self.twins.lock().unwrap_or_else(PoisonError::into_inner);
        match tried {
            Err(e) if e.kind() == super::GIVEN_UP => {
                // For good: a site that was given up is not taken back.
                let told = Some((peer, e.to_string()));
                *self.given_up.lock().unwrap_or_else(PoisonError::into_inner) = told;
            }
            Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {
                all.entry(peer).or_insert_with(Instant::now);
            }
            _ => {
                all.remove(&peer);
            }
        }
    }

    /// The peer that said that this node's site was given up, and its words.
    pub fn given_up(&self) -> Option<(NodeNumber, String)> {
        self.given_up.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The peer that has refused longest, and for how long.
    pub fn longest(&self) -> Option<(NodeNumber, Duration)> {
        let all = self.twins.lock().unwrap_or_else(PoisonError::into_inner);
        all.iter().min_by_key(|(_, since)| **since).map(|(peer, since)| (*peer, since.elapsed()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NODE: NodeNumber = NodeNumber(2);

    #[tokio::test(start_paused = true)]
    async fn one_process_speaks_for_a_node_until_it_is_gone_or_silent() {
        let lives = Arc::new(Lives::default());
        let first = lives.enter(NODE, 7).unwrap();
        let again = lives.enter(NODE, 7).unwrap();
        assert!(lives.enter(NODE, 8).is_none() && lives.enter(NodeNumber(3), 8).is_some());
        assert!(lives.enter(NODE, 0).is_some(), "a release that names no processes");
        drop(again);
        tokio::time::advance(SILENCE - Duration::from_millis(1)).await;
        assert!(lives.enter(NODE, 8).is_none());
        first.heard().unwrap();
        tokio::time::advance(SILENCE - Duration::from_millis(1)).await;
        assert!(lives.enter(NODE, 8).is_none(), "it was heard");
        drop(first);
        let second = lives.enter(NODE, 8).expect("the first is gone");
        tokio::time::advance(SILENCE).await;
        let third = lives.enter(NODE, 9).expect("the second is silent");
        assert_eq!(second.heard().unwrap_err().kind(), io::ErrorKind::AlreadyExists, "and has lost its place");
        drop(second);
        third.heard().unwrap();
    }
}
