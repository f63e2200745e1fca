//! Verifying a chain: finds a changed, missing or moved record, a cut-off end and a head that proves nothing (P4).
//!
//! Streams in pages, so that a chain of any length costs bounded memory; the caller may pause between pages.

use super::expire::Begin;
use super::head::{Ca, Head, HeadError, head_key};
use super::record::{Chain, Record, record_key};
use crate::store::tables::Parts;
use crate::store::{Reader, StoreError};
use crate::wire::record::Record as _;
use bytes::Bytes;
use std::collections::VecDeque;

/// Rows read at once: some 200 KiB, and a few milliseconds.
const PAGE: usize = 500;

/// What is wrong, at which sequence.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Finding {
    #[error("record {0} is missing")]
    Missing(u64),
    #[error("record {0} was changed")]
    Changed(u64),
    #[error("record {found} stands in the place of record {place}")]
    Moved { place: u64, found: u64 },
    #[error("record {0} cannot be read")]
    Unreadable(u64),
    #[error("the chain ends at record {found}, but its mark says {expected}")]
    CutOff { expected: u64, found: u64 },
    #[error("the chain's last hash is not the one its mark holds")]
    OtherEnd(u64),
    #[error("head at record {0} does not match the records")]
    HeadMismatch(u64),
    #[error("head at record {0}: {1}")]
    HeadInvalid(u64, HeadError),
    /// A head that was signed and kept elsewhere is of a longer trail: this one was cut off or rolled back.
    #[error("a head kept elsewhere was signed at record {kept}, and the trail ends at record {found}")]
    RolledBack { kept: u64, found: u64 },
    /// A signed head stands among the records behind the end that the mark tells: records and mark were cut back.
    #[error("a head in the trail was signed at record {head}, and the trail ends at record {found}")]
    HeadBeyond { head: u64, found: u64 },
    /// Heads come with every so many records: where none does, they were taken away.
    #[error("no head was signed at any record from {0} on, for far longer than the site goes without one")]
    Unsigned(u64),
    #[error("a head kept elsewhere was signed at record {0}, and the trail has another history there")]
    OtherHistory(u64),
    /// An export ends with a head that is signed when it is made; without one nothing says that it is whole.
    #[error("no signed head closes the export at record {0}")]
    Unclosed(u64),
    /// The first records are gone, and no record of the trail says that their time was over.
    #[error("the trail begins behind record {0}, and does not say itself that those before it expired")]
    Unexplained(u64),
    /// The signature over the whole export is of another end: of an earlier head, say, of which a cut trail has one.
    #[error("the export is not sealed at record {0}")]
    Unsealed(u64),
}

/// Records without a head that are too many: the site signs one with about a thousand.
const UNSIGNED: u64 = 1 << 14;

/// What a whole verification found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Verdict {
    pub first: u64,
    pub last: u64,
    pub records: u64,
    /// Heads whose signature and hash were right.
    pub heads: u64,
    /// Where the first records are gone: the trail's own record that says so, and when that was written (ms). 0 where none does.
    pub told_by: u64,
    pub told_at: u64,
    /// At most [`MAX_FINDINGS`], in order.
    pub findings: Vec<Finding>,
}

/// A broken chain breaks on every later record's neighbour at worst; more findings say nothing new.
pub const MAX_FINDINGS: usize = 100;

impl Verdict {
    /// Adds what was found; more than [`MAX_FINDINGS`] are not kept.
    pub fn found(&mut self, finding: Finding) {
        if self.findings.len() < MAX_FINDINGS {
            self.findings.push(finding);
        }
    }
    pub fn is_whole(&self) -> bool {
        self.findings.is_empty()
    }
    /// What is wrong first; or that it is whole, and of a shortened trail who says so: whoever can write into the trail can say
    /// it, so a person compares that record's time with how long the site keeps its records.
    pub fn line(&self) -> String {
        match self.findings.first() {
            Some(finding) => finding.to_string(),
            None if self.told_by == 0 => "whole".into(),
            None => {
                let at = jiff::Timestamp::from_millisecond(self.told_at as i64).unwrap_or_default();
                let (first, told_by) = (self.first, self.told_by);
                format!("whole from record {first} on; those before expired, says record {told_by} of {at}")
            }
        }
    }
}

/// How far a verification is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    pub at: u64,
    pub done: bool,
}

/// A verification under way.
pub struct Verifier {
    chain: Chain,
    to: u64,
    end: Option<Chain>,
    heads: VecDeque<Head>,
    heads_from: u64,
    ca: Ca,
    partition: u16,
    /// Heads kept outside the site, oldest first.
    kept: VecDeque<Head>,
    /// Where records must be signed: the last that a head covers.
    signed: Option<u64>,
    /// Where the trail begins, and where its newest record of what expired says that it does.
    begin: Begin,
    told: Begin,
    /// Which record that is, and when it was written.
    told_by: (u64, u64),
    /// Whether the hash of the record before is known: not at a start in the middle, nor behind an unreadable record.
    follows: bool,
    verdict: Verdict,
}

impl Verifier {
    /// Verifies records `from..=to` of a partition's chain; `from` 1 is the start of the chain. `end` is the chain's
    /// end as the partition's mark has it; pass it when `to` is meant to be the end.
    pub fn new(partition: u16, from: u64, to: u64, end: Option<Chain>, ca: Ca) -> Self {
        let from = from.max(1);
        Verifier {
            chain: Chain { sequence: from - 1, hash: [0; 32] },
            to,
            end,
            heads: VecDeque::new(),
            heads_from: from,
            ca,
            partition,
            kept: VecDeque::new(),
            signed: None,
            begin: Begin::default(),
            told: Begin::default(),
            told_by: (0, 0),
            follows: from == 1,
            verdict: Verdict { first: from, last: from - 1, ..Default::default() },
        }
    }

    /// The trail's first records are gone: it begins behind these, and must say so itself.
    pub fn begins(mut self, begin: Begin) -> Self {
        self.begin(begin);
        self
    }

    /// As [`Verifier::begins`], of an export: before its first record.
    pub fn begin(&mut self, begin: Begin) {
        if begin.sequence > 0 && self.verdict.records == 0 {
            self.chain = begin.chain();
            self.heads_from = begin.sequence + 1;
            (self.verdict.first, self.verdict.last) = (begin.sequence + 1, begin.sequence);
            self.follows = true;
            self.signed = self.signed.map(|_| begin.sequence);
            let at = begin.sequence;
            self.begin = begin;
            self.compare_kept(at);
        }
    }

    /// Also wants heads among the records, as a site has them whose nodes sign.
    pub fn signed(mut self) -> Self {
        self.signed = Some(self.chain.sequence);
        self
    }

    /// Also compares with heads that were kept outside the site: whoever rolls the site back does not have those.
    pub fn against(mut self, kept: impl IntoIterator<Item = Head>) -> Self {
        let partition = self.partition;
        for head in kept.into_iter().filter(|head| head.partition == partition) {
            match head.check(&self.ca) {
                Ok(()) => self.kept.push_back(head),
                Err(why) => self.found(Finding::HeadInvalid(head.sequence, why)),
            }
        }
        self.kept.make_contiguous().sort_by_key(|head| head.sequence);
        if self.begin.sequence > 0 {
            self.compare_kept(self.begin.sequence);
        }
        self
    }

    /// Takes the next record of an export, in the place that the export says.
    pub fn take_record(&mut self, place: u64, value: &Bytes) {
        // An export may say any number, the last that there is among them.
        let wanted = self.chain.sequence.saturating_add(1);
        for missing in (wanted..place).take(MAX_FINDINGS) {
            self.found(Finding::Missing(missing));
        }
        if place <= self.chain.sequence {
            return self.found(Finding::Moved { place: wanted, found: place });
        }
        self.next(place, value);
        self.compare_kept(place);
    }

    /// Takes a signed head of an export: it stands behind the record that it covers.
    pub fn take_head(&mut self, head: &Head) {
        if head.sequence != self.chain.sequence || head.partition != self.partition {
            return self.found(Finding::HeadMismatch(head.sequence));
        }
        self.check_head(head);
    }

    /// Ends an export: `closing` is the head that was signed when it was made, for a partition with any record.
    pub fn close(mut self, closing: Option<&Head>) -> Verdict {
        let whole = match closing {
            Some(head) => {
                self.take_head(head);
                head.sequence == self.chain.sequence
            }
            None => self.chain.sequence == 0 && self.verdict.records == 0,
        };
        if !whole {
            self.found(Finding::Unclosed(self.chain.sequence));
        }
        self.explained();
        self.missed();
        self.verdict
    }

    /// Verifies the next page.
    pub fn step(&mut self, reader: &dyn Reader) -> Result<Progress, StoreError> {
        let range = record_key(self.chain.sequence + 1)..record_key(self.to.saturating_add(1));
        let rows = reader.scan(range, false, PAGE)?;
        let done = rows.len() < PAGE;
        for (key, value) in rows {
            self.record(reader, &key, value)?;
        }
        let full = self.verdict.findings.len() >= MAX_FINDINGS;
        if done && !full {
            self.finish(reader)?;
        }
        Ok(Progress { at: self.chain.sequence, done: done || full })
    }

    pub fn verdict(self) -> Verdict {
        self.verdict
    }

    fn found(&mut self, finding: Finding) {
        self.verdict.found(finding);
    }

    fn record(&mut self, reader: &dyn Reader, key: &[u8], value: Bytes) -> Result<(), StoreError> {
        let place = Parts::of(key).number().unwrap_or(0);
        for missing in (self.chain.sequence + 1..place).take(MAX_FINDINGS) {
            self.found(Finding::Missing(missing));
        }
        if !self.next(place, &value) {
            return Ok(());
        }
        self.compare_kept(place);
        self.head(reader, place)?;
        if let Some(signed) = self.signed.filter(|signed| place - signed.min(&place) > UNSIGNED) {
            self.found(Finding::Unsigned(signed + 1));
            self.signed = None;
        }
        Ok(())
    }

    /// The next record of the chain. False where it cannot be read.
    fn next(&mut self, place: u64, value: &Bytes) -> bool {
        let gap = place != self.chain.sequence + 1;
        self.verdict.records += 1;
        self.verdict.last = place;
        let Ok(record) = Record::decode(value) else {
            self.found(Finding::Unreadable(place));
            self.chain.sequence = place;
            self.follows = false;
            return false;
        };
        if let Some(told) = Begin::read(&record) {
            self.told = told;
            self.told_by = (place, record.at);
        }
        if record.sequence != place {
            self.found(Finding::Moved { place, found: record.sequence });
        } else if self.follows && !gap && record.previous != self.chain.hash {
            self.found(Finding::Changed(place - 1));
        }
        // Go on from what this record says of its predecessor, so that one break is one finding.
        let stand_in = Record { sequence: place, previous: record.previous, ..Default::default() };
        self.chain = Chain { sequence: place - 1, hash: record.previous };
        self.chain.follow(&stand_in, value);
        self.follows = true;
        true
    }

    /// Heads kept elsewhere, up to this record.
    fn compare_kept(&mut self, place: u64) {
        while let Some(head) = self.kept.pop_front_if(|head| head.sequence <= place) {
            if head.sequence == place && head.hash != self.chain.hash {
                self.found(Finding::OtherHistory(place));
            }
        }
    }

    /// Whether the trail itself says where it begins. What expires while it is read is told further on than it begins.
    fn explained(&mut self) {
        let (begin, told) = (&self.begin, &self.told);
        if begin.sequence > told.sequence || begin.sequence == told.sequence && begin.hash != told.hash {
            self.found(Finding::Unexplained(begin.sequence));
        } else if begin.sequence > 0 {
            (self.verdict.told_by, self.verdict.told_at) = self.told_by;
        }
    }

    /// Heads kept elsewhere that the trail does not reach.
    fn missed(&mut self) {
        if let Some(head) = self.kept.back() {
            let (kept, found) = (head.sequence, self.chain.sequence);
            self.found(Finding::RolledBack { kept, found });
        }
    }

    fn check_head(&mut self, head: &Head) {
        if let Err(why) = head.check(&self.ca) {
            self.found(Finding::HeadInvalid(head.sequence, why));
        } else if head.hash != self.chain.hash {
            self.found(Finding::HeadMismatch(head.sequence));
        } else {
            self.verdict.heads += 1;
            self.signed = self.signed.map(|_| head.sequence);
        }
    }

    fn head(&mut self, reader: &dyn Reader, place: u64) -> Result<(), StoreError> {
        if self.heads.is_empty() && self.heads_from <= place {
            let range = head_key(self.heads_from)..head_key(self.to.saturating_add(1));
            let rows = reader.scan(range, false, PAGE)?;
            self.heads_from = if rows.len() < PAGE { u64::MAX } else { place + 1 };
            for (key, value) in rows {
                let at = Parts::of(&key).number().unwrap_or(0);
                match Head::decode(&value) {
                    Ok(head) if head.sequence == at && head.partition == self.partition => self.heads.push_back(head),
                    _ => self.found(Finding::HeadMismatch(at)),
                }
            }
            if let (true, Some(last)) = (self.heads_from != u64::MAX, self.heads.back()) {
                self.heads_from = last.sequence + 1;
            }
        }
        while let Some(head) = self.heads.pop_front_if(|head| head.sequence <= place) {
            self.check_head(&head);
        }
        Ok(())
    }

    fn finish(&mut self, reader: &dyn Reader) -> Result<(), StoreError> {
        self.missed();
        if self.end.is_some() {
            self.explained();
        }
        let Some(end) = self.end else {
            for missing in (self.chain.sequence + 1..=self.to).take(1) {
                self.found(Finding::Missing(missing));
            }
            return Ok(());
        };
        self.beyond(reader, end.sequence)?;
        if end.sequence != self.chain.sequence {
            self.found(Finding::CutOff { expected: end.sequence, found: self.chain.sequence });
        } else if self.follows && end.hash != self.chain.hash {
            self.found(Finding::OtherEnd(end.sequence));
        }
        Ok(())
    }

    /// Looks for a head behind the end. While the trail grows there may be one, with its record.
    fn beyond(&mut self, reader: &dyn Reader, end: u64) -> Result<(), StoreError> {
        let newest = reader.scan(head_key(end.saturating_add(1))..head_key(u64::MAX), true, 1)?;
        let Some(head) = newest.first().and_then(|(key, _)| Parts::of(key).number()) else { return Ok(()) };
        if reader.get(&record_key(head))?.is_none() {
            self.found(Finding::HeadBeyond { head, found: self.chain.sequence });
        }
        Ok(())
    }
}

/// Verifies in one go. Blocking work for long chains: call it off the async threads.
pub fn verify(reader: &dyn Reader, mut verifier: Verifier) -> Result<Verdict, StoreError> {
    while !verifier.step(reader)?.done {}
    Ok(verifier.verdict())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audit::head::tests::signer;
    use crate::store::RowOp;
    use std::{collections::BTreeMap, ops::Range};

    #[derive(Default, Clone)]
    struct Rows(BTreeMap<Bytes, Bytes>);
    impl Reader for Rows {
        fn get(&self, key: &[u8]) -> Result<Option<Bytes>, StoreError> {
            Ok(self.0.get(key).cloned())
        }
        fn scan(&self, range: Range<Bytes>, back: bool, limit: usize) -> Result<Vec<(Bytes, Bytes)>, StoreError> {
            let all = self.0.range(range).map(|(k, v)| (k.clone(), v.clone()));
            Ok(if back { all.rev().take(limit).collect() } else { all.take(limit).collect() })
        }
    }

    const NOW: u64 = 1_790_000_000_000;

    /// 1,200 records (three pages) with a head at every 400th.
    fn chain() -> (Rows, Chain, Ca) {
        let (ca, signer) = signer();
        let (mut chain, mut rows, mut ops) = (Chain::default(), Rows::default(), vec![]);
        for n in 1..=1200u64 {
            chain.push(Record { at: NOW + n, object: format!("M{n}"), ..Default::default() }, &mut ops);
            if n % 400 == 0 {
                let head = Head::sign(&chain, NOW + n, 1, 3, &signer).unwrap();
                rows.0.insert(head_key(n), head.encode());
            }
        }
        for op in ops {
            if let RowOp::Put { key, value, .. } = op {
                rows.0.insert(key, value);
            }
        }
        (rows, chain, ca)
    }

    fn findings(rows: &Rows, from: u64, end: Chain, ca: &Ca) -> Vec<Finding> {
        verify(rows, Verifier::new(3, from, u64::MAX - 1, Some(end), ca.clone())).unwrap().findings
    }

    /// Found by the fuzz target `credentials`: behind the last number that there is, the next one was looked for.
    #[test]
    fn an_export_may_say_any_number() {
        let mut verifier = Verifier::new(1, 1, u64::MAX - 1, None, Ca::default());
        for _ in 0..2 {
            verifier.take_record(u64::MAX, &Bytes::from_static(b"\x08"));
        }
        let verdict = verifier.close(None);
        assert!(!verdict.is_whole() && verdict.findings.len() == MAX_FINDINGS);
    }

    #[test]
    fn a_whole_chain_is_whole_from_its_start_and_from_its_middle() {
        let (rows, end, ca) = chain();
        let verdict = verify(&rows, Verifier::new(3, 1, u64::MAX - 1, Some(end), ca.clone())).unwrap();
        assert_eq!((verdict.records, verdict.heads, verdict.findings), (1200, 3, vec![]));
        assert_eq!(findings(&rows, 700, end, &ca), []);
        assert!(verify(&rows, Verifier::new(3, 500, 650, None, ca)).unwrap().is_whole());
    }

    #[test]
    fn a_changed_record_is_named() {
        let (mut rows, end, ca) = chain();
        let mut record = Record::decode(&rows.0[&record_key(700)]).unwrap();
        record.outcome = "forged".into();
        rows.0.insert(record_key(700), record.encode());
        assert_eq!(findings(&rows, 1, end, &ca), [Finding::Changed(700)]);
    }

    #[test]
    fn a_missing_moved_or_cut_off_record_is_named() {
        let (rows, end, ca) = chain();
        let mut missing = rows.clone();
        missing.0.remove(&record_key(700));
        assert_eq!(findings(&missing, 1, end, &ca)[0], Finding::Missing(700));
        let mut swapped = rows.clone();
        let (a, b) = (rows.0[&record_key(8)].clone(), rows.0[&record_key(9)].clone());
        swapped.0.insert(record_key(9), a);
        swapped.0.insert(record_key(8), b);
        assert_eq!(findings(&swapped, 1, end, &ca)[0], Finding::Moved { place: 8, found: 9 });
        let mut cut = rows.clone();
        cut.0.remove(&record_key(1200));
        assert_eq!(findings(&cut, 1, end, &ca), [Finding::CutOff { expected: 1200, found: 1199 }]);
    }

    #[test]
    fn a_trail_that_was_cut_back_with_its_mark_is_told_by_the_heads_behind_it() {
        let (mut rows, _, ca) = chain();
        for n in 1001..=1200 {
            rows.0.remove(&record_key(n));
        }
        let mut end = Chain::default();
        for n in 1..=1000u64 {
            end.push(Record { at: NOW + n, object: format!("M{n}"), ..Default::default() }, &mut vec![]);
        }
        assert_eq!(
            (end.sequence, findings(&rows, 1, end, &ca)),
            (1000, vec![Finding::HeadBeyond { head: 1200, found: 1000 }])
        );
        rows.0.remove(&head_key(1200));
        assert_eq!(
            findings(&rows, 1, end, &ca),
            [],
            "nothing in the site tells: that is what heads kept elsewhere are for"
        );
    }

    #[test]
    fn records_without_heads_are_told() {
        let (mut chain, mut rows, mut ops) = (Chain::default(), Rows::default(), vec![]);
        for n in 1..=UNSIGNED + 2 {
            chain.push(Record { at: NOW + n, ..Default::default() }, &mut ops);
        }
        for op in ops {
            if let RowOp::Put { key, value, .. } = op {
                rows.0.insert(key, value);
            }
        }
        let verifier = || Verifier::new(3, 1, chain.sequence, Some(chain), Ca::default());
        assert_eq!(verify(&rows, verifier()).unwrap().findings, []);
        assert_eq!(verify(&rows, verifier().signed()).unwrap().findings, [Finding::Unsigned(1)]);
    }

    #[test]
    fn a_rewritten_history_does_not_fit_its_signed_heads() {
        let (rows, _, ca) = chain();
        let (mut chain, mut ops, mut forged) = (Chain::default(), vec![], rows.clone());
        for n in 1..=1200u64 {
            let object = if n == 5 { "other".into() } else { format!("M{n}") };
            chain.push(Record { at: NOW + n, object, ..Default::default() }, &mut ops);
        }
        for op in ops {
            if let RowOp::Put { key, value, .. } = op {
                forged.0.insert(key, value);
            }
        }
        assert_eq!(findings(&forged, 1, chain, &ca)[0], Finding::HeadMismatch(400));
        let mut head = Head::decode(&rows.0[&head_key(800)]).unwrap();
        head.at += 1;
        let mut bad = rows.clone();
        bad.0.insert(head_key(800), head.encode());
        let end = super::tests::chain_end(&rows);
        assert_eq!(findings(&bad, 1, end, &ca), [Finding::HeadInvalid(800, HeadError::Signature)]);
    }

    /// The chain as an export has it: records in order, each head behind its record, and the closing head.
    fn exported(rows: &Rows, upto: u64, closing: Option<&Head>, kept: &[Head], ca: &Ca) -> Vec<Finding> {
        let mut verifier = Verifier::new(3, 1, upto, None, ca.clone()).against(kept.iter().cloned());
        for n in 1..=upto {
            let Some(value) = rows.0.get(&record_key(n)) else { continue };
            verifier.take_record(n, value);
            if let Some(head) = rows.0.get(&head_key(n)) {
                verifier.take_head(&Head::decode(head).unwrap());
            }
        }
        verifier.close(closing).findings
    }

    #[test]
    fn an_export_that_was_cut_changed_or_of_a_trail_rolled_back_is_found() {
        let (ca, signer) = signer();
        let (mut chain, mut rows, mut heads) = (Chain::default(), Rows::default(), vec![]);
        for n in 1..=1200u64 {
            let mut ops = vec![];
            chain.push(Record { at: NOW + n, object: format!("M{n}"), ..Default::default() }, &mut ops);
            if n % 400 == 0 {
                heads.push(Head::sign(&chain, NOW + n, 1, 3, &signer).unwrap());
                rows.0.insert(head_key(n), heads.last().unwrap().encode());
            }
            for op in ops {
                if let RowOp::Put { key, value, .. } = op {
                    rows.0.insert(key, value);
                }
            }
        }
        let closing = Head::sign(&chain, NOW + 2_000, 1, 3, &signer).unwrap();
        assert_eq!(exported(&rows, 1200, Some(&closing), &heads, &ca), [], "the control");
        let cut = exported(&rows, 1000, Some(&closing), &[], &ca);
        assert_eq!(cut, [Finding::HeadMismatch(1200), Finding::Unclosed(1000)], "cut behind record 1000");
        assert_eq!(exported(&rows, 1000, None, &[], &ca), [Finding::Unclosed(1000)]);
        // Cut at a head that was signed then: only what is kept elsewhere tells.
        assert_eq!(exported(&rows, 800, Some(&heads[1]), &[], &ca), []);
        let back = exported(&rows, 800, Some(&heads[1]), &heads, &ca);
        assert_eq!(back, [Finding::RolledBack { kept: 1200, found: 800 }]);
        let mut gap = rows.clone();
        gap.0.remove(&record_key(700));
        assert_eq!(exported(&gap, 1200, Some(&closing), &[], &ca)[0], Finding::Missing(700));
        let mut changed = rows.clone();
        let mut record = Record::decode(&rows.0[&record_key(1200)]).unwrap();
        record.user = "another".into();
        changed.0.insert(record_key(1200), record.encode());
        let found = exported(&changed, 1200, Some(&closing), &heads, &ca);
        let last = [Finding::OtherHistory(1200), Finding::HeadMismatch(1200), Finding::HeadMismatch(1200)];
        assert_eq!(found, last, "even the last one, which no record follows");
        // Another history, with heads by a key that no authority of the site knows.
        let (_, stranger) = super::super::head::tests::signer();
        let forged = Head::sign(&chain, NOW, 1, 3, &stranger).unwrap();
        let found = exported(&rows, 1200, Some(&forged), &[], &ca);
        assert_eq!(found, [Finding::HeadInvalid(1200, HeadError::Issuer)]);
    }

    fn chain_end(rows: &Rows) -> Chain {
        let mut chain = Chain::default();
        for n in 1..=1200 {
            let value = &rows.0[&record_key(n)];
            assert!(chain.follow(&Record::decode(value).unwrap(), value));
        }
        chain
    }
}
