//! Pages and other answers of log-ins. Pages are plain HTML with their style inside, need no script but for a passkey, may not be framed or kept,
//! and show nothing of a client but the name under which an operator registered it.

use crate::wire::jwt::to_base64url;
use aws_lc_rs::digest::{SHA256, digest};
use serde_json::{Value, json};
use std::sync::LazyLock;

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
    Html(String),
    /// A page with the passkeys' script.
    Scripted(String),
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
        let inner = format!("<h1>This does not work</h1><p>{}</p>", escaped(words));
        Page { status, body: Content::Html(html("This does not work", &inner)), ..Default::default() }
    }
}

/// A page of a few words.
pub fn plain(title: &str, words: &str) -> String {
    html(title, &format!("<h1>{}</h1><p>{}</p>", escaped(title), escaped(words)))
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
    pub failed: bool,
}

/// The log-in page.
pub fn log_in(offers: &LogIn<'_>) -> String {
    let alert = match offers.failed {
        true => {
            "<p role=\"alert\" id=\"failed\" class=\"alert\">You could not be logged in. Check user ID, password and \
             one-time code. A code works once; after several failures you have to wait.</p>"
        }
        false => "",
    };
    let password = offers.password.as_deref().map(|action| password(offers, action));
    let button = |action: &Option<String>, words: &str| match action {
        Some(action) => format!(
            "<form method=\"post\" action=\"{}\"><input type=\"hidden\" name=\"ticket\" value=\"{}\"><button \
             class=\"second\" type=\"submit\">{words}</button></form>",
            escaped(action),
            escaped(offers.ticket)
        ),
        None => String::new(),
    };
    let passkey = button(&offers.passkey, "Sign in with a passkey");
    let smartcard = button(&offers.smartcard, "Sign in with your smartcard");
    let nothing = match offers.password.is_none() && offers.passkey.is_none() && offers.smartcard.is_none() {
        true => {
            "<p role=\"alert\" class=\"alert\">The application asks for a smartcard, and none that is known here came with \
             this connection. Put it into its reader, close the browser, and begin again.</p>"
        }
        false => "",
    };
    let password = password.unwrap_or_default();
    html("Log in", &format!("<h1>Log in</h1>{alert}{password}{passkey}{smartcard}{nothing}"))
}

fn password(offers: &LogIn<'_>, action: &str) -> String {
    let code = match offers.code {
        true => {
            "<label for=\"code\">One-time code</label><p class=\"hint\" id=\"code-hint\">Six digits, from your \
             authenticator app</p><input id=\"code\" name=\"code\" inputmode=\"numeric\" autocomplete=\"one-time-code\" \
             maxlength=\"7\" required aria-describedby=\"code-hint\">"
        }
        false => "",
    };
    format!(
        "<form method=\"post\" action=\"{action}\"><input type=\"hidden\" name=\"ticket\" value=\"{ticket}\"><label \
         for=\"user\">User ID</label><p class=\"hint\" id=\"user-hint\">Twelve digits</p><input id=\"user\" name=\"user\" \
         inputmode=\"numeric\" autocomplete=\"username\" maxlength=\"12\" required autofocus \
         aria-describedby=\"user-hint\"><label for=\"password\">Password</label><input id=\"password\" name=\"password\" \
         type=\"password\" autocomplete=\"current-password\" maxlength=\"200\" required>{code}<button type=\"submit\">Log \
         in</button></form>",
        action = escaped(action),
        ticket = escaped(offers.ticket),
    )
}

/// The role page: (role profile, job role, organisation).
pub fn roles(ticket: &str, action: &str, roles: &[(String, String, String)]) -> String {
    let mut choices = String::new();
    for (at, (urp, role, organisation)) in roles.iter().enumerate() {
        let checked = if at == 0 { " checked" } else { "" };
        choices.push_str(&format!(
            "<div class=\"choice\"><input type=\"radio\" id=\"role-{urp}\" name=\"role\" value=\"{urp}\"{checked}>\
             <label for=\"role-{urp}\"><strong>{}</strong><br>{}</label></div>",
            escaped(role),
            escaped(organisation),
            urp = escaped(urp),
        ));
    }
    let inner = format!(
        "<h1>Choose your role</h1><form method=\"post\" action=\"{}\"><input type=\"hidden\" name=\"ticket\" value=\"{}\">\
         <fieldset><legend>In which role do you work now?</legend>{choices}</fieldset>\
         <button type=\"submit\">Go on</button></form>",
        escaped(action),
        escaped(ticket)
    );
    html("Choose your role", &inner)
}

/// The page that asks whether to log out.
pub fn log_out(ticket: &str, action: &str) -> String {
    let inner = format!(
        "<h1>Log out</h1><p>Do you want to log out? Every application that you entered with this log-in loses its access.</p>\
         <form method=\"post\" action=\"{}\"><input type=\"hidden\" name=\"ticket\" value=\"{}\">\
         <button type=\"submit\">Log out</button></form><p>To stay logged in, close this page.</p>",
        escaped(action),
        escaped(ticket)
    );
    html("Log out", &inner)
}

const STYLE: &str = "body{font-family:Arial,Helvetica,sans-serif;font-size:1.125rem;line-height:1.5;color:#212b32;background:#f0f4f5;\
margin:0}header{background:#005eb8;color:#fff;padding:1rem 1.5rem;font-weight:bold}main{max-width:32rem;margin:2rem auto;\
padding:1.5rem;background:#fff;border:1px solid #d8dde0}h1{margin-top:0}label,legend{display:block;font-weight:bold;\
margin-top:1rem}.hint{margin:0;color:#4c6272}input:not([type=radio]){box-sizing:border-box;width:100%;font:inherit;padding:.5rem;\
border:2px solid #4c6272}input:focus,button:focus{outline:4px solid #ffeb3b;outline-offset:0;box-shadow:inset 0 0 0 4px #212b32}\
button{margin-top:1.5rem;font:inherit;font-weight:bold;color:#fff;background:#007f3b;border:0;border-bottom:4px solid #00401e;\
padding:.75rem 1.5rem}button.second{background:#fff;color:#005eb8;border:2px solid #005eb8}[hidden]{display:none}.alert{border-left:8px solid #d5281b;padding:.5rem 1rem;background:#fbe9e8}fieldset{border:0;padding:0;\
margin:0}.choice{display:flex;gap:.75rem;margin-top:1rem}.choice label{margin:0;font-weight:normal}";

/// `content-security-policy` of every page: this one style, nothing else, in no frame.
pub static POLICY: LazyLock<String> = LazyLock::new(|| {
    // Base64 proper: 32 bytes make 43 digits and one sign that fills up.
    let hash = to_base64url(digest(&SHA256, STYLE.as_bytes()).as_ref()).replace('-', "+").replace('_', "/");
    format!("default-src 'none'; style-src 'sha256-{hash}='; frame-ancestors 'none'; base-uri 'none'")
});

/// `content-security-policy` of a page with the passkeys' script: that too, from this site alone, which serves no other.
pub static SCRIPTED_POLICY: LazyLock<String> = LazyLock::new(|| format!("{}; script-src 'self'", *POLICY));

pub(super) fn html(title: &str, inner: &str) -> String {
    format!(
        "<!DOCTYPE html><html lang=\"en\"><head><meta charset=\"utf-8\"><meta name=\"viewport\" \
         content=\"width=device-width, initial-scale=1\"><title>{title} - Spine</title><style>{STYLE}</style></head><body>\
         <header>Spine</header><main>{inner}</main></body></html>"
    )
}

/// Text in HTML, in or out of an attribute.
pub fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            c => out.push(c),
        }
    }
    out
}
