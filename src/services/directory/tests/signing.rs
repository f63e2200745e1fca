//! Rotation of the keys that ID tokens are signed with: published before it signs, and after.

use super::*;
use crate::{
    engine::draft::Timer,
    services::directory::signing::{self, AddSigningKey, LEAST_LEAD_MS, STAYS_MS, SigningKey},
};
use bytes::Bytes;

struct Registry {
    site: MapStore,
    now: u64,
    timers: Vec<u64>,
}

impl Registry {
    fn draft<R>(&mut self, run: impl FnOnce(&mut Draft<'_>, &Stamp) -> R) -> (R, Decided) {
        let stamp = Stamp { now: self.now, partition: SITE, partitions: 1, sequence: self.now, entropy: [0; 16] };
        let (copy, overlay) = (MapStore(self.site.0.clone()), Overlay::default());
        let mut draft = Draft::new(&copy, &overlay, &copy);
        let told = run(&mut draft, &stamp);
        let decided = draft.finish();
        self.site.apply(decided.rows.clone());
        self.timers.extend(decided.timers.iter().map(|(due, ..)| *due));
        (told, decided)
    }

    fn add(&mut self, seed: u8, change: impl FnOnce(&mut AddSigningKey)) -> DirectoryReply {
        let mut modulus = vec![seed; 256];
        (modulus[0], modulus[255]) = (0xc1, 1);
        let key = SigningKey {
            private: Secret("-".into()),
            modulus: modulus.into(),
            exponent: Bytes::from_static(&[1, 0, 1]),
            ..Default::default()
        };
        let mut command = AddSigningKey { key, lead: LEAST_LEAD_MS, ..Default::default() };
        change(&mut command);
        let command = Command {
            payload: DirectoryCommand::from(command).encode(),
            caller: Caller { operator: "uid:0".into(), ..Default::default() },
            ..Default::default()
        };
        let reply = self.draft(|draft, stamp| Directory.decide(draft, stamp, &command).unwrap()).0;
        DirectoryReply::of(&reply).unwrap()
    }

    fn pass(&mut self, ms: u64) -> Vec<String> {
        self.now += ms;
        let due: Vec<u64> = self.timers.iter().copied().filter(|due| *due <= self.now).collect();
        self.timers.retain(|at| !due.contains(at));
        let mut noted = vec![];
        for _ in due {
            let timer = Timer { payload: Bytes::new(), ..Default::default() };
            let (done, decided) = self.draft(|draft, stamp| Directory.timer(draft, stamp, &timer));
            done.unwrap();
            noted.extend(decided.audit.into_iter().map(|note| note.interaction));
        }
        noted
    }

    fn published(&self) -> Vec<String> {
        signing::keys(&self.site).unwrap().into_iter().map(|(kid, _)| kid).collect()
    }

    fn signs(&self) -> String {
        signing::signs(&self.site, self.now).unwrap().unwrap().0
    }
}

#[test]
fn a_new_key_is_published_before_it_signs_and_the_old_one_after() {
    let mut r = Registry { site: MapStore::default(), now: NOW, timers: vec![] };
    assert!(r.add(1, |c| (c.first, c.lead) = (true, 0)).is_done());
    let old = r.signs();
    assert!(!r.add(9, |c| c.first = true).changed, "another node was quicker");
    assert_eq!(r.add(2, |c| c.lead = LEAST_LEAD_MS - 1).refusal, "invalid");
    assert!(r.add(2, |_| {}).is_done());
    assert_eq!((r.published().len(), r.signs()), (2, old.clone()));
    assert_eq!(r.add(3, |_| {}).refusal, "conflict", "one at a time");
    r.pass(LEAST_LEAD_MS - 1);
    assert_eq!(r.signs(), old);
    r.pass(1);
    let new = r.signs();
    assert!(new != old && r.published() == [new.clone(), old.clone()]);
    assert!(r.pass(STAYS_MS - 1).is_empty() && r.published().contains(&old), "what it signed is still good");
    assert_eq!(r.pass(1), ["directory.signing_key.withdraw"]);
    assert_eq!((r.published(), r.signs()), (vec![new.clone()], new));
    assert!(r.pass(100 * STAYS_MS).is_empty() && r.published().len() == 1, "the one that signs stays");
}

#[test]
fn a_key_that_others_may_have_is_replaced_at_once() {
    let mut r = Registry { site: MapStore::default(), now: NOW, timers: vec![] };
    assert!(r.add(1, |c| c.first = true).is_done());
    assert!(r.add(2, |_| {}).is_done());
    let before = r.published();
    assert!(r.add(3, |c| c.alone = true).is_done());
    assert!(r.published().len() == 1 && !before.contains(&r.signs()));
    // A row of an earlier release says only when it was made.
    let (kid, mut row) = signing::keys(&r.site).unwrap().remove(0);
    row.signs_from = 0;
    r.site.0.insert(Table::SigningKeys.key().text(&kid).build(), crate::wire::record::Record::encode(&row));
    assert_eq!(r.signs(), kid);
}

#[test]
fn nobody_takes_the_token_services_own_client_id() {
    use crate::services::directory::applications::{OWN_CLIENT, SetApplication};
    let mut site = MapStore::default();
    let named = |client: &str, uri: &str| SetApplication {
        client: client.into(),
        name: "A".into(),
        ods: "X26".into(),
        backchannel_logout_uri: uri.into(),
        ..Default::default()
    };
    assert_eq!(set(&mut site, named(OWN_CLIENT, "")).refusal, "invalid");
    assert_eq!(set(&mut site, named("an-app-0001", "http://far.test/x")).refusal, "invalid");
    assert!(set(&mut site, named("an-app-0001", "https://app.test/out")).changed);
    assert!(!set(&mut site, named("an-app-0001", "")).changed);
    assert!(set(&mut site, named("an-app-0001", "none")).changed);
}
