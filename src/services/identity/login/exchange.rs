//! Token exchange, the separate flow (spec/identity.md §5): an ID token that this site's provider signed, or a trusted
//! provider of citizens, and the application's own signed
//! JWT, give tokens of the HTTP APIs for the person.

use super::{
    command::Trade,
    delegation::{acted_for, is_signed},
    page::Page,
    platform::{life, refresh_life},
    rows::{Kind, place_bytes, place_of_sid},
    trade::EXCHANGE,
    visit::{Asked, Doing, Step, Visit, call},
};
use crate::{
    engine::draft::Fault,
    model::NhsNumber,
    services::{
        directory::{
            issuers::{self, CitizenIssuer},
            signing,
        },
        identity::{
            Identity, assertion,
            command::{Claim, IdentityCommand},
            refusal::Refusal,
            rows::Citizen,
            tokens::Place,
        },
    },
    store::Reader,
    wire::{
        form::Form,
        jwt::{Jwt, RsaKey},
    },
};
use serde_json::Value;

/// Longest claim that is kept, in bytes.
const MAX_CLAIM: usize = 128;
const ID_TOKEN: &str = "urn:ietf:params:oauth:token-type:id_token";

/// What a subject token says, as far as can be seen without a clock.
#[derive(Default)]
pub(super) struct Subject {
    refusal: Option<Refusal>,
    /// One more than `exp`, in seconds.
    pub(super) expires: u64,
    pub(super) user: String,
    session: Option<Place>,
    role: String,
    /// What a citizen's log-in proved.
    pub(super) citizen: Option<Citizen>,
    /// One more than `exp` of the JWT of whom a citizen acts for, in seconds; 0 without.
    pub(super) acted_expires: u64,
}

impl Identity {
    /// An exchange at the token endpoint; `None` where the form asks for something else.
    pub fn exchange(&self, asked: &Asked<'_>) -> Result<Option<(Visit, Step)>, Fault> {
        let text = |name: &str| asked.form.get(name).unwrap_or_default();
        let by_type = text("subject_token_type") == ID_TOKEN;
        if text("grant_type") != EXCHANGE {
            if !by_type {
                return Ok(None);
            }
            let (status, error, why) = Refusal::ExchangeGrant.told();
            let page = Page::problem(status, error, why, asked.attempt);
            let word = Refusal::ExchangeGrant.word();
            return Ok(Some(Visit::refused(asked, "identity.token", word, text("client_id"), page)));
        }
        let seen = assertion::check(&asked.form, assertion::Shown::Apis, &[self.token_url()], asked.site)?;
        let subject = self.subject(&asked.form, asked.site)?;
        let claim = Claim {
            refusal: seen.refusal.map_or(0, |refusal| refusal as u8),
            client: seen.client.clone(),
            jti: seen.jti.clone(),
            expires: seen.expires.map_or(0, |exp| exp.saturating_add(1)),
            key: seen.key,
            interaction: "identity.token".into(),
            ..Default::default()
        };
        // Tokens of a citizen, who has no session here yet, are drawn where the application's JWT is claimed.
        let jti = seen.jti.as_ref().try_into().unwrap_or([0; 32]);
        let elsewhere = Place { hour: 0, hash: if subject.citizen.is_some() { jti } else { [0; 32] } };
        let place = subject.session.unwrap_or(elsewhere);
        let trade = Trade {
            kind: Kind::Session as u8,
            client: seen.client,
            life: life(&asked.form),
            refresh_life: refresh_life(&asked.form),
            session: place_bytes(&place),
            refusal: subject.refusal.map_or(0, |refusal| refusal as u8),
            expires: subject.expires,
            user: subject.user,
            role: subject.role,
            citizen: subject.citizen,
            acted_expires: subject.acted_expires,
            ..Default::default()
        };
        let key = if seen.jti.is_empty() { asked.anywhere() } else { seen.jti };
        let doing = Doing::ExchangeClaiming(Box::new(trade));
        Ok(Some(Visit::new(asked, doing, call(key, IdentityCommand::Claim(claim)))))
    }

    /// Checks in the order of the table; the first failure is told.
    fn subject(&self, form: &Form, site: &dyn Reader) -> Result<Subject, Fault> {
        let mut seen = Subject::default();
        let jwt = match subject_jwt(form, &mut seen) {
            Ok(jwt) => jwt,
            Err(refusal) => return Ok(Subject { refusal: Some(refusal), ..seen }),
        };
        let refused = |seen, refusal| Ok(Subject { refusal: Some(refusal), ..seen });
        let citizens = match jwt.claim("iss") {
            None | Some("") => return refused(seen, Refusal::SubjectIssMissing),
            Some(iss) if iss == self.issuer() => None,
            Some(iss) => match issuers::issuer(site, iss)? {
                Some(issuer) => Some(issuer),
                None => return refused(seen, Refusal::SubjectIss),
            },
        };
        if !jwt.claims.get("aud").is_some_and(names_somebody) {
            return refused(seen, Refusal::SubjectAudMissing);
        }
        if let Some(issuer) = citizens {
            return Ok(match citizens_token(&jwt, &issuer, &mut seen) {
                Ok(()) => seen,
                Err(refusal) => Subject { refusal: Some(refusal), ..seen },
            });
        }
        let key = jwt.header("kid").map(|kid| signing::key(site, kid)).transpose()?.flatten();
        let Some(key) = key else { return refused(seen, Refusal::SubjectKid) };
        if !jwt.verify_rs256(&RsaKey { modulus: &key.modulus, exponent: &key.exponent }) {
            return refused(seen, Refusal::SubjectSignature);
        }
        seen.user = jwt.claim("sub").unwrap_or_default().to_owned();
        seen.role = jwt.claim("selected_roleid").unwrap_or_default().to_owned();
        seen.session = jwt.claim("sid").and_then(place_of_sid);
        if seen.session.is_none() || jwt.claim("tokenName") != Some("id_token") {
            return refused(seen, Refusal::SubjectOver);
        }
        Ok(seen)
    }
}

/// What the ID token of a trusted provider says.
pub(super) fn citizens_token(jwt: &Jwt, provider: &CitizenIssuer, seen: &mut Subject) -> Result<(), Refusal> {
    match is_signed(jwt, provider) {
        None => return Err(Refusal::SubjectKid),
        Some(false) => return Err(Refusal::SubjectSignature),
        Some(true) => {}
    }
    let (user, citizen) = citizen(jwt).ok_or(Refusal::SubjectClaims)?;
    let acts_for = acted_for(jwt, provider, &mut seen.acted_expires)?.map(|number| number.digits());
    seen.user = user;
    seen.citizen = Some(Citizen { acts_for: acts_for.unwrap_or_default(), ..citizen });
    Ok(())
}

/// Who a citizen is, and what was proven of them (spec/identity.md §2.6).
fn citizen(jwt: &Jwt) -> Option<(String, Citizen)> {
    let short = |name: &str| jwt.claim(name).filter(|text| !text.is_empty() && text.len() <= MAX_CLAIM);
    let level = short("identity_proofing_level").filter(|level| ["P0", "P5", "P9"].contains(level))?;
    let number = match jwt.claim("nhs_number") {
        Some(number) => NhsNumber::strict(number)?.digits(),
        None if level == "P9" => return None,
        None => String::new(),
    };
    let citizen = Citizen {
        level: level.into(),
        nhs_number: number,
        vector_of_trust: short("vot").unwrap_or_default().into(),
        issuer: jwt.claim("iss").unwrap_or_default().into(),
        ..Default::default()
    };
    Some((short("sub")?.to_owned(), citizen))
}

/// A text, or a list of texts (RFC 7519 §4.1.3). The specification asks for no more: the client at the provider is another than that of the
/// APIs, and a token of the provider's for any of its clients may be exchanged by an application that proves itself.
pub(super) fn names_somebody(aud: &Value) -> bool {
    let named = |one: &Value| one.as_str().is_some_and(|text| !text.is_empty());
    named(aud) || aud.as_array().is_some_and(|list| !list.is_empty() && list.iter().all(named))
}

fn subject_jwt(form: &Form, seen: &mut Subject) -> Result<Jwt, Refusal> {
    if form.get("subject_token_type") != Some(ID_TOKEN) {
        return Err(Refusal::SubjectType);
    }
    read(form.get("subject_token").ok_or(Refusal::SubjectMissing)?, seen)
}

/// Form, headers and end of an ID token.
pub(super) fn read(text: &str, seen: &mut Subject) -> Result<Jwt, Refusal> {
    let jwt = Jwt::parse(text).map_err(|_| Refusal::SubjectMalformed)?;
    if jwt.header("kid").is_none_or(str::is_empty) {
        return Err(Refusal::SubjectKidMissing);
    }
    if !jwt.header("typ").is_some_and(|typ| typ.eq_ignore_ascii_case("JWT")) {
        return Err(Refusal::SubjectTyp);
    }
    match jwt.claims.get("exp") {
        None | Some(Value::Null) => return Err(Refusal::SubjectExpMissing),
        Some(exp) => match exp.as_u64() {
            Some(exp) => seen.expires = exp.saturating_add(1),
            None if exp.is_i64() => seen.expires = 1,
            None => return Err(Refusal::SubjectExpType),
        },
    }
    Ok(jwt)
}

impl Visit {
    /// The application has proven itself, or not.
    pub(super) fn exchange_claimed(&mut self, refusal: u8, trade: Trade) -> Step {
        if let Some(refusal) = Refusal::of(refusal) {
            return Step::Done(self.refusal(refusal));
        }
        let Some(at) = super::rows::place_of(&trade.session) else { return Step::Done(self.broken()) };
        self.doing = Doing::Trading { exchange: true };
        call(at.hash, IdentityCommand::Trade(trade))
    }
}
