//! `spine bench trace`: one file of batch trace, sent over MESH as a supplier's client sends it, and the time until its answer is
//! there and read. What bounds it is the service's own pace (`trace.rate`), which leaves room for others.

use super::{
    Output,
    api::{of_site, once, record},
    api_asks::Known,
    client::Client,
    duration,
    site::Site,
    token::Tokens,
    usage::Sample,
};
use crate::services::pds::trace::layout::REQUEST;
use anyhow::{Context, anyhow, bail};
use bytes::Bytes;
use http::{Method, Request, Response};
use http_body_util::Full;
use serde_json::{Value, json};
use std::{
    collections::HashSet,
    fmt::Write as _,
    io::Write as _,
    path::PathBuf,
    process::ExitCode,
    time::{Duration, Instant},
};

const WORKFLOW: &str = "SPINE_PDS_MESH_V1";
/// Between two looks into the inbox.
const GLANCE: Duration = Duration::from_millis(200);
/// Longest wait for one answer to a request.
const PATIENCE: Duration = Duration::from_secs(30);
/// Times that a request is asked again, of the next node.
const TRIES: usize = 5;
/// People that the rows are about, again and again.
const SAMPLE: usize = 20_000;

#[derive(clap::Args, Debug, Clone)]
pub struct TraceArgs {
    /// Folder of a running `spine demo`
    #[arg(long, value_name = "DIR")]
    demo: PathBuf,
    /// Rows of the file
    #[arg(long, default_value_t = 10_000, value_parser = clap::value_parser!(u32).range(1..=500_000))]
    rows: u32,
    /// What the rows say: number and birth date, or everything but the number
    #[arg(long, value_enum, default_value_t = By::Number)]
    by: By,
    /// Longest wait for the answer
    #[arg(long, default_value = "10m", value_parser = duration)]
    patience: Duration,
}

#[derive(clap::ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
enum By {
    Number,
    Details,
}

/// A supplier's client of one mailbox.
struct Supplier {
    client: Client,
    tokens: Tokens,
    mailbox: String,
}

impl Supplier {
    /// Asks until a node answers with time for it, each time with a token of its own.
    async fn ask(
        &mut self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: &Bytes,
    ) -> anyhow::Result<Response<Bytes>> {
        let mut told = String::new();
        for _ in 0..TRIES {
            let mut request = Request::builder()
                .method(method.clone())
                .uri(format!("/messageexchange/{}{path}", self.mailbox))
                .header("host", self.client.authority())
                .header("authorization", self.tokens.make())
                .header("accept", "application/vnd.mesh.v2+json");
            for (name, value) in headers {
                request = request.header(*name, *value);
            }
            match self.client.ask(request.body(Full::new(body.clone()))?).await {
                Ok(answer) if answer.status().is_success() => return Ok(answer),
                Ok(answer) if !matches!(answer.status().as_u16(), 429 | 503) => {
                    bail!("{path}: {} {}", answer.status(), String::from_utf8_lossy(answer.body()))
                }
                Ok(answer) => told = answer.status().to_string(),
                Err(failure) => told = failure.name().into(),
            }
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
        bail!("{path}: {told}")
    }

    async fn get(&mut self, path: &str) -> anyhow::Result<Response<Bytes>> {
        self.ask(Method::GET, path, &[], &Bytes::new()).await
    }

    async fn send(&mut self, to: &str, file: Bytes) -> anyhow::Result<String> {
        let headers =
            [("mex-to", to), ("mex-workflowid", WORKFLOW), ("mex-filename", "bench.csv"), ("content-type", "text/csv")];
        let sent = self.ask(Method::POST, "/outbox", &headers, &file).await?;
        let told: Value = serde_json::from_slice(sent.body())?;
        told["message_id"].as_str().map(str::to_owned).context("the answer names no message")
    }

    /// The answer to a message, once it is there: its rows, without the head. It is acknowledged.
    async fn answer(&mut self, sent: &str, until: Instant) -> anyhow::Result<String> {
        let mut others = HashSet::new();
        loop {
            let listed = self.get("/inbox").await?;
            let listed: Value = serde_json::from_slice(listed.body())?;
            for id in listed["messages"].as_array().into_iter().flatten().filter_map(Value::as_str) {
                if others.contains(id) {
                    continue;
                }
                let first = self.get(&format!("/inbox/{id}")).await?;
                let header = |name: &str| first.headers().get(name).and_then(|v| v.to_str().ok()).unwrap_or_default();
                if header("mex-subject") != sent {
                    others.insert(id.to_owned());
                    continue;
                }
                let chunks = header("mex-chunk-range").split(':').nth(1).and_then(|n| n.parse().ok()).unwrap_or(1);
                let mut text = first.body().to_vec();
                for chunk in 2..=chunks {
                    text.extend_from_slice(self.get(&format!("/inbox/{id}/{chunk}")).await?.body());
                }
                self.ask(Method::PUT, &format!("/inbox/{id}/status/acknowledged"), &[], &Bytes::new()).await?;
                let text = String::from_utf8(text).context("the answer is no text")?;
                return Ok(text.split_once('\n').map(|(_, rows)| rows.to_owned()).unwrap_or_default());
            }
            if Instant::now() >= until {
                bail!("no answer came within --patience; `spine pds traces` shows how far the file is");
            }
            tokio::time::sleep(GLANCE).await;
        }
    }
}

/// The file: so many rows about these people.
fn file(people: &[Known], rows: usize, by: By) -> Bytes {
    let mut text = REQUEST.join(",") + "\r\n";
    for (n, person) in people.iter().cycle().take(rows).enumerate() {
        let born = person.born.replace('-', "");
        let row = match by {
            By::Number => format!("{},,,,,{born},", person.nhs),
            By::Details => format!(
                ",{},{},,{},{born},{}",
                quoted(&person.family),
                quoted(&person.given),
                gender(&person.gender),
                quoted(&person.postcode)
            ),
        };
        let _ = write!(text, "{n},{row},,,,,,,,,,,,{n},,,,\r\n");
    }
    text.into()
}

fn quoted(text: &str) -> String {
    format!("\"{}\"", text.replace('"', "\"\""))
}

/// The code of a file's gender column.
fn gender(name: &str) -> &'static str {
    match name {
        "male" => "1",
        "female" => "2",
        _ => "9",
    }
}

/// How many rows an answer has, and how many of them found somebody. Addresses may hold commas: counted from the end.
fn found(rows: &str) -> (usize, usize) {
    let good = |row: &&str| !matches!(row.rsplit(',').nth(2), None | Some("0000000000" | "9999999999"));
    (rows.lines().count(), rows.lines().filter(good).count())
}

pub fn run(args: &TraceArgs, output: Output) -> anyhow::Result<ExitCode> {
    let site = Site::of_demo(&args.demo, "all")?;
    let (_, socket) = Site::of_apis(&args.demo)?;
    let to = record(&args.demo)?.trace_mailbox;
    let people = once(of_site(&socket, SAMPLE))??;
    if people.is_empty() {
        bail!("the site has nobody to trace: load people with spine import people");
    }
    let mailbox = site.mailboxes.first().context("demo.json names no mailbox")?;
    let mut supplier = Supplier {
        client: Client::new(&site, 0, PATIENCE),
        tokens: Tokens::new(&site.shared_key, &mailbox.id, &mailbox.password),
        mailbox: mailbox.id.clone(),
    };
    let file = file(&people, args.rows as usize, args.by);
    let (bytes, before, begun) = (file.len(), Sample::take(&site), Instant::now());
    let answer = once(async {
        let sent = supplier.send(&to, file).await?;
        supplier.answer(&sent, begun + args.patience).await
    })??;
    let took = begun.elapsed();
    let after = Sample::take(&site);
    let cpu_s: f64 = site.nodes.iter().map(|node| after.cpu_since(&before, node.id)).sum();
    let (rows, matched) = found(&answer);
    if rows != args.rows as usize {
        return Err(anyhow!("{} rows were asked and {rows} answered", args.rows));
    }
    let (seconds, each) = (took.as_secs_f64(), cpu_s * 1e6 / rows as f64);
    let text = match output {
        Output::Table => format!(
            "{rows} rows ({bytes} B) answered in {seconds:.1} s: {:.0} rows/s; {matched} found somebody; {each:.0} µs of the nodes' processors a row\n",
            rows as f64 / seconds
        ),
        Output::Json => {
            let told = json!({"rows": rows, "bytes": bytes, "seconds": seconds, "rate": rows as f64 / seconds,
                "matched": matched, "node_cpu_us": each});
            serde_json::to_string_pretty(&told)? + "\n"
        }
    };
    let _ = std::io::stdout().write_all(text.as_bytes());
    Ok(ExitCode::SUCCESS)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn person() -> Known {
        let line = json!({"nhsNumber": "9990000018", "resource": {"meta": {"versionId": "1", "security": [{"code": "U"}]},
            "name": [{"family": "O\"Neil, Smith", "given": ["Ann"]}], "gender": "female", "birthDate": "1970-02-03",
            "address": [{"postalCode": "LS1 6AE"}]}});
        Known::of_line(&line.to_string()).unwrap()
    }

    #[test]
    fn a_file_has_a_row_for_each_question_with_all_columns() {
        for (by, starts) in [
            (By::Number, "0,9990000018,,,,,19700203,,"),
            (By::Details, "0,,\"O\"\"Neil, Smith\",\"Ann\",,2,19700203,\"LS1 6AE\","),
        ] {
            let text = String::from_utf8(file(&[person()], 2, by).to_vec()).unwrap();
            let rows: Vec<&str> = text.split_terminator("\r\n").skip(1).collect();
            assert_eq!(rows.len(), 2);
            assert!(rows[0].starts_with(starts), "{}", rows[0]);
            assert_eq!(rows[1].replace(", Smith", "").split(',').count(), REQUEST.len(), "{}", rows[1]);
        }
    }

    #[test]
    fn what_an_answer_found_is_counted() {
        let rows = "0,,a,00,9990000018,1,100\r\n1,,a,98,0000000000,0,0\r\n2,,a,97,9999999999,4,0\r\n";
        assert_eq!(found(rows), (3, 1));
    }
}
