//! Tokens of the HTTP APIs for a person: by code, by refresh token, by exchange (spec/identity.md §4.2, §4.3, §5).

use super::{
    command::{CitizenIn, LoginReply, Trade},
    decide::{CODE_MS, Decided, alive, fits, note, place, refused},
    rows::{Grant, Kind, MARGIN_MS, grant, grant_key, hand_out, line_of, place_bytes},
};
use crate::{
    engine::draft::{AuditNote, Draft, Fault, Stamp},
    services::{
        directory::{
            applications::{self, Application},
            issuers,
            rows::Secret,
        },
        identity::{
            decide::{TOKEN_LIFE_MS, draw_here, named, plan_sweep},
            refusal::Refusal,
            rows::{self, AccessToken, NHS_LOGIN},
            tokens::Place,
        },
    },
    wire::record::Record,
};

/// Longest life of what comes of a citizen's log-in (spec/identity.md §4.2), in milliseconds.
const CITIZEN_MS: u64 = 3_600_000;

/// What tokens are issued from.
struct Basis {
    /// Of the person, level and time of the log-in; `expires` ends the refresh tokens.
    grant: Grant,
    grant_type: &'static str,
    count: u32,
}

pub fn trade(draft: &mut Draft<'_>, stamp: &Stamp, command: &Trade) -> Decided {
    let name = "identity.token";
    let refused = |refusal: Refusal| {
        let reply = LoginReply { refused: refusal as u8, refusal: refusal.word().into(), ..Default::default() };
        (reply, note(name, refusal.word(), &command.client))
    };
    let basis = match command.kind {
        kind if kind == Kind::ApiCode as u8 => by_code(draft, stamp, command)?,
        kind if kind == Kind::Refresh as u8 => by_refresh(draft, stamp, command)?,
        _ => by_exchange(draft, stamp, command)?,
    };
    let basis = match basis {
        Ok(basis) => basis,
        Err(refusal) => return Ok(refused(refusal)),
    };
    // As of now: the asking node may have known an older registry.
    let application = applications::application(draft.site(), &command.client)?.filter(Application::is_approved);
    let Some(application) = application else { return Ok(refused(Refusal::NotApproved)) };
    let (level, scopes) = rights(&application, &basis.grant);
    if scopes.is_empty() {
        return Ok(refused(Refusal::NoScope));
    }
    let basis = with_session(draft, stamp, basis)?;
    let life = command.life.clamp(1, TOKEN_LIFE_MS);
    let (text, at) = draw_here(stamp)?;
    let from = &basis.grant;
    let refresh = Grant {
        kind: Kind::Refresh as u8,
        client: command.client.clone(),
        count: basis.count,
        grant: basis.grant_type.into(),
        request: None,
        clients: vec![],
        ..from.clone()
    };
    let (again, again_at) = hand_out(draft, stamp, 1, &refresh)?;
    let row = AccessToken {
        client: command.client.clone(),
        level,
        scopes,
        issued: stamp.now,
        expires: stamp.now + life,
        grant: basis.grant_type.into(),
        provider: provider(from).into(),
        citizen: from.citizen.clone(),
        user: from.user.clone(),
        role: from.role.clone(),
        session: from.session.clone(),
        line: line_of(&refresh, &again_at),
        ..Default::default()
    };
    draft.insert(rows::token_key(at.hour, &at.hash), row.encode());
    plan_sweep(draft, at.hour)?;
    // Whom a citizen acts for hears of it in the trail of who has looked at them.
    let subject = from.citizen.as_ref().map(|citizen| citizen.acts_for.clone()).unwrap_or_default();
    let other = from.user.clone();
    let told = AuditNote { other, subject, detail: named(&at), ..note(name, "ok", &command.client) };
    let reply = LoginReply {
        secret: Secret(text),
        other: Secret(again),
        life,
        other_life: refresh.expires.saturating_sub(stamp.now),
        grant: Some(refresh),
        now: stamp.now,
        ..Default::default()
    };
    Ok((reply, told))
}

/// A refresh token as its application may see it (RFC 7662): what it would give now, and until when; `None` where it would give nothing.
/// With it, whose it is, good or not.
pub(in crate::services::identity) fn refresh_token(
    draft: &Draft<'_>,
    stamp: &Stamp,
    at: &Place,
) -> Result<Option<(Grant, Option<AccessToken>)>, Fault> {
    let Some(row) = grant(draft, at, Kind::Refresh)? else { return Ok(None) };
    let application = applications::application(draft.site(), &row.client)?.filter(Application::is_approved);
    let lasts = row.expires > stamp.now && alive(draft, stamp, &place(&row.session)?)?.is_some();
    let Some(application) = application.filter(|_| lasts) else { return Ok(Some((row, None))) };
    let (level, scopes) = rights(&application, &row);
    let shown = AccessToken {
        client: row.client.clone(),
        level,
        scopes,
        expires: row.expires,
        grant: row.grant.clone(),
        provider: provider(&row).into(),
        user: row.user.clone(),
        ..Default::default()
    };
    Ok(Some((row, Some(shown).filter(|shown| !shown.scopes.is_empty()))))
}

/// Who proved the person.
fn provider(grant: &Grant) -> &'static str {
    if grant.citizen.is_some() { NHS_LOGIN } else { "nhs-cis2" }
}

/// Level of a log-in, and the scopes that it opens.
fn rights(application: &Application, grant: &Grant) -> (String, Vec<String>) {
    match &grant.citizen {
        Some(citizen) => (citizen.level.clone(), application.scopes(&format!(":user-nhs-login:{}:", citizen.level))),
        None => {
            let level = format!("aal{}", grant.level);
            let scopes = user_scopes(application, &level);
            (level, scopes)
        }
    }
}

/// A citizen's log-in elsewhere begins a session here: the tokens that come of it end together, as those of staff do.
fn with_session(draft: &mut Draft<'_>, stamp: &Stamp, mut basis: Basis) -> Result<Basis, Fault> {
    if basis.grant.session.is_empty() {
        let expires = stamp.now + CITIZEN_MS + MARGIN_MS;
        let session = Grant { kind: Kind::Session as u8, expires, ..basis.grant.clone() };
        basis.grant.session = place_bytes(&hand_out(draft, stamp, 2, &session)?.1);
    }
    Ok(basis)
}

/// A citizen has logged in elsewhere, for an application (spec/identity.md §4.1): a session begins, and its first code is given.
pub fn citizen_in(draft: &mut Draft<'_>, stamp: &Stamp, command: CitizenIn) -> Decided {
    const NAME: &str = "identity.callback";
    let client = command.request.client.clone();
    let no = |why: &str| Ok((refused(why), note(NAME, why, &client)));
    for expires in [command.expires, command.acted_expires] {
        if expires.checked_sub(1).is_some_and(|expires| expires <= stamp.now / 1_000) {
            return no("SubjectExpired");
        }
    }
    // As of now: the asking node may have known an older registry.
    let Some(citizen) = command.citizen else { return no("SubjectClaims") };
    if issuers::issuer(draft.site(), &citizen.issuer)?.is_none() {
        return no("SubjectIss");
    }
    if !applications::application(draft.site(), &client)?.is_some_and(|a| a.is_approved()) {
        return no(Refusal::NotApproved.word());
    }
    let session = Grant {
        kind: Kind::Session as u8,
        expires: stamp.now + CITIZEN_MS + MARGIN_MS,
        user: command.user,
        citizen: Some(citizen),
        auth_time: stamp.now,
        used: stamp.now,
        ..Default::default()
    };
    let (_, at) = hand_out(draft, stamp, 1, &session)?;
    let told = AuditNote { other: session.user.clone(), ..note(NAME, "ok", &client) };
    let code = Grant {
        kind: Kind::ApiCode as u8,
        expires: stamp.now + CODE_MS,
        session: place_bytes(&at),
        request: Some(command.request),
        client,
        ..session
    };
    let (text, _) = hand_out(draft, stamp, 0, &code)?;
    Ok((LoginReply { secret: Secret(text), now: stamp.now, life: CODE_MS, ..Default::default() }, told))
}

/// Scopes of all products at a level, under both names of the provider.
fn user_scopes(application: &Application, level: &str) -> Vec<String> {
    let of = |provider: &str| application.scopes(&format!(":{provider}:{level}:"));
    [of("user-nhs-id"), of("user-nhs-cis2")].concat()
}

type Based = Result<Result<Basis, Refusal>, Fault>;

fn by_code(draft: &mut Draft<'_>, stamp: &Stamp, command: &Trade) -> Based {
    let at = place(&command.place)?;
    let code = grant(draft, &at, Kind::ApiCode)?;
    draft.delete(grant_key(&at));
    let Some(code) = code.filter(|c| c.expires > stamp.now && c.client == command.client) else {
        return Ok(Err(Refusal::CodeUnknown));
    };
    if code.request.as_ref().is_some_and(|r| r.redirect != command.redirect) {
        return Ok(Err(Refusal::RedirectWrong));
    }
    let session = alive(draft, stamp, &place(&code.session)?)?;
    let fits = fits(&code, &command.client, &command.redirect, &command.challenge);
    let Some((session, _)) = session.filter(|_| fits) else { return Ok(Err(Refusal::CodeUnknown)) };
    let most = if code.citizen.is_some() { CITIZEN_MS } else { command.refresh_life };
    let expires = session.expires.min(stamp.now + command.refresh_life.min(most));
    Ok(Ok(Basis { grant: Grant { expires, ..code }, grant_type: "authorization_code", count: 0 }))
}

fn by_refresh(draft: &mut Draft<'_>, stamp: &Stamp, command: &Trade) -> Based {
    let at = place(&command.place)?;
    let Some(old) = grant(draft, &at, Kind::Refresh)?.filter(|row| row.client == command.client) else {
        return Ok(Err(Refusal::RefreshUnknown));
    };
    draft.delete(grant_key(&at));
    if old.expires <= stamp.now {
        return Ok(Err(Refusal::RefreshOver));
    }
    if alive(draft, stamp, &place(&old.session)?)?.is_none() {
        return Ok(Err(Refusal::RefreshUnknown));
    }
    let grant_type = if old.grant == "authorization_code" { "authorization_code" } else { EXCHANGE };
    let expires = old.expires.min(stamp.now + command.refresh_life);
    let count = old.count.saturating_add(1);
    let line = line_of(&old, &at);
    Ok(Ok(Basis { grant: Grant { expires, line, ..old }, grant_type, count }))
}

/// `grant_type` of a token exchange (RFC 8693).
pub const EXCHANGE: &str = "urn:ietf:params:oauth:grant-type:token-exchange";

fn by_exchange(draft: &mut Draft<'_>, stamp: &Stamp, command: &Trade) -> Based {
    let mut all: Vec<Refusal> = Refusal::of(command.refusal).into_iter().collect();
    for (expires, refusal) in
        [(command.expires, Refusal::SubjectExpired), (command.acted_expires, Refusal::ActedExpired)]
    {
        if expires.checked_sub(1).is_some_and(|expires| expires <= stamp.now / 1_000) {
            all.push(refusal);
        }
    }
    if let Some(first) = all.into_iter().min_by_key(|refusal| refusal.of_exchange()) {
        return Ok(Err(first));
    }
    if let Some(citizen) = &command.citizen {
        let grant = Grant {
            user: command.user.clone(),
            citizen: Some(citizen.clone()),
            auth_time: stamp.now,
            used: stamp.now,
            expires: stamp.now + command.refresh_life.min(CITIZEN_MS),
            ..Default::default()
        };
        return Ok(Ok(Basis { grant, grant_type: EXCHANGE, count: 0 }));
    }
    let at: Place = place(&command.session)?;
    let found = alive(draft, stamp, &at)?.filter(|(session, _)| session.user == command.user);
    let Some((session, roles)) = found else { return Ok(Err(Refusal::SubjectOver)) };
    if !command.role.is_empty() && !roles.contains(&command.role) {
        return Ok(Err(Refusal::SubjectOver));
    }
    let expires = session.expires.min(stamp.now + command.refresh_life);
    let grant = Grant { session: command.session.clone(), role: command.role.clone(), expires, ..session };
    Ok(Ok(Basis { grant, grant_type: EXCHANGE, count: 0 }))
}
