//! The trail as a file: written from a node, verified anywhere without a site (P4).
//!
//! One JSON document a line. First what it is; then, for each partition, its records in their order, each signed head behind
//! the record that it covers, and at the end a head that was signed when the export was made. Last a seal, which is signed over
//! all of those ends. Bytes are base64url, as stored: what is verified is what was hashed. Memory is bounded, however long the trail.

use super::judged;
use crate::{
    audit::{Begin, Ca, Finding, Head, Seal, Verdict, Verifier},
    cli::{
        args::Globals,
        client,
        failure::{Done, Failure, failure, file as trouble},
    },
    ops::codes,
    wire::{jwt::from_base64url, record::Record as _},
};
use bytes::Bytes;
use rustls_pki_types::{CertificateDer, pem::PemObject};
use serde_json::{Value, json};
use std::{
    fs::File,
    io::{BufRead, BufReader, BufWriter, Read, Write},
    path::{Path, PathBuf},
};

/// What the first line calls the format.
const FORMAT: &str = "spine-audit-export";
const VERSION: u64 = 2;
/// Longest line: a record with a filed event in base64 has some 30 KiB.
const MAX_LINE: u64 = 1 << 20;

/// Writes the trail as this node has it.
pub async fn export(globals: &Globals, path: &Path, only: Option<u16>) -> Done {
    let client = client(globals)?;
    let query = only.map(|n| format!("?partition={n}")).unwrap_or_default();
    let begun = client.get(&format!("/v1/audit/heads{query}")).await?;
    // A file that is there is not written over: it may be the only copy.
    let file = File::create_new(path).map_err(|e| trouble("the export cannot be written", path, &e))?;
    let mut out = Lines { path, out: BufWriter::new(file) };
    out.line(&json!({
        "format": FORMAT, "version": VERSION, "site": begun["site"], "node": begun["node"], "made": begun["made"],
    }))?;
    let chains = begun["items"].as_array().cloned().unwrap_or_default();
    let mut written = 0;
    for chain in &chains {
        let (partition, upto) = (&chain["partition"], chain["records"].as_u64().unwrap_or_default());
        let mut after = chain["begins"].as_u64().unwrap_or_default();
        if after > 0 {
            out.line(&json!({"partition": partition, "begins": after, "hash": chain["hash"]}))?;
        }
        while after < upto {
            let ask = format!("/v1/audit/export?partition={partition}&after={after}&upto={upto}");
            let page = client.get(&ask).await?;
            written += out.page(partition, &page)?;
            match page["next"].as_u64() {
                Some(next) => after = next,
                None => break,
            }
        }
        out.line(&json!({"partition": partition, "end": upto, "head": chain["head"]}))?;
    }
    out.line(&json!({"seal": begun["seal"]}))?;
    out.close()?;
    let value = json!({
        "file": path.display().to_string(), "records": written, "partitions": chains.len(), "made": begun["made"],
    });
    globals.out().one("AuditExport", &value, "file", || format!("{written} records in {}", path.display()));
    globals.out().next(&format!("spine audit verify --file {} --ca ca.pem", path.display()));
    Ok(())
}

struct Lines<'a> {
    path: &'a Path,
    out: BufWriter<File>,
}

impl Lines<'_> {
    fn line(&mut self, value: &Value) -> Result<(), Failure> {
        writeln!(self.out, "{value}").map_err(|e| trouble("the export cannot be written", self.path, &e))
    }

    /// Records with their heads behind them; how many records.
    fn page(&mut self, partition: &Value, page: &Value) -> Result<usize, Failure> {
        let none = vec![];
        let mut heads = page["heads"].as_array().unwrap_or(&none).iter().peekable();
        let records = page["records"].as_array().unwrap_or(&none);
        for record in records {
            self.line(&json!({"partition": partition, "sequence": record[0], "record": record[1]}))?;
            while let Some(head) = heads.next_if(|head| head[0].as_u64() <= record[0].as_u64()) {
                self.line(&json!({"partition": partition, "head": head[1]}))?;
            }
        }
        Ok(records.len())
    }

    /// Durable when it returns.
    fn close(self) -> Result<(), Failure> {
        let path = self.path;
        let wrap = |e| trouble("the export cannot be written", path, &e);
        let file = self.out.into_inner().map_err(|e| wrap(e.into_error()))?;
        file.sync_all().map_err(wrap)
    }
}

/// Verifies a file against the authority's certificates and heads that were kept elsewhere.
pub fn verify(globals: &Globals, path: &Path, ca: &Path, kept: &[PathBuf]) -> Done {
    let ca = authority(ca)?;
    let mut heads = vec![];
    for file in kept {
        heads.extend(kept_heads(file)?);
    }
    let verdicts = read(path, opened(path)?, &ca, &heads)?;
    let mut chains: Vec<Value> = verdicts.iter().map(|(partition, verdict)| shown(*partition, verdict)).collect();
    // A chain that is kept a head of, and that the export has nothing of.
    for head in &heads {
        if !verdicts.iter().any(|(partition, _)| *partition == head.partition) {
            let nothing = Verifier::new(head.partition, 1, 0, None, ca.clone()).against([head.clone()]);
            chains.push(shown(head.partition, &nothing.close(None)));
        }
    }
    let ok = !chains.is_empty() && chains.iter().all(|chain| chain["ok"] == true);
    let told = json!({"ok": ok, "partitions": chains});
    judged(
        globals,
        &told,
        &chains,
        "keep the file as it is, export from each node, and treat it as a security incident",
    )
}

fn shown(partition: u16, verdict: &Verdict) -> Value {
    let findings: Vec<String> = verdict.findings.iter().map(ToString::to_string).collect();
    json!({
        "partition": partition, "records": verdict.records, "heads": verdict.heads, "ok": verdict.is_whole(),
        "result": verdict.line(), "findings": findings, "first": verdict.first, "told_by": verdict.told_by,
    })
}

fn unusable(path: &Path, line: usize, why: &str) -> Failure {
    let why = format!("{}: line {line}: {why}", path.display());
    failure(&codes::CLI_AUDIT_BROKEN, "the export cannot be read", why, "export again; keep this file as it is")
}

fn authority(path: &Path) -> Result<Ca, Failure> {
    let text = std::fs::read(path).map_err(|e| trouble("the authority's certificates cannot be read", path, &e))?;
    let all: Result<Vec<Bytes>, _> =
        CertificateDer::pem_slice_iter(&text).map(|der| der.map(|der| Bytes::copy_from_slice(&der))).collect();
    match all {
        Ok(all) if !all.is_empty() => Ok(Ca::new(all)),
        _ => Err(unusable(path, 1, "no certificate in it")),
    }
}

/// Lines of `spine audit heads --output jsonl`.
fn kept_heads(path: &Path) -> Result<Vec<Head>, Failure> {
    let mut heads = vec![];
    each_line(path, opened(path)?, |n, line| {
        heads.push(head_of(&line["head"]).ok_or_else(|| unusable(path, n, "no head in it"))?);
        Ok(())
    })?;
    // Of a site that had nothing to tell yet.
    heads.retain(|head| head.sequence > 0);
    Ok(heads)
}

fn head_of(value: &Value) -> Option<Head> {
    Head::decode(&from_base64url(value.as_str()?)?.into()).ok()
}

/// Ends that the file has, as stored, and the seal over them.
#[derive(Default)]
struct Closed {
    ends: Vec<(u16, Bytes)>,
    seal: Option<Seal>,
}

impl Closed {
    /// Adds to each chain what its end lacks: every one that the file has must be sealed as it is, and there are no others.
    fn judge(&self, ca: &Ca, verdicts: &mut Vec<(u16, Verdict)>) {
        let sealed: Vec<(u16, &Bytes)> = match &self.seal {
            Some(seal) if seal.check(ca).is_ok() => seal.ends().collect(),
            _ => vec![],
        };
        for (partition, _) in &sealed {
            if !verdicts.iter().any(|(number, _)| number == partition) {
                verdicts.push((*partition, Verifier::new(*partition, 1, 0, None, ca.clone()).verdict()));
            }
        }
        for (partition, verdict) in verdicts {
            let end = self.ends.iter().find(|(number, _)| number == partition);
            if !end.is_some_and(|(_, head)| sealed.contains(&(*partition, head))) {
                verdict.found(Finding::Unsealed(verdict.last));
            }
        }
    }
}

/// The chains of the file of this name, one after the other, with what is wrong with each.
pub fn read(path: &Path, file: impl BufRead, ca: &Ca, kept: &[Head]) -> Result<Vec<(u16, Verdict)>, Failure> {
    let mut done: Vec<(u16, Verdict)> = vec![];
    let mut open: Option<(u16, Verifier)> = None;
    let mut headed = false;
    let mut closed = Closed::default();
    each_line(path, file, |n, line| {
        let bad = |why| unusable(path, n, why);
        if !headed {
            headed = line["format"] == FORMAT && line["version"] == VERSION;
            return if headed { Ok(()) } else { Err(bad("no export of this format")) };
        }
        if let Some(seal) = line["seal"].as_str() {
            let decoded = from_base64url(seal).and_then(|bytes| Seal::decode(&bytes.into()).ok());
            closed.seal = Some(decoded.ok_or_else(|| bad("its seal cannot be read"))?);
            return Ok(());
        }
        let partition =
            line["partition"].as_u64().and_then(|p| u16::try_from(p).ok()).ok_or_else(|| bad("no partition"))?;
        if open.as_ref().is_some_and(|(number, _)| *number != partition) {
            done.extend(open.take().map(|(number, verifier)| (number, verifier.close(None))));
        }
        if done.iter().any(|(number, _)| *number == partition) {
            return Err(bad("a partition for the second time"));
        }
        let (_, verifier) = open.get_or_insert_with(|| {
            (partition, Verifier::new(partition, 1, u64::MAX - 1, None, ca.clone()).against(kept.iter().cloned()))
        });
        let head = || head_of(&line["head"]).ok_or_else(|| bad("no head in it"));
        if let Some(sequence) = line["sequence"].as_u64() {
            let bytes = line["record"].as_str().and_then(from_base64url).ok_or_else(|| bad("no record in it"))?;
            verifier.take_record(sequence, &bytes.into());
        } else if let Some(sequence) = line["begins"].as_u64() {
            let hash = line["hash"].as_str().and_then(from_base64url).and_then(|hash| hash.try_into().ok());
            let hash = hash.ok_or_else(|| bad("no hash in it"))?;
            verifier.begin(Begin { sequence, hash, ..Default::default() });
        } else if line["end"].is_u64() {
            let closing = head()?;
            closed.ends.push((partition, closing.encode()));
            done.extend(open.take().map(|(number, verifier)| (number, verifier.close(Some(&closing)))));
        } else {
            verifier.take_head(&head()?);
        }
        Ok(())
    })?;
    done.extend(open.take().map(|(number, verifier)| (number, verifier.close(None))));
    closed.judge(ca, &mut done);
    Ok(done)
}

fn opened(path: &Path) -> Result<BufReader<File>, Failure> {
    File::open(path).map(BufReader::new).map_err(|e| trouble("the file cannot be read", path, &e))
}

fn each_line(
    path: &Path,
    mut reader: impl BufRead,
    mut then: impl FnMut(usize, &Value) -> Result<(), Failure>,
) -> Result<(), Failure> {
    let wrap = |e| trouble("the file cannot be read", path, &e);
    let mut line = String::new();
    for n in 1.. {
        line.clear();
        if reader.by_ref().take(MAX_LINE).read_line(&mut line).map_err(wrap)? == 0 {
            return Ok(());
        }
        if !line.ends_with('\n') {
            return Err(unusable(path, n, "it ends in the middle"));
        }
        let value: Value = serde_json::from_str(&line).map_err(|_| unusable(path, n, "it is not JSON"))?;
        then(n, &value)?;
    }
    Ok(())
}
