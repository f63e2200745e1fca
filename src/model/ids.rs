//! Identifiers of organisations, systems, mailboxes and workflows. Each is checked where it enters and carries that
//! proof in its type, so that rooms below need not look twice.

use std::fmt;

/// Why text is not such an identifier. Says the rule, never the text: a field may hold a patient's data (P10).
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadId {
    #[error("a mailbox id is 1 to 100 letters or digits")]
    Mailbox,
    #[error("a workflow id is 1 to 300 characters, no control characters, and not a URL")]
    Workflow,
    #[error("an ODS code is 1 to 12 letters or digits")]
    Ods,
    #[error("an ASID is 1 to 20 letters or digits")]
    Asid,
}

macro_rules! text_id {
    ($(#[$meta:meta])* $name:ident) => {
        $(#[$meta])*
        #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(String);
        impl $name {
            pub fn as_str(&self) -> &str {
                &self.0
            }
            pub fn into_string(self) -> String {
                self.0
            }
        }
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

text_id! {
    /// A MESH mailbox, upper case (mesh.md §1). Typically ODS code, two letters, three digits, but opaque.
    MailboxId
}
text_id! {
    /// A MESH workflow: free text, case-sensitive (mesh.md §1).
    WorkflowId
}
text_id! {
    /// An organisation's code, upper case (ODS).
    OdsCode
}
text_id! {
    /// An accredited system's id.
    Asid
}

fn alphanumeric(text: &str, most: usize) -> bool {
    (1..=most).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_alphanumeric())
}

impl MailboxId {
    pub fn parse(text: &str) -> Result<Self, BadId> {
        let text = text.trim();
        if alphanumeric(text, 100) { Ok(MailboxId(text.to_ascii_uppercase())) } else { Err(BadId::Mailbox) }
    }
}

impl WorkflowId {
    pub fn parse(text: &str) -> Result<Self, BadId> {
        let text = text.trim();
        let fits = (1..=300).contains(&text.chars().count());
        if !fits || looks_like_url(text.as_bytes()) || text.chars().any(char::is_control) {
            return Err(BadId::Workflow);
        }
        Ok(WorkflowId(text.to_owned()))
    }
}

impl OdsCode {
    pub fn parse(text: &str) -> Result<Self, BadId> {
        let text = text.trim();
        if alphanumeric(text, 12) { Ok(OdsCode(text.to_ascii_uppercase())) } else { Err(BadId::Ods) }
    }
}

impl Asid {
    pub fn parse(text: &str) -> Result<Self, BadId> {
        let text = text.trim();
        if alphanumeric(text, 20) { Ok(Asid(text.to_ascii_uppercase())) } else { Err(BadId::Asid) }
    }
}

/// Values that start like a web address are refused in MESH headers and ids (mesh.md §1, §7.1).
pub fn looks_like_url(value: &[u8]) -> bool {
    let starts = |prefix: &str| value.get(..prefix.len()).is_some_and(|v| v.eq_ignore_ascii_case(prefix.as_bytes()));
    starts("http://") || starts("https://")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_trimmed_checked_and_put_in_upper_case() {
        assert_eq!(MailboxId::parse(" x26abc1 ").unwrap().as_str(), "X26ABC1");
        assert_eq!(MailboxId::parse("X26 ABC"), Err(BadId::Mailbox));
        assert_eq!(MailboxId::parse(""), Err(BadId::Mailbox));
        assert_eq!(WorkflowId::parse(" My Flow_ACK").unwrap().as_str(), "My Flow_ACK");
        assert_eq!(WorkflowId::parse("HTTPS://x"), Err(BadId::Workflow));
        assert_eq!(WorkflowId::parse(&"w".repeat(301)), Err(BadId::Workflow));
        assert_eq!(OdsCode::parse("x26").unwrap().as_str(), "X26");
        assert_eq!(Asid::parse("200000000115").unwrap().as_str(), "200000000115");
    }
}
