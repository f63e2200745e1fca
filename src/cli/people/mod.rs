//! `spine generate people`: a synthetic nation, a person a line, in the form that `spine import people` reads. The same count and
//! seed give the same bytes; memory does not grow with the count.
//!
//! | file | duty |
//! |---|---|
//! | `mod` | households: who lives together, under which numbers |
//! | `person` | one person's record |
//! | `odd` | what is odd about some |
//! | `luck` | the numbers that decide, from the seed |
//! | `words` | names, streets, towns |

mod luck;
mod odd;
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

/// The published people whose numbers begin with 9: nobody else gets them, so that both can be in one site.
#[rustfmt::skip]
const PUBLISHED: [u64; 35] = [
    9_000_000_009, 9_000_000_017, 9_000_000_025, 9_000_000_033, 9_000_000_041, 9_693_632_109, 9_693_632_125, 9_693_632_966,
    9_693_633_121, 9_693_633_148, 9_693_633_679, 9_693_633_687, 9_693_633_695, 9_693_633_709, 9_727_022_820, 9_727_024_610,
    9_732_019_395, 9_732_019_506, 9_732_110_317, 9_733_162_043, 9_733_162_337, 9_733_162_450, 9_733_162_981, 9_733_163_007,
    9_733_163_015, 9_733_163_023, 9_733_163_058, 9_733_163_201, 9_736_363_015, 9_736_363_023, 9_736_363_066, 9_736_363_074,
    9_736_363_120, 9_912_003_071, 9_990_003_343,
];

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
            if let Some(number) = NhsNumber::from_nine(nine).filter(|number| !PUBLISHED.contains(&number.value())) {
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
        let mut mother = None;
        for member in household.members(&mut luck) {
            if written >= count {
                break;
            }
            let Some(number) = numbers.next() else { return Ok(()) };
            let old = if luck.one_in(300) { numbers.next() } else { None };
            let line = line(&household, &member, number, old, mother, &mut luck);
            if mother.is_none() && member.may_be_mother() {
                mother = Some(number);
            }
            writeln!(out, "{line}")?;
            written += 1;
            // Somebody else of the same name, born on the same day, who lives elsewhere.
            if written < count && line.get("invalidated").is_none() && luck.one_in(400) {
                let Some(number) = numbers.next() else { return Ok(()) };
                let other = odd::namesake(&line, &Household::new(&mut luck), number, &mut luck);
                writeln!(out, "{other}")?;
                written += 1;
            }
        }
    }
    Ok(())
}

fn line(
    household: &Household,
    member: &Member,
    number: NhsNumber,
    old: Option<NhsNumber>,
    mother: Option<NhsNumber>,
    luck: &mut Luck,
) -> serde_json::Value {
    let mut line = person::line(household, member, number, luck);
    if line.get("invalidated").is_none() {
        odd::make(&mut line, member, mother, luck);
    }
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
            "O'",
            "birthPlace",
            "UKCore-OtherContactSystem",
            "v2-0131",
            r#""use":"billing""#,
            r#""coverage""#,
            "consentValue",
            "PreferredContactMethod",
        ] {
            assert!(all.contains(sign), "{sign}");
        }
        let no_postcode = |line: &str| line.contains(r#""address""#) && !line.contains("postalCode");
        assert!(all.lines().any(no_postcode));
        assert!(all.lines().any(|line| !line.is_ascii()), "names with accents");
        let people: Vec<serde_json::Value> = all.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        let born =
            |n: usize| move |p: &serde_json::Value| p["resource"]["birthDate"].as_str().is_some_and(|b| b.len() == n);
        assert!(people.iter().any(born(4)) && people.iter().any(born(7)), "dates of which only a part is known");
        let thin = |p: &serde_json::Value| p["resource"].get("name").is_none() && p.get("invalidated").is_none();
        assert!(people.iter().any(thin), "records of hardly anything");
        let nameless = |p: &serde_json::Value| p.pointer("/resource/name/0").is_some_and(|n| n.get("given").is_none());
        assert!(people.iter().any(nameless), "people with one name only");
        let longest = |p: &serde_json::Value| {
            p.pointer("/resource/name/0/family").is_some_and(|f| f.as_str().unwrap().len() == 35)
        };
        assert!(people.iter().any(longest), "family names of full length");
        let mut named = std::collections::HashMap::new();
        for person in &people {
            let key = (
                person["resource"]["name"][0]["family"].to_string(),
                person["resource"]["name"][0]["given"].to_string(),
                person["resource"]["birthDate"].to_string(),
            );
            *named.entry(key).or_insert(0) += usize::from(person["resource"].get("name").is_some());
        }
        assert!(named.values().any(|n| *n > 1), "two of one name and birth date");
        let mothers = people.iter().filter_map(|p| p.pointer("/relatedPersons/0/patient/identifier/value"));
        let numbers: HashSet<&str> = people.iter().filter_map(|p| p["nhsNumber"].as_str()).collect();
        assert!(
            mothers.filter(|m| numbers.contains(m.as_str().unwrap())).count() > 10,
            "mothers who are in the nation"
        );
    }

    #[test]
    fn numbers_do_not_repeat() {
        let all: HashSet<u64> = Numbers::new(false).map(NhsNumber::value).collect();
        assert!(all.len() > 900_000);
    }
}
