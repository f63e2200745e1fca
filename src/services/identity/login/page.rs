//! Pages and other answers of log-ins. Pages are of the NHS design system (`crate::pages`), need no script but for a passkey, may not be
//! framed or kept, and show nothing of a client but the name under which an operator registered it.

use crate::pages::{
    Sheet,
    parts::{self, Choice, Input, Mistake},
};
use serde_json::{Value, json};

/// An answer.
#[derive(Clone, Debug, Default)]
pub struct Page {
    pub status: u16,
    /// `location`, of a redirect.
    pub location: String,
    /// `set-cookie`.
    pub cookies: Vec<String>,
    pub body: Content,
    /// The client is to come back on a new connection.
    pub parts: bool,
}

#[derive(Clone, Debug, Default)]
pub enum Content {
    #[default]
    Nothing,
    Json(Value),
    /// A page; with a script where it is one of passkeys.
    Html(Sheet),
    /// The script itself.
    Script(&'static str),
    /// A choice among role profiles, whose names are in the registry.
    Roles {
        ticket: String,
        action: String,
        uid: String,
        roles: Vec<String>,
    },
    /// User-info of a person (spec/identity.md §2.2).
    UserInfo {
        uid: String,
        scope: String,
        now: u64,
    },
    /// Tokens, with an ID token that is still to be signed.
    Signed {
        body: Value,
        id_token: Value,
        uid: String,
    },
    /// The keys of the site.
    Keys,
}

impl Page {
    pub fn json(status: u16, body: Value) -> Page {
        Page { status, body: Content::Json(body), ..Default::default() }
    }
    /// An OAuth error (RFC 6749 §5.2), as the token service tells it.
    pub fn problem(status: u16, error: &str, description: &str, attempt: u64) -> Page {
        let id = format!("{attempt:016x}");
        Page::json(status, json!({"error": error, "error_description": description, "message_id": id}))
    }
    pub fn to(location: String) -> Page {
        // 303: whatever brought the browser here, it goes on with GET, and sends no password along.
        let status = 303;
        Page { status, location, ..Default::default() }
    }
    pub fn found(location: String) -> Page {
        Page { status: 302, location, ..Default::default() }
    }
    /// The same again, with the form, on a new connection.
    pub fn again(location: String) -> Page {
        Page { status: 307, location, parts: true, ..Default::default() }
    }
    pub fn with_cookie(mut self, name: &str, value: &str, life_s: u64) -> Page {
        // `__Host-`: this host alone, over TLS alone, for no subdomain to set.
        let cookie = format!("{name}={value}; Path=/; Max-Age={life_s}; Secure; HttpOnly; SameSite=Lax");
        self.cookies.push(cookie);
        self
    }
    /// With the cookie of a browser that had none.
    pub fn with_browser(self, cookie: &str) -> Page {
        if cookie.is_empty() { self } else { self.with_cookie(BROWSER, cookie, 24 * 3_600) }
    }
    /// Something is wrong that the browser must not be sent anywhere with.
    pub fn wrong(status: u16, words: &str) -> Page {
        Page { status, body: Content::Html(plain("You cannot go on from here", words)), ..Default::default() }
    }
}

/// A page of a few words.
pub fn plain(title: &str, words: &str) -> Sheet {
    Sheet::new(title, parts::heading(title) + &parts::paragraph(words))
}

/// The cookies of a browser: that it is the same one, and its session.
pub const BROWSER: &str = "__Host-spine-browser";
pub const SESSION: &str = "__Host-spine-session";

/// What the log-in page offers: the addresses of its forms.
pub struct LogIn<'a> {
    pub ticket: &'a str,
    pub password: Option<String>,
    /// A one-time code besides the password.
    pub code: bool,
    pub passkey: Option<String>,
    pub smartcard: Option<String>,
    /// It is shown again.
    pub again: Again<'a>,
}

/// Why a page is shown again: it keeps what was typed, but for what is secret.
#[derive(Clone, Copy, Debug, Default)]
pub struct Again<'a> {
    /// In the field of the user ID.
    pub typed: &'a str,
    /// What was not accepted as a whole; empty for nothing.
    pub about: &'a str,
    pub mistakes: &'a [Mistake],
}

impl Again<'_> {
    fn is_failed(&self) -> bool {
        !self.about.is_empty() || !self.mistakes.is_empty()
    }
}

/// The log-in page.
pub fn log_in(offers: &LogIn<'_>) -> Sheet {
    let again = &offers.again;
    let hidden = [("ticket", offers.ticket)];
    let password = offers.password.as_deref().map(|action| {
        let fields = user_field(again)
            + &password_field(again)
            + &if offers.code { code_field("code", again) } else { String::new() };
        parts::form(action, &hidden, &(fields + &parts::button("Log in")))
    });
    let other = |action: &Option<String>, words: &str| {
        let action = action.as_deref();
        action.map(|action| parts::form(action, &hidden, &parts::second_button(words))).unwrap_or_default()
    };
    let passkey = other(&offers.passkey, "Log in with a passkey");
    let smartcard = other(&offers.smartcard, "Log in with your smartcard");
    let nothing = offers.password.is_none() && offers.passkey.is_none() && offers.smartcard.is_none();
    let (about, more) = match nothing {
        true => (NO_WAY, parts::paragraph("Put your smartcard into its reader, close the browser, and begin again.")),
        false => (again.about, String::new()),
    };
    let summary = parts::error_summary(about, again.mistakes);
    let main = summary + &parts::heading("Log in") + &password.unwrap_or_default() + &passkey + &smartcard + &more;
    Sheet { failed: nothing || again.is_failed(), ..Sheet::new("Log in", main) }
}

const NO_WAY: &str = "The application asks for a smartcard, and none that is known here came with this connection.";

/// The field of the user ID: shared with the page on which a passkey is enrolled.
pub(super) fn user_field(again: &Again<'_>) -> String {
    Input {
        id: "user",
        label: "User ID",
        hint: "12 digits",
        error: Mistake::of(again.mistakes, "user"),
        value: again.typed,
        code: true,
        width: 20,
        autocomplete: "username",
        longest: 20,
        ..Default::default()
    }
    .html()
}

pub(super) fn password_field(again: &Again<'_>) -> String {
    Input {
        id: "password",
        label: "Password",
        error: Mistake::of(again.mistakes, "password"),
        secret: true,
        width: 20,
        autocomplete: "current-password",
        longest: 200,
        ..Default::default()
    }
    .html()
}

pub(super) fn code_field(id: &str, again: &Again<'_>) -> String {
    Input {
        id,
        label: "One-time code",
        hint: "6 digits, from your authenticator app",
        error: Mistake::of(again.mistakes, id),
        code: true,
        width: 10,
        autocomplete: "one-time-code",
        longest: 10,
        ..Default::default()
    }
    .html()
}

/// The role page: (role profile, job role, organisation).
pub fn roles(ticket: &str, action: &str, roles: &[(String, String, String)]) -> Sheet {
    const TITLE: &str = "Choose your role";
    let mut choices = vec![];
    for (at, (urp, role, organisation)) in roles.iter().enumerate() {
        choices.push(Choice { value: urp, words: role, hint: organisation, chosen: at == 0 });
    }
    let inner = parts::radios("role", "role", TITLE, &choices) + &parts::button("Continue");
    Sheet::new(TITLE, parts::form(action, &[("ticket", ticket)], &inner))
}

/// The page that asks whether to log out.
pub fn log_out(ticket: &str, action: &str) -> Sheet {
    let words = "Every application that you entered with this log-in loses its access.";
    let form = parts::form(action, &[("ticket", ticket)], &parts::button("Log out"));
    let stay = parts::paragraph("To stay logged in, close this page.");
    let title = "Do you want to log out?";
    Sheet::new(title, parts::heading(title) + &parts::paragraph(words) + &form + &stay)
}
