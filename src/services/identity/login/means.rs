//! What a client asks of a log-in by `acr_values` (spec/identity.md §2.4), and by which authenticators it can be met.
//!
//! A value that names a level is met by any authenticator of that level or a higher one; a value that names an authenticator,
//! by that one alone. Of several values any one is enough. Without a value it is `AAL3_ANY` (§2.2).

/// How a person proved themself, as `amr` tells it.
pub const PASSWORD: &str = "PASSWORD";
pub const TOTP: &str = "TOTP";
pub const PASSKEY: &str = "FIDO2";
pub const SMARTCARD: &str = "SMARTCARD";

/// What is asked for where no value is (§2.2).
pub const DEFAULT: &str = "AAL3_ANY";
/// A level that nobody reaches.
const BEYOND: u8 = u8::MAX;

/// One value.
#[derive(Debug, PartialEq, Eq)]
struct Means {
    /// As the ID token tells it (`acr`).
    acr: &'static str,
    /// Least level of authentication, 1 to 3.
    level: u8,
    /// The one authenticator that will do, as `amr` tells it; empty for any.
    by: &'static str,
}

/// Every value that can be met.
static ALL: [Means; 9] = [
    of(DEFAULT, 3, ""),
    of("AAL3_FIDO2", 3, PASSKEY),
    of("AAL3_SMARTCARD", 3, SMARTCARD),
    of("AAL3_N3_SMARTCARD", 3, SMARTCARD),
    of("AAL3_CIS2_SMARTCARD", 3, SMARTCARD),
    of("AAL2_OR_AAL3_ANY", 2, ""),
    of("AAL2_ANY", 2, ""),
    of("AAL2_TOTP", 2, TOTP),
    of("AAL1_USERPASS", 1, PASSWORD),
];
/// Specified, and met by nothing that there is.
const OUT_OF_REACH: [&str; 2] = ["AAL3_IOS", "AAL2_NHSMAIL"];

const fn of(acr: &'static str, level: u8, by: &'static str) -> Means {
    Means { acr, level, by }
}

/// What is asked for: values of which one must be met, in the client's order.
#[derive(Debug, PartialEq, Eq)]
pub struct Wanted(Vec<&'static Means>);

/// What the answer to `acr_values` is.
#[derive(Debug, PartialEq, Eq)]
pub enum Asked {
    For(Wanted),
    /// Only for what no authenticator here gives.
    OutOfReach,
    Unknown,
}

/// What a client asks for: values that are unknown or out of reach do not count beside one that can be met.
pub fn asked(acr_values: &str) -> Asked {
    let values = || acr_values.split(' ').filter(|value| !value.is_empty());
    if values().next().is_none() {
        return Asked::For(Wanted(vec![&ALL[0]]));
    }
    let known: Vec<_> = values().filter_map(|value| ALL.iter().find(|means| means.acr == value)).collect();
    match known.is_empty() {
        false => Asked::For(Wanted(known)),
        true if values().any(|value| OUT_OF_REACH.contains(&value)) => Asked::OutOfReach,
        true => Asked::Unknown,
    }
}

impl Wanted {
    /// Of a request that was let through; of any other, what is hardest.
    pub fn of(acr_values: &str) -> Wanted {
        match asked(acr_values) {
            Asked::For(wanted) => wanted,
            _ => Wanted(vec![&ALL[0]]),
        }
    }
    /// The first of the values that a log-in of this level by these authenticators meets.
    pub fn met(&self, level: u8, amr: &[String]) -> Option<&'static str> {
        let meets =
            |means: &&&Means| level >= means.level && (means.by.is_empty() || amr.iter().any(|by| by == means.by));
        self.0.iter().find(meets).map(|means| means.acr)
    }
    /// The least level that meets one of the values.
    pub fn level(&self) -> u8 {
        self.0.iter().map(|means| means.level).min().unwrap_or(BEYOND)
    }
    /// Whether only this authenticator will do.
    pub fn only(&self, by: &str) -> bool {
        self.0.iter().all(|means| means.by == by)
    }
    /// The least level that will do of an authenticator that reaches `reach`; one that nobody reaches where it will not do.
    fn least(&self, by: &[&str], reach: u8) -> u8 {
        let fit = self.0.iter().filter(|means| means.level <= reach && (means.by.is_empty() || by.contains(&means.by)));
        fit.map(|means| means.level).min().unwrap_or(BEYOND)
    }
    /// Level that a password, or one with a code, must reach.
    pub fn password_level(&self) -> u8 {
        self.least(&[PASSWORD, TOTP], 2)
    }
    /// Level that a passkey must reach.
    pub fn passkey_level(&self) -> u8 {
        self.least(&[PASSKEY], 3)
    }
    pub fn password(&self) -> bool {
        self.password_level() != BEYOND
    }
    pub fn passkey(&self) -> bool {
        self.passkey_level() != BEYOND
    }
    pub fn smartcard(&self) -> bool {
        self.least(&[SMARTCARD], 3) != BEYOND
    }
}

/// `acr_values_supported`.
pub fn supported() -> Vec<&'static str> {
    ALL.iter().map(|means| means.acr).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_value_that_can_be_met_counts() {
        let values = |text: &str| match asked(text) {
            Asked::For(wanted) => wanted.0.iter().map(|means| means.acr).collect::<Vec<_>>().join(" "),
            Asked::OutOfReach => "out of reach".into(),
            Asked::Unknown => "unknown".into(),
        };
        assert_eq!(values(""), "AAL3_ANY");
        assert_eq!(values("AAL3_IOS AAL2_ANY AAL1_USERPASS"), "AAL2_ANY AAL1_USERPASS");
        assert_eq!(values("AAL2_NHSMAIL x"), "out of reach");
        assert_eq!(values("AAL4_ANY"), "unknown");
    }

    #[test]
    fn the_first_value_that_was_met_is_told() {
        let met = |text: &str, level, amr: &str| Wanted::of(text).met(level, &[amr.to_owned()]).unwrap_or_default();
        assert_eq!(met("AAL3_ANY AAL2_ANY", 2, TOTP), "AAL2_ANY");
        assert_eq!(met("AAL2_ANY AAL3_ANY", 3, PASSKEY), "AAL2_ANY");
        assert_eq!(met("AAL3_SMARTCARD AAL3_FIDO2", 3, PASSKEY), "AAL3_FIDO2");
        assert_eq!(met("AAL3_SMARTCARD", 3, PASSKEY), "");
        assert_eq!(met("AAL1_USERPASS", 3, SMARTCARD), "");
    }

    #[test]
    fn pages_offer_what_meets_the_request() {
        let offered = |acr| {
            let wanted = Wanted::of(acr);
            (wanted.password(), wanted.passkey(), wanted.smartcard())
        };
        assert_eq!(offered("AAL3_ANY"), (false, true, true));
        assert_eq!(offered("AAL3_FIDO2"), (false, true, false));
        assert_eq!(offered("AAL3_N3_SMARTCARD"), (false, false, true));
        assert_eq!(offered("AAL2_OR_AAL3_ANY"), (true, true, true));
        assert_eq!(offered("AAL2_TOTP"), (true, false, false));
        assert_eq!(offered("AAL1_USERPASS"), (true, false, false));
        assert_eq!(offered("AAL3_FIDO2 AAL1_USERPASS"), (true, true, false));
        assert_eq!(Wanted::of("AAL3_FIDO2 AAL1_USERPASS").passkey_level(), 3);
    }
}
