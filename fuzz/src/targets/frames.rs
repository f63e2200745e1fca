//! Bytes from a peer's connection: frames one after another, the hello, and what Raft's calls hold.
//!
//! A frame that was read is written again to the same bytes. A length in a head alone allocates one step, no more.

use super::{KIB, Target};
use bytes::Bytes;
use futures_util::FutureExt;
use spine::fuzz::frame::{self, FLAG_FAILED, Failure, Frame, Hello};
use spine::fuzz::{AppendAnswer, AppendCall, TransferCall, VoteAnswer, VoteCall, addressee};
use spine::seam::net::{Kind, MAX_PAYLOAD, kinds};
use spine::wire::record::Record;

pub const TARGET: Target = Target { name: "frames", run, seeds, longest: 8 << 10, base: 768 * KIB, factor: 200 };

fn run(input: &[u8]) {
    let mut rest = input;
    loop {
        let before = rest;
        match frame::read(&mut rest, MAX_PAYLOAD).now_or_never().expect("memory does not wait") {
            Ok(Some(read)) => {
                let mut again = vec![];
                frame::write(&mut again, &read).now_or_never().expect("memory does not wait").expect("it was read");
                assert_eq!(again, before[..before.len() - rest.len()]);
                called(&read);
            }
            Ok(None) | Err(_) => break,
        }
    }
    let mut rest = input;
    let _ = frame::read_hello(&mut rest).now_or_never().expect("memory does not wait");
}

/// What a node does with a frame's payload before any state of its own comes in.
fn called(frame: &Frame) {
    let payload = &frame.payload;
    if frame.flags & FLAG_FAILED != 0 {
        let _ = Failure::decode(payload).map(Failure::into_error);
    }
    match frame.kind {
        kinds::RAFT_APPEND => {
            let to = addressee(payload);
            if let Ok(call) = AppendCall::decode(payload) {
                // Whoever encodes as we do is read the same both ways.
                let whole = call.encode_whole();
                assert!(call.to == 0 || addressee(&whole) == Some((call.group, call.to)), "{to:?}");
                if let Ok(request) = call.clone().request() {
                    let again = AppendCall::of(call.group, call.to, &request);
                    assert_eq!(again.entries.len(), call.entries.len());
                }
            }
            let _ = AppendAnswer::decode(payload).map(|answer| answer.response().is_ok());
        }
        kinds::RAFT_VOTE | kinds::RAFT_PRE_VOTE => {
            let _ = VoteCall::decode(payload).map(|call| call.request());
            let _ = VoteAnswer::decode(payload).map(|answer| answer.response());
        }
        kinds::RAFT_TRANSFER => drop(TransferCall::decode(payload).map(|call| call.request())),
        _ => {}
    }
}

fn framed(kind: Kind, flags: u8, payload: Bytes) -> Vec<u8> {
    let mut out = vec![];
    let frame = Frame { flags, kind, id: 7, payload };
    frame::write(&mut out, &frame).now_or_never().expect("memory does not wait").expect("it is short");
    out
}

fn seeds() -> Vec<Vec<u8>> {
    let hello = Hello {
        cluster: "a-site".into(),
        node: 2,
        oldest_version: 1,
        newest_version: 1,
        lane: 1,
        ..Default::default()
    };
    let failure = Failure { reason: 3, text: "another site".into(), ..Default::default() };
    let append = [
        &[1, 0x08, 3, 0x10, 7, 0x1a, 3, 1, 0x08, 9, 0x22, 5, 1, 0x08, 4, 0x10, 8, 0x2a, 3, 1, 0x08, 3][..],
        &[0x32, 3, 1, 0x08, 8, 0x32, 9, 1, 0x08, 9, 0x12, 4, 1, b'a', b'b', b'c'],
    ]
    .concat();
    let mut far = append.clone();
    // The entry before the first is the last that can be counted.
    far.splice(12..17, [13, 1, 0x08, 255, 255, 255, 255, 255, 255, 255, 255, 255, 1].into_iter());
    let vote = Bytes::from_static(&[1, 0x08, 3, 0x10, 7, 0x1a, 3, 1, 0x08, 9, 0x28, 1]);
    vec![
        [framed(frame::HELLO, 0, hello.encode()), framed(kinds::RAFT_VOTE, 0, vote.clone())].concat(),
        framed(frame::HELLO, FLAG_FAILED, failure.encode()),
        framed(kinds::RAFT_APPEND, 0, append.into()),
        framed(kinds::RAFT_APPEND, 0, far.into()),
        framed(kinds::RAFT_PRE_VOTE, 0, vote.clone()),
        framed(kinds::RAFT_TRANSFER, 0, vote),
        framed(kinds::RAFT_APPEND, frame::FLAG_ANSWER, Bytes::from_static(&[1, 0x08, 1, 0x12, 3, 1, 0x08, 7])),
        // Sixteen mebibytes announced and never sent.
        [&[0, 0, 0, 1, 1, 0, 1, 0][..], &[0; 8]].concat(),
    ]
}
