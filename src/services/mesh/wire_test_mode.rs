//! The test mode's requests as commands (mesh.md §15). Which mailbox holds a message is not in its id, so that all
//! are asked; a site under test has few.

use super::{
    BodyInfo, Call, INLINE_LIMIT, Mesh, Route,
    command::{AddEvent, Enquiry, MakeReport, Reset},
    refusal::{Invalid, Problem, plain, validation},
    rows::{Event, Status},
    wire::call,
};
use crate::{
    services::directory::rows as registry,
    store::{Reader, tables::Table},
};
use serde_json::{Map, Value};

/// Mailboxes that are asked.
const MAX_FAN_OUT: usize = 1000;

impl Mesh {
    pub(super) fn test_mode(&self, route: &Route, body: BodyInfo, site: &dyn Reader) -> Result<Vec<Call>, Problem> {
        let all = || {
            let rows = registry::list::<registry::Mailbox>(site, Table::Mailboxes, "", MAX_FAN_OUT).unwrap_or_default();
            rows.into_iter().map(|(id, _)| id).collect::<Vec<_>>()
        };
        Ok(match route {
            Route::AdminReset { mailbox } => {
                let wanted = mailbox.clone().map_or_else(all, |one| vec![one]);
                let each = |m: &String| call(m, Reset { mailbox: m.clone(), ..Default::default() }.into());
                wanted.iter().map(each).collect()
            }
            Route::AdminReport => {
                let report = report(&Fields::of(body)?)?;
                vec![call(&report.mailbox.clone(), report.into())]
            }
            Route::AdminEvent { message } => {
                let event = event(&Fields::of(body)?, message)?;
                let each = |mailbox: String| call(&mailbox.clone(), AddEvent { mailbox, ..event.clone() }.into());
                all().into_iter().map(each).collect()
            }
            Route::AdminMessage { message } => {
                let each = |mailbox: String| {
                    let key = mailbox.clone();
                    call(&key, Enquiry { kind: 5, mailbox, message: message.clone(), ..Default::default() }.into())
                };
                all().into_iter().map(each).collect()
            }
            _ => vec![],
        })
    }
}

fn report(fields: &Fields) -> Result<MakeReport, Problem> {
    let undeliverable = fields.one_of("status", &["undeliverable", "error"])? == "undeliverable";
    // A non-delivery report has a code and words of its own.
    let told = |name| if undeliverable { fields.text(name) } else { fields.required(name) };
    Ok(MakeReport {
        mailbox: fields.required("mailbox_id")?.trim().to_uppercase(),
        code: told("code")?,
        text: told("description")?,
        workflow: fields.required("workflow_id")?,
        subject: fields.text("subject")?,
        local_id: fields.text("local_id")?,
        undeliverable,
        file_name: fields.text("file_name")?,
        linked: fields.text("linked_message_id")?,
        ..Default::default()
    })
}

fn event(fields: &Fields, message: &str) -> Result<AddEvent, Problem> {
    let words = ["uploading", "accepted", "acknowledged", "undeliverable", "error"];
    let status = Status::named(&fields.one_of("status", &words)?);
    Ok(AddEvent {
        message: message.to_owned(),
        status: status.map_or(0, |s| s as u8),
        error: Event {
            event: fields.text("event")?,
            code: fields.text("code")?,
            text: fields.text("description")?,
            ..Default::default()
        },
        linked: fields.text("linked_message_id")?,
        ..Default::default()
    })
}

/// A JSON object's texts.
struct Fields(Map<String, Value>);

impl Fields {
    fn of(body: BodyInfo) -> Result<Fields, Problem> {
        let bytes = match body {
            BodyInfo::Inline(bytes) => bytes,
            BodyInfo::TooLarge => return Err(plain(413, &format!("Request body is larger than {INLINE_LIMIT} bytes"))),
            _ => Default::default(),
        };
        match serde_json::from_slice(&bytes) {
            Ok(Value::Object(fields)) => Ok(Fields(fields)),
            _ => Err(invalid("json_invalid", "json", "Body should be a JSON object")),
        }
    }

    /// Empty where it is missing or null. A control character could not stand in the header that the text becomes.
    fn text(&self, name: &str) -> Result<String, Problem> {
        match self.0.get(name) {
            None | Some(Value::Null) => Ok(String::new()),
            Some(Value::String(text)) if text.chars().any(char::is_control) => {
                Err(invalid("value_error", name, "String should not hold control characters"))
            }
            Some(Value::String(text)) => Ok(text.clone()),
            Some(_) => Err(invalid("string_type", name, "Input should be a valid string")),
        }
    }

    fn required(&self, name: &str) -> Result<String, Problem> {
        match self.text(name)? {
            text if text.is_empty() => Err(invalid("missing", name, "Field required")),
            text => Ok(text),
        }
    }

    fn one_of(&self, name: &str, words: &[&str]) -> Result<String, Problem> {
        let text = self.required(name)?.to_lowercase();
        if words.contains(&text.as_str()) {
            return Ok(text);
        }
        Err(invalid("enum", name, &format!("Input should be one of: {}", words.join(", "))))
    }
}

fn invalid(kind: &str, name: &str, text: &str) -> Problem {
    validation(&[Invalid { kind, place: "body", name, text }])
}
