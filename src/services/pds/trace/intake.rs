//! A file as it streams in (spec/pds.md §16.2): its first row is checked, the others come out one by one, each with whether its
//! unique reference was there before. Memory grows with the number of rows by a few bytes each, and that is bounded.

use super::{
    code::{Code, Generation, MPT_REQUEST},
    layout,
};
use crate::{model::time, wire::csv::Rows};
use std::collections::HashSet;

/// A row behind the first.
pub struct Row {
    pub fields: Vec<String>,
    /// An earlier row has the same unique reference.
    pub repeated: bool,
}

/// A file in the middle of its reading.
pub struct Intake {
    rows: Rows,
    file: File,
}

struct File {
    generation: Generation,
    name: String,
    /// Most rows.
    limit: u64,
    /// What the header row says of the number of rows; MPT only.
    declared: Option<u64>,
    first_seen: bool,
    count: u64,
    /// Eight bytes of the SHA-256 of each unique reference.
    references: HashSet<u64>,
}

impl Intake {
    /// `name`: the file's, as MESH was told.
    pub fn new(generation: Generation, name: &str, limit: u64) -> Intake {
        let file = File {
            generation,
            name: name.to_owned(),
            limit,
            declared: None,
            first_seen: false,
            count: 0,
            references: HashSet::new(),
        };
        Intake { rows: Rows::default(), file }
    }

    /// Reads on. An error is the code of the whole file.
    pub fn feed(&mut self, piece: &[u8], mut take: impl FnMut(Row)) -> Result<(), Code> {
        let file = &mut self.file;
        self.rows.feed(piece, |fields| file.row(fields, &mut take))
    }

    /// The end of the file. Gives the number of its rows.
    pub fn finish(&mut self, mut take: impl FnMut(Row)) -> Result<u64, Code> {
        if let Some(fields) = self.rows.finish()? {
            self.file.row(fields, &mut take)?;
        }
        match (self.file.first_seen, self.file.count, self.file.declared) {
            (false, ..) => Err(Code::NOT_PARSED),
            (_, count, Some(declared)) if count != declared => Err(Code::COUNT_DIFFERS),
            // Column names alone ask for nothing (§16.2).
            (_, 0, None) => Err(Code::MISSING),
            (_, count, _) => Ok(count),
        }
    }
}

impl File {
    fn row(&mut self, fields: Vec<String>, take: &mut impl FnMut(Row)) -> Result<(), Code> {
        // A blank line is what editors leave at the end.
        if fields.len() == 1 && fields[0].trim().is_empty() {
            return Ok(());
        }
        if !self.first_seen {
            self.first_seen = true;
            return self.first(&fields);
        }
        self.count += 1;
        if self.count > self.limit {
            return Err(Code::TOO_MANY_RECORDS);
        }
        let reference = fields.first().map_or("", |text| text.trim());
        let repeated = !reference.is_empty() && !self.references.insert(short(reference));
        take(Row { fields, repeated });
        Ok(())
    }

    fn first(&mut self, fields: &[String]) -> Result<(), Code> {
        match self.generation {
            Generation::Mesh if layout::names_columns(fields) => Ok(()),
            Generation::Mesh => Err(Code::NOT_PARSED),
            Generation::Mpt => self.header(fields),
        }
    }

    /// Request reference, workflow id, timestamp, number of rows, and nothing else.
    fn header(&mut self, fields: &[String]) -> Result<(), Code> {
        let [reference, workflow, timestamp, count] = fields else {
            return Err(if fields.len() < 4 { Code::TOO_FEW_FIELDS } else { Code::TOO_MANY_FIELDS });
        };
        let moment = |text: &str| text.len() == 14 && time::parse_compact(text).is_some();
        if !reference.strip_prefix("MPTREQ_").is_some_and(moment) {
            return Err(Code::BAD_REFERENCE);
        }
        if self.name.strip_suffix(".csv") != Some(reference) {
            return Err(Code::NAME_DIFFERS);
        }
        if workflow != MPT_REQUEST {
            return Err(Code::BAD_WORKFLOW);
        }
        if !moment(timestamp) {
            return Err(Code::BAD_TIMESTAMP);
        }
        let digits = !count.is_empty() && count.bytes().all(|b| b.is_ascii_digit());
        let declared = count.parse::<u64>().ok().filter(|_| digits).ok_or(Code::COUNT_DIFFERS)?;
        if declared > self.limit {
            return Err(Code::TOO_MANY_RECORDS);
        }
        self.declared = Some(declared);
        Ok(())
    }
}

fn short(reference: &str) -> u64 {
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, reference.as_bytes());
    digest.as_ref().first_chunk::<8>().map_or(0, |head| u64::from_be_bytes(*head))
}
