//! Clerks: operators who write and read rows of the registry through the admin sockets of all nodes, while the site is
//! broken, and write down what they saw.

use super::{
    demo::PATIENCE,
    history::{Call, Op, Outcome},
    load::{PACE, Record, TIMEOUT},
};
use http::Method;
use serde_json::{Value, json};
use spine::ops::admin_client::AdminClient;
use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, Instant},
};

/// One for each of three nodes to begin with.
pub const CLERKS: usize = 3;
/// Between two operations of a clerk: registries change now and then.
const PAUSE: Duration = Duration::from_millis(40);

/// A row whose one field is a register: where it is, and how its value is said.
struct Row {
    key: &'static str,
    path: &'static str,
    said: fn(&str) -> Value,
    told: fn(&Value) -> String,
}

const ROWS: &[Row] = &[
    Row { key: "mailbox 1", path: "/v1/mailboxes/X26CLERK1", said: mailbox, told: name },
    Row { key: "mailbox 2", path: "/v1/mailboxes/X26CLERK2", said: mailbox, told: name },
    Row { key: "workflow 1", path: "/v1/workflows/CLERK_1", said: workflow, told: receiver },
];

fn mailbox(value: &str) -> Value {
    json!({"name": value, "ods": "X26", "org_code": "X26", "password": "password"})
}
fn name(row: &Value) -> String {
    row["name"].as_str().unwrap_or_default().to_owned()
}
fn workflow(value: &str) -> Value {
    json!({"senders": ["X26CLERK1"], "receivers": [value]})
}
fn receiver(row: &Value) -> String {
    row["receivers"][0].as_str().unwrap_or_default().to_owned()
}

pub struct Clerk {
    record: Arc<Record>,
    sockets: Vec<PathBuf>,
    number: usize,
    count: usize,
    patience: Duration,
}

impl Clerk {
    pub fn new(sockets: &[PathBuf], record: Arc<Record>, number: usize) -> Clerk {
        Clerk { record, sockets: sockets.to_vec(), number, count: 0, patience: TIMEOUT }
    }

    /// Writes and reads in turn, each time through the next node.
    pub async fn work_on(mut self) {
        let mut pace = tokio::time::interval(PAUSE);
        while !self.record.over() {
            pace.tick().await;
            self.count += 1;
            let row = &ROWS[(self.number + self.count / 2) % ROWS.len()];
            if self.count.is_multiple_of(2) {
                self.write(row).await
            } else {
                self.read(row).await
            };
        }
    }

    /// Reads every row through every node of a site that is healthy again.
    pub async fn read_all(mut self) {
        let deadline = Instant::now() + PATIENCE;
        for (row, _) in ROWS.iter().flat_map(|row| self.sockets.clone().into_iter().map(move |node| (row, node))) {
            self.count += 1;
            while !self.read(row).await {
                assert!(Instant::now() < deadline, "a healthy site shows {}", row.key);
            }
        }
    }

    /// Reads every row of one node at once, waiting for as long as it takes.
    pub async fn ask_each(socket: &Path, record: &Arc<Record>) {
        let reads = ROWS.iter().map(|row| {
            let sockets = vec![socket.to_owned()];
            let clerk = Clerk { record: Arc::clone(record), sockets, number: 0, count: 0, patience: PATIENCE };
            async move { clerk.read(row).await }
        });
        futures_util::future::join_all(reads).await;
    }

    async fn write(&self, row: &Row) -> bool {
        let value = format!("V{}X{}", self.number, self.count);
        let call = Call::Write { key: row.key.to_owned(), value: value.clone() };
        self.ask(call, Method::PUT, &format!("{}?mode=put", row.path), (row.said)(&value), |_| Outcome::Written).await
    }

    async fn read(&self, row: &Row) -> bool {
        let call = Call::Read { key: row.key.to_owned() };
        self.ask(call, Method::GET, row.path, Value::Null, |told| Outcome::Value { value: (row.told)(told) }).await
    }

    /// A failure of whatever kind leaves open whether it happened.
    async fn ask(
        &self,
        call: Call,
        method: Method,
        path: &str,
        body: Value,
        outcome: impl Fn(&Value) -> Outcome,
    ) -> bool {
        let node = AdminClient::new(&self.sockets[(self.number + self.count) % self.sockets.len()]);
        let invoked = self.record.now();
        let answer = tokio::time::timeout(self.patience, node.call(method, path, &body)).await;
        let done = self.record.now();
        let outcome = match answer {
            Ok(Ok(told)) => outcome(&told),
            _ => Outcome::Unknown,
        };
        let answered = outcome != Outcome::Unknown;
        self.record.note(Op { call, invoked, done, outcome });
        if !answered {
            tokio::time::sleep(PACE * 5).await;
        }
        answered
    }
}
