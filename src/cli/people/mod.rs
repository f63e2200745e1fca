//! `spine generate people`: a synthetic nation, a person a line, in the form that `spine pds import` reads. The same count and
//! seed give the same bytes; memory does not grow with the count.
//!
//! | file | duty |
//! |---|---|
//! | `mod` | households: who lives together, under which numbers |
//! | `person` | one person's record, and what is odd about some |
//! | `luck` | the numbers that decide, from the seed |
//! | `words` | names, streets, towns |

mod luck;
mod person;
mod words;

use super::failure::{Done, failure, file};
use crate::{model::NhsNumber, ops::codes};
use luck::Luck;
use person::{Household, Member};
use std::{
    io::{BufWriter, Write},
    path::Path,
};

/// Where the numbers come from: first and how many of the first nine digits, and a step that has no divisor in common with them.
struct Numbers {
    first: u64,
    size: u64,
    step: u64,
    at: u64,
}

impl Numbers {
    /// 999 000 0000 to 999 999 9999, the numbers kept for tests; or all that begin with 9.
    fn new(all_nines: bool) -> Numbers {
        match all_nines {
            false => Numbers { first: 999_000_000, size: 1_000_000, step: 387_961, at: 0 },
            true => Numbers { first: 900_000_000, size: 100_000_000, step: 38_796_137, at: 0 },
        }
    }
}

impl Iterator for Numbers {
    type Item = NhsNumber;
    /// Each number once, in an order that has nothing to do with who lives with whom.
    fn next(&mut self) -> Option<NhsNumber> {
        while self.at < self.size {
            let nine = self.first + self.at * self.step % self.size;
            self.at += 1;
            if let Some(number) = NhsNumber::from_nine(nine) {
                return Some(number);
            }
        }
        None
    }
}

/// Writes `count` people to stdout.
pub fn run(count: u64, seed: u64, all_nines: bool) -> Done {
    let most = if all_nines { 90_000_000 } else { 900_000 };
    if count > most {
        let fix =
            if all_nines { "ask for fewer" } else { "add --all-nines, which takes every number that begins with 9" };
        let why = format!("{count} people need more than the {most} numbers that are kept for them");
        return Err(failure(&codes::CLI_USAGE, "there are not enough NHS numbers", why, fix));
    }
    let mut out = BufWriter::with_capacity(1 << 20, std::io::stdout().lock());
    let told = |e: &std::io::Error| file("the people cannot be written", Path::new("stdout"), e);
    match write(count, seed, all_nines, &mut out).and_then(|()| out.flush()) {
        // Whoever read has enough.
        Err(e) if e.kind() == std::io::ErrorKind::BrokenPipe => Ok(()),
        Err(e) => Err(told(&e)),
        Ok(()) => Ok(()),
    }
}

/// Writes people household by household, until there are `count`.
pub fn write(count: u64, seed: u64, all_nines: bool, out: &mut impl Write) -> std::io::Result<()> {
    let mut numbers = Numbers::new(all_nines);
    let mut written = 0;
    for house in 0.. {
        if written >= count {
            break;
        }
        // Each household has luck of its own, so that one more decision in one leaves all others as they are.
        let mut luck = Luck::new(seed, house);
        let household = Household::new(&mut luck);
        for member in household.members(&mut luck) {
            if written >= count {
                break;
            }
            let Some(number) = numbers.next() else { return Ok(()) };
            let old = if luck.one_in(300) { numbers.next() } else { None };
            let line = line(&household, &member, number, old, &mut luck);
            writeln!(out, "{line}")?;
            written += 1;
        }
    }
    Ok(())
}

fn line(
    household: &Household,
    member: &Member,
    number: NhsNumber,
    old: Option<NhsNumber>,
    luck: &mut Luck,
) -> serde_json::Value {
    let mut line = person::line(household, member, number, luck);
    if let Some(old) = old {
        line["supersedes"] = serde_json::json!([old.digits()]);
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::services::pds::import;
    use std::collections::HashSet;

    fn people(count: u64, seed: u64) -> String {
        let mut out = vec![];
        write(count, seed, false, &mut out).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn a_seed_makes_the_same_nation_and_every_line_can_be_imported() {
        let all = people(3_000, 7);
        assert_eq!(all, people(3_000, 7));
        assert_ne!(people(50, 7), people(50, 8));
        assert!(all.starts_with(&people(100, 7)), "a larger nation begins as a smaller one");
        let mut numbers = HashSet::new();
        for line in all.lines() {
            let (nhs, _) = import::line(line).unwrap();
            assert!(nhs.digits().starts_with("999") && numbers.insert(nhs));
        }
        assert_eq!(numbers.len(), 3_000);
    }

    #[test]
    fn the_awkward_are_among_them() {
        let all = people(6_000, 1);
        for sign in [
            r#""supersedes""#,
            r#""invalidated""#,
            r#""deceasedDateTime""#,
            r#""code":"R""#,
            r#""code":"V""#,
            "ZZ99 3VZ",
            "-02-29",
            r#""use":"nickname""#,
            r#""use":"temp""#,
            r#""history""#,
            r#""confidential""#,
            "PDS-RemovalReasonExitCode",
            "interpreterRequired",
            r#""multipleBirthInteger":2"#,
            "relatedPersons",
        ] {
            assert!(all.contains(sign), "{sign}");
        }
        let no_postcode = |line: &str| line.contains(r#""address""#) && !line.contains("postalCode");
        assert!(all.lines().any(no_postcode));
        assert!(all.lines().any(|line| !line.is_ascii()), "names with accents");
    }

    #[test]
    fn numbers_do_not_repeat() {
        let all: HashSet<u64> = Numbers::new(false).map(NhsNumber::value).collect();
        assert!(all.len() > 900_000);
    }
}
