//! The files of a chain read as one, in key order: where several speak of a key, the latest is right.

use super::file::{Changes, Reader};
use crate::seam::fs::Fs;
use crate::store::StoreError;
use bytes::Bytes;
use std::path::PathBuf;

/// Rows handed out at once, and about their bytes.
const ROWS: usize = 4096;
const BYTES: usize = 256 << 10;

/// A file that cannot be read or is damaged, and why.
pub type Bad = (PathBuf, StoreError);

struct Source {
    reader: Reader,
    path: PathBuf,
    rows: std::vec::IntoIter<(Bytes, Option<Bytes>)>,
    /// The next row; nothing behind the last.
    next: Option<(Bytes, Option<Bytes>)>,
}

impl Source {
    fn open(fs: &dyn Fs, path: PathBuf, verify: bool) -> Result<Source, Bad> {
        let opened = Reader::open(fs, &path).and_then(|reader| {
            // Each run is checked as it is read; the digest also tells that all of them are this file's.
            if verify {
                reader.verify()?;
            }
            Ok(reader)
        });
        match opened {
            Ok(reader) => {
                let mut source = Source { reader, path, rows: vec![].into_iter(), next: None };
                source.advance()?;
                Ok(source)
            }
            Err(e) => Err((path, e)),
        }
    }

    fn advance(&mut self) -> Result<(), Bad> {
        self.next = self.rows.next();
        while self.next.is_none() {
            let Some(rows) = self.reader.rows().map_err(|e| (self.path.clone(), e))? else { break };
            self.rows = rows.into_iter();
            self.next = self.rows.next();
        }
        Ok(())
    }
}

/// The files of a chain. Holds one run of each in memory.
pub struct Merge {
    /// Oldest first.
    sources: Vec<Source>,
}

impl Merge {
    /// Opens files, oldest first. `verify`: compares the digest of each first.
    pub fn open(fs: &dyn Fs, files: Vec<PathBuf>, verify: bool) -> Result<Merge, Bad> {
        let sources = files.into_iter().map(|path| Source::open(fs, path, verify)).collect::<Result<_, _>>()?;
        Ok(Merge { sources })
    }

    /// The next rows, those that are gone too. Empty at the end.
    pub fn rows(&mut self) -> Result<Changes, Bad> {
        let (mut rows, mut bytes) = (Changes::new(), 0);
        while rows.len() < ROWS && bytes < BYTES {
            let Some((key, value)) = self.row()? else { break };
            bytes += key.len() + value.as_ref().map_or(0, Bytes::len);
            rows.push((key, value));
        }
        Ok(rows)
    }

    fn row(&mut self) -> Result<Option<(Bytes, Option<Bytes>)>, Bad> {
        let keys = self.sources.iter().filter_map(|source| source.next.as_ref().map(|(key, _)| key));
        let Some(key) = keys.min().cloned() else { return Ok(None) };
        let mut value = None;
        for source in &mut self.sources {
            if source.next.as_ref().is_some_and(|(next, _)| *next == key) {
                value = source.next.take().and_then(|(_, value)| value);
                source.advance()?;
            }
        }
        Ok(Some((key, value)))
    }
}
