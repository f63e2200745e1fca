//! Every metric: name, unit, help and the label sets that are known beforehand, in one list.
//!
//! Labels come from closed sets only (`operations.md` §6): never a mailbox, message id, path or error text (P10).
//! A name without a line in [`ALL`] fails the test below. Buckets of histograms are in `recorder`.

use metrics::Unit;

/// How a metric moves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    Counter,
    Gauge,
    Histogram,
}

/// One label set: the names with their values.
pub type LabelSet = &'static [(&'static str, &'static str)];

/// One line of the list.
pub struct Metric {
    pub name: &'static str,
    pub shape: Shape,
    pub unit: Option<Unit>,
    pub help: &'static str,
    /// Label sets known when the program starts: they begin at 0, so that `rate()` works from the first event.
    pub start: &'static [LabelSet],
}

const fn counter(name: &'static str, help: &'static str, start: &'static [LabelSet]) -> Metric {
    Metric { name, shape: Shape::Counter, unit: None, help, start }
}
const fn bytes_counter(name: &'static str, help: &'static str, start: &'static [LabelSet]) -> Metric {
    Metric { name, shape: Shape::Counter, unit: Some(Unit::Bytes), help, start }
}
const fn gauge(name: &'static str, help: &'static str) -> Metric {
    Metric { name, shape: Shape::Gauge, unit: None, help, start: &[] }
}
const fn seconds(name: &'static str, help: &'static str) -> Metric {
    Metric { name, shape: Shape::Histogram, unit: Some(Unit::Seconds), help, start: &[] }
}
const fn moment(name: &'static str, help: &'static str) -> Metric {
    Metric { name, shape: Shape::Gauge, unit: Some(Unit::Seconds), help, start: &[] }
}
const fn bytes_gauge(name: &'static str, help: &'static str) -> Metric {
    Metric { name, shape: Shape::Gauge, unit: Some(Unit::Bytes), help, start: &[] }
}
const fn sizes(name: &'static str, help: &'static str) -> Metric {
    Metric { name, shape: Shape::Histogram, unit: None, help, start: &[] }
}

// Build.
pub const BUILD_INFO: &str = "spine_build_info";
pub const START_TIME: &str = "spine_start_time_seconds";
pub const RESTART_PENDING: &str = "spine_restart_pending";
// Requests.
pub const REQUESTS: &str = "spine_requests_total";
pub const REQUEST_DURATION: &str = "spine_request_duration_seconds";
pub const REQUESTS_IN_FLIGHT: &str = "spine_requests_in_flight";
pub const REQUESTS_WAITING: &str = "spine_requests_waiting";
pub const REFUSALS: &str = "spine_refusals_total";
pub const REFUSALS_ANONYMOUS: &str = "spine_refusals_anonymous_total";
pub const PLACES: &str = "spine_places_total";
pub const TURNS: &str = "spine_turns_total";
pub const TURNS_TAKEN: &str = "spine_turns_taken";
pub const REQUEST_BYTES: &str = "spine_request_bytes_total";
pub const RESPONSE_BYTES: &str = "spine_response_bytes_total";
pub const RELAYED: &str = "spine_relayed_requests_total";
pub const RELAY_DURATION: &str = "spine_relayed_request_duration_seconds";
pub const RELAYS_IN_FLIGHT: &str = "spine_relays_in_flight";
// Edge.
pub const CONNECTIONS: &str = "spine_connections";
pub const CONNECTIONS_REFUSED: &str = "spine_connections_refused_total";
pub const TLS_HANDSHAKES: &str = "spine_tls_handshakes_total";
pub const TLS_HANDSHAKE_DURATION: &str = "spine_tls_handshake_duration_seconds";
pub const TIMEOUTS: &str = "spine_timeouts_total";
pub const RATE_LIMITED: &str = "spine_rate_limited_total";
pub const CERTIFICATE_EXPIRY: &str = "spine_certificate_expiry_timestamp_seconds";
pub const CRL_NEXT_UPDATE: &str = "spine_crl_next_update_timestamp_seconds";
pub const RELOAD_SUCCESS: &str = "spine_config_reload_success";
pub const RELOAD_TIME: &str = "spine_config_reload_timestamp_seconds";
// Consensus.
pub const RAFT_IS_LEADER: &str = "spine_raft_is_leader";
pub const RAFT_TERM: &str = "spine_raft_term";
pub const RAFT_COMMIT_INDEX: &str = "spine_raft_commit_index";
pub const RAFT_APPLIED_INDEX: &str = "spine_raft_applied_index";
pub const RAFT_PEER_LAG: &str = "spine_raft_peer_lag_entries";
pub const RAFT_QUORUM_AGE: &str = "spine_raft_quorum_age_seconds";
pub const RAFT_ELECTIONS: &str = "spine_raft_elections_total";
pub const RAFT_PROPOSE_DURATION: &str = "spine_raft_propose_duration_seconds";
pub const RAFT_LEVEL: &str = "spine_raft_level";
// Engine.
pub const ENGINE_COMMANDS: &str = "spine_engine_commands_total";
pub const ENGINE_BATCH_COMMANDS: &str = "spine_engine_batch_commands";
pub const ENGINE_DECIDE_DURATION: &str = "spine_engine_decide_duration_seconds";
pub const ENGINE_RETRIES: &str = "spine_engine_retries_total";
// Log and store.
pub const LOG_SYNC_DURATION: &str = "spine_log_sync_duration_seconds";
pub const LOG_SYNC_NOW: &str = "spine_log_sync_now_seconds";
pub const DISK_SLOW: &str = "spine_disk_slow";
pub const LOG_BATCH_ENTRIES: &str = "spine_log_batch_entries";
pub const LOG_BYTES: &str = "spine_log_bytes";
pub const STORE_BYTES: &str = "spine_store_bytes";
pub const STORE_FREE_BYTES: &str = "spine_store_free_bytes";
pub const STORE_CHECKSUM_FAILURES: &str = "spine_store_checksum_failures_total";
pub const SNAPSHOT_DURATION: &str = "spine_snapshot_duration_seconds";
pub const STORE_FLUSH_DURATION: &str = "spine_store_flush_duration_seconds";
pub const STORE_MEMORY_BYTES: &str = "spine_store_memory_bytes";
pub const STORE_CACHE_BYTES: &str = "spine_store_cache_bytes";
pub const STORE_FULL_WAITS: &str = "spine_store_full_waits_total";
pub const STORE_SET_ASIDE: &str = "spine_store_set_aside_total";
pub const SCRUB_FINISHED: &str = "spine_scrub_finished_timestamp_seconds";
pub const SCRUB_BYTES: &str = "spine_scrub_bytes_total";
pub const SCRUB_DAMAGED: &str = "spine_scrub_damaged_total";
pub const SCRUB_REPAIRED: &str = "spine_scrub_repaired_total";
pub const DATA_LOST: &str = "spine_data_lost";
pub const BLOB_BYTES_SENT: &str = "spine_blob_replicated_bytes_total";
pub const BODIES_LOST: &str = "spine_bodies_lost";
pub const BLOB_FETCHES: &str = "spine_blob_fetches_total";
// Flow.
pub const OUTBOX_ROWS: &str = "spine_outbox_rows";
pub const OUTBOX_OLDEST_AGE: &str = "spine_outbox_oldest_age_seconds";
pub const DEAD_LETTERS: &str = "spine_dead_letters";
// Services.
pub const TRACE_ROWS: &str = "spine_trace_rows_total";
pub const LOGOUT_NOTICES: &str = "spine_logout_notices_total";
pub const SPANS: &str = "spine_spans_total";
pub const DELIVERY_ATTEMPTS: &str = "spine_delivery_attempts_total";
pub const MAILBOX_OLDEST_UNREAD_AGE: &str = "spine_mailbox_oldest_unread_age_seconds";
pub const TIMERS_DUE: &str = "spine_timers_due";
// Safety.
pub const AUDIT_RECORDS: &str = "spine_audit_records_total";
pub const AUDIT_EXPIRED: &str = "spine_audit_expired_total";
pub const AUDIT_VERIFIED: &str = "spine_audit_verified_timestamp_seconds";
pub const AUDIT_CHAIN_OK: &str = "spine_audit_chain_ok";
pub const IG_ALERTS_OPEN: &str = "spine_ig_alerts_open";
pub const IG_ALERTS_OLDEST_AGE: &str = "spine_ig_alerts_oldest_age_seconds";
pub const BACKUP_SUCCESS: &str = "spine_backup_last_success_timestamp_seconds";
pub const BACKUP_ARCHIVED: &str = "spine_backup_archived_timestamp_seconds";
pub const BACKUP_ARCHIVE_GAP: &str = "spine_backup_archive_gap";
pub const BACKUP_VERIFIED: &str = "spine_backup_last_verified_timestamp_seconds";
pub const CLOCK_OFFSET: &str = "spine_clock_offset_seconds";
pub const STAMPS_AHEAD: &str = "spine_stamps_ahead_seconds";
// Process, by the names every exporter uses.
pub const PROCESS_CPU: &str = "process_cpu_seconds_total";
pub const PROCESS_RESIDENT: &str = "process_resident_memory_bytes";
pub const PROCESS_VIRTUAL: &str = "process_virtual_memory_bytes";
pub const PROCESS_FDS: &str = "process_open_fds";
pub const PROCESS_MAX_FDS: &str = "process_max_fds";
pub const PROCESS_THREADS: &str = "process_threads";
pub const PROCESS_START: &str = "process_start_time_seconds";

/// The ten kinds of refusal, as label sets of [`REFUSALS`] for both listeners.
const REFUSED: &[LabelSet] = &[
    &[("service", "mesh"), ("kind", "incorrect")],
    &[("service", "mesh"), ("kind", "unauthenticated")],
    &[("service", "mesh"), ("kind", "forbidden")],
    &[("service", "mesh"), ("kind", "not_found")],
    &[("service", "mesh"), ("kind", "gone")],
    &[("service", "mesh"), ("kind", "conflict")],
    &[("service", "mesh"), ("kind", "stale")],
    &[("service", "mesh"), ("kind", "unsupported")],
    &[("service", "mesh"), ("kind", "busy")],
    &[("service", "mesh"), ("kind", "fault")],
    &[("service", "api"), ("kind", "incorrect")],
    &[("service", "api"), ("kind", "unauthenticated")],
    &[("service", "api"), ("kind", "forbidden")],
    &[("service", "api"), ("kind", "not_found")],
    &[("service", "api"), ("kind", "gone")],
    &[("service", "api"), ("kind", "conflict")],
    &[("service", "api"), ("kind", "stale")],
    &[("service", "api"), ("kind", "unsupported")],
    &[("service", "api"), ("kind", "busy")],
    &[("service", "api"), ("kind", "fault")],
];

const HANDSHAKES: &[LabelSet] = &[
    &[("listener", "suppliers"), ("outcome", "full")],
    &[("listener", "suppliers"), ("outcome", "resumed")],
    &[("listener", "suppliers"), ("outcome", "no_certificate")],
    &[("listener", "suppliers"), ("outcome", "bad_certificate")],
    &[("listener", "suppliers"), ("outcome", "protocol")],
    &[("listener", "suppliers"), ("outcome", "timeout")],
    &[("listener", "api"), ("outcome", "full")],
    &[("listener", "api"), ("outcome", "resumed")],
    &[("listener", "api"), ("outcome", "bad_certificate")],
    &[("listener", "api"), ("outcome", "protocol")],
    &[("listener", "api"), ("outcome", "timeout")],
];

const BY_CLASS: &[LabelSet] = &[
    &[("service", "mesh"), ("class", "emergency"), ("outcome", "admitted")],
    &[("service", "mesh"), ("class", "emergency"), ("outcome", "refused")],
    &[("service", "mesh"), ("class", "usual"), ("outcome", "admitted")],
    &[("service", "mesh"), ("class", "usual"), ("outcome", "refused")],
    &[("service", "api"), ("class", "emergency"), ("outcome", "admitted")],
    &[("service", "api"), ("class", "emergency"), ("outcome", "refused")],
    &[("service", "api"), ("class", "usual"), ("outcome", "admitted")],
    &[("service", "api"), ("class", "usual"), ("outcome", "refused")],
];

const TIMEOUT_REASONS: &[LabelSet] =
    &[&[("reason", "handshake")], &[("reason", "header")], &[("reason", "body")], &[("reason", "write")]];

const AT_REST: &[LabelSet] = &[&[("what", "log")], &[("what", "rows")], &[("what", "snapshot")], &[("what", "body")]];

/// Every metric that the program has.
pub const ALL: &[Metric] = &[
    gauge(BUILD_INFO, "1, with the version and source revision of this build as labels."),
    moment(START_TIME, "Unix time at which the node started."),
    gauge(RESTART_PENDING, "1 while a changed setting waits for a restart."),
    counter(REQUESTS, "Requests answered, by service, interaction and outcome.", &[]),
    seconds(REQUEST_DURATION, "Time from a request's first byte of body to its answer's head."),
    gauge(REQUESTS_IN_FLIGHT, "Requests being worked on, and those that wait for their turn."),
    gauge(REQUESTS_WAITING, "Requests that wait for their turn."),
    counter(REFUSALS, "Requests refused, by service and kind of refusal.", REFUSED),
    counter(
        PLACES,
        "Requests let in, or refused for want of a place or for their rate, by service and class (emergency care or usual).",
        BY_CLASS,
    ),
    counter(
        TURNS,
        "Requests whose turn at the work came, or would have come too late, by service and class.",
        BY_CLASS,
    ),
    gauge(TURNS_TAKEN, "Requests at work, by service and class."),
    bytes_counter(REQUEST_BYTES, "Bytes of request bodies received.", &[&[]]),
    bytes_counter(RESPONSE_BYTES, "Bytes of response bodies sent.", &[&[]]),
    counter(
        RELAYED,
        "Requests handed to the system being replaced, by service and outcome; they are in no other count of requests.",
        &[],
    ),
    seconds(
        RELAY_DURATION,
        "Time from handing a request to the system being replaced to its answer's head, by service.",
    ),
    gauge(RELAYS_IN_FLIGHT, "Requests that are with the system being replaced, by service."),
    gauge(CONNECTIONS, "Open connections, by listener."),
    counter(
        CONNECTIONS_REFUSED,
        "Connections closed at once because the listener's bound was reached.",
        &[&[("listener", "suppliers")], &[("listener", "api")]],
    ),
    counter(TLS_HANDSHAKES, "TLS handshakes, by listener and outcome.", HANDSHAKES),
    seconds(TLS_HANDSHAKE_DURATION, "Time a TLS handshake took, by listener."),
    counter(TIMEOUTS, "Connections closed because the client was too slow, by what it was slow with.", TIMEOUT_REASONS),
    counter(
        REFUSALS_ANONYMOUS,
        "Requests turned away whose sender nobody knows: the audit trail tells of them together.",
        &[&[("service", "mesh")], &[("service", "api")]],
    ),
    counter(
        RATE_LIMITED,
        "Requests answered 429 because their tenant went over its rate.",
        &[&[("service", "mesh")], &[("service", "api")]],
    ),
    moment(CERTIFICATE_EXPIRY, "Unix time at which a certificate in use expires, by use."),
    moment(
        CRL_NEXT_UPDATE,
        "Unix time at which the oldest revocation list in use becomes stale; infinite once all were taken away.",
    ),
    gauge(
        RELOAD_SUCCESS,
        "1 if the last reload of certificates and settings was taken, 0 if the old ones still serve.",
    ),
    moment(RELOAD_TIME, "Unix time of the last reload that was taken."),
    gauge(RAFT_IS_LEADER, "1 on the node that leads the partition."),
    gauge(RAFT_TERM, "The partition's term as this node knows it."),
    gauge(RAFT_COMMIT_INDEX, "Highest log index this node knows to be committed."),
    gauge(RAFT_APPLIED_INDEX, "Highest log index this node has applied."),
    gauge(RAFT_PEER_LAG, "Entries by which a peer is behind, as the leader sees it."),
    moment(
        RAFT_QUORUM_AGE,
        "Time since a majority of voters last answered the partition's leader, on the leader; 0 on the others.",
    ),
    counter(RAFT_ELECTIONS, "Times this node saw leadership change.", &[&[]]),
    seconds(RAFT_PROPOSE_DURATION, "Time from proposing an entry to applying it, on the leader."),
    gauge(
        RAFT_LEVEL,
        "The site's level as this node knows it: what all members' releases can read (`spine upgrade finalise`).",
    ),
    counter(ENGINE_COMMANDS, "Commands decided on this node.", &[&[]]),
    sizes(ENGINE_BATCH_COMMANDS, "Commands that one log entry carried."),
    seconds(ENGINE_DECIDE_DURATION, "Time that deciding one batch took."),
    counter(ENGINE_RETRIES, "Commands tried again because the leader had changed.", &[&[]]),
    seconds(LOG_SYNC_DURATION, "Time one write and sync of the log took."),
    moment(
        LOG_SYNC_NOW,
        "Time that a sync of the log takes just now, the middle one of the last few; 0 while few are made.",
    ),
    gauge(DISK_SLOW, "1 while this node does not lead because its disk is much slower than the other nodes'."),
    sizes(LOG_BATCH_ENTRIES, "Entries that one sync of the log covered."),
    bytes_gauge(LOG_BYTES, "Bytes of log segments on disk."),
    bytes_gauge(STORE_BYTES, "Bytes the store holds on disk, by tree."),
    bytes_gauge(STORE_FREE_BYTES, "Bytes free for us on the data directory's file system."),
    counter(STORE_CHECKSUM_FAILURES, "Stored blocks or blobs that failed their checksum.", &[&[]]),
    seconds(SNAPSHOT_DURATION, "Time a snapshot took to write and seal."),
    seconds(STORE_FLUSH_DURATION, "Time a flush of one partition took."),
    bytes_gauge(STORE_MEMORY_BYTES, "Rows in memory that are not flushed yet, of all partitions."),
    bytes_gauge(STORE_CACHE_BYTES, "Blocks kept in memory for reads."),
    counter(STORE_FULL_WAITS, "Times that an apply had to wait for a flush.", &[&[]]),
    counter(STORE_SET_ASIDE, "Times that stored data was set aside and rebuilt.", &[&[]]),
    moment(SCRUB_FINISHED, "Unix time at which the last walk over everything at rest ended."),
    bytes_counter(SCRUB_BYTES, "Bytes at rest that were read and checked in the background.", &[&[]]),
    counter(SCRUB_DAMAGED, "Damage at rest found in the background, by what it was in.", AT_REST),
    counter(SCRUB_REPAIRED, "Damage at rest found in the background and repaired, by what it was in.", AT_REST),
    gauge(DATA_LOST, "1 while this node does not open, because rows or log entries that it lost are whole on no node."),
    bytes_counter(BLOB_BYTES_SENT, "Bytes of message bodies copied to other nodes.", &[&[]]),
    counter(
        BLOB_FETCHES,
        "Message bodies fetched from another node because this one lacked them, by outcome.",
        &[&[("outcome", "ok")], &[("outcome", "failed")]],
    ),
    gauge(BODIES_LOST, "Message bodies that are damaged or gone on every node, as far as this node has looked."),
    gauge(OUTBOX_ROWS, "Commands waiting for another partition, by kind, on the node that delivers them."),
    moment(OUTBOX_OLDEST_AGE, "Age of the oldest waiting delivery."),
    gauge(DEAD_LETTERS, "Commands set aside because they could not be delivered, where their partition is led."),
    counter(
        TRACE_ROWS,
        "Rows of batch-trace files answered by this node, by whether they show a person.",
        &[&[("outcome", "matched")], &[("outcome", "other")]],
    ),
    counter(
        LOGOUT_NOTICES,
        "Applications told of the end of a session by this node, each attempt, by outcome.",
        &[&[("outcome", "ok")], &[("outcome", "failed")]],
    ),
    counter(
        SPANS,
        "Steps of traced requests, by whether the collector took them, did not, or came too many at once.",
        &[&[("outcome", "sent")], &[("outcome", "failed")], &[("outcome", "dropped")]],
    ),
    counter(
        DELIVERY_ATTEMPTS,
        "Deliveries tried, by kind and outcome.",
        &[&[("kind", "partition"), ("outcome", "ok")], &[("kind", "partition"), ("outcome", "failed")]],
    ),
    moment(
        MAILBOX_OLDEST_UNREAD_AGE,
        "Age of the message that waits longest in any mailbox, of the partitions that this node leads.",
    ),
    gauge(TIMERS_DUE, "Timers that are due and not yet acted on, of the partitions that this node leads."),
    counter(AUDIT_RECORDS, "Audit records written.", &[&[]]),
    counter(AUDIT_EXPIRED, "Audit records removed because the retention of the trail was over.", &[&[]]),
    moment(AUDIT_VERIFIED, "Unix time at which the audit chain was last verified."),
    moment(BACKUP_SUCCESS, "Unix time of the last backup that this node made."),
    moment(BACKUP_VERIFIED, "Unix time at which a backup was last verified by way of this node."),
    moment(
        BACKUP_ARCHIVED,
        "Unix time up to which this node has archived the log behind its newest backup: later moments cannot be restored yet.",
    ),
    gauge(
        BACKUP_ARCHIVE_GAP,
        "1 while that archive has ended because entries are gone from the log: a new backup begins another.",
    ),
    gauge(AUDIT_CHAIN_OK, "1 while the last verification found the audit chain whole."),
    gauge(IG_ALERTS_OPEN, "Alerts to privacy officers that are not closed, of the partitions that this node leads."),
    moment(IG_ALERTS_OLDEST_AGE, "Age of the oldest of them; 0 where none is open."),
    moment(
        CLOCK_OFFSET,
        "Seconds by which this node's clock is ahead of the median of all voters'; below zero it is behind.",
    ),
    moment(
        STAMPS_AHEAD,
        "Seconds by which the newest stamp of a partition led here is ahead of the clocks, the worst; 0 when all is well.",
    ),
    counter(PROCESS_CPU, "CPU time the process has used, user and system.", &[]),
    bytes_gauge(PROCESS_RESIDENT, "Resident memory."),
    bytes_gauge(PROCESS_VIRTUAL, "Virtual memory."),
    gauge(PROCESS_FDS, "Open file descriptors."),
    gauge(PROCESS_MAX_FDS, "Most file descriptors the process may open."),
    gauge(PROCESS_THREADS, "Threads of the process."),
    moment(PROCESS_START, "Unix time at which the process started."),
];

/// The text of `docs/metrics.md`.
pub fn document() -> String {
    let mut out = String::from(
        "# Metrics\n\nMade by `spine generate metrics` (a test compares). Each node shows them at `ops.listen`, `/metrics`, in the text format of\n\
         Prometheus. Labels come from closed sets: no patient, mailbox, message or path is ever one. [watching.md](watching.md) says what to\n\
         load into Prometheus and Grafana, and what the alerts mean.\n\n| metric | kind | meaning |\n|---|---|---|\n",
    );
    for m in ALL {
        let shape = match m.shape {
            Shape::Counter => "counter",
            Shape::Gauge => "gauge",
            Shape::Histogram => "histogram",
        };
        out.push_str(&format!("| `{}` | {shape} | {} |\n", m.name, m.help.replace('|', "\\|")));
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_agrees_with_the_list() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/metrics.md");
        if std::env::var_os("SPINE_WRITE_DOCS").is_some() {
            std::fs::write(path, document()).unwrap();
        }
        let stored = std::fs::read_to_string(path).unwrap_or_default();
        assert!(stored == document(), "docs/metrics.md is old: run `SPINE_WRITE_DOCS=1 cargo test --lib ops::metrics`");
    }

    #[test]
    fn every_name_is_in_the_list_once_and_well_formed() {
        let source = include_str!("metrics.rs");
        let declared = source.lines().filter(|l| l.starts_with("pub const") && l.contains(": &str = ")).count();
        assert_eq!(declared, ALL.len(), "a declared name lacks its line in ALL, or the other way round");
        for (i, m) in ALL.iter().enumerate() {
            assert!(ALL[..i].iter().all(|other| other.name != m.name), "{} twice", m.name);
            assert!(m.name.starts_with("spine_") || m.name.starts_with("process_"), "{}", m.name);
            assert_eq!(m.shape == Shape::Counter, m.name.ends_with("_total"), "{}", m.name);
            assert!(m.help.ends_with('.') || m.help.contains("labels"), "{}", m.name);
        }
    }
}
