//! Who else must know of a change: prescriptions follow a person's nomination, and end with their death (spec/eps.md §8.3, §17.7).

use super::fhir::{APPLIANCE_SUPPLIER, NOMINATED_PHARMACY, Object, PREFERRED_DISPENSER, extension};
use crate::{
    engine::{
        PartitionMap,
        draft::{Draft, Stamp},
        services,
    },
    model::NhsNumber,
    wire::person_changed::{NominatedNow, PersonChanged, tagged},
};
use bytes::Bytes;
use serde_json::Value;

/// A kind of nomination in both services (spec/eps.md §5.4).
const KINDS: [(&str, &str); 3] = [(NOMINATED_PHARMACY, "P1"), (APPLIANCE_SUPPLIER, "P2"), (PREFERRED_DISPENSER, "P3")];
/// Keys that are tried for one of each partition: there are at most 64.
const TRIES: u32 = 100_000;

fn nominated<'a>(of: &'a Object, url: &str) -> &'a str {
    let value = extension(of, url).and_then(|e| e.pointer("/valueReference/identifier/value"));
    value.and_then(Value::as_str).unwrap_or_default()
}

/// Tells every partition what of a person's record prescriptions depend on, if an update changed it.
pub fn prescriptions(draft: &mut Draft<'_>, stamp: &Stamp, nhs: NhsNumber, before: &Object, after: &Object) {
    let dead = |of: &Object| of.contains_key("deceasedDateTime");
    let changed = |(url, kind): &(&str, &str)| {
        let now = nominated(after, url);
        (nominated(before, url) != now).then(|| NominatedNow {
            kind: (*kind).to_owned(),
            ods: now.to_owned(),
            ..Default::default()
        })
    };
    let told = PersonChanged {
        nhs: nhs.value(),
        died: dead(after) && !dead(before),
        nominations: KINDS.iter().filter_map(changed).collect(),
        ..Default::default()
    };
    if !told.died && told.nominations.is_empty() {
        return;
    }
    for key in one_key_each(stamp.partitions) {
        draft.send(key, services::EPS, tagged(&told));
    }
}

/// A key of each partition.
fn one_key_each(partitions: u16) -> Vec<Bytes> {
    let map = PartitionMap { partitions };
    let mut found: Vec<Option<Bytes>> = vec![None; usize::from(partitions)];
    for n in 0..TRIES {
        if found.iter().all(Option::is_some) {
            break;
        }
        let key = Bytes::from(format!("people/{n}"));
        let at = usize::from(map.of(&key).0).wrapping_sub(1);
        if let Some(place) = found.get_mut(at).filter(|place| place.is_none()) {
            *place = Some(key);
        }
    }
    found.into_iter().flatten().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_partition_has_a_key() {
        for partitions in [1, 2, 3, 16, 64] {
            let keys = one_key_each(partitions);
            let map = PartitionMap { partitions };
            let of: Vec<u16> = keys.iter().map(|key| map.of(key).0).collect();
            assert_eq!(of, (1..=partitions).collect::<Vec<_>>());
        }
    }
}
