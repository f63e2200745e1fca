//! What the registry tells other services through the outbox. The receiving service names the tag under which it
//! takes a notice; the record is defined here, because services do not import one another.

use crate::{record, wire::record::Record};
use bytes::Bytes;

/// MESH's tag for [`MailboxClosed`] (docs/formats.md, MESH commands).
pub const MESH_MAILBOX_CLOSED: u8 = 8;

record! {
    /// A mailbox was made inactive: what waits in it goes back to its senders.
    pub struct MailboxClosed v1 {
        1 => mailbox: String,
    }
}

/// The notice as MESH's command.
pub fn mailbox_closed(mailbox: &str) -> Bytes {
    let mut out = vec![MESH_MAILBOX_CLOSED];
    MailboxClosed { mailbox: mailbox.to_owned(), ..Default::default() }.encode_into(&mut out);
    out.into()
}
