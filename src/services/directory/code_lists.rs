//! The reference data's code lists: organisation roles, relationships, record classes (directory.md §C.3). Roles are the
//! national list of 190, as published under the Open Government Licence v3: number, `*` where primary, name.

use std::sync::LazyLock;

/// One code of a list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Coded {
    /// Digits behind the list's two letters.
    pub number: u16,
    pub name: &'static str,
    /// Roles: may be an organisation's primary role.
    pub primary: bool,
}

static ROLES: LazyLock<Vec<Coded>> = LazyLock::new(|| include_str!("ods-roles.txt").lines().filter_map(line).collect());

fn line(line: &'static str) -> Option<Coded> {
    let (number, name) = line.split_once(' ')?;
    let primary = number.ends_with('*');
    Some(Coded { number: number.trim_end_matches('*').parse().ok()?, name, primary })
}

const fn plain(number: u16, name: &'static str) -> Coded {
    Coded { number, name, primary: false }
}

/// RE2, RE6, RE8 and RE9 are not confirmed by a published example (directory.md §C.3).
pub const RELATIONSHIPS: &[Coded] = &[
    plain(2, "IS A SUB-DIVISION OF"),
    plain(3, "IS DIRECTED BY"),
    plain(4, "IS COMMISSIONED BY"),
    plain(5, "IS LOCATED IN THE GEOGRAPHY OF"),
    plain(6, "IS OPERATED BY"),
    plain(8, "IS PARTNER TO"),
    plain(9, "IS NOMINATED PAYEE FOR"),
    plain(10, "IS COVERED BY"),
];

pub const RECORD_CLASSES: &[Coded] = &[plain(1, "HSCOrg"), plain(2, "HSCSite")];

/// All roles, in order of number.
pub fn roles() -> &'static [Coded] {
    &ROLES
}

fn of<'a>(list: &'a [Coded], letters: &str, code: &str) -> Option<&'a Coded> {
    let number: u16 = code.strip_prefix(letters)?.parse().ok()?;
    list.iter().find(|coded| coded.number == number)
}

/// `RO177`.
pub fn role(code: &str) -> Option<&'static Coded> {
    of(&ROLES, "RO", code)
}

/// `RE4`.
pub fn relationship(code: &str) -> Option<&'static Coded> {
    of(RELATIONSHIPS, "RE", code)
}

/// `RC1`.
pub fn record_class(code: &str) -> Option<&'static Coded> {
    of(RECORD_CLASSES, "RC", code)
}

/// The name of a role; the code itself where the list does not have it.
pub fn role_name(code: &str) -> &str {
    role(code).map_or(code, |coded| coded.name)
}

pub fn relationship_name(code: &str) -> &str {
    relationship(code).map_or(code, |coded| coded.name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_national_list_is_whole() {
        assert_eq!(roles().len(), 190);
        assert_eq!(role("RO177").map(|r| (r.name, r.primary)), Some(("PRESCRIBING COST CENTRE", true)));
        assert_eq!(role("RO76").map(|r| (r.name, r.primary)), Some(("GP PRACTICE", false)));
        assert_eq!(relationship_name("RE4"), "IS COMMISSIONED BY");
        assert!(role("RO999").is_none() && role("177").is_none() && record_class("RC2").is_some());
    }
}
