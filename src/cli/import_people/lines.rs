//! The lines of a file of people, a batch at a time, in an order that is kind to the site.
//!
//! A file is read in the order of NHS numbers, stretch by stretch: rows of neighbours lie beside each other, so that a site
//! writes each block once and finds at once that a person is new. That is worth almost half of an import's work. What cannot
//! be read twice (stdin) comes as it stands there. Memory is bounded, however long the file is (P6).

use crate::model::NhsNumber;
use serde::{Deserialize, Serialize};
use std::{
    fs::File,
    io::{self, BufRead, BufReader, Read, Seek, SeekFrom},
    os::unix::fs::FileExt,
};

/// Lines and bytes sent at once.
pub const BATCH_LINES: usize = 2_000;
const BATCH_BYTES: usize = 2 << 20;
/// Longest line: a person with everything there can be is far below.
const MAX_LINE: u64 = 1 << 20;
/// Lines of a stretch: where each is takes 24 bytes of memory, so 192 MiB.
const STRETCH_LINES: usize = 8 << 20;

const CHANGED: &str =
    "lines were changed since its progress was kept; import it anew without that: what is in already is left alone";

/// Lines, each with its number in the file, from 1.
#[derive(Debug, Default)]
pub struct Batch {
    pub lines: Vec<(u64, String)>,
    /// How far the file is behind us when these lines are.
    pub until: Place,
}

/// A place in a file: all of its first `lines` lines, `offset` bytes, and of the stretch that follows the first `ahead` lines
/// in the order of NHS numbers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Place {
    pub lines: u64,
    pub offset: u64,
    /// Nothing in what an earlier release kept, which read lines as they came.
    #[serde(default)]
    pub ahead: u64,
    /// Tells whether that stretch is still the same: a checksum over whose lines are where; 0 where none is begun.
    #[serde(default)]
    pub stretch: u32,
}

impl Place {
    /// Lines that are behind us.
    pub fn behind(&self) -> u64 {
        self.lines + self.ahead
    }
}

/// Lines as they come.
struct Stream<R> {
    reader: R,
    at: Place,
}

impl<R: BufRead> Stream<R> {
    /// The bytes of a line with its end; `None` at the end of the file.
    fn line(&mut self) -> io::Result<Option<Vec<u8>>> {
        let mut bytes = vec![];
        let read = Read::take(&mut self.reader, MAX_LINE).read_until(b'\n', &mut bytes)?;
        if read == 0 {
            return Ok(None);
        }
        self.at.lines += 1;
        if read as u64 == MAX_LINE && bytes.last() != Some(&b'\n') {
            return Err(io::Error::other(format!("line {} is longer than {MAX_LINE} bytes", self.at.lines)));
        }
        self.at.offset += read as u64;
        Ok(Some(bytes))
    }
}

/// Where a line is. Lines of one person stay in the order of the file.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Spot {
    /// The NHS number as it seems; 0 where none is seen.
    number: u64,
    offset: u64,
    len: u32,
    /// From the start of the stretch.
    line: u32,
}

/// A file, a stretch of lines at a time.
struct Sorted {
    file: File,
    most: usize,
    /// Where the stretch begins.
    from: Place,
    /// Where it ends.
    to: Place,
    spots: Vec<Spot>,
}

impl Sorted {
    /// Looks where the lines behind the stretch are.
    fn look(&mut self) -> io::Result<()> {
        self.file.seek(SeekFrom::Start(self.to.offset))?;
        let mut stream = Stream { reader: BufReader::with_capacity(1 << 20, &self.file), at: self.to };
        self.from = self.to;
        self.spots.clear();
        while self.spots.len() < self.most {
            let offset = stream.at.offset;
            let Some(bytes) = stream.line()? else { break };
            let line = self.spots.len() as u32;
            self.spots.push(Spot { number: number(&bytes), offset, len: bytes.len() as u32, line });
        }
        self.to = stream.at;
        self.spots.sort_unstable();
        self.from.stretch = self.spots.iter().fold(0, |sum, spot| {
            let sum = crc32c::crc32c_append(sum, &spot.number.to_le_bytes());
            crc32c::crc32c_append(sum, &spot.offset.to_le_bytes())
        });
        Ok(())
    }

    fn next(&mut self) -> io::Result<Option<Batch>> {
        if self.from.ahead as usize == self.spots.len() {
            self.look()?;
        }
        let (mut batch, mut bytes) = (Batch::default(), 0);
        for spot in &self.spots[self.from.ahead as usize..] {
            if is_full(&batch, bytes) {
                break;
            }
            let mut line = vec![0; spot.len as usize];
            self.file.read_exact_at(&mut line, spot.offset)?;
            bytes += line.len();
            batch.lines.push((self.from.lines + 1 + u64::from(spot.line), text(line)));
        }
        self.from.ahead += batch.lines.len() as u64;
        batch.until = if self.from.ahead as usize == self.spots.len() { self.to } else { self.from };
        Ok((!batch.lines.is_empty()).then_some(batch))
    }
}

enum Source {
    Stream(Stream<Box<dyn BufRead>>),
    Sorted(Sorted),
}

/// Batch by batch; ends early where the file cannot be read, and says so then.
pub struct Batches {
    source: Source,
    pub failed: Option<io::Error>,
}

impl Batches {
    /// What comes in once, behind `from`.
    pub fn stream(mut reader: Box<dyn BufRead>, from: Place) -> io::Result<Batches> {
        io::copy(&mut Read::take(&mut reader, from.offset), &mut io::sink())?;
        Ok(Batches { source: Source::Stream(Stream { reader, at: from }), failed: None })
    }

    /// A file, behind `from`.
    pub fn file(file: File, from: Place) -> io::Result<Batches> {
        Batches::stretched(file, from, STRETCH_LINES)
    }

    fn stretched(file: File, from: Place, most: usize) -> io::Result<Batches> {
        let to = Place { ahead: 0, stretch: 0, ..from };
        let mut sorted = Sorted { file, most, from: to, to, spots: vec![] };
        if from.ahead > 0 {
            sorted.look()?;
            // In another order the lines that are ahead are others: some would never come in.
            if sorted.from.stretch != from.stretch || from.ahead > sorted.spots.len() as u64 {
                return Err(io::Error::new(io::ErrorKind::InvalidData, CHANGED));
            }
            sorted.from.ahead = from.ahead;
        }
        Ok(Batches { source: Source::Sorted(sorted), failed: None })
    }

    /// Leaves out lines until `lines` are behind us, and tells where that is. Before the first batch.
    pub fn leave_out(&mut self, lines: u64) -> io::Result<Place> {
        match &mut self.source {
            Source::Stream(stream) => {
                while stream.at.lines < lines && stream.line()?.is_some() {}
                Ok(stream.at)
            }
            Source::Sorted(sorted) if sorted.from.ahead > 0 => Ok(sorted.from),
            Source::Sorted(sorted) => {
                sorted.file.seek(SeekFrom::Start(sorted.to.offset))?;
                let mut stream = Stream { reader: BufReader::new(&sorted.file), at: sorted.to };
                while stream.at.lines < lines && stream.line()?.is_some() {}
                sorted.to = stream.at;
                Ok(sorted.to)
            }
        }
    }

    fn read(&mut self) -> io::Result<Option<Batch>> {
        let stream = match &mut self.source {
            Source::Sorted(sorted) => return sorted.next(),
            Source::Stream(stream) => stream,
        };
        let (mut batch, mut bytes) = (Batch::default(), 0);
        while !is_full(&batch, bytes) {
            match stream.line() {
                Ok(None) => break,
                Ok(Some(line)) => {
                    bytes += line.len();
                    batch.lines.push((stream.at.lines, text(line)));
                    batch.until = stream.at;
                }
                // What came before it is not lost for that.
                Err(e) => {
                    self.failed = Some(e);
                    break;
                }
            }
        }
        Ok((!batch.lines.is_empty()).then_some(batch))
    }
}

impl Iterator for Batches {
    type Item = Batch;
    fn next(&mut self) -> Option<Batch> {
        if self.failed.is_some() {
            return None;
        }
        self.read().unwrap_or_else(|e| {
            self.failed = Some(e);
            None
        })
    }
}

fn is_full(batch: &Batch, bytes: usize) -> bool {
    batch.lines.len() >= BATCH_LINES || bytes >= BATCH_BYTES
}

/// A line without its end. What is no UTF-8 is read with marks, and refused as no JSON.
fn text(bytes: Vec<u8>) -> String {
    let text = String::from_utf8(bytes).unwrap_or_else(|e| String::from_utf8_lossy(e.as_bytes()).into_owned());
    text.trim_end().to_owned()
}

/// Whose line it seems to be: a hint for the order, so that a line need not be parsed twice.
fn number(line: &[u8]) -> u64 {
    let seen = || {
        let (_, rest) = str::from_utf8(line).ok()?.split_once("\"nhsNumber\"")?;
        let rest = rest.trim_start().strip_prefix(':')?.trim_start().strip_prefix('"')?;
        NhsNumber::strict(rest.split_once('"')?.0)
    };
    seen().map_or(0, NhsNumber::value)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    fn place(lines: u64, offset: u64) -> Place {
        Place { lines, offset, ..Place::default() }
    }

    /// A file of lines of one length, one for each of these people, `None` for a line of nobody's.
    fn file(people: &[Option<usize>]) -> File {
        let mut file = tempfile::tempfile().unwrap();
        let numbers: Vec<NhsNumber> = (999_000_000..).filter_map(NhsNumber::from_nine).take(3).collect();
        for (n, who) in people.iter().enumerate() {
            let number = who.map_or("0000000001".into(), |who| numbers[who].digits());
            writeln!(file, "{{\"n\":{n:04}, \"nhsNumber\" : \"{number}\"}}").unwrap();
        }
        file
    }

    fn order(batches: Batches) -> Vec<u64> {
        batches.flat_map(|batch| batch.lines).map(|(line, _)| line).collect()
    }

    #[test]
    fn a_file_comes_in_order_of_number_and_each_person_in_order_of_the_file() {
        let people = file(&[Some(2), Some(0), None, Some(1), Some(0)]);
        let batches = Batches::file(people, Place::default()).unwrap();
        assert_eq!(order(batches), [3, 2, 5, 4, 1]);
    }

    #[test]
    fn a_long_file_comes_in_stretches() {
        let people = [Some(2), Some(0), None, Some(1), Some(0)];
        let mut batches = Batches::stretched(file(&people), Place::default(), 2).unwrap();
        let ends: Vec<_> = batches.by_ref().map(|batch| batch.until).collect();
        let len = file(&people).seek(SeekFrom::End(0)).unwrap() / 5;
        assert_eq!(ends, [place(2, 2 * len), place(4, 4 * len), place(5, 5 * len)]);
        assert_eq!(order(Batches::stretched(file(&people), Place::default(), 2).unwrap()), [2, 1, 3, 4, 5]);
    }

    #[test]
    fn an_import_goes_on_in_the_middle_of_a_stretch() {
        let many: Vec<_> = (0..BATCH_LINES + 500).map(|n| Some(2 - n % 3)).collect();
        let mut batches = Batches::file(file(&many), Place::default()).unwrap();
        let first = batches.next().unwrap();
        assert_eq!((first.until.lines, first.until.offset, first.until.ahead), (0, 0, BATCH_LINES as u64));
        let rest = order(Batches::file(file(&many), first.until).unwrap());
        assert_eq!(rest, order(batches));
        let mut all: Vec<_> = first.lines.iter().map(|(line, _)| *line).chain(rest).collect();
        all.sort_unstable();
        assert!(all.into_iter().eq(1..=many.len() as u64), "each line once");
        // Somebody corrected a line, or added one: what is ahead would be others' lines.
        for changed in [[&[None], &many[1..]].concat(), [&many[..], &[Some(0)]].concat()] {
            let refused = Batches::file(file(&changed), first.until).err();
            assert_eq!(refused.map(|e| e.to_string()), Some(CHANGED.to_owned()));
        }
    }

    #[test]
    fn lines_are_left_out_at_the_start() {
        let people = file(&[Some(2), Some(0), None, Some(1)]);
        let mut batches = Batches::file(people, Place::default()).unwrap();
        assert_eq!(batches.leave_out(2).unwrap().lines, 2);
        assert_eq!(order(batches), [3, 4]);
        let stdin = Box::new(BufReader::new(io::Cursor::new("one\n\nzwei\r\nthree")));
        let mut batches = Batches::stream(stdin, place(1, 4)).unwrap();
        assert_eq!(batches.leave_out(2).unwrap(), place(2, 5));
        let batch = batches.next().unwrap();
        assert_eq!(batch.lines, [(3, "zwei".to_owned()), (4, "three".to_owned())]);
        assert_eq!(batch.until, place(4, 16));
    }

    #[test]
    fn a_line_without_end_is_no_memory_without_end() {
        let endless = BufReader::new(io::repeat(b'x'));
        let mut batches = Batches::stream(Box::new(endless), Place::default()).unwrap();
        assert!(batches.next().is_none());
        assert!(batches.failed.unwrap().to_string().contains("line 1 is longer"));
    }

    #[test]
    fn a_file_that_was_cut_meanwhile_is_an_error_and_no_end() {
        let people = file(&[Some(2), Some(0)]);
        let mut batches = Batches::file(people.try_clone().unwrap(), Place::default()).unwrap();
        assert!(batches.next().is_some());
        let Source::Sorted(sorted) = &mut batches.source else { panic!("a file is sorted") };
        sorted.from.ahead = 1;
        people.set_len(20).unwrap();
        assert!(batches.next().is_none());
        assert!(batches.failed.is_some());
    }
}
