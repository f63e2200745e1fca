//! The caller as the edge has proven it. Nothing in here comes from an unverified header.

use crate::record;

record! {
    /// Who asks: the connecting system by its client certificate and, where there is one, the person behind it.
    pub struct Caller v1 {
        /// Accredited system id of the connecting system; empty if its certificate is not registered.
        1 => asid: String,
        /// Organisation (ODS code) of the connecting system.
        2 => ods: String,
        /// MHS party key of the connecting system.
        3 => party_key: String,
        /// SHA-256 of the client certificate (DER), lower-case hex; empty for the admin socket.
        4 => certificate: String,
        /// Subject common name of the certificate, for the audit trail.
        5 => common_name: String,
        /// The mailbox or user that the request authenticated as, if any.
        6 => principal: String,
        /// Address the connection came from.
        7 => address: String,
        /// Local user behind the admin socket (`uid:1000`), empty for the network.
        8 => operator: String,
    }
}
