//! The test mode's requests as commands (mesh.md §15). Which mailbox holds a message is not in its id, so that all
//! are asked; a site under test has few.

use super::{
    Ask, BodyInfo, Mesh, Route,
    command::{AddEvent, Enquiry, MakeReport, Reset},
    rows::{Event, Status},
    wire::call,
};
use crate::{
    services::directory::rows as registry,
    store::{Reader, tables::Table},
};

/// Mailboxes that are asked.
const MAX_FAN_OUT: usize = 1000;

impl Mesh {
    pub(super) fn ask_test_mode(&self, ask: &mut Ask, body: BodyInfo, site: &dyn Reader) {
        let all = || {
            let rows = registry::list::<registry::Mailbox>(site, Table::Mailboxes, "", MAX_FAN_OUT).unwrap_or_default();
            rows.into_iter().map(|(id, _)| id).collect::<Vec<_>>()
        };
        let json = match &body {
            BodyInfo::Inline(bytes) => serde_json::from_slice(bytes).unwrap_or_default(),
            _ => serde_json::Value::Null,
        };
        let text = |name: &str| json.get(name).and_then(|v| v.as_str()).unwrap_or_default().to_owned();
        match &ask.route {
            Route::AdminReset { mailbox } => {
                ask.every = true;
                let wanted = mailbox.clone().map_or_else(all, |one| vec![one]);
                ask.calls =
                    wanted.iter().map(|m| call(m, Reset { mailbox: m.clone(), ..Default::default() }.into())).collect();
            }
            Route::AdminReport => {
                let report = MakeReport {
                    mailbox: text("mailbox_id").trim().to_uppercase(),
                    code: text("code"),
                    text: text("description"),
                    workflow: text("workflow_id"),
                    subject: text("subject"),
                    local_id: text("local_id"),
                    undeliverable: text("status") == "undeliverable",
                    file_name: text("file_name"),
                    linked: text("linked_message_id"),
                    ..Default::default()
                };
                ask.calls = vec![call(&report.mailbox.clone(), report.into())];
            }
            Route::AdminEvent { message } => {
                let event = AddEvent {
                    message: message.clone(),
                    status: Status::named(&text("status")).map_or(0, |s| s as u8),
                    error: Event {
                        event: text("event"),
                        code: text("code"),
                        text: text("description"),
                        ..Default::default()
                    },
                    linked: text("linked_message_id"),
                    ..Default::default()
                };
                let each = |mailbox: String| call(&mailbox.clone(), AddEvent { mailbox, ..event.clone() }.into());
                ask.calls = all().into_iter().map(each).collect();
            }
            Route::AdminMessage { message } => {
                let each = |mailbox: String| {
                    let key = mailbox.clone();
                    call(&key, Enquiry { kind: 5, mailbox, message: message.clone(), ..Default::default() }.into())
                };
                ask.calls = all().into_iter().map(each).collect();
            }
            _ => {}
        }
    }
}
