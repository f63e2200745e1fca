//! Every configuration key, in one list: name, kind, default, when a change takes effect, and one sentence.

use super::value::Kind;

/// When a changed value takes effect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Takes {
    /// With the next `spine config reload` or, for certificates, when the file changes.
    Live,
    /// When the node is started again.
    Restart,
}

/// One key.
#[derive(Clone, Copy, Debug)]
pub struct Key {
    /// `section.key`, the same name in files, `--set`, messages and documents.
    pub name: &'static str,
    pub kind: Kind,
    /// The default as `--set` would give it.
    pub default: &'static str,
    pub takes: Takes,
    /// One sentence or two for the sample file and the manual.
    pub says: &'static str,
}

const fn key(name: &'static str, kind: Kind, default: &'static str, takes: Takes, says: &'static str) -> Key {
    Key { name, kind, default, takes, says }
}

use Kind::{Address, Bool, Choice, Duration, Nodes, Number, OptionalAddress, Path, Size, Text};
use Takes::{Live, Restart};

/// All keys, grouped by section, in the order of the sample file.
#[rustfmt::skip]
pub const KEYS: &[Key] = &[
    key("site.name", Text, "spine", Restart, "Name of the site, shown by status and on pages."),
    key("site.environment", Choice(&["demo", "test", "live"]), "live", Restart, "What the site is for; test-only interfaces are refused where it is live."),

    key("node.number", Number(1, 65_535), "1", Restart, "This node's number in the site; it stays the same when the node is wiped, and its certificate names it."),
    key("node.name", Text, "", Restart, "This node's name for people; empty means node-NUMBER."),
    key("node.site", Text, "", Restart, "Label of the site (data centre) that this node stands in, where nodes of two follow each other: those of the serving one vote (spine site); empty: it votes wherever the service is."),
    key("node.data", Path, "/var/lib/spine", Restart, "Folder of log, store and blobs; certificates never lie in it, so that it can be wiped and heals."),

    key("supplier.listen", Address, "0.0.0.0:8443", Restart, "Where suppliers' systems connect with mutual TLS."),
    key("supplier.ca", Path, "/etc/spine/tls/supplier-ca.pem", Live, "Authorities whose client certificates are accepted, PEM."),
    key("supplier.cert", Path, "/etc/spine/tls/supplier-cert.pem", Live, "Certificate chain shown to suppliers, PEM."),
    key("supplier.key", Path, "/etc/spine/tls/supplier-key.pem", Live, "Private key of that certificate, PEM."),
    key("supplier.crl", Path, "", Live, "Revocation lists of those authorities, PEM; empty means that no client certificate is revoked."),
    key("supplier.crl_grace", Duration, "7d", Restart, "How long a revocation list is believed past its date; from then on all clients of its authority are refused."),
    key("supplier.connections", Number(16, 1_000_000), "10000", Restart, "Most connections of suppliers at once; more wait in the kernel's queue."),
    key("supplier.rate", Number(1, 1_000_000), "20000", Restart, "Most requests a second of one system (certificate) on this node; beyond it 429."),
    key("supplier.at_work", Number(1, 65_536), "64", Restart, "Requests worked on at once; more wait for their turn, each system behind itself."),
    key("supplier.patience", Duration, "250ms", Restart, "A request that would wait longer for its turn is answered 503 at once."),
    key("supplier.idle_timeout", Duration, "60s", Restart, "How long a connection may stay without a request."),
    key("supplier.header_timeout", Duration, "10s", Restart, "How long a client may take to send a request's headers."),
    key("supplier.body_timeout", Duration, "30s", Restart, "How long a client may pause within a request's body."),

    key("api.listen", OptionalAddress, "", Restart, "Where applications reach the HTTP APIs and the token service over TLS; empty means that they are off."),
    key("api.cert", Path, "", Live, "Certificate chain shown there, PEM; empty means supplier.cert."),
    key("api.key", Path, "", Live, "Private key of that certificate, PEM; empty means supplier.key."),
    key("api.url", Text, "", Restart, "The https address under which applications find the APIs, the same on every node: signed JWTs must name it followed by /oauth2/token; empty means https and api.listen."),
    key("api.rate", Number(1, 1_000_000), "5", Restart, "Most requests a second, on this node, of an application without a quota of its own (spine app set --quota); beyond it 429. Beside them such an application has 40 a second for SDS and 3 for new patients."),
    key("api.issuer_path", Text, "/openam/oauth2/realms/root/realms/NHSIdentity/realms/Healthcare", Restart, "Where the log-in of staff (OpenID provider) lies below api.url, the same on every node; with api.url it is the issuer in ID tokens."),
    key("api.logout_ca", Path, "", Restart, "Authorities of the addresses where applications are told that somebody has logged out and where they publish their keys, and of the provider where citizens log in, PEM, read again each minute; empty means those that the machine trusts."),
    key("ldap.listen", OptionalAddress, "", Restart, "Where systems look up the directory by LDAP with mutual TLS, with the certificates of the supplier section; empty means nowhere."),
    key("ldap.connections", Number(1, 100_000), "1000", Restart, "Most LDAP connections at once."),
    key("ldap.idle_timeout", Duration, "5m", Restart, "How long an LDAP connection may stay without a request."),

    key("peer.listen", Address, "0.0.0.0:8441", Restart, "Where the other nodes of the site connect."),
    key("peer.advertise", OptionalAddress, "", Restart, "Address under which other nodes reach this one; empty means peer.listen, which must then not be 0.0.0.0 in a site of several."),
    key("peer.nodes", Nodes, "", Restart, "The site's nodes, as NUMBER=IP:PORT of their peer listeners; this node may be among them."),
    key("peer.ca", Path, "/etc/spine/tls/peer-ca.pem", Restart, "The site's own authority for nodes, PEM."),
    key("peer.cert", Path, "/etc/spine/tls/peer-cert.pem", Restart, "This node's certificate, PEM."),
    key("peer.key", Path, "/etc/spine/tls/peer-key.pem", Restart, "Private key of that certificate, PEM."),
    key("peer.ca_key", Path, "/etc/spine/tls/peer-ca-key.pem", Restart, "Private key of the site's authority; only the node that invites others needs it."),

    key("ops.listen", Address, "127.0.0.1:9464", Restart, "Health, metrics and version over plain HTTP; keep it on loopback or a management network."),

    key("admin.socket", Path, "/run/spine/admin.sock", Restart, "Unix socket that operators' commands talk to."),

    key("mesh.shared_key_file", Path, "/etc/spine/credentials/mesh-shared-key", Restart, "File that holds the environment's shared key for MESH authorization tokens."),
    key("mesh.workflow_enforcement", Choice(&["off", "restricted", "strict"]), "restricted", Restart, "off: any sender, any workflow; restricted: known workflows are held to their senders and receivers, unknown ones pass; strict: unknown ones are refused too."),
    key("mesh.inbox_expiry", Duration, "5d", Restart, "How long a message waits to be collected before it expires and its sender gets a report."),
    key("mesh.retention", Duration, "30d", Restart, "How long the record of a message is kept for tracking after it left the inbox."),
    key("mesh.clock_skew", Duration, "2h", Restart, "How far a token's time may be from a node's, either way, the same on every node; used tokens are remembered for two to four times as long. A shorter one is for demo and test sites: a live site has 2h."),
    key("mesh.test_endpoints", Bool, "false", Restart, "Whether the test-mode endpoints answer; refused where site.environment is live."),

    key("trace.rows", Number(1, 10_000_000), "500000", Restart, "Most rows of a batch-trace file; one with more is answered with code 06."),
    key("trace.rate", Number(1, 1_000_000), "1000", Restart, "Most rows of batch-trace files answered a second, in each lane of each partition; a lane rests as long as it works besides."),

    key("otlp.endpoint", Text, "", Restart, "Where the steps of traced requests are sent (OTLP/HTTP, JSON), such as http://127.0.0.1:4318/v1/traces; https, or plain HTTP to this machine; empty means nowhere."),
    key("otlp.sample_every", Number(0, 1_000_000_000), "0", Restart, "Of requests that bring no traceparent, one of so many is traced; 0 means none. One that brings it is traced if it says so."),

    key("pds.number_ranges", Text, "", Restart, "Where new NHS numbers are taken from, in this order: FIRST-LAST of their first nine digits, parted by commas; empty means 999000000-999999999, the numbers kept for tests, and none where site.environment is live."),
    key("pds.check_organisations", Bool, "true", Restart, "Whether practices and pharmacies that an update names must be organisations of the registry; as long as none there has a role, because no reference data were imported, all pass."),

    key("eps.signatures", Choice(&["verify", "sample"]), "verify", Restart, "verify: prescriptions are taken and given out only with a signature that holds; sample: also with signatures of the published examples, for demo and test sites; refused where site.environment is live."),
    key("eps.trust", Path, "", Live, "Certificates of the authorities whose prescribers' certificates are trusted, PEM; empty trusts nobody."),
    key("eps.revocations", Path, "", Live, "Revocation lists of those authorities and of the one above them, PEM; empty means none."),
    key("eps.revocations_grace", Duration, "7d", Restart, "How long a revocation list is believed past its date; from then on new orders signed by its authority's prescribers are refused."),
    key("eps.prescribing", Bool, "true", Restart, "Whether prescriptions are taken and cancelled."),
    key("eps.dispensing", Bool, "true", Restart, "Whether prescriptions are given out and dispensed."),
    key("eps.holder_only", Choice(&["none", "notify", "all"]), "notify", Restart, "What only the dispenser who holds a prescription may do: nothing, notify and claim, or also return and withdraw."),

    key("upstream.ca", Path, "", Live, "Authorities of the system that is being replaced, PEM: requests are handed to nobody else (docs/arriving.md)."),
    key("upstream.cert", Path, "", Live, "Certificate chain that this site shows to that system, PEM."),
    key("upstream.key", Path, "", Live, "Private key of that certificate, PEM."),
    key("upstream.mesh", Text, "", Live, "The https address that MESH requests are handed to, of organisations for which spine arrival says so; empty means that none can be."),
    key("upstream.smsp", Text, "", Live, "The same for Spine Mini Services."),
    key("upstream.identity", Text, "", Live, "The same for the token service and log-ins."),
    key("upstream.pds", Text, "", Live, "The same for PDS."),
    key("upstream.eps", Text, "", Live, "The same for prescriptions."),
    key("upstream.directory", Text, "", Live, "The same for the directory's APIs."),
    key("upstream.relationships", Text, "", Live, "The same for legitimate relationships."),
    key("upstream.patience", Duration, "25s", Live, "How long that system may take to begin an answer, or pause within one; then the caller gets 504."),
    key("upstream.relays", Number(1, 10_000), "256", Live, "Most requests at once to each of these addresses, half of them one sender's; more are answered 503 at once."),

    key("log.segment", Size, "64MiB", Restart, "Size of one log segment; one more is always kept allocated ahead."),
    key("log.snapshot_after", Size, "64MiB", Restart, "Log bytes after which a partition seals its rows in files, so that the log can be cut."),
    key("log.keep", Size, "64MiB", Restart, "Log bytes kept behind the newest snapshot for nodes that lag."),
    key("store.memory", Size, "32MiB", Restart, "Most memory for each partition's table of rows not yet flushed."),
    key("store.cache", Size, "32MiB", Restart, "Memory for blocks read from disk."),
    key("store.flush_interval", Duration, "30s", Restart, "How often rows in memory are flushed into blocks; a row deleted before that never reaches the disk."),
    key("disk.reserve", Size, "1GiB", Restart, "Free space below which writes are refused while reads go on."),
    key("disk.scrub_interval", Duration, "24h", Restart, "Time between two walks over everything at rest, which find bytes that went bad while another node still has them whole."),
    key("disk.scrub_rate", Size, "8MiB", Restart, "Bytes that such a walk reads in a second."),

    key("requests.remembered", Duration, "24h", Restart, "How long a request is remembered by its id, so that it is not done twice when it comes again, the same on every node; a day at least on a live site."),

    key("audit.retention", Duration, "0s", Restart, "How long records of the audit trail are kept, the same on every node; 0s keeps them for ever, and a live site keeps them for a year at least."),

    key("backup.dir", Path, "/var/lib/spine-backup", Restart, "Folder that `spine backup create` writes to where none is named, and the timer with it; on another disk than node.data, if it is to outlive that."),
    key("backup.keep", Number(1, 10_000), "7", Restart, "How many of this node's own backups stay in backup.dir: older ones are removed when a new one was written and read back; the one verified last always stays."),
    key("backup.recipient", Path, "", Restart, "File of public keys (age1…, one a line; `spine backup key` makes a pair) that backups are encrypted for, read for each; empty means that they are not encrypted."),
    key("backup.archive_every", Duration, "0s", Restart, "How often this node archives the log behind its newest backup in backup.dir, so that a restore may go to a moment between two backups; 1m is a good value, half an hour the longest. 0s: never."),
    key("backup.archive_hold", Size, "1GiB", Restart, "Log bytes, of all partitions together, that are kept on this node until they are archived; when more wait, they are cut off all the same, and the archive ends until there is a new backup (SPN-2208)."),

    key("raft.heartbeat", Duration, "100ms", Restart, "How often a leader shows that it lives."),
    key("raft.election_min", Duration, "300ms", Restart, "Shortest silence after which a follower asks for an election."),
    key("raft.election_max", Duration, "600ms", Restart, "Longest such silence; each follower picks one between the two."),
];

/// The key of this exact name.
pub fn find(name: &str) -> Option<&'static Key> {
    KEYS.iter().find(|key| key.name == name)
}

/// The known name nearest to a mistyped one, if any is near enough to be meant.
pub fn nearest(name: &str) -> Option<&'static str> {
    let score = |key: &Key| {
        let last = |n: &str| n.rsplit('.').next().unwrap_or_default().to_owned();
        let whole = strsim::jaro_winkler(name, key.name);
        // A right key in a wrong section is meant too.
        if last(name) == last(key.name) { whole.max(0.9) } else { whole }
    };
    let best = KEYS.iter().map(|key| (score(key), key.name)).max_by(|a, b| a.0.total_cmp(&b.0))?;
    (best.0 > 0.82).then_some(best.1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_default_is_a_value_of_its_kind_and_every_key_has_a_sentence() {
        for key in KEYS {
            assert!(key.kind.from_text(key.default).is_ok(), "{}", key.name);
            assert!(key.says.ends_with('.') && key.name.split('.').count() == 2, "{}", key.name);
            assert_eq!(KEYS.iter().filter(|k| k.name == key.name).count(), 1, "{}", key.name);
        }
    }

    #[test]
    fn a_slip_of_the_finger_finds_the_key_meant() {
        assert_eq!(nearest("mesh.inbox_expiri"), Some("mesh.inbox_expiry"));
        assert_eq!(nearest("node.inbox_expiry"), Some("mesh.inbox_expiry"));
        assert_eq!(nearest("colour"), None);
    }
}
