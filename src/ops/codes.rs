//! The catalogue of error codes: what `spine explain CODE` prints and `docs/errors.md` is made from.
//!
//! A code is for ever: appended, never reused. 1xxx: refusals that clients see; 2xxx: operators' commands; 3xxx: what
//! a node says of itself. Words here are public (P10): private words go to the log under the correlation id.

/// The ten kinds of refusal (design: edge). Protocols map kinds, not codes, to their own statuses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    Incorrect,
    Unauthenticated,
    Forbidden,
    NotFound,
    Gone,
    Conflict,
    Stale,
    Unsupported,
    Busy,
    Fault,
}

impl Kind {
    pub const ALL: [Kind; 10] = [
        Kind::Incorrect,
        Kind::Unauthenticated,
        Kind::Forbidden,
        Kind::NotFound,
        Kind::Gone,
        Kind::Conflict,
        Kind::Stale,
        Kind::Unsupported,
        Kind::Busy,
        Kind::Fault,
    ];

    /// The word for labels and documents.
    pub fn word(self) -> &'static str {
        match self {
            Kind::Incorrect => "incorrect",
            Kind::Unauthenticated => "unauthenticated",
            Kind::Forbidden => "forbidden",
            Kind::NotFound => "not_found",
            Kind::Gone => "gone",
            Kind::Conflict => "conflict",
            Kind::Stale => "stale",
            Kind::Unsupported => "unsupported",
            Kind::Busy => "busy",
            Kind::Fault => "fault",
        }
    }

    /// What a kind means for whoever asked.
    pub fn meaning(self) -> &'static str {
        match self {
            Kind::Incorrect => "The request is malformed. Repeating it unchanged fails again.",
            Kind::Unauthenticated => "The caller has not proven who it is.",
            Kind::Forbidden => "The caller is known and may not do this.",
            Kind::NotFound => "There is no such thing, or none that the caller may know of.",
            Kind::Gone => "It was there and is no more.",
            Kind::Conflict => "The request contradicts the present state.",
            Kind::Stale => "The request rests on an old version or a used-up token.",
            Kind::Unsupported => "The interaction, media type or encoding is not offered.",
            Kind::Busy => "Not now: over a limit, or the site cannot answer at once. Repeat after Retry-After.",
            Kind::Fault => "Our fault. The cause is in the node's log under the correlation id.",
        }
    }
}

/// One line of the catalogue.
#[derive(Clone, Copy, Debug)]
pub struct Code {
    /// `SPN-` and four digits.
    pub code: &'static str,
    pub kind: Kind,
    /// What failed, in one line; what a client or an operator reads.
    pub words: &'static str,
    /// How it comes about.
    pub why: &'static str,
    /// What to try.
    pub fix: &'static str,
}

macro_rules! codes {
    ($($name:ident = $code:literal $kind:ident, $words:literal, $why:literal, $fix:literal;)*) => {
        $(#[doc = $words] pub const $name: Code = Code {
            code: $code, kind: Kind::$kind, words: $words, why: $why, fix: $fix,
        };)*
        const CATALOGUE: &[Code] = &[$($name),*];
    };
}

codes! {
    BAD_REQUEST = "SPN-1001" Incorrect, "The request cannot be read",
        "A header or the body breaks the rules of HTTP or of the interaction.",
        "Compare the request with the interface's description; the answer's detail names the part.";
    DUPLICATE_HEADER = "SPN-1002" Incorrect, "A header that may come once came twice",
        "Two values of one header would be read differently by different programs, so neither is taken.",
        "Send the header once.";
    CERTIFICATE_UNKNOWN = "SPN-1003" Forbidden, "The client certificate belongs to no registered system",
        "The certificate is signed by a trusted authority, but no system of the registry has it.",
        "Register the system with `spine party add` or connect with the certificate that was registered.";
    SYSTEM_DISABLED = "SPN-1004" Forbidden, "The connecting system is disabled",
        "An operator has disabled the system that this certificate belongs to.",
        "Ask the site's operators; `spine party show` says since when.";
    CERTIFICATE_REFUSED = "SPN-1005" Unauthenticated, "The client certificate is no longer accepted",
        "It was revoked or has expired, or its authority is no longer trusted, since the connection was made.",
        "Connect with a valid certificate.";
    NO_PERMIT = "SPN-1006" Forbidden, "The caller may not do this",
        "The access rule of the interaction does not admit the caller.",
        "Ask the site's operators which role or registration the interaction needs.";
    NO_ROUTE = "SPN-1007" NotFound, "There is nothing at this address",
        "The path names no interaction of this listener.",
        "Check the path for typing errors; paths are lower case but for ids.";
    WRONG_METHOD = "SPN-1008" Unsupported, "The address does not take this method",
        "The path exists, the method does not.",
        "The answer's allow header lists the methods.";
    BODY_TOO_LARGE = "SPN-1009" Incorrect, "The body is larger than one request may carry",
        "One request carries at most 104,857,600 bytes of body.",
        "Split the message into chunks.";
    BODY_TOO_SLOW = "SPN-1010" Incorrect, "The body did not arrive in time",
        "The sender paused for too long or sent too slowly on the whole.",
        "Repeat the request; check the network between you and the site.";
    BODY_BROKEN = "SPN-1011" Incorrect, "The body ended early or was framed wrongly",
        "The connection broke, or chunked framing was malformed.",
        "Repeat the request.";
    RATE_LIMITED = "SPN-1012" Busy, "Too many requests from this system",
        "Each connecting system has a rate; a short burst above it is allowed.",
        "Wait for the seconds that Retry-After names, then go on more slowly.";
    OVERLOADED = "SPN-1013" Busy, "The site has more to do than it can queue",
        "Queues are bounded; this request found one full. Nothing was done.",
        "Repeat after Retry-After.";
    NO_LEADER = "SPN-1014" Busy, "The part of the site that holds this data cannot answer now",
        "Its leader is changing, or too few nodes can reach each other. Nothing was done.",
        "Repeat after Retry-After; on the site, `spine status` shows what is missing.";
    NO_SPACE = "SPN-1015" Busy, "The site has no room for new data now",
        "A node's disk is nearly full. Reads go on; writes are refused early.",
        "Repeat later; on the site, make room on the data disk.";
    OUTCOME_UNKNOWN = "SPN-1016" Busy, "It is not known whether this was done",
        "The answer was lost while the site changed leaders. It may or may not have taken effect.",
        "Look whether it took effect, or repeat it where repeating is harmless.";
    FAULT = "SPN-1017" Fault, "An internal error occurred",
        "A program fault or unreadable stored data. Nothing was changed.",
        "Report the correlation id to the site's operators; `spine trace ID` finds the cause.";
    BODY_UNAVAILABLE = "SPN-1018" Busy, "The stored body cannot be read now",
        "No reachable node holds an intact copy at this moment.",
        "Repeat after Retry-After.";
    REVOCATIONS_STALE = "SPN-1019" Busy, "Client certificates cannot be checked now",
        "The revocation list of the certificate's authority is older than this site may believe. Nothing was done.",
        "Repeat after Retry-After; on the site, put a fresh list where supplier.crl says.";
    BODY_LOST = "SPN-1020" Fault, "The stored body is damaged on every node",
        "Every node was asked for the body, and none has a copy that is what was accepted. Nothing is sent rather than wrong bytes.",
        "Tell the site's operators the message id; they may still find a copy. Else the sender must send it again, and the recipient acknowledge the lost message.";
    CREDENTIALS_MISSING = "SPN-1021" Unauthenticated, "The request shows neither API key nor access token",
        "The header that the interaction wants (apikey, or authorization with Bearer and a token) is absent or empty.",
        "Get a token from the site's token service, or send the application's API key.";
    KEY_UNKNOWN = "SPN-1022" Unauthenticated, "The API key is not known",
        "No application has it, or its key was withdrawn.",
        "Use the key under which the application is registered; `spine app list` shows applications.";
    TOKEN_UNKNOWN = "SPN-1023" Unauthenticated, "The access token is unknown or revoked",
        "It was not issued here, was revoked, or its application was.",
        "Get a new token from the site's token service.";
    TOKEN_EXPIRED = "SPN-1024" Unauthenticated, "The access token has expired",
        "Tokens are short-lived: `expires_in` said for how long.",
        "Get a new token from the site's token service.";
    APPLICATION_REVOKED = "SPN-1025" Unauthenticated, "The application is not approved, or revoked",
        "An operator has not approved the application yet, or has revoked it.",
        "Ask the site's operators; `spine app show` says how it stands.";
    SCOPE_MISSING = "SPN-1026" Forbidden, "The application's access does not extend to this",
        "None of its products gives the interaction at the level that the caller has proven.",
        "Ask the site's operators for the product; `spine role matrix` lists what each interaction needs.";
    ACTIVITY_MISSING = "SPN-1027" Forbidden, "The role does not extend to this",
        "The role profile that the member of staff acts in has none of the activities that the interaction needs.",
        "Act in another role, or ask the registration authority for the activity.";
    ROLES_SEVERAL = "SPN-1028" Unauthenticated, "multiple roles found in user info, please check NHSD-Session-URID",
        "The member of staff has several open role profiles, and the request does not say in which they act.",
        "Send the id of one of them in the header NHSD-Session-URID, or let them choose it at log-in (scope selectedrole).";
    ROLES_NONE = "SPN-1029" Unauthenticated, "no userroles available, please check NHSD-Session-URID is valid",
        "The member of staff has no open role profile (any more).",
        "Ask the registration authority for one; `spine user show` lists what there is.";
    ROLE_FOREIGN = "SPN-1030" Unauthenticated, "NHSD-Session-URID is invalid",
        "The role profile that the header names is none of the person's, or is closed.",
        "Send the id of an open one; user-info lists them.";
    ROLE_GONE = "SPN-1031" Unauthenticated, "selected_roleid is misconfigured/invalid",
        "The role profile that was chosen at log-in is closed.",
        "Let the person log in again and choose another.";
    UPSTREAM_MISSING = "SPN-1032" Busy, "The system that answers this is not configured here",
        "The organisation's requests to this service are handed to the system that is being replaced, and this node has no address for it, or cannot read the registry.",
        "Operators: set upstream.SERVICE on every node and reload, or `spine arrival set SERVICE --party ODS --to local`.";
    UPSTREAM_UNREACHABLE = "SPN-1033" Busy, "The system that answers this cannot be reached",
        "No connection could be made to the system that is being replaced. The request was not sent to it.",
        "Repeat it after Retry-After. Operators: see that the address of upstream.SERVICE answers from this node.";
    UPSTREAM_UNTRUSTED = "SPN-1034" Busy, "The system that answers this is not the one it should be",
        "Its certificate is not of the authorities in upstream.ca, is not for its address, has expired, or it refused ours. The request was not sent to it.",
        "Operators: the log names the reason; compare upstream.ca, upstream.cert and the address with that system's certificate.";
    UPSTREAM_LATE = "SPN-1035" Busy, "The system that answers this did not answer in time",
        "It took longer than upstream.patience. Whether it did what was asked is not known.",
        "Look whether it was done, or repeat the request under the same id where the service knows repeats.";
    UPSTREAM_BROKEN = "SPN-1036" Busy, "The system that answers this broke off",
        "The connection ended after the request was sent and before the answer began. Whether it was done is not known.",
        "Look whether it was done, or repeat the request under the same id where the service knows repeats.";
    UPSTREAM_CROWDED = "SPN-1037" Busy, "Too many requests wait for the system that answers this",
        "As many as upstream.relays are on their way to it already, or half as many of this sender. The request was not sent to it.",
        "Repeat it after Retry-After.";
    RECIPIENT_ELSEWHERE = "SPN-1038" Conflict, "The recipient is reached by another system than the sender",
        "While organisations move one by one, sender and recipient of a message must be on the same side: the other one's mailbox would never show it. Nothing was stored.",
        "Operators: `spine arrival list` shows the sides; move those who write to each other together.";
    RECIPIENT_MOVES = "SPN-1039" Busy, "The recipient is moving and takes no messages for a while",
        "An operator holds back new messages to it, so that its inbox is empty when it goes to the other system. Nothing was stored.",
        "Repeat it after Retry-After. Operators: `spine arrival set mesh --party ODS --to SIDE` without --hold ends it.";
    ADMIN_NO_ROUTE = "SPN-2001" NotFound, "The node does not know this operation",
        "The command line and the running node are of different releases.",
        "Compare `spine --version` with `spine status`, and restart the older one.";
    ADMIN_BAD_REQUEST = "SPN-2002" Incorrect, "The operation's input cannot be read",
        "A parameter is missing or of the wrong form.",
        "See the command's --help.";
    ADMIN_UNREACHABLE = "SPN-2003" Busy, "The node cannot be reached",
        "Nothing answers on the admin socket: the node is stopped, or you lack the group that may open it.",
        "Start the node (`systemctl start spine`), or run as root or a member of group spine; --socket names another socket.";
    CLI_USAGE = "SPN-2004" Incorrect, "The command was not understood",
        "An option, argument or verb is unknown, missing or contradicts another. Nothing was done.",
        "Every verb has help with two examples: put --help behind it.";
    CLI_CONFIG = "SPN-2005" Incorrect, "The configuration cannot be used",
        "A file under /etc/spine, a drop-in or a --set value holds an unknown key, a wrong type or a contradiction. Nothing in a configuration is ignored; a running node keeps what it has.",
        "Correct the line that the message names. `spine config check` reads the same files; `spine config show` tells where each value came from.";
    CLI_FILE = "SPN-2006" Fault, "A file could not be read or written",
        "The message names the file and what the operating system said.",
        "Check that the path exists, that your user may use it, and that the disk has room.";
    CLI_NOT_FOUND = "SPN-2007" NotFound, "There is nothing of that name",
        "The register, the site or the store holds nothing under the id given.",
        "List what there is with the noun's `list`.";
    CLI_ALREADY = "SPN-2008" Conflict, "It is already so",
        "The thing asked for is the case already, and --strict was given or it differs from what was asked.",
        "Look at it with the noun's `show`; change it with `set`.";
    CLI_CONFIRM = "SPN-2009" Conflict, "The command wants --yes",
        "The verb can take something away. It has shown its plan and done nothing. No question is asked, so that scripts never hang.",
        "Read the plan, then repeat the command with --yes.";
    CLI_UNAVAILABLE = "SPN-2010" Busy, "The site cannot do this now",
        "No majority of nodes agrees on a leader, the queue is full, or the disk is nearly full.",
        "See `spine cluster status`; repeating the command is safe.";
    CLI_PORT = "SPN-2011" Fault, "An address cannot be listened on",
        "Another program listens there, or the address is not this machine's.",
        "Stop the other program, or choose another address.";
    CLI_DEMO = "SPN-2012" Conflict, "The demo is not in the state needed",
        "`spine demo kill` and `spine demo start` act on a demo that runs with the same --dir; a second demo in a folder where one runs is refused.",
        "Name the folder that the running demo printed.";
    CLI_NOT_READY = "SPN-2013" Fault, "A node did not become ready in time",
        "The process has ended, or /readyz does not say yes.",
        "Read the node's log; in a demo it is DIR/node-N/log.";
    CLI_NOT_INITIALISED = "SPN-2014" Fault, "This node belongs to no site yet",
        "The node has no certificate of a site.",
        "On the first node run `spine init`; on others ask for a token with `spine cluster invite` and run `spine join TOKEN`.";
    CLI_INITIALISED = "SPN-2015" Conflict, "This node already belongs to a site",
        "Its certificate or its data name a site, and the command would make it belong to another.",
        "If that is meant, move node.data and the peer certificates away first.";
    CLI_TOKEN = "SPN-2016" Forbidden, "The invitation cannot be used",
        "A token is good for one node and 30 minutes, and for the site that made it.",
        "Ask for a new one with `spine cluster invite`.";
    CLI_CERTIFICATE = "SPN-2017" Fault, "A certificate could not be made or read",
        "The message names the file and what is wrong with it. Certificates, keys and requests are PEM files.",
        "See `spine cert --help`.";
    CLI_HANDSHAKE = "SPN-2018" Fault, "The TLS handshake failed",
        "The other side was reached but one of the two did not accept the other's certificate: it is for another name, has run out, is revoked, comes from another authority, or none was given where one is needed.",
        "Compare what `spine cert list FILE` says of each certificate.";
    CLI_DEGRADED = "SPN-2019" Fault, "It works, but not as it should",
        "Something is missing that the site can do without for a time: a node is down, a certificate runs out soon, a disk fills.",
        "The lines above name it, with the remedy.";
    CLI_AUDIT_BROKEN = "SPN-2020" Fault, "The audit chain is broken",
        "A record was changed, is missing or is out of order.",
        "Keep the disks as they are, compare with the other nodes, and treat it as a security incident.";
    CLI_UNDELIVERED = "SPN-2021" Fault, "A command within the site cannot be delivered",
        "The partition that it is for met a fault of the program or of stored data with it, and met it again now. It stays set aside; nothing was changed.",
        "Look for its correlation id in the nodes' logs and mend the cause, or run a release that does; then `spine outbox retry`. `spine outbox drop` gives it up.";
    CLI_NO_AUTHORITY = "SPN-2022" Conflict, "This node cannot invite others",
        "A new machine's certificate is signed with the key of the site's authority. `spine init` leaves it on the first node (peer.ca_key); nodes that join do not get it, so that one stolen machine cannot make others.",
        "Run the command on the node that holds the key. If that machine is lost, put the copy that you keep elsewhere under peer.ca_key of another node (mode 0640, readable for the user that runs spine); no restart is needed. Without any copy nobody can join this site any more: make a new one.";
    OTHER_NODES_DATA = "SPN-2023" Conflict, "Data, certificate and configuration are not of one node",
        "The data folder or the peer certificate names another node or another site than the configuration: a wrong disk or folder, files copied from another machine, or a changed node.number. Nothing was touched.",
        "Put the right disk, folder or certificate in place, or take node.number back. A machine that is to become another node starts with an empty data folder: move this one away, ask for a token with `spine cluster invite` or `spine node replace`, and run `spine join TOKEN`.";
    NEWER_DATA = "SPN-2024" Conflict, "The data was written by a newer release",
        "The message names the file. This program is older than the one that ran here last, and would take what it cannot read for damage. Nothing was touched.",
        "Install the newer release again. To go back for good, move the data folder away and let the node come back from its peers, one node at a time.";
    DATA_ACCESS = "SPN-2025" Fault, "The data folder cannot be used",
        "It belongs to another user than this process runs as (spine serve was started by hand as root, or files were copied as root), or it cannot be written: a read-only mount is often a disk that fails. Nothing was touched.",
        "Start the node as its own user (`systemctl start spine`), or give the folder to it: `chown -R spine: FOLDER`. Of a read-only mount `dmesg` tells the cause.";
    TWIN = "SPN-2026" Conflict, "Another process runs as this node",
        "On this machine another process uses the data folder; or the peers hear a process elsewhere under the same number and certificate, such as a copy of this machine's disk. Two must never promise in one name, so the later one stops. Nothing was touched where it had not begun.",
        "Find out which is the right one (`spine status` on the others shows the addresses) and keep the other off. A copy becomes a node of its own with an empty data folder, a token and `spine join`. After a machine was lost, a copy of an old disk must not take its place: start with an empty data folder.";
    GIVEN_UP = "SPN-2027" Conflict, "This node's site was given up",
        "An operator let a site go on without this node (`spine site promote`): its own site was lost for good, or it was silent when its site went on. What was written here and had not reached the other site is not part of the service's history any more, and this node must not add to it. Nothing was touched.",
        "Leave it off. To use the machine again: keep a copy of the data folder as long as somebody may want to look for what was lost, move the folder away, and let the machine join the serving site as a new one (`spine cluster invite` there, `spine join` here).";
    CLI_TRANSFER = "SPN-2101" Conflict, "Leadership could not be handed over",
        "The node asked for is not a voter, is not seen, or is too far behind. Leadership stays where it is.",
        "See `spine cluster status`, and name a voter that is in step.";
    CLI_MEMBERSHIP = "SPN-2102" Conflict, "The site's membership cannot be changed so",
        "The node is or is not a member already, or another change is under way.",
        "See `spine cluster members`; repeat when the change under way has ended.";
    CLI_UNSAFE_REMOVE = "SPN-2107" Conflict, "Removing the node would endanger the site",
        "After the removal too few voters that are in step would remain.",
        "Add or repair a node first; --force overrides and may lose data.";
    SITE_NOT_FIT = "SPN-2108" Conflict, "The other site is not fit to serve",
        "Its nodes would have to go on alone, and one of them does not answer, is not ready, is behind, or may lack bodies; or there are fewer than three.",
        "See `spine site` and `spine status` there, and repeat when they are well; --force overrides.";
    SITE_NOT_LOST = "SPN-2109" Conflict, "The site is not to be promoted",
        "A site is promoted only where the serving one is lost for good: none of its nodes answers, and every node of the other one does, but for those that were named as lost, too; more than half of them in any case. The message names what stands against it. Nothing was changed.",
        "Where the serving site lives, move the service: `spine site cutover`. Where nodes of the site itself are missing, bring them up first; `--without NODE` gives a silent one up like the lost ones, and what only it holds is then missing.";
    LEVEL_UNKNOWN = "SPN-2120" Conflict, "The site's level is beyond this program",
        "The site was raised to a level that this release does not know (`spine upgrade finalise`): the other nodes may write what it cannot read. The node stops before it takes part, and changes nothing.",
        "Install the release that the other nodes run (`spine cluster members` there shows it), then `systemctl start spine`. The level is never lowered; to go back for good, restore a backup of before (docs/backup.md).";
    LEVEL_REFUSED = "SPN-2121" Conflict, "The site's level is not raised now",
        "A level may be raised when every member answers, all run the same release, and each has told the registry what it knows. Nothing was changed.",
        "Start what is down and end the upgrade: `spine upgrade check` on each node names what is missing; a node that was just started says what it knows within ten seconds. Take out a node that does not come back: `spine node remove`.";
    UPGRADE_UNFIT = "SPN-2122" Conflict, "The upgrade should not go on",
        "A check that ended with FAIL means that a restart now may leave the site without a majority, or could not be taken back. Nothing was changed.",
        "Do what the last column of each FAIL says, then `spine upgrade check` once more.";
    BACKUP_DAMAGED = "SPN-2201" Fault, "The backup is damaged",
        "Every file of a backup is named in its manifest with length and SHA-256, and the manifest is signed with a node's key. One of them is missing or is not what was written, or what the files hold does not agree. Nothing was restored from it.",
        "Take another backup: `spine backup list DIR`, then `spine backup verify PATH`. If this one was copied from elsewhere, copy it again.";
    BACKUP_FAILED = "SPN-2202" Fault, "No backup was made",
        "The message names what stood in the way. What had been written was removed; the site is as it was.",
        "See `spine status`; repeat the command when the site is well.";
    BACKUP_RUNNING = "SPN-2203" Conflict, "A backup is being made already",
        "A node makes one at a time, so that clients do not feel it.",
        "Wait for it to end; `spine status` tells when the last one was made.";
    RESTORE_OVER = "SPN-2204" Conflict, "A backup is restored into an empty data folder only",
        "The folder holds data, of a site that may be needed yet. Nothing was touched.",
        "Restore on a new machine, or move the folder and the peer certificates away first.";
    BACKUP_KEY = "SPN-2205" Conflict, "The keys of an encrypted backup are not at hand",
        "To make one, the node reads public keys (age1…) from the file that backup.recipient or --recipient names, and makes none while that cannot be read; to replay or restore one, the file that --identity names must hold the private half (AGE-SECRET-KEY-1…) of one of them. Nothing was written.",
        "Name the right file; `spine backup list DIR` tells which keys a backup is encrypted for, `spine backup key` makes a pair. Without a private key the backup cannot be read by anybody.";
    BACKUP_OUTLIVED = "SPN-2206" Fault, "A backup was made, and an older one could not be removed",
        "The new backup is written, synced, read back and counts as the last one. More than backup.keep lie in the folder, and the disk fills up in time.",
        "See to what the message names, for the most part the folder's owner or mode; the next backup removes what is left.";
    ARCHIVE_DAMAGED = "SPN-2207" Fault, "The archive of the log behind a backup is damaged",
        "Each piece in the folder log of a backup names its files and the piece before it with their SHA-256, the first the backup's manifest, and is signed with a node's key. One is missing, is not what was written, or belongs elsewhere. Nothing was restored; the backup without its archive may be whole.",
        "If it was copied from elsewhere, copy it again. `spine backup verify PATH` names the piece; `spine backup restore PATH` without --until takes the backup as it is. `spine backup create` begins a new archive.";
    ARCHIVE_GAP = "SPN-2208" Fault, "The archive of the log has a gap",
        "More of the log than backup.archive_hold was not archived (the disk of backup.dir was full, slow or away, or a backup took longer than so much log), the node's own disk was nearly full, or this node got a snapshot of a peer in place of entries. The moments that are archived can be had; later ones cannot, until there is a new backup.",
        "See to the disk of backup.dir, then make a backup there: `spine backup create`. With it a new archive begins.";
    NO_POINT = "SPN-2209" Conflict, "That moment cannot be had of this backup",
        "A backup and its archive hold the moments from the newest decision in the backup to the last that was archived. Nothing was restored.",
        "Name a moment within the range that the message tells, or `--until latest`; `spine backup list` shows which backup reaches to where.";
    ARRIVAL_NO_UPSTREAM = "SPN-2301" Conflict, "The service has no upstream address on every node",
        "Requests were to be handed to a system whose address the nodes named do not know: whoever asks those would be refused. Nothing was changed.",
        "Set upstream.SERVICE with upstream.ca, upstream.cert and upstream.key on every node, `spine config reload` on each, and repeat.";
    TLS_FILES = "SPN-3001" Fault, "Certificate files cannot be used",
        "A file is missing, unreadable, expired or does not fit its key. What was loaded before goes on serving.",
        "Correct the file that the log names, then `spine config reload`.";
    CLOCK = "SPN-3002" Fault, "This node's clock is not to be trusted",
        "It is more than 5 seconds from the median of the voters' clocks: the node neither leads nor takes traffic until the clock is right. Or only two clocks are known and they differ: then the node goes on, since nobody can tell which of them is wrong.",
        "Compare `date -u` on all nodes and look at the time service (`chronyc tracking`). Set the clock that is wrong; the node comes back by itself.";
    STAMPS = "SPN-3003" Fault, "A partition's time stamps are ahead of the clocks",
        "While a clock was wrong, and no other could tell (a node alone, or most clocks wrong together), a leader stamped with it. Stamps never go back, since what was told in one order must not be told in another. Until the clocks have reached the newest stamp everything in the partition gets that same time: timers and expiries that are set now wait, what the wrong clock let expire stays expired, and from two hours on senders' tokens are refused, because their time is compared with the stamp's.",
        "First see that all clocks are right now (`spine doctor`); do not turn them forward to meet the stamp. Up to two hours: wait, it ends by itself, and `spine status` counts down. Beyond: the partition's mailboxes are out of service until then; if that is too long, make a new site with `spine init`, import the registers there (`spine party import`, `spine mailbox import`), and have senders send again what `spine audit search` shows as not collected.";
    DISK_SLOW = "SPN-3004" Fault, "This node's disk is slow",
        "For a second and longer a sync of its log has taken at least 40 ms and four times what it takes on the quickest other node. A majority of quicker disks serves the site meanwhile: this node has given its leaderships away and takes none back until its disk has been well for half a minute, longer each time that it becomes slow again. Where all disks are slow nothing is given away.",
        "Look for what else writes to the disk, at its health (`smartctl`, the array's or the cloud's own report) and at `spine_log_sync_duration_seconds` beside the other nodes'. Move the data to a better disk, or replace the node (`spine node replace`); it leads again by itself.";
    BODIES_LOST = "SPN-3005" Fault, "Bodies are damaged or gone on every node",
        "Copies went bad on all nodes before one of them was found and mended from another. Who asks for such a body is refused (SPN-1020); everything else goes on. `spine status` names the bodies and the messages that they are of.",
        "Look for a copy of `blobs/<first two figures>/<body>` in backups and on disks that were taken out, and put it there on any node: it is checked, and copied to the others. Else tell the sender to send again and the recipient to acknowledge the message; the alarm ends with that. Then replace the disks: three that rot at once have more in common than chance.";
    DATA_LOST = "SPN-3006" Fault, "Data are lost that no node has whole",
        "Rows or log entries of this node went bad, and no node that answers has them whole; nor does the site go on without this node. If it gave up what it has, as it does where others go on, nothing might be left to begin again from. So it keeps every byte, does not open, and asks again all the time.",
        "Start the nodes that are down: one that has the data whole is enough. Otherwise put a copy of one node's data folder back that was made while that node was stopped, and start it with it: the others mend themselves from it. What was accepted after the copy was made is then lost, so ask first whether any disk that was taken out is newer.";
    ROWS_DAMAGED = "SPN-3007" Fault, "Stored rows failed a check",
        "A page of the engine's files is not what was written. Nothing was answered from it; the process ends, because a start rebuilds the rows from log, snapshots or other nodes. The site goes on without this node meanwhile.",
        "Nothing, where systemd starts it again; else start it. Then look at the disk (`spine doctor`, `smartctl`): `spine status` says what was mended at the start.";
}

/// All codes, in order.
pub fn catalogue() -> &'static [Code] {
    CATALOGUE
}

/// Finds a code; `spn-1001` and `1001` are taken for `SPN-1001`.
pub fn find(text: &str) -> Option<&'static Code> {
    let digits = text.trim().trim_start_matches(['s', 'p', 'n', 'S', 'P', 'N', '-']);
    CATALOGUE.iter().find(|c| &c.code[4..] == digits)
}

/// The text of `docs/errors.md`.
pub fn document() -> String {
    let mut out = String::from(
        "# Error codes\n\nMade from `src/ops/codes.rs` (a test compares, and writes it with `SPINE_WRITE_DOCS=1`); `spine explain CODE` prints the same.\n\n\
         Every refusal has one of ten kinds. Each answer carries `x-correlation-id`, which `spine trace ID` resolves to\n\
         the log line that explains it.\n\n| kind | meaning |\n|---|---|\n",
    );
    for kind in Kind::ALL {
        out.push_str(&format!("| {} | {} |\n", kind.word(), kind.meaning()));
    }
    let mut thousand = "";
    for c in CATALOGUE {
        if c.code[4..5] != *thousand {
            thousand = &c.code[4..5];
            out.push_str(match thousand {
                "1" => "\n## 1xxx: what clients see\n",
                "2" => "\n## 2xxx: operators' commands\n",
                _ => "\n## 3xxx: what a node says of itself\n",
            });
        }
        out.push_str(&format!("\n### {}: {}\n\n", c.code, c.words));
        out.push_str(&format!("Kind: {}.\n\n{}\n\n**Try:** {}\n", c.kind.word(), c.why, c.fix));
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_rise_and_are_found() {
        for pair in CATALOGUE.windows(2) {
            assert!(pair[0].code < pair[1].code, "{} is out of order", pair[1].code);
        }
        assert!(CATALOGUE.iter().all(|c| c.code.len() == 8 && c.code.starts_with("SPN-")));
        assert_eq!(find("spn-1012").map(|c| c.code), Some("SPN-1012"));
        assert_eq!(find("2003").map(|c| c.code), Some("SPN-2003"));
        assert!(find("SPN-9999").is_none());
    }

    #[test]
    fn the_document_agrees_with_the_catalogue() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/errors.md");
        if std::env::var_os("SPINE_WRITE_DOCS").is_some() {
            std::fs::write(path, document()).unwrap();
        }
        let stored = std::fs::read_to_string(path).unwrap_or_default();
        assert!(stored == document(), "docs/errors.md is old: run `SPINE_WRITE_DOCS=1 cargo test --lib ops::codes`");
    }
}
