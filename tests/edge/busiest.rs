//! Who keeps a listener busy is counted for whoever asks, by system and application, also and above all where they are refused (P6).

use crate::api::{Guarded, RULES, SCOPE, bare, proven};
use crate::support::client::config;
use crate::support::trial::Memory;
use crate::support::{Client, Server};
use rustls::version::TLS13;
use spine::edge::api::Api;
use spine::edge::busiest::{Deeds, Party};
use spine::edge::options::Options;
use spine::seam::clock::{Clock, SystemClock};
use std::collections::BTreeMap;
use std::sync::Arc;

fn told(server: &Server) -> BTreeMap<Party, Deeds> {
    let mut all = BTreeMap::new();
    server.edge.busiest.tell(SystemClock.now().0, &mut all);
    all
}

fn party(ods: &str, system: &str) -> Party {
    Party { ods: ods.into(), system: system.into() }
}

#[tokio::test]
async fn a_system_over_its_rate_is_the_noisiest_with_its_refusals() {
    let server = Server::start(Options { rate: 1, burst: 3, ..Options::default() }).await;
    let (quiet, stranger) = (server.pki.client(104), server.pki.client(105));
    server.register(&quiet, "200000000104");
    let (mut asked, mut refused) = (0, 0);
    while refused < 4 && asked < 60 {
        let answer = Client::connect(&server).await.post("/write", "", b"x").await;
        (asked, refused) = (asked + 1, refused + u64::from(answer.status == 429));
    }
    for identity in [&quiet, &stranger] {
        let mut client = Client::with(&server, config(&server, Some(identity), &[&TLS13])).await.unwrap();
        client.post("/write", "", b"x").await;
    }
    let all = told(&server);
    let noisy = all[&party("X26", "200000000100")];
    assert_eq!((noisy.requests, noisy.refused, noisy.at_most_over), (asked, refused, 0));
    assert!(refused == 4 && noisy.micros > 0, "{noisy:?}");
    assert_eq!(all[&party("X26", "200000000104")].requests, 1);
    // Nobody registered its certificate: the name in it is all that there is.
    let unknown = all[&party("", "client.x26.api.mesh-client.nhs.uk")];
    assert_eq!((unknown.requests, unknown.refused), (1, 1));
}

#[tokio::test]
async fn applications_are_told_apart_behind_one_address_and_strangers_are_one() {
    let memory = Memory::default();
    for (token, application, quota) in [("few", "app-few", 2), ("many", "app-many", 0)] {
        memory.registry.lock().unwrap().insert(format!("bearer {token}"), proven(application, SCOPE, quota));
    }
    let api = Arc::new(Api(vec![Arc::new(Guarded)]));
    let server = Server::api(Options::default(), memory, api, &Api::rules(&[RULES])).await;
    let (mut asked, mut refused) = (0, 0);
    while refused < 1 && asked < 60 {
        let answer = bare(&server).await.post("/write", "authorization: Bearer few\r\n", b"x").await;
        (asked, refused) = (asked + 1, refused + u64::from(answer.status == 429));
    }
    assert_eq!(bare(&server).await.post("/write", "authorization: Bearer many\r\n", b"x").await.status, 202);
    for token in ["one", "two"] {
        let shown = format!("authorization: Bearer {token}\r\n");
        assert_eq!(bare(&server).await.post("/write", &shown, b"x").await.status, 401);
    }
    let all = told(&server);
    let few = all[&party("", "app-few")];
    assert_eq!((few.requests, few.refused), (asked, 1));
    assert_eq!(all[&party("", "app-many")].requests, 1);
    assert_eq!((all[&Party::default()].requests, all[&Party::default()].refused), (2, 2));
    assert_eq!(all.len(), 3, "{all:?}");
}
