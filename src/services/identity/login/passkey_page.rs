//! Pages of passkeys. Those on which the browser speaks to an authenticator need a script, which is a file of its own; all
//! others, and every other way to log in, need none.

use super::page::{self, Again};
use crate::pages::{
    Sheet,
    parts::{self, Input, Mistake},
};
use serde_json::Value;

/// The script of both pages, as it is served.
pub const SCRIPT: &str = include_str!("passkey.js");

/// Where a form of the script goes, and what with.
pub struct Filled<'a> {
    pub ticket: &'a str,
    pub action: &'a str,
    /// The script's address.
    pub script: &'a str,
    pub options: &'a Value,
}

/// A form that the script fills in: `fields` come back in base64url.
fn filled(f: &Filled<'_>, kind: &str, fields: &[&str], go: &str) -> String {
    let fields: String = fields.iter().map(|name| parts::hidden_field(name, "")).collect();
    let none = "This step needs JavaScript, because only a script can ask the browser for a passkey.";
    format!(
        "<noscript>{none}</noscript><form id=\"passkey\" method=\"post\" action=\"{action}\" data-kind=\"{kind}\" \
         data-options=\"{options}\">{ticket}{fields}<button class=\"nhsuk-button\" data-module=\"nhsuk-button\" type=\"button\" \
         id=\"go\" hidden>{go}</button></form>",
        none = parts::inset(none),
        action = parts::escaped(f.action),
        options = parts::escaped(&f.options.to_string()),
        ticket = parts::hidden_field("ticket", f.ticket),
    )
}

fn sheet(title: &str, f: &Filled<'_>, above: &str, main: &str) -> Sheet {
    // The script's own troubles are told like any other.
    let trouble = parts::error_summary_to_fill("trouble-summary", "trouble");
    let main = format!("{above}{trouble}{}{main}", parts::heading(title));
    Sheet { failed: !above.is_empty(), script: f.script.to_owned(), ..Sheet::new(title, main) }
}

/// Somebody logs in. `others`: there are other ways to do so; `alert`: what went wrong last time.
pub fn log_in(f: &Filled<'_>, others: bool, alert: Option<&str>) -> Sheet {
    let fields = ["credential", "client_data", "authenticator_data", "signature", "user_handle"];
    let words = "Your device asks for its PIN, your finger or your face. A security key is touched.";
    let mut main = parts::paragraph(words) + &filled(f, "get", &fields, "Use your passkey");
    if others {
        let hidden = [("ticket", f.ticket), ("other", "1")];
        main.push_str(&parts::form(f.action, &hidden, &parts::second_button("Log in another way")));
    }
    sheet("Log in with a passkey", f, &parts::error_summary(alert.unwrap_or_default(), &[]), &main)
}

/// Somebody makes a passkey.
pub fn create(f: &Filled<'_>) -> Sheet {
    let words =
        "The passkey is kept in this device, or in a security key. Have its PIN, your finger or your face ready.";
    let form = filled(f, "create", &["client_data", "attestation"], "Make a passkey");
    sheet("Make a passkey", f, "", &(parts::paragraph(words) + &form))
}

/// The form before it.
pub struct Form<'a> {
    pub action: &'a str,
    pub uid: &'a str,
    pub code: &'a str,
    /// The person has a password, and must show it.
    pub password: bool,
    pub failed: bool,
}

/// Who comes with a code, or with the link that holds it.
pub fn enrol(form: &Form<'_>) -> Sheet {
    const TITLE: &str = "Enrol a passkey";
    let short = |text: &str, most: usize| text.chars().take(most).collect::<String>();
    let (uid, code) = (short(form.uid, 20), short(form.code, 40));
    let mistakes = match (form.failed, form.password) {
        (false, _) => vec![],
        (true, false) => vec![Mistake::new(
            "code",
            "Check your user ID and the enrolment code: it is good for a short time, and once",
        )],
        (true, true) => {
            vec![Mistake::new("password", "Check your password and the one-time code: each code works once")]
        }
    };
    let again = Again { typed: &uid, about: "", mistakes: &mistakes };
    let code = Input {
        id: "code",
        label: "Enrolment code",
        hint: "From the registration authority",
        error: Mistake::of(&mistakes, "code"),
        value: &code,
        width: 30,
        autocomplete: "off",
        longest: 40,
        ..Default::default()
    };
    let mut inner = page::user_field(&again) + &code.html();
    if form.password {
        inner.push_str(&(page::password_field(&again) + &page::code_field("totp", &again)));
    }
    let inner = parts::form(form.action, &[], &(inner + &parts::button("Continue")));
    let main = parts::error_summary("", &mistakes) + &parts::heading(TITLE) + &inner;
    Sheet { failed: form.failed, ..Sheet::new(TITLE, main) }
}

/// It is done.
pub fn enrolled(level: u8) -> Sheet {
    const TITLE: &str = "Your passkey is ready";
    let mut main = format!("<div id=\"enrolled\">{}</div>", parts::heading(TITLE));
    main.push_str(&parts::paragraph("You can log in with it from now on."));
    if level != 3 {
        main.push_str(&parts::inset(
            "It is kept in an account from which it can be copied to other devices. Some applications ask for a passkey that stays in \
             its device, such as a security key.",
        ));
    }
    Sheet::new(TITLE, main)
}
