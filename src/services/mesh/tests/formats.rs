//! The bytes of stored rows and keys, for ever (P8): a change here is a change of what disks already hold.

use super::super::rows::{Event, InboxEntry, Message, Part, Party, UsedToken, chunk_key, message_key};
use super::*;
use crate::{store::tables::Table, wire::record::Record};

fn id() -> MessageId {
    MessageId::parse("20261122005933579001_004101").unwrap()
}

#[test]
fn keys() {
    assert_eq!(
        hex_encode(&message_key(Table::Messages, A, id()).build()),
        "28583236414243310001000660d2fd8d9cf9004101"
    );
    assert_eq!(
        hex_encode(&chunk_key(Table::Bodies, A, id(), 2).build()),
        "29583236414243310001000660d2fd8d9cf900410100000002"
    );
}

#[test]
fn values() {
    let message = Message {
        report: true,
        status: 2,
        party: Party { mailbox: A.into(), name: "N".into(), ods: "X26".into(), ..Default::default() },
        workflow: "W".into(),
        subject: "S".into(),
        local_id: "L".into(),
        gzip: true,
        chunks: 3,
        size: 300,
        accepted: NOW,
        expires: NOW,
        error: Event { event: "SEND".into(), code: "14".into(), text: "T".into(), ..Default::default() },
        linked: Bytes::copy_from_slice(&id().to_bytes()),
        ..Default::default()
    };
    assert_eq!(
        hex_encode(&message.encode()),
        concat!(
            "01080110021a12010a075832364142433112014e1a035832362201572a015332014c6801700378ac028001cbf68f86a03490",
            "01cbf68f86a0349a010e010a0453454e44120231341a0154a2010b000660d2fd8d9cf9004101",
        )
    );
    let part = Part { inline: "body".into(), len: 4, ..Default::default() };
    assert_eq!(hex_encode(&part.encode()), "010a04626f64791804");
    let entry = InboxEntry { workflow: "W".into(), expires: NOW, ..Default::default() };
    assert_eq!(hex_encode(&entry.encode()), "010a015710cbf68f86a034");
    let used = UsedToken { attempt: 300, content: 7, ..Default::default() };
    assert_eq!(hex_encode(&used.encode()), "0108ac022007");
}
