//! Which files together hold a partition's rows: a snapshot, and on it layers of what changed since (P7).
//!
//! A layer holds the last value of every row that entries behind `from`, up to `to`, changed. Layers of a chain meet
//! or overlap: each begins where those before it have got to, or earlier. Overlapping costs nothing, because rows are
//! whole values and a later layer has the later ones. Without a snapshot, a chain begins with no rows at entry 0.

use super::{SnapshotInfo, id};
use crate::store::Applied;
use std::path::PathBuf;

/// A sealed layer on disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Layer {
    /// Rows that only entries up to here changed are not in it.
    pub from: u64,
    /// Every entry up to here is in it.
    pub to: Applied,
    /// Length of the file.
    pub bytes: u64,
    pub path: PathBuf,
}

/// A snapshot and the layers on it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Chain {
    pub base: Option<SnapshotInfo>,
    pub layers: Vec<Layer>,
}

impl Chain {
    /// The longest chain on `base` (none: on no rows) that ends at `until` at most.
    pub fn new(base: Option<SnapshotInfo>, layers: &[Layer], until: u64) -> Chain {
        let from = base.as_ref().map_or(0, |base| base.before.index);
        Chain { base, layers: on(from, layers, until).into_iter().cloned().collect() }
    }

    /// Every entry up to here is in the rows.
    pub fn reach(&self) -> u64 {
        let base = self.base.as_ref().map_or(0, |base| base.before.index);
        self.layers.last().map_or(base, |layer| layer.to.index)
    }

    /// What the chain comes to, as a snapshot that may have no file of its own. `None` where there is neither a snapshot
    /// nor a layer.
    pub fn info(&self, partition: u16, folder: &std::path::Path) -> Option<SnapshotInfo> {
        let Some(last) = self.layers.last() else { return self.base.clone() };
        let before = last.to.clone();
        // A snapshot that was written while entries were applied may hold rows of later ones.
        let after_index = self.base.as_ref().map_or(0, |base| base.after_index).max(before.index);
        let id = id(before.index, after_index);
        let path = folder.join(format!("{id}.snap"));
        Some(SnapshotInfo { id, partition, before, after_index, rows: 0, bytes: self.bytes(), path })
    }

    /// Bytes of its files.
    pub fn bytes(&self) -> u64 {
        self.base.as_ref().map_or(0, |base| base.bytes) + self.layer_bytes()
    }

    pub fn layer_bytes(&self) -> u64 {
        self.layers.iter().map(|layer| layer.bytes).sum()
    }

    /// Its files, oldest first.
    pub fn files(&self) -> Vec<PathBuf> {
        let layers = self.layers.iter().map(|layer| layer.path.clone());
        self.base.iter().map(|base| base.path.clone()).chain(layers).collect()
    }
}

/// The longest line of layers that goes on from entry `from` and ends at `until` at most.
fn on(from: u64, layers: &[Layer], until: u64) -> Vec<&Layer> {
    let (mut reach, mut line) = (from, vec![]);
    let mut order: Vec<&Layer> = layers.iter().filter(|layer| layer.to.index <= until).collect();
    order.sort_by_key(|layer| (layer.to.index, layer.from));
    for layer in order {
        if layer.to.index > reach && layer.from <= reach {
            reach = layer.to.index;
            line.push(layer);
        }
    }
    line
}

/// Every entry up to here is in a snapshot as of `from` and the layers on it.
pub fn reach_over(from: u64, layers: &[Layer]) -> u64 {
    on(from, layers, u64::MAX).last().map_or(from, |layer| layer.to.index)
}

/// How many of the newest layers should become one: of neighbours, while the older one is not more than twice as long.
/// So their number stays below the logarithm of what they hold, and each row is written again as often.
pub fn alike(layers: &[Layer]) -> usize {
    let mut newest = layers.iter().rev();
    let (mut count, mut bytes) = (1, newest.next().map_or(0, |layer| layer.bytes));
    for layer in newest {
        if layer.bytes > 2 * bytes {
            break;
        }
        (count, bytes) = (count + 1, bytes + layer.bytes);
    }
    count
}

#[cfg(test)]
mod tests {
    use super::*;

    fn layer(from: u64, to: u64, bytes: u64) -> Layer {
        let to = Applied { index: to, ..Default::default() };
        Layer { from, to, bytes, path: format!("{from}").into() }
    }

    fn base(before: u64, after_index: u64) -> Option<SnapshotInfo> {
        let before = Applied { index: before, ..Default::default() };
        let id = id(before.index, after_index);
        Some(SnapshotInfo { id, partition: 1, before, after_index, rows: 0, bytes: 0, path: PathBuf::new() })
    }

    #[test]
    fn a_chain_ends_where_a_layer_is_missing() {
        let layers = [layer(0, 10, 1), layer(10, 20, 1), layer(15, 30, 1), layer(40, 50, 1)];
        assert_eq!(Chain::new(None, &layers, 99).reach(), 30);
        assert_eq!(Chain::new(None, &layers, 29).reach(), 20);
        assert_eq!(Chain::new(base(12, 14), &layers, 99).layers, layers[1..3]);
        assert_eq!(Chain::new(base(45, 60), &layers, 99).layers, layers[3..]);
        assert_eq!(Chain::new(base(45, 60), &layers, 99).info(1, "".as_ref()).unwrap().after_index, 60);
        assert_eq!(Chain::new(None, &layers[1..], 99).info(1, "".as_ref()), None);
    }

    #[test]
    fn layers_of_like_length_become_one() {
        let of = |bytes: &[u64]| alike(&bytes.iter().map(|bytes| layer(0, 0, *bytes)).collect::<Vec<_>>());
        assert_eq!(of(&[]), 1);
        assert_eq!(of(&[100, 40, 10]), 1);
        assert_eq!(of(&[100, 20, 10]), 2);
        assert_eq!(of(&[50, 20, 10]), 3);
    }
}
