//! A service's commands as one enum, told apart by their first byte: `commands!`. Tags are for ever, like field numbers (P8).

/// Makes the enum, with `decode`, `encode` and, for each record, `From`. Where two commands carry the same record the enum is
/// followed by `without From`.
#[macro_export]
macro_rules! commands {
    ($(#[$meta:meta])* pub enum $command:ident($what:literal) {
        $($(#[doc = $doc:literal])* $tag:literal $name:ident($record:ty)),* $(,)?
    }) => {
        $crate::commands! { $(#[$meta])* pub enum $command($what) without From {
            $($(#[doc = $doc])* $tag $name($record)),*
        } }
        $(impl From<$record> for $command {
            fn from(record: $record) -> Self {
                $command::$name(record)
            }
        })*
    };
    ($(#[$meta:meta])* pub enum $command:ident($what:literal) without From {
        $($(#[doc = $doc:literal])* $tag:literal $name:ident($record:ty)),* $(,)?
    }) => {
        $(#[$meta])*
        #[allow(clippy::large_enum_variant, reason = "the large ones are the common ones, and none is kept")]
        pub enum $command { $($(#[doc = $doc])* $name($record)),* }
        impl $command {
            /// An error means that the payload is none of this program's commands.
            pub fn decode(payload: &::bytes::Bytes) -> Result<Self, $crate::engine::draft::Fault> {
                use $crate::engine::draft::Fault;
                use $crate::wire::record::{Malformed, Record};
                let fail = |e: Malformed| Fault::Other(format!(concat!($what, " command: {}"), e));
                let Some(tag) = payload.first() else { return Err(fail(Malformed::Empty)) };
                let rest = payload.slice(1..);
                match tag {
                    $($tag => <$record>::decode(&rest).map(Self::$name).map_err(fail),)*
                    tag => Err(Fault::Other(format!(concat!($what, " command of unknown tag {}"), tag))),
                }
            }
            pub fn encode(&self) -> ::bytes::Bytes {
                use $crate::wire::record::Record;
                let mut out = Vec::with_capacity(256);
                match self {
                    $(Self::$name(record) => {
                        out.push($tag);
                        record.encode_into(&mut out);
                    })*
                }
                out.into()
            }
        }
    };
}
