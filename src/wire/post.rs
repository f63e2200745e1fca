//! What MESH and the site's own services tell one another through the outbox. A mailbox may belong to a service of the site
//! (`Mailbox::service` in the registry): MESH tells that service of each message, and the service answers by MESH. No service
//! imports another: the records are here, and each side takes the other's under a tag that is for ever.

use super::record::Record;
use crate::record;
use bytes::Bytes;

/// Under which tag every service that has a mailbox takes [`Arrived`].
pub const ARRIVED: u8 = 64;
/// MESH's tags for [`Dispatch`] and [`Taken`].
pub const MESH_DISPATCH: u8 = 64;
pub const MESH_TAKEN: u8 = 65;

record! {
    /// A message may be collected from a mailbox of the service's. Its bodies stay with MESH until [`Taken`].
    pub struct Arrived v1 {
        /// The service's mailbox.
        1 => mailbox: String,
        /// Eleven bytes of a message id.
        2 => message: Bytes,
        /// The sender's mailbox.
        3 => from: String,
        4 => workflow: Bytes,
        5 => local_id: Bytes,
        6 => file_name: Bytes,
        7 => chunks: u32,
        /// Bytes as uploaded.
        8 => size: u64,
        /// Each chunk is gzip-encoded.
        9 => gzip: bool,
        /// When it was accepted.
        10 => at: u64,
    }
}

record! {
    /// A chunk's body: inline, or the digest of a blob. The same fields as MESH's own row of it.
    pub struct Body v1 {
        1 => inline: Bytes,
        2 => digest: Bytes,
        /// Bytes, either way.
        3 => len: u64,
    }
}

record! {
    /// A message from a mailbox of the service's.
    pub struct Dispatch v1 {
        /// The service's mailbox.
        1 => mailbox: String,
        2 => to: String,
        3 => workflow: Bytes,
        4 => subject: Bytes,
        5 => local_id: Bytes,
        6 => file_name: Bytes,
        7 => content_type: Bytes,
        /// Its chunks in order; blobs among them are referred to by the service until they have arrived.
        8 => parts: Vec<Body>,
    }
}

record! {
    /// The service has done with a message: it counts as acknowledged, and its bodies go.
    pub struct Taken v1 {
        1 => mailbox: String,
        2 => message: Bytes,
    }
}

/// A record as the receiver's command.
pub fn tagged(tag: u8, record: &impl Record) -> Bytes {
    let mut out = vec![tag];
    record.encode_into(&mut out);
    out.into()
}
