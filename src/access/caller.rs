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
        /// Client id of the application whose token or API key came with the request; empty for a system's certificate.
        9 => application: String,
        /// Scopes of its products at the level of the token (spec/identity.md §1), in the order of the registry.
        10 => scopes: Vec<String>,
        /// How far the caller has proven who it is: `level0` (API key), `level3` (signed JWT), `aal1` to `aal3` (member of
        /// staff), `P0`, `P5`, `P9` (citizen); empty for a system's certificate.
        11 => level: String,
        /// The person: 12-digit user id of a member of staff, or the `sub` of a citizen; empty where none is present.
        12 => user: String,
        /// The role profile that the member of staff acts in (12 digits).
        13 => role_profile: String,
        /// Its job role, `S8000:G8000:R8001`.
        14 => job_role: String,
        /// Activities in force: the job role's own and those added to the profile (`B0825`).
        15 => activities: Vec<String>,
        /// Citizen: the own NHS number.
        16 => nhs_number: String,
        /// Citizen: vector of trust (`P9.Cp.Cd`).
        17 => vector_of_trust: String,
        /// Session at the identity provider (`sid`).
        18 => session: String,
        /// Attributes of the application that an operator has switched on, by name (spec/pds.md §2).
        19 => attributes: Vec<String>,
        /// Citizen: NHS number of the one for whom they act; empty for nobody (spec/identity.md §5).
        20 => acts_for: String,
        /// What of the caller's scopes and activities met the gate's rule, for the audit trail (spec/identity.md §9.1).
        30 => granted: String,
    }
}

impl Caller {
    /// Citizen: the NHS number of the one record that they may open: the own, or that of the one for whom they act, and then not the own.
    pub fn own_record(&self) -> &str {
        if self.acts_for.is_empty() { &self.nhs_number } else { &self.acts_for }
    }
}
