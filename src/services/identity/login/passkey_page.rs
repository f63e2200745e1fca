//! Pages of passkeys. Those on which the browser speaks to an authenticator need a script, which is a file of its own; all
//! others, and every other way to log in, need none.

use super::page::{escaped, html};
use serde_json::Value;

/// The script of both pages, as it is served.
pub const SCRIPT: &str = include_str!("passkey.js");

const NO_SCRIPT: &str = "<noscript><p class=\"alert\">This step needs JavaScript, because only a script can ask the browser \
                         for a passkey.</p></noscript><p class=\"alert\" role=\"alert\" id=\"trouble\" hidden></p>";

/// A form that the script fills in: `fields` come back in base64url.
fn filled(ticket: &str, action: &str, script: &str, kind: &str, options: &Value, fields: &[&str], go: &str) -> String {
    let fields: String =
        fields.iter().map(|name| format!("<input type=\"hidden\" name=\"{name}\" value=\"\">")).collect();
    format!(
        "<form id=\"passkey\" method=\"post\" action=\"{action}\" data-kind=\"{kind}\" data-options=\"{options}\"><input \
         type=\"hidden\" name=\"ticket\" value=\"{ticket}\">{fields}<button type=\"button\" id=\"go\" hidden>{go}</button>\
         </form>{NO_SCRIPT}<script src=\"{script}\"></script>",
        action = escaped(action),
        ticket = escaped(ticket),
        script = escaped(script),
        options = escaped(&options.to_string()),
    )
}

/// Somebody logs in. `others`: there are other ways to do so; `alert`: what went wrong last time.
pub fn log_in(ticket: &str, action: &str, script: &str, options: &Value, others: bool, alert: Option<&str>) -> String {
    let alert = alert.map(|text| format!("<p class=\"alert\" role=\"alert\" id=\"failed\">{}</p>", escaped(text)));
    let fields = ["credential", "client_data", "authenticator_data", "signature", "user_handle"];
    let form = filled(ticket, action, script, "get", options, &fields, "Use your passkey");
    let other = match others {
        true => format!(
            "<form method=\"post\" action=\"{}\"><input type=\"hidden\" name=\"ticket\" value=\"{}\"><input type=\"hidden\" \
             name=\"other\" value=\"1\"><button class=\"second\" type=\"submit\">Log in another way</button></form>",
            escaped(action),
            escaped(ticket)
        ),
        false => String::new(),
    };
    let words = "<p>Your device asks for its PIN, your finger or your face. A security key is touched.</p>";
    let inner = format!("<h1>Log in with a passkey</h1>{}{words}{form}{other}", alert.unwrap_or_default());
    html("Log in with a passkey", &inner)
}

/// Somebody makes a passkey.
pub fn create(ticket: &str, action: &str, script: &str, options: &Value) -> String {
    let form = filled(ticket, action, script, "create", options, &["client_data", "attestation"], "Make a passkey");
    let words = "<p>The passkey is kept in this device, or in a security key. Have its PIN, your finger or your face ready.</p>";
    html("Make a passkey", &format!("<h1>Make a passkey</h1>{words}{form}"))
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
pub fn enrol(form: &Form<'_>) -> String {
    let alert = match form.failed {
        true => {
            "<p role=\"alert\" id=\"failed\" class=\"alert\">This was not accepted. Check what you typed; a code from the \
             registration authority is good for a short time and once.</p>"
        }
        false => "",
    };
    let password = match form.password {
        true => {
            "<label for=\"password\">Password</label><input id=\"password\" name=\"password\" type=\"password\" \
             autocomplete=\"current-password\" maxlength=\"200\" required autofocus><label for=\"totp\">One-time \
             code</label><p class=\"hint\" id=\"totp-hint\">Six digits, from your authenticator app</p><input id=\"totp\" \
             name=\"totp\" inputmode=\"numeric\" autocomplete=\"one-time-code\" maxlength=\"7\" required \
             aria-describedby=\"totp-hint\">"
        }
        false => "",
    };
    let inner = format!(
        "<h1>Enrol a passkey</h1>{alert}<form method=\"post\" action=\"{action}\"><label for=\"user\">User ID</label><p \
         class=\"hint\" id=\"user-hint\">Twelve digits</p><input id=\"user\" name=\"user\" inputmode=\"numeric\" \
         autocomplete=\"username\" maxlength=\"12\" required aria-describedby=\"user-hint\" value=\"{uid}\"><label \
         for=\"code\">Enrolment code</label><p class=\"hint\" id=\"code-hint\">From the registration authority</p><input \
         id=\"code\" name=\"code\" autocomplete=\"off\" maxlength=\"40\" required aria-describedby=\"code-hint\" \
         value=\"{code}\">{password}<button type=\"submit\">Go on</button></form>",
        action = escaped(form.action),
        uid = escaped(form.uid.get(..12).unwrap_or(form.uid)),
        code = escaped(form.code.get(..40).unwrap_or(form.code)),
    );
    html("Enrol a passkey", &inner)
}

/// It is done.
pub fn enrolled(level: u8) -> String {
    let more = match level {
        3 => "",
        _ => {
            "<p>It is kept in an account from which it can be copied to other devices. Some applications ask for more: they \
             need a passkey that stays in its device, such as a security key.</p>"
        }
    };
    let inner =
        format!("<h1 id=\"enrolled\">Your passkey is ready</h1><p>From now on you can log in with it.</p>{more}");
    html("Your passkey is ready", &inner)
}
