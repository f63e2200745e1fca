//! Who gets to ask: everything that is said before a request's body is read: certificate, share, form, credentials, permit
//! (P5, P6).

use super::Edge;
use super::backend::Backend;
use super::busiest::Party;
use super::connection::Conn;
use super::credentials;
use super::flow::{later, overloaded};
use super::payload::{Held, Places};
use super::peer::{Judgement, Peer, share_of};
use super::problem::Refusal;
use super::protocol::{Exchange, Proof};
use super::tenant::{CertificateHash, Tenant};
use super::turns::{Class, Who};
use crate::access::caller::Caller;
use crate::access::gate::{Denied, Gate, Permit, Proven, Standing};
use crate::engine::Unavailable;
use crate::ops::codes;
use http::request::Parts;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::OwnedSemaphorePermit;

/// Leave to go on, with whatever counts the request until its answer is written.
pub struct Admitted {
    pub permit: Permit,
    pub held: Held,
    /// In whose row the request waits for its turn.
    pub who: Who,
}

/// Why a request is not let in, and who it was where that is known: then the audit trail tells of it (P4). Those whom nobody
/// knows are told of together, so that a flood of strangers cannot fill the trail (P6, `strangers`).
pub struct Turned {
    pub refusal: Refusal,
    /// With the row that it waits in.
    pub who: Option<Box<(Caller, Who)>>,
    /// What counts the request, as of those who are let in: somebody else may know who it is (`relay`).
    pub held: Held,
}

impl From<Refusal> for Turned {
    fn from(refusal: Refusal) -> Self {
        Turned { refusal, who: None, held: Held::default() }
    }
}
impl From<Unavailable> for Turned {
    fn from(why: Unavailable) -> Self {
        Refusal::from(why).into()
    }
}

/// How an application stands with its quota after this request.
#[derive(Clone, Copy, Debug)]
pub struct Limit {
    /// Requests a second.
    pub quota: u32,
    /// How many more may come at once.
    pub remaining: u32,
}

/// Longest name out of a certificate that nobody registered, in characters.
const MAX_NAME: usize = 64;

/// What is found out about a request, whether it is let in or not.
#[derive(Default)]
pub struct Noted {
    pub limit: Option<Limit>,
    /// Who sent it, where that is known ([`super::busiest`]).
    pub party: Option<CertificateHash>,
}

impl Noted {
    fn came(&mut self, edge: &Edge, key: CertificateHash, name: impl FnOnce() -> Party) {
        edge.busiest.came(edge.clock.now().0, &key, name);
        self.party = Some(key);
    }
}

/// Certificate, share, form, credentials, permit: all that can be said without the body.
pub async fn admit(
    conn: &Conn,
    exchange: &mut dyn Exchange,
    head: &Parts,
    noted: &mut Noted,
) -> Result<Admitted, Turned> {
    let edge = &conn.edge;
    if edge.protocol.proof() == Proof::Certificate {
        let party = || conn.party.get_or_init(|| party(edge.backend.as_ref(), &conn.peer)).clone();
        noted.came(edge, conn.peer.hash, party);
    }
    match conn.peer.judge(&edge.tls.current(), edge.clock.now().0) {
        Judgement::Good => {}
        Judgement::Refused => {
            // Its rate bounds what it leaves in the trail.
            let _counted = share(&conn.place.0).map_err(|wait| limited(conn, wait))?;
            let who = Some(Box::new((conn.peer.caller().clone(), (conn.peer.hash, Class::Usual))));
            return Err(Turned { who, ..Refusal::new(&codes::CERTIFICATE_REFUSED).into() });
        }
        Judgement::Unknown => return Err(Refusal::new(&codes::REVOCATIONS_STALE).into()),
    }
    let mut places = enter(conn, head)?;
    well_formed(head)?;
    let standing = match edge.protocol.proof() {
        Proof::Certificate => edge.backend.standing(conn.peer.certificate())?,
        Proof::Credentials => credentials::standing(edge, exchange.interaction(), &head.headers).await?,
    };
    // From here on it is the application's share, whatever address it comes from.
    let class = |emergency| if emergency { Class::Emergency } else { Class::Usual };
    let mut turn = (conn.peer.hash, class(matches!(standing, Standing::Approved { emergency: true, .. })));
    let seen;
    let proven: Option<&Proven> = match &standing {
        Standing::Proven(proven) | Standing::Lapsed(_, proven) => Some(proven),
        Standing::Nobody => {
            seen = credentials::emergency(edge, &head.headers);
            seen.as_ref()
        }
        _ => None,
    };
    if let Some(proven) = proven {
        turn = (share_of("application", &proven.caller.application), class(proven.emergency));
        let Caller { application, ods, .. } = &proven.caller;
        noted.came(edge, turn.0, || Party { ods: ods.clone(), system: application.clone() });
        let tenant = tenant(edge, exchange, application, proven.quota);
        noted.limit = Some(Limit { quota: tenant.quota, remaining: 0 });
        let (remaining, place) = share(&tenant).map_err(|wait| {
            edge.meter.of_class(turn.1).kept_out.increment(1);
            limited(conn, wait)
        })?;
        noted.limit = Some(Limit { quota: tenant.quota, remaining });
        places[0] = Some(place);
    }
    edge.meter.of_class(turn.1).let_in.increment(1);
    let who = Gate::turned_away(&standing, conn.peer.caller());
    let held = Held { in_flight: None, permits: places };
    match edge.gate.permit(exchange.interaction(), standing, conn.peer.caller()) {
        Ok(permit) => Ok(Admitted { permit, held, who: turn }),
        Err(denied) => Err(Turned { refusal: refused(denied), who: who.map(|who| Box::new((who, turn))), held }),
    }
}

/// Whose a certificate is, as the registry has it; of one that it does not have, the name in it.
pub(super) fn party(backend: &dyn Backend, peer: &Peer) -> Party {
    match backend.standing(peer.certificate()) {
        Ok(Standing::Approved { asid, ods, .. }) => Party { ods, system: asid },
        _ => {
            let plain = peer.caller().common_name.chars().filter(|c| !c.is_control());
            Party { ods: String::new(), system: plain.take(MAX_NAME).collect() }
        }
    }
}

/// A place for the request: of its certificate's or address's share and of the site's bound, or, where there is none left, of
/// those that are kept for emergency care.
fn enter(conn: &Conn, head: &Parts) -> Result<Places, Refusal> {
    let (mine, full) = match (share(&conn.place.0), conn.edge.requests.clone().try_acquire_owned()) {
        (Ok((_, mine)), Ok(ours)) => return Ok([Some(mine), Some(ours), None]),
        (Ok((_, mine)), Err(_)) => (Some(mine), None),
        (Err(wait), _) => (None, Some(wait)),
    };
    let class = match kept(conn, head, mine.is_some()) {
        Kept::Place(ours, part) => return Ok([mine, Some(ours), Some(part)]),
        Kept::Full => Class::Emergency,
        Kept::ForOthers => Class::Usual,
    };
    conn.edge.meter.of_class(class).kept_out.increment(1);
    Err(full.map_or_else(|| overloaded(conn), |wait| limited(conn, wait)))
}

/// What there is for a request among the places that are kept for emergency care.
enum Kept {
    /// Of the listener, and of the sender's part.
    Place(OwnedSemaphorePermit, OwnedSemaphorePermit),
    /// It is emergency care, and has or would have too many.
    Full,
    /// It is none.
    ForOthers,
}

/// A place of those that are kept for emergency care, for whoever seems to be that: whether they are is found out once they are
/// in, as with everybody. One system or application has at most half of these places, whatever it sends.
fn kept(conn: &Conn, head: &Parts, within_share: bool) -> Kept {
    let edge = &conn.edge;
    let tenant = match edge.protocol.proof() {
        // Its share is the system's own, and bounds emergency care too.
        Proof::Certificate => {
            let standing = edge.backend.standing(conn.peer.certificate()).ok();
            let emergency = matches!(standing, Some(Standing::Approved { emergency: true, .. }));
            match (emergency, within_share) {
                (false, _) => return Kept::ForOthers,
                (true, false) => return Kept::Full,
                (true, true) => conn.place.0.clone(),
            }
        }
        // An address's share is of all who come from there; the application's own bounds it as soon as it is in.
        Proof::Credentials => {
            let Some(proven) = credentials::emergency(edge, &head.headers) else { return Kept::ForOthers };
            let name = share_of("kept for emergency care", &proven.caller.application);
            edge.tenants.of(name, proven.quota, &edge.options)
        }
    };
    let part = tenant.kept.clone().try_acquire_owned();
    match (part, edge.kept.clone().try_acquire_owned()) {
        (Ok(part), Ok(ours)) => Kept::Place(ours, part),
        _ => Kept::Full,
    }
}

/// The share that an application's request counts against. A quota that an operator gave it stands for everything; without one
/// it has the site's usual one, and beside it one for each thing whose specification names one.
fn tenant(edge: &Edge, exchange: &dyn Exchange, application: &str, quota: u32) -> Arc<Tenant> {
    let (kind, quota) = match (quota, edge.options.application_rate, exchange.usual_quota()) {
        (0, Some(_), Some((kind, own))) => (kind, own),
        (0, Some(usual), None) => ("application", usual),
        (0, None, _) => ("application", edge.options.rate),
        (given, ..) => ("application", given),
    };
    edge.tenants.of(share_of(kind, application), quota, &edge.options)
}

/// Counts a request against a share: how many more may come at once, and its place among those at work. An error says how long
/// to wait.
fn share(tenant: &Tenant) -> Result<(u32, OwnedSemaphorePermit), Duration> {
    let remaining = tenant.check()?;
    let place = tenant.requests.clone().try_acquire_owned();
    place.map(|place| (remaining, place)).map_err(|_| Duration::from_secs(1))
}

/// Over its share.
fn limited(conn: &Conn, wait: Duration) -> Refusal {
    conn.edge.meter.rate_limited.increment(1);
    later(conn, Refusal::new(&codes::RATE_LIMITED).after(wait))
}

/// The gate's refusal as one of the catalogue.
pub(super) fn refused(denied: Denied) -> Refusal {
    let code = match denied {
        Denied::Unknown => &codes::CERTIFICATE_UNKNOWN,
        Denied::Disabled => &codes::SYSTEM_DISABLED,
        Denied::NoRule => &codes::NO_PERMIT,
        Denied::NoCredentials => &codes::CREDENTIALS_MISSING,
        Denied::KeyUnknown => &codes::KEY_UNKNOWN,
        Denied::TokenUnknown => &codes::TOKEN_UNKNOWN,
        Denied::TokenExpired => &codes::TOKEN_EXPIRED,
        Denied::ApplicationRevoked => &codes::APPLICATION_REVOKED,
        Denied::NoScope => &codes::SCOPE_MISSING,
        Denied::NoActivity => &codes::ACTIVITY_MISSING,
        Denied::RolesSeveral => &codes::ROLES_SEVERAL,
        Denied::RolesNone => &codes::ROLES_NONE,
        Denied::RoleForeign => &codes::ROLE_FOREIGN,
        Denied::RoleGone => &codes::ROLE_GONE,
    };
    Refusal::new(code).because(denied.to_string())
}

/// A host where HTTP/1.1 demands one, and once each of the headers that may come once: two values would be read
/// differently by different programs.
fn well_formed(head: &Parts) -> Result<(), Refusal> {
    let headers = &head.headers;
    if head.version == http::Version::HTTP_11 && !headers.contains_key(http::header::HOST) {
        return Err(Refusal::new(&codes::BAD_REQUEST).because("no host"));
    }
    if headers.keys_len() == headers.len() {
        return Ok(());
    }
    let single = |name: &str| {
        name.starts_with("mex-")
            || matches!(
                name,
                "authorization"
                    | "apikey"
                    | "host"
                    | "content-type"
                    | "content-encoding"
                    | "content-length"
                    | "x-request-id"
                    | "expect"
            )
    };
    for name in headers.keys().filter(|name| single(name.as_str())) {
        if headers.get_all(name).iter().nth(1).is_some() {
            return Err(Refusal::new(&codes::DUPLICATE_HEADER).because(name.as_str()));
        }
    }
    Ok(())
}
