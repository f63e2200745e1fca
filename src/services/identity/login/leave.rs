//! Logging out at the provider (spec/identity.md §2.5; OpenID Connect RP-Initiated Logout 1.0): at once for whoever shows an ID token of the
//! session, after a question to the person where only their browser says whose session it is, so that no other site's link logs them out.

use super::{
    command::{EndSession, LoginReply, Open, Take, UseSession},
    page::{self, Content, Page, SESSION},
    provider::{MAX_TEXT, TICKET_MS, over, with},
    routes as paths,
    rows::{self, Grant, Kind, LoginRequest, place_bytes},
    visit::{Asked, Doing, Step, Visit, call, take},
};
use crate::{
    engine::draft::Fault,
    services::identity::{Identity, command::IdentityCommand, tokens::Place},
    wire::jwt::Jwt,
};
use bytes::Bytes;

const NAME: &str = "identity.provider.end_session";
const LOG_OUT: &str = "identity.provider.log_out";

/// Where a question about logging out stands.
pub(super) enum Leaving {
    /// Is there such a session? `to`: where the browser goes after it; `client`: who sent it, if one that is known.
    Looking { at: Place, client: String, to: String, browser: Bytes },
    /// The page's ticket is being written.
    Opening,
    /// The form came.
    Taking { session: Option<Place> },
}

impl Identity {
    pub(super) fn end_session(&self, asked: &Asked<'_>) -> Result<(Visit, Step), Fault> {
        let text = |name: &str| asked.query.get(name).unwrap_or_default();
        let wrong = |outcome: &str, whom: &str, why: &str| {
            Ok(Visit::refused(asked, NAME, outcome, whom, Page::wrong(400, why)))
        };
        let Some(shown) = asked.query.get("id_token_hint") else { return self.without_hint(asked) };
        let hint = match Jwt::parse(shown).ok() {
            Some(jwt) if self.signed(asked.site, &jwt)? => Some(jwt),
            _ => None,
        };
        let sid = hint.as_ref().and_then(|jwt| jwt.claim("sid")).and_then(rows::place_of_sid);
        let (Some(jwt), Some(at)) = (&hint, sid) else { return wrong("hint", "", NEEDED) };
        let client = jwt.claim("aud").unwrap_or_default();
        if !text("client_id").is_empty() && text("client_id") != client {
            return wrong("client", client, "The id_token_hint was issued to another application.");
        }
        let to = self.back_to(asked, client)?;
        let end = EndSession { place: place_bytes(&at), interaction: NAME.into(), ..Default::default() };
        Ok(Visit::new(asked, Doing::Ending { to }, call(at.hash, IdentityCommand::EndSession(end))))
    }

    /// Where the browser goes when it is logged out: to an address that is registered for the client, or nowhere.
    fn back_to(&self, asked: &Asked<'_>, client: &str) -> Result<String, Fault> {
        let text = |name: &str| asked.query.get(name).unwrap_or_default();
        let wanted = text("post_logout_redirect_uri");
        let known = text("state").len() <= MAX_TEXT && self.knows(asked.site, client, wanted)?;
        Ok(if known { with(wanted, &[("state", text("state"))]) } else { String::new() })
    }

    /// Only the browser says whose session it is: its person is asked.
    fn without_hint(&self, asked: &Asked<'_>) -> Result<(Visit, Step), Fault> {
        let Some(at) = asked.session() else {
            return Ok(Visit::refused(asked, NAME, "hint", "", Page::wrong(400, NEEDED)));
        };
        let client = asked.query.get("client_id").unwrap_or_default();
        let to = self.back_to(asked, client)?;
        // Who is not known is not kept in a row.
        let client = if to.is_empty() { String::new() } else { client.to_owned() };
        let used = UseSession { place: place_bytes(&at), ..Default::default() };
        let doing = Doing::Leaving(Leaving::Looking { at, client, to, browser: asked.browser() });
        Ok(Visit::new(asked, doing, call(at.hash, IdentityCommand::UseSession(used))))
    }

    /// The form of the page that asked.
    pub(super) fn log_out(&self, asked: &Asked<'_>) -> (Visit, Step) {
        let (ticket, browser) = (asked.form.get("ticket").unwrap_or_default(), asked.browser());
        let (Some(at), false) = (Place::of(ticket), browser.is_empty()) else {
            return Visit::refused(asked, LOG_OUT, "ticket", "", over());
        };
        let step = take(&at, Kind::Leaving, LOG_OUT, Take { browser, ..Default::default() });
        Visit::new(asked, Doing::Leaving(Leaving::Taking { session: asked.session() }), step)
    }
}

const NEEDED: &str = "An id_token_hint that was issued here is needed to log out.";

impl Visit {
    pub(super) fn leaving(&mut self, identity: &Identity, reply: LoginReply, leaving: Leaving) -> Step {
        match leaving {
            Leaving::Looking { at, client, to, browser } => {
                // One that was not used for long ends no less: tokens that came of it live on.
                if !["", "idle"].contains(&reply.refusal.as_str()) {
                    return Step::Done(Page::wrong(400, NEEDED).with_cookie(SESSION, "", 0));
                }
                let request = Some(LoginRequest { client, redirect: to, ..Default::default() });
                let (session, user) = (place_bytes(&at), reply.grant.map(|grant| grant.user).unwrap_or_default());
                let kind = Kind::Leaving as u8;
                let grant = Grant { kind, request, session, browser, user, ..Default::default() };
                let open = Open { grant, life: TICKET_MS, interaction: NAME.into(), ..Default::default() };
                self.doing = Doing::Leaving(Leaving::Opening);
                call(self.anywhere(), IdentityCommand::Open(open))
            }
            Leaving::Opening => {
                let action = format!("{}{}", identity.issuer_path(), paths::LOG_OUT);
                let body = Content::Html(page::log_out(&reply.secret.0, &action));
                let page = Page { status: 200, body, ..Default::default() };
                Step::Done(page.with_browser(&reply.other.0))
            }
            Leaving::Taking { session } => {
                let (Some(grant), Some(at)) = (reply.grant, session) else { return Step::Done(over()) };
                // Of the session that the page was shown for, and of no other that the browser may have since.
                if grant.session != place_bytes(&at) {
                    return Step::Done(over());
                }
                let to = grant.request.map(|request| request.redirect).unwrap_or_default();
                let end = EndSession { place: grant.session, interaction: LOG_OUT.into(), ..Default::default() };
                self.doing = Doing::Ending { to };
                call(at.hash, IdentityCommand::EndSession(end))
            }
        }
    }
}

/// The session is over, or was already.
pub(super) fn ended(to: String) -> Page {
    let page = match to.is_empty() {
        true => Page {
            status: 200,
            body: Content::Html(page::plain("Logged out", "You are logged out.")),
            ..Default::default()
        },
        false => Page::to(to),
    };
    page.with_cookie(SESSION, "", 0)
}
