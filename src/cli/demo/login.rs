//! A person's access token by the real flow, as a browser goes through it: authorization, log-in page with smartcard, or with password and
//! one-time code, callback, code → token. The browser's cookies are kept in the demo's folder, so that a second token within five
//! minutes needs no new code: each code is good once.

use super::{
    layout::Layout,
    record::{Record, User},
    signer::request,
};
use crate::{
    cli::{
        failure::{Failure, failure},
        registry::encoded,
    },
    ops::codes,
    services::directory::users::secrets,
};
use std::{collections::BTreeMap, time::Duration};

/// Redirects that a log-in may take.
const MOST_STEPS: usize = 12;
/// Codes that are tried: of the step of time before now, of now, of the next, and, half a minute later, of the one behind it. Who
/// fails oftener would be locked out.
const TRIES: u64 = 4;

/// A browser of one person at one node.
struct Browser<'a> {
    record: &'a Record,
    node: String,
    cookies: BTreeMap<String, String>,
}

/// A ready access token of a person, from the first node that answers.
pub async fn token(record: &Record, layout: &Layout, user: &User) -> Result<String, Failure> {
    let path = layout.session(&user.id);
    let kept: BTreeMap<String, String> =
        std::fs::read_to_string(&path).ok().and_then(|text| serde_json::from_str(&text).ok()).unwrap_or_default();
    let mut last = String::from("the demo has no API listener");
    for node in record.nodes.iter().filter_map(|node| node.internet.clone()) {
        let mut browser = Browser { record, node, cookies: kept.clone() };
        match browser.token(user).await {
            Ok(token) => {
                let text = serde_json::to_string(&browser.cookies).unwrap_or_default();
                crate::cli::cert::write_private(&path, &text)?;
                return Ok(token);
            }
            Err(why) => last = format!("{}: {why}", browser.node),
        }
        if !last.contains("onnect") {
            break;
        }
    }
    Err(failure(
        &codes::CLI_DEMO,
        "no token was given",
        last,
        "see `spine user show`, `spine audit search` and the nodes' logs",
    ))
}

impl Browser<'_> {
    async fn token(&mut self, user: &User) -> Result<String, String> {
        let application = self.record.applications.first().ok_or("the demo has no application")?;
        let redirect = application.redirect_uris.first().ok_or("the application has no redirect address")?;
        let start = format!(
            "/oauth2/authorize?client_id={}&redirect_uri={}&response_type=code&state=demo",
            encoded(&application.client_id),
            encoded(redirect)
        );
        let back = self.walk(start, user, redirect).await?;
        let code = parameter(&back, "code").ok_or_else(|| format!("no code came back: {back}"))?;
        let form = format!(
            "grant_type=authorization_code&client_id={}&client_secret={}&redirect_uri={}&code={code}",
            encoded(&application.client_id),
            encoded(&application.client_secret),
            encoded(redirect)
        );
        let response = request(self.record, &self.node, "/oauth2/token", "", Some(form), None).await?;
        let told: serde_json::Value =
            serde_json::from_slice(response.body()).map_err(|_| "the answer is not JSON".to_owned())?;
        told["access_token"].as_str().map(str::to_owned).ok_or_else(|| told["error_description"].to_string())
    }

    /// Follows redirects and fills in pages until it is sent to `end`.
    async fn walk(&mut self, start: String, user: &User, end: &str) -> Result<String, String> {
        let (mut path, mut form, mut tries) = (start, None, 0);
        let card = user.smartcard.as_deref().zip(user.smartcard_key.as_deref());
        for _ in 0..MOST_STEPS {
            let cookies: Vec<String> = self.cookies.iter().map(|(n, v)| format!("{n}={v}")).collect();
            let response = request(self.record, &self.node, &path, &cookies.join("; "), form.take(), card).await?;
            self.keep(response.headers());
            if let Some(to) = response.headers().get("location").and_then(|to| to.to_str().ok()) {
                if to.starts_with(end) {
                    return Ok(to.to_owned());
                }
                path = to.strip_prefix(&self.record.issuer).ok_or_else(|| format!("sent to {to}"))?.to_owned();
                continue;
            }
            let text = String::from_utf8_lossy(response.body()).into_owned();
            let ticket = between(&text, "name=\"ticket\" value=\"", "\"").ok_or_else(|| short(&text))?;
            if let Some(action) = smartcard_button(&text).filter(|_| card.is_some()) {
                (path, form) = (action, Some(format!("ticket={ticket}")));
                continue;
            }
            path = between(&text, "action=\"", "\"").ok_or_else(|| short(&text))?;
            form = Some(match between(&text, "name=\"role\" value=\"", "\"") {
                Some(role) => format!("ticket={ticket}&role={role}"),
                None if tries == TRIES => return Err("password or one-time code were refused".into()),
                None => {
                    let now = jiff::Timestamp::now().as_millisecond().unsigned_abs() / secrets::STEP_MS;
                    let key = secrets::totp_key(&user.totp_secret).ok_or("the shared secret is none")?;
                    let mut step = now - 1 + tries;
                    if tries + 1 == TRIES {
                        tokio::time::sleep(Duration::from_millis(secrets::STEP_MS)).await;
                        step = now + 2;
                    }
                    let code = secrets::code(&key, step);
                    tries += 1;
                    format!("ticket={ticket}&user={}&password={}&code={code}", user.id, encoded(&user.password))
                }
            });
        }
        Err("the log-in went on and on".into())
    }

    fn keep(&mut self, headers: &http::HeaderMap) {
        for cookie in headers.get_all("set-cookie").iter().filter_map(|v| v.to_str().ok()) {
            if let Some((name, value)) = cookie.split(';').next().and_then(|pair| pair.split_once('=')) {
                self.cookies.insert(name.to_owned(), value.to_owned());
            }
        }
    }
}

/// Where a page sends somebody who presses the button "use my smartcard"; it has one for whose certificate it knows.
fn smartcard_button(text: &str) -> Option<String> {
    text.split("action=\"")
        .skip(1)
        .filter_map(|rest| rest.split('"').next())
        .find(|to| to.ends_with("smartcard"))
        .map(str::to_owned)
}

fn between(text: &str, from: &str, to: &str) -> Option<String> {
    let rest = &text[text.find(from)? + from.len()..];
    Some(rest[..rest.find(to)?].to_owned())
}

fn parameter(url: &str, name: &str) -> Option<String> {
    let query = url.split_once('?')?.1;
    query.split('&').find_map(|pair| pair.strip_prefix(name)?.strip_prefix('=')).map(str::to_owned)
}

fn short(text: &str) -> String {
    text.chars().take(200).collect()
}
