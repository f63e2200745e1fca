//! What travels of a batch trace. All goes to the partition of the service's mailbox, where the file's message and its job are.

use crate::record;
use bytes::Bytes;

record! {
    /// The file was read through, or cannot be read.
    pub struct TraceChecked v1 {
        1 => mailbox: String,
        /// Eleven bytes of the message id.
        2 => message: Bytes,
        /// Code of the file (§16.5); but for 0 it is answered with that alone.
        3 => code: u8,
        4 => rows: u64,
    }
}

record! {
    /// The answers to the next rows.
    pub struct TracePiece v1 {
        1 => mailbox: String,
        2 => message: Bytes,
        /// Where the cursor stands; of another place nothing is done.
        3 => from: u64,
        4 => rows: u64,
        /// The rows of the answer, as CSV.
        5 => answer: Bytes,
        /// NHS numbers of the people whom they show, and with which code each.
        6 => subjects: Vec<u64>,
        7 => codes: Bytes,
    }
}

record! {
    /// Pieces were put together in a blob, in their order.
    pub struct TraceFold v1 {
        1 => mailbox: String,
        2 => message: Bytes,
        /// First piece, and the one behind the last.
        3 => first: u32,
        4 => end: u32,
        5 => digest: Bytes,
        6 => len: u64,
    }
}

record! {
    /// All rows are answered: the answer goes out.
    pub struct TraceEnd v1 {
        1 => mailbox: String,
        2 => message: Bytes,
    }
}

record! {
    /// What became of a command.
    pub struct TraceReply v1 {
        /// It fits no more to what is stored: somebody else went on with the file. Nothing was done.
        1 => stale: bool,
    }
}
