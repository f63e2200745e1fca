//! Frames of SUBMIT and READ_FENCE between nodes (docs/formats.md).

use super::flights::Setback;
use super::{Outcome, PartitionId, Unavailable};
use crate::record;
use crate::wire::record::Record as _;
use bytes::Bytes;

record! {
    /// SUBMIT: decide this, if you lead the partition.
    pub struct Ask v1 {
        1 => partition: u16,
        /// A [`super::Command`], encoded.
        2 => command: Bytes,
        /// How long the asking node waits, in milliseconds.
        3 => patience: u32,
    }
}

record! {
    /// Answer to SUBMIT.
    pub struct Told v1 {
        /// 0 done, then as in [`STATES`].
        1 => state: u8,
        2 => index: u64,
        3 => reply: Bytes,
        /// `target << 48 | sequence` of each command sent to another partition.
        4 => sent: Vec<u64>,
        /// Of a fault; for the log only.
        5 => text: String,
    }
}

record! {
    /// READ_FENCE: up to where must a reader of this partition have applied?
    pub struct FenceAsk v1 { 1 => partition: u16 }
}

record! {
    /// Answer to READ_FENCE. `leading` is false where the asked node does not lead.
    pub struct FenceTold v1 {
        1 => leading: bool,
        2 => index: u64,
    }
}

/// States of [`Told`] other than done, by their numbers from 1. Appended, never reused.
const STATES: [Setback; 5] = [
    Setback::NotLeader,
    Setback::Unavailable(Unavailable::Busy),
    Setback::Unavailable(Unavailable::NoSpace),
    Setback::Unavailable(Unavailable::Unknown),
    Setback::Unavailable(Unavailable::NoLeader),
];
const DONE: u8 = 0;
const FAULT: u8 = 6;

impl Told {
    pub fn of(result: Result<Outcome, Setback>) -> Bytes {
        let told = match result {
            Ok(outcome) => Told {
                state: DONE,
                index: outcome.index,
                reply: outcome.reply,
                sent: outcome.sent.into_iter().map(|(p, n)| u64::from(p.0) << 48 | n).collect(),
                ..Default::default()
            },
            Err(Setback::Unavailable(Unavailable::Fault(text))) => Told { state: FAULT, text, ..Default::default() },
            Err(setback) => {
                let state = STATES.iter().position(|s| *s == setback).map_or(FAULT, |n| n as u8 + 1);
                Told { state, ..Default::default() }
            }
        };
        told.encode()
    }

    pub fn into_result(self, partition: PartitionId) -> Result<Outcome, Setback> {
        match self.state {
            DONE => Ok(Outcome {
                partition,
                index: self.index,
                reply: self.reply,
                sent: self.sent.into_iter().map(super::decide::unpack_sent).collect(),
            }),
            FAULT => Err(Setback::Unavailable(Unavailable::Fault(self.text))),
            // A state of a newer release: what it means for the effect is not known.
            n => Err(STATES.get(usize::from(n) - 1).cloned().unwrap_or(Setback::Unavailable(Unavailable::Unknown))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_result_survives_the_wire() {
        let outcome =
            Outcome { partition: PartitionId(2), index: 9, reply: "r".into(), sent: vec![(PartitionId(3), 77)] };
        let back = |r| Told::decode(&Told::of(r)).unwrap().into_result(PartitionId(2));
        let done = back(Ok(outcome.clone())).unwrap();
        assert_eq!((done.index, done.reply, done.sent), (9, outcome.reply, outcome.sent));
        for setback in STATES {
            assert_eq!(back(Err(setback.clone())).unwrap_err(), setback);
        }
        let fault = Setback::Unavailable(Unavailable::Fault("row".into()));
        assert_eq!(back(Err(fault.clone())).unwrap_err(), fault);
        let newer = Told { state: 99, ..Default::default() };
        assert_eq!(newer.into_result(PartitionId(1)).unwrap_err(), Setback::Unavailable(Unavailable::Unknown));
    }
}
