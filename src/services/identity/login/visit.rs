//! One request of a log-in: what is asked of the partitions, and what follows from each reply. Pure: whoever carries it submits the
//! calls, thinks on a thread that may be slow, and comes back.

use super::{
    citizens::{Errand, Provider, Question},
    command::{IssueCode, LoginReply, Note, SignIn, Take, UseSession},
    enrol::Enrolling,
    leave::Leaving,
    means::{DEFAULT, Wanted},
    page::{BROWSER, Content, Page, SESSION},
    passkey::Device,
    passkey_page::SCRIPT,
    routes::LoginRoute,
    rows::{self, Kind, LoginRequest, place_bytes},
};
use crate::{
    engine::draft::Fault,
    pages::parts::Mistake,
    services::{
        directory::{
            applications,
            users::{self, devices},
        },
        identity::{
            Identity,
            ask::Call,
            command::{IdentityCommand, IdentityReply},
            refusal::Refusal,
            tokens::{Place, sha256},
        },
    },
    store::Reader,
    wire::{form::Form, record::Record},
};
use bytes::Bytes;
use http::{HeaderMap, header};

/// Work that takes long, such as checking a password. It is bounded, and done away from those who serve others.
pub type Thought = Box<dyn FnOnce() -> bool + Send>;

/// What to do next.
pub enum Step {
    Done(Page),
    /// Submit these and come back with their replies.
    Submit(Vec<Call>),
    /// Do this and come back with what came of it.
    Think(Thought),
    /// Ask this outside the site, and come back with what was [heard](Visit::heard).
    Ask(Box<Question>),
}

/// What a request brings.
pub struct Asked<'a> {
    pub headers: &'a HeaderMap,
    pub query: Form,
    /// The body; empty where there is none.
    pub form: Form,
    pub site: &'a dyn Reader,
    /// Names this request.
    pub attempt: u64,
    /// SHA-256 of the client certificate that the connection has proven, lower-case hex; empty where there is none.
    pub certificate: &'a str,
    /// How long ago it did, in milliseconds.
    pub proven_ago: u64,
}

impl Asked<'_> {
    /// A cookie's value.
    pub fn cookie(&self, name: &str) -> Option<&str> {
        let all = self.headers.get_all(header::COOKIE).into_iter().filter_map(|v| v.to_str().ok());
        let mut pairs = all.flat_map(|line| line.split(';')).filter_map(|pair| pair.trim().split_once('='));
        pairs.find(|(n, _)| *n == name).map(|(_, value)| value)
    }
    /// SHA-256 of the browser's cookie; empty where it has none.
    pub fn browser(&self) -> Bytes {
        let cookie = self.cookie(BROWSER).filter(|text| !text.is_empty());
        cookie.map(|text| Bytes::copy_from_slice(&sha256(text.as_bytes()))).unwrap_or_default()
    }
    pub fn session(&self) -> Option<Place> {
        Place::of(self.cookie(SESSION)?)
    }
    /// Any partition: what is new has no place yet.
    pub fn anywhere(&self) -> Bytes {
        Bytes::copy_from_slice(&self.attempt.to_be_bytes())
    }
}

/// Where a request stands.
pub(super) enum Doing {
    /// The refusal is being noted.
    Noting(Page),
    Looking {
        request: LoginRequest,
        browser: Bytes,
        silent: bool,
    },
    Opening {
        request: LoginRequest,
        chosen: Option<(String, Vec<String>)>,
        /// Of a session that was just opened.
        cookie: Option<String>,
    },
    Coding {
        request: LoginRequest,
        cookie: Option<String>,
    },
    /// A log-in page's form came; its password is looked at once its ticket is known.
    TicketTaking {
        uid: String,
        hash: Bytes,
        code: String,
        ticket: String,
        work: Thought,
        /// What was typed as user ID, and what of it and the password cannot be.
        typed: String,
        mistakes: Vec<Mistake>,
    },
    Checking {
        uid: String,
        hash: Bytes,
        code: String,
        ticket: String,
        request: LoginRequest,
        browser: Bytes,
        typed: String,
    },
    SigningIn {
        request: LoginRequest,
        ticket: String,
        browser: Bytes,
        typed: String,
    },
    Taking {
        session: Option<Place>,
        role: String,
    },
    Choosing {
        request: LoginRequest,
        role: String,
    },
    /// With the code that the command is about.
    Claiming(Box<IdentityCommand>, Place, String),
    Redeeming {
        client: String,
        code: String,
    },
    Ending {
        to: String,
    },
    Showing,
    ErrandOpening {
        acr: String,
    },
    ErrandTaking {
        query: Form,
        /// Where citizens log in.
        citizens: Option<Box<Provider>>,
    },
    CitizenSending {
        provider: Box<Provider>,
        acr: String,
    },
    /// The provider is being asked what a code stands for.
    CitizenAsking(Box<Errand>),
    Passing {
        redirect: String,
        state: String,
    },
    Trading {
        exchange: bool,
    },
    ExchangeClaiming(Box<super::command::Trade>),
    ShowingApi,
    SigningOut,
    Device(Device),
    Enrolling(Enrolling),
    Leaving(Leaving),
}

/// One request.
pub struct Visit {
    pub(super) attempt: u64,
    pub(super) doing: Doing,
    /// The connection's certificate is somebody's smartcard.
    pub(super) card: bool,
    /// Why somebody whom nobody knows was refused without a record: the edge tells of it with others.
    pub stranger: String,
}

/// The command and the partition that it is for.
pub(super) fn call(key: impl AsRef<[u8]>, command: IdentityCommand) -> Step {
    Step::Submit(vec![one(key, command)])
}

pub(super) fn one(key: impl AsRef<[u8]>, command: IdentityCommand) -> Call {
    Call { key: Bytes::copy_from_slice(key.as_ref()), payload: command.encode() }
}

impl Visit {
    /// The first step of a request to a path of log-ins.
    pub fn begin(identity: &Identity, route: LoginRoute, asked: &Asked<'_>) -> Result<(Visit, Step), Fault> {
        let (mut visit, step) = Self::first(identity, route, asked)?;
        visit.card = !asked.certificate.is_empty() && devices::smartcard(asked.site, asked.certificate)?.is_some();
        Ok((visit, step))
    }

    fn first(identity: &Identity, route: LoginRoute, asked: &Asked<'_>) -> Result<(Visit, Step), Fault> {
        match route {
            LoginRoute::Discovery => Ok(Self::answered(asked, Page::json(200, identity.discovery()))),
            LoginRoute::Keys => {
                let page = Page { status: 200, body: Content::Keys, ..Default::default() };
                Ok(Self::answered(asked, page))
            }
            LoginRoute::Authorize => identity.authorize(asked),
            LoginRoute::LogIn => identity.log_in(asked),
            LoginRoute::Role => Ok(identity.choose(asked)),
            LoginRoute::Token => identity.provider_token(asked),
            LoginRoute::UserInfo => Ok(identity.provider_user_info(asked)),
            LoginRoute::EndSession => identity.end_session(asked),
            LoginRoute::LogOut => Ok(identity.log_out(asked)),
            LoginRoute::ApiAuthorize => identity.api_authorize(asked),
            LoginRoute::Callback => identity.callback(asked),
            LoginRoute::BackchannelLogout => identity.backchannel_logout(asked),
            LoginRoute::Passkey => identity.passkey(asked),
            LoginRoute::Smartcard => identity.smartcard(asked),
            LoginRoute::Script => {
                let page = Page { status: 200, body: Content::Script(SCRIPT), ..Default::default() };
                Ok(Self::answered(asked, page))
            }
            LoginRoute::Enrol => Ok(identity.enrol_start(asked)),
            LoginRoute::EnrolBegin => identity.enrol_begin(asked),
            LoginRoute::EnrolDone => Ok(identity.enrol_done(asked)),
        }
    }

    pub(super) fn new(asked: &Asked<'_>, doing: Doing, step: Step) -> (Visit, Step) {
        (Visit { attempt: asked.attempt, doing, card: false, stranger: String::new() }, step)
    }

    pub(super) fn answered(asked: &Asked<'_>, page: Page) -> (Visit, Step) {
        Self::new(asked, Doing::Showing, Step::Done(page))
    }

    /// A refusal, which leaves its record before it is told (P4); where it names no client or person that there is, the edge
    /// tells of it with others, so that strangers cannot fill the trail (P6).
    pub(super) fn refused(asked: &Asked<'_>, route: &str, outcome: &str, whom: &str, page: Page) -> (Visit, Step) {
        // Where the registry cannot be read, better a record too many.
        let application = || applications::application(asked.site, whom).map_or(true, |found| found.is_some());
        let person = || users::user(asked.site, whom).map_or(true, |found| found.is_some());
        if whom.is_empty() || !(application() || person()) {
            let (mut visit, step) = Self::answered(asked, page);
            visit.stranger = outcome.into();
            return (visit, step);
        }
        let note = Note {
            interaction: route.into(),
            outcome: outcome.into(),
            object: whom.chars().take(64).collect(),
            ..Default::default()
        };
        Self::new(asked, Doing::Noting(page), call(asked.anywhere(), IdentityCommand::Note(note)))
    }

    /// Notes what became of a request in the trail, then answers.
    pub(super) fn noting(&mut self, route: &str, outcome: &str, client: &str, page: Page) -> Step {
        let (interaction, outcome) = (route.to_owned(), outcome.to_owned());
        let note = Note { interaction, outcome, object: client.chars().take(64).collect(), ..Default::default() };
        self.doing = Doing::Noting(page);
        call(self.anywhere(), IdentityCommand::Note(note))
    }

    /// What came of [`Step::Think`].
    pub fn thought(&mut self, good: bool) -> Step {
        match std::mem::replace(&mut self.doing, Doing::Showing) {
            Doing::Checking { uid, hash, code, ticket, request, browser, typed } => {
                let sign_in = SignIn { uid, right: good, hash, ..Default::default() };
                self.checked(sign_in, code, request, (ticket, browser, typed))
            }
            Doing::Enrolling(Enrolling::Checking { begun, hash, code }) => self.enrol_thought(begun, hash, code, good),
            _ => Step::Done(self.broken()),
        }
    }

    /// Any partition, as a key.
    pub(super) fn anywhere(&self) -> Vec<u8> {
        self.attempt.to_be_bytes().to_vec()
    }

    /// Replies of [`Step::Submit`], in their order.
    pub fn replied(&mut self, identity: &Identity, replies: &[Bytes]) -> Result<Step, Fault> {
        let Some(first) = replies.first() else { return Ok(Step::Done(self.broken())) };
        let doing = std::mem::replace(&mut self.doing, Doing::Showing);
        // Claims of a signed JWT are answered by the token service.
        match doing {
            Doing::Claiming(then, at, code) => {
                let claim = IdentityReply::of(first)?;
                return Ok(self.provider_claimed(claim.refusal, *then, at, code));
            }
            Doing::ExchangeClaiming(trade) => {
                let claim = IdentityReply::of(first)?;
                return Ok(self.exchange_claimed(claim.refusal, *trade));
            }
            _ => {}
        }
        let reply = LoginReply::decode(first).map_err(|e| Fault::Other(format!("log-in reply: {e}")))?;
        Ok(match doing {
            Doing::Noting(page) => Step::Done(page),
            Doing::Looking { request, browser, silent } => self.looked(reply, request, browser, silent),
            Doing::Opening { request, chosen, cookie } => self.opened(identity, reply, &request, chosen, cookie),
            Doing::Coding { request, cookie } => self.coded(&reply, &request, cookie),
            taking @ Doing::TicketTaking { .. } => self.ticket_taken(identity, reply, taking),
            Doing::SigningIn { request, ticket, browser, typed } => {
                self.signed_in(identity, reply, request, (ticket, browser, typed))
            }
            Doing::Taking { session, role } => self.taken(reply, session, role),
            Doing::Choosing { request, role } => self.chosen(&reply, request, role),
            Doing::Redeeming { client, code } => self.redeemed(identity, &reply, &client, &code),
            Doing::Ending { to } => Step::Done(super::leave::ended(to)),
            Doing::Showing => Step::Done(super::provider::shown(&reply)),
            Doing::ErrandOpening { acr } => self.errand_opened(identity, &reply, &acr),
            Doing::ErrandTaking { query, citizens } => {
                self.errand_taken(identity, reply, &query, citizens.map(|provider| *provider))
            }
            Doing::CitizenSending { provider, acr } => self.citizen_sent(identity, &reply, &provider, &acr),
            Doing::Passing { redirect, state } => self.passed(&reply, &redirect, &state),
            Doing::Trading { exchange } => Step::Done(self.traded(&reply, exchange)),
            Doing::ShowingApi => Step::Done(self.api_shown(&reply)),
            Doing::SigningOut => Step::Done(self.signed_out(&reply)),
            Doing::Device(device) => self.device(identity, reply, device),
            Doing::Leaving(leaving) => self.leaving(identity, reply, leaving),
            Doing::Enrolling(at) => self.enrolling(identity, reply, at),
            Doing::Claiming(..) | Doing::ExchangeClaiming(_) | Doing::Checking { .. } | Doing::CitizenAsking(_) => {
                Step::Done(self.broken())
            }
        })
    }

    /// A step that does not follow: the program's fault, told as one.
    pub(super) fn broken(&self) -> Page {
        Page::problem(500, "server_error", "The request cannot be answered", self.attempt)
    }

    pub(super) fn refusal(&self, refusal: Refusal) -> Page {
        let (status, error, text) = refusal.told();
        Page::problem(status, error, text, self.attempt)
    }

    /// Asks for a code of this session; the ticket that led here is used up with it.
    pub(super) fn code(&mut self, request: LoginRequest, session: Bytes, role: String, cookie: Option<String>) -> Step {
        let Some(at) = rows::place_of(&session) else { return Step::Done(self.broken()) };
        let issue = IssueCode { session, request: request.clone(), role, ..Default::default() };
        self.doing = Doing::Coding { request, cookie };
        call(at.hash, IdentityCommand::IssueCode(issue))
    }
}

/// Asks whether a session is good for what a request wants (`acr_values`).
pub(super) fn use_session(at: &Place, acr: String, max_age: u64) -> Step {
    let level = Wanted::of(&acr).level();
    let acr = if acr.is_empty() { DEFAULT.to_owned() } else { acr };
    let command = UseSession { place: place_bytes(at), level, acr, max_age, ..Default::default() };
    call(at.hash, IdentityCommand::UseSession(command))
}

/// Looks a secret up, as the rest of the command says.
pub(super) fn take(at: &Place, kind: Kind, name: &str, rest: Take) -> Step {
    let take = Take { place: place_bytes(at), kind: kind as u8, interaction: name.to_owned(), ..rest };
    call(at.hash, IdentityCommand::Take(take))
}
