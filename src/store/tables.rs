//! All tables, in one list: number, key, value, purpose, owner. Numbers are for ever: appended, never reused.
//!
//! A stored key is the table's number (one byte), then order-preserving parts made by [`Key`]. A value is a
//! [`record`](crate::wire::record) unless the list says otherwise.

use bytes::Bytes;

macro_rules! tables {
    ($($(#[doc = $doc:literal])* $num:literal $name:ident),* $(,)?) => {
        /// A table's number: the first byte of each of its keys.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[repr(u8)]
        pub enum Table { $($(#[doc = $doc])* $name = $num),* }
        impl Table {
            pub const ALL: &'static [Table] = &[$(Table::$name),*];
        }
    };
}

tables! {
    /// engine: `name` → raw bytes; counters and marks of the partition itself.
    1 Meta,
    /// engine: digest of caller and request id (16 bytes) → remembered answer (P3).
    2 Requests,
    /// engine: (request expiry ms, digest of caller and request id) → nothing; finds what to forget.
    3 RequestExpiry,
    /// engine: (target partition, sequence) → outbox item for another partition.
    4 Outbox,
    /// engine: source partition → highest outbox sequence applied here (8 bytes), so that a delivery happens once.
    5 Inbound,
    /// engine: (due ms, service, sequence) → timer.
    6 Timers,
    /// audit: sequence → chained audit record (P4).
    8 Audit,
    /// audit: sequence → signed head.
    9 AuditHeads,
    /// audit: (kind of word, SHA-256 of the word cut to 8 bytes, sequence) → nothing; finds audit records for `trace`
    /// and `audit search`.
    10 AuditIndex,
    /// engine: (source partition, sequence) → delivered command that faulted each time; for an operator to look at.
    11 DeadLetters,
    /// directory, site partition: ODS code → organisation.
    16 Organisations,
    /// directory, site partition: ASID → registered system (certificate, party key).
    17 Systems,
    /// directory, site partition: certificate SHA-256 → ASID.
    18 Certificates,
    /// directory, site partition: (ODS code, mailbox id) → nothing; mailboxes of an organisation, for lookup.
    19 MailboxesByOds,
    /// directory, site partition: node number → member (name, addresses, incarnation).
    24 Nodes,
    /// directory, site partition: token hash → invitation.
    25 Invitations,
    /// directory, site partition: SHA-256 of an expelled node's certificate or of its public key, hex → nothing; they open no door again.
    26 ExpelledCertificates,
    /// directory, site partition: client id → application.
    27 Applications,
    /// directory, site partition: nothing → which of the sites serves.
    28 ServingSite,
    /// directory, site partition: nothing → the site's level: what all its members' releases can read.
    31 SiteLevel,
    /// mesh, site partition: mailbox id → mailbox.
    32 Mailboxes,
    /// mesh, site partition: workflow id → workflow.
    33 Workflows,
    /// mesh, site partition: (workflow id, mailbox id) → nothing; receivers of a workflow, for lookup.
    34 WorkflowReceivers,
    /// mesh, site partition: (workflow id, mailbox id) → nothing; who may send a workflow.
    35 WorkflowSenders,
    /// mesh: (recipient mailbox, message id) → message.
    40 Messages,
    /// mesh: (recipient mailbox, message id, chunk) → body part: inline bytes or blob reference.
    41 Bodies,
    /// mesh: (recipient mailbox, message id) → workflow id and expiry; what may be collected now.
    42 Inbox,
    /// mesh: (mailbox) → count of the inbox and the next housekeeping.
    43 MailboxState,
    /// mesh: (sender mailbox, message id) → sent message reference.
    44 Sent,
    /// mesh: (sender mailbox, local id, message id) → nothing; tracking by local id.
    45 LocalIds,
    /// mesh: (window by token time, mailbox, nonce, count) → used token.
    46 Tokens,
    /// mesh: (mailbox) → last handshake.
    47 Handshakes,
    /// mesh: (SHA-256, mailbox, message id, chunk) → nothing; says that a blob is in use.
    48 BlobRefs,
    /// mesh: (sender mailbox, message id) → how far a chunked upload has come.
    49 Uploads,
    /// mesh: (sender mailbox, message id, chunk) → length of a chunk that has arrived.
    50 UploadParts,
    /// mesh: (message id) → nothing; messages that some mailbox of this partition sent or received.
    51 MessageIds,
    /// identity: (hour of issue, SHA-256 of the token) → access token; lies in the partition of that SHA-256.
    64 AccessTokens,
    /// identity: (hour of use, SHA-256 of client id and jti) → nothing; a signed JWT that was used (spec/identity.md §3).
    65 Assertions,
    /// identity: (hour) → nothing; the sweeping of that hour's tokens and assertions is planned.
    66 IdentityHours,
    /// pds: NHS number (8 bytes) → person: the record as of now.
    96 People,
    /// pds: (NHS number, version) → who made that version, when, and what the next one replaced.
    97 PersonVersions,
    /// pds: (Soundex of the family name, birth date, folded family name, NHS number) → gender and folded given names; search.
    98 PeopleByName,
    /// pds: (postcode without spaces, birth date, NHS number) → nothing; search without a family name.
    99 PeopleByPostcode,
    /// pds: (NHS number, id) → related person.
    100 RelatedPersons,
    /// pds: NHS number → EHIC card with its own version.
    101 Coverages,
    /// pds: first number of a range, nine digits → the next nine digits to try in this partition.
    102 NumberRanges,
    /// pds: (service mailbox, message id) → batch trace under way.
    103 TraceJobs,
    /// pds: (service mailbox, message id, piece) → rows of its answer as CSV, not yet in a blob.
    104 TracePieces,
    /// pds: (service mailbox, message id) → batch trace that was answered.
    105 TracesDone,
    /// directory, site partition: ODS code → facets; all organisations, small. Facets: a version byte, then the bits
    /// status, class, use (`Organisation::facets`).
    80 OrganisationCodes,
    /// directory, site partition: (folded name, ODS code) → facets.
    81 OrganisationNames,
    /// directory, site partition: (word of the name, ODS code) → facets.
    82 OrganisationWords,
    /// directory, site partition: (ending of a word, word) → nothing; finds words by what they contain.
    83 WordEndings,
    /// directory, site partition: (postcode without blanks, ODS code) → facets.
    84 OrganisationPostcodes,
    /// directory, site partition: (role code, ODS code) → facets, then bits: primary, inactive.
    85 OrganisationRoles,
    /// directory, site partition: (day of the last change, ODS code) → facets.
    86 OrganisationChanges,
    /// directory, site partition: (folded town, ODS code) → facets.
    87 OrganisationTowns,
    /// directory, site partition: facets → how many organisations (8 bytes); 255 → last instance id given (8 bytes).
    88 OrganisationCounts,
    /// directory, site partition: relationship instance id → ODS code of its source.
    89 Relationships,
    /// directory, site partition: (target ODS code, source ODS code, instance id) → nothing.
    90 RelationshipTargets,
    /// directory, site partition: record id → message handler's endpoint record (nhsMhs).
    91 Endpoints,
    /// directory, site partition: (kind of word: 1 organisation, 2 interaction, 3 party key; the word folded; record
    /// id) → nothing.
    92 EndpointLookups,
    /// directory, site partition: (kind of word as in 92, the word folded, ASID) → nothing.
    93 SystemLookups,
    /// directory, site partition: user id → person who works here (spec/identity.md §6).
    110 Users,
    /// directory, site partition: (user id, ODS code) → the person's belonging to the organisation.
    111 OrgPersons,
    /// directory, site partition: role profile id (URP) → role profile.
    112 RoleProfiles,
    /// directory, site partition: (user id, role profile id) → nothing.
    113 RolesOfUsers,
    /// directory, site partition: (user id, serial) → authenticator.
    114 Authenticators,
    /// directory, site partition: kid → key that signs ID tokens (spec/identity.md §2.4).
    115 SigningKeys,
    /// identity: (hour of expiry, SHA-256 of the secret) → what the secret is good for; the hour alone: its sweep is planned.
    116 Grants,
    /// identity: user id → failed attempts to sign in; lies in the partition of the user id.
    117 SignInAttempts,
    /// relationships: (NHS number, id) → legitimate relationship, ended ones too; ids rise with time.
    120 LegitimateRelationships,
    /// relationships: (NHS number, holder, id) → nothing; those that have not ended.
    121 OpenRelationships,
    /// relationships: (ODS code, id) → alert to the organisation's privacy officers; lies in the partition of `alerts/` and the
    /// ODS code.
    122 PrivacyAlerts,
    /// relationships: (ODS code, id) → nothing; alerts that are not closed.
    123 OpenPrivacyAlerts,
    /// directory, site partition: user id → how far the registration has come, and who did each step (spec/identity.md §6.2).
    124 Registrations,
    /// directory, site partition: (name with birth date, e-mail or National Insurance number; user id) → nothing; finds people
    /// who are registered already.
    125 UserLookups,
    /// directory, site partition: user id → hash and expiry of the code by which a passkey may be enrolled.
    130 PasskeyInvitations,
    /// directory, site partition: (kind of authenticator: 3 smartcard, 4 passkey; SHA-256 of certificate or credential id)
    /// → user id.
    131 DeviceHolders,
    /// identity: (user id, serial) → the passkey's last signature counter; lies in the partition of the user id.
    132 PasskeyUses,
    /// identity: (when it is to be tried ms, id) → relying party that is to be told of the end of a session; lies with the session.
    135 LogoutNotices,
    /// directory, site partition: (job role, area of work) → activities that the job role has by itself (spec/identity.md §6.4).
    136 Baselines,
    /// directory, site partition: issuer → keys of a trusted provider of citizens' log-ins (spec/identity.md §2.6).
    137 CitizenIssuers,
    /// directory, site partition: (what the word is, one byte: 1 family and given name, 2 given and family name, 3 professional id, 4 person
    /// in organisation, 5 and 6 ODS code, 7 workgroup, 8 ODS code and workgroup; the word; user id for 1 to 3, user id and ODS code for 4
    /// and 5, role profile for 6 to 8) → nothing; finds people who work here.
    138 StaffLookups,
    /// eps: prescription key (short id without its check character) → prescription.
    150 Prescriptions,
    /// eps: (prescription key, message id, 16 bytes) → the message's document, minified JSON, zstd.
    151 PrescriptionDocuments,
    /// eps: (day of the next activity, prescription key) → nothing.
    152 PrescriptionsDue,
    /// eps: (day) → nothing; the work of that day is planned.
    153 PrescriptionDays,
    /// eps: (ODS code of the nominated dispenser, since when it may be released ms, prescription key) → nothing.
    154 NominatedPrescriptions,
    /// eps: (NHS number, prescription time ms, prescription key) → nothing.
    155 PrescriptionsOfPeople,
    /// eps: (prescription key, id of an update) → status update by a pharmacy (spec/eps.md §15).
    156 PrescriptionUpdates,
    /// eps, site partition: nothing → days by which a test site's calendar is ahead.
    157 PrescriptionClock,
    /// directory, site partition: nothing → how strictly the site registers people.
    139 RegistrationRules,
    /// directory, site partition: (service, ODS code or `*`) → where its requests are answered: here, or by the system being replaced.
    140 Arrivals,
}

impl Table {
    /// Starts a key of this table.
    pub fn key(self) -> Key {
        Key(vec![self as u8])
    }
    /// The first key behind this table.
    pub fn end(self) -> Bytes {
        Bytes::from(vec![self as u8 + 1])
    }
}

/// Builds a key whose byte order is the order of its parts.
#[derive(Clone, Debug)]
pub struct Key(Vec<u8>);

impl Key {
    /// Text or bytes of any content: 0x00 is escaped as 0x00 0xFF, the part ends with 0x00 0x01.
    pub fn text(mut self, part: impl AsRef<[u8]>) -> Self {
        for &b in part.as_ref() {
            self.0.push(b);
            if b == 0 {
                self.0.push(0xff);
            }
        }
        self.0.extend_from_slice(&[0, 1]);
        self
    }
    /// A number, big-endian.
    pub fn number(mut self, part: u64) -> Self {
        self.0.extend_from_slice(&part.to_be_bytes());
        self
    }
    /// Bytes of a fixed length, as they are.
    pub fn fixed<const N: usize>(mut self, part: &[u8; N]) -> Self {
        self.0.extend_from_slice(part);
        self
    }
    pub fn build(self) -> Bytes {
        self.0.into()
    }
    /// Every key that starts with the parts so far: `[from, to)`.
    pub fn prefix(self) -> std::ops::Range<Bytes> {
        let from = Bytes::from(self.0);
        let to = after_prefix(&from);
        from..to
    }
}

/// The smallest key greater than every key with this prefix.
pub fn after_prefix(prefix: &[u8]) -> Bytes {
    let mut to = prefix.to_vec();
    while let Some(last) = to.pop() {
        if last != 0xff {
            to.push(last + 1);
            break;
        }
    }
    to.into()
}

/// Reads a key's parts back, in the order they were written. `None` where the bytes are not such a key.
pub struct Parts<'a>(&'a [u8]);

impl<'a> Parts<'a> {
    /// Skips the table's number.
    pub fn of(key: &'a [u8]) -> Self {
        Parts(key.get(1..).unwrap_or_default())
    }
    pub fn bytes(&mut self) -> Option<Vec<u8>> {
        let mut out = Vec::new();
        let mut at = 0;
        loop {
            match (*self.0.get(at)?, self.0.get(at + 1)) {
                (0, Some(1)) => {
                    self.0 = &self.0[at + 2..];
                    return Some(out);
                }
                (0, Some(0xff)) => {
                    out.push(0);
                    at += 2;
                }
                (0, _) => return None,
                (b, _) => {
                    out.push(b);
                    at += 1;
                }
            }
        }
    }
    pub fn text(&mut self) -> Option<String> {
        String::from_utf8(self.bytes()?).ok()
    }
    pub fn number(&mut self) -> Option<u64> {
        let (head, tail) = self.0.split_first_chunk::<8>()?;
        self.0 = tail;
        Some(u64::from_be_bytes(*head))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_sort_as_their_parts_and_read_back() {
        let a = Table::Inbox.key().text("A").number(2).build();
        let b = Table::Inbox.key().text("A\0").number(1).build();
        let c = Table::Inbox.key().text("AB").number(0).build();
        assert!(a < b && b < c);
        let mut parts = Parts::of(&b);
        assert_eq!((parts.text().as_deref(), parts.number()), (Some("A\0"), Some(1)));
        let range = Table::Inbox.key().text("A").prefix();
        assert!(range.contains(&a) && !range.contains(&b));
    }
}
