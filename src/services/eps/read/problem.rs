//! What is wrong with a message, as issues of an `OperationOutcome` (spec/eps.md §3.4, §3.5).
//!
//! Invariant: every refusal has at least one issue, and an answer never more than [`MOST`]. An issue may carry what its sender
//! wrote, so these texts go to the sender only, never to a log.

use super::rules::Rule;
use crate::model::{EpochMillis, time};
use serde_json::{Map, Value, json};

/// Issues of one answer; the rest are dropped.
pub const MOST: usize = 100;
/// Code system of conversion errors and of the validator's.
pub const SPINE_R4: &str = "https://fhir.nhs.uk/R4/CodeSystem/Spine-ErrorOrWarningCode";
/// Code system of the store's general errors.
pub const SPINE: &str = "https://fhir.nhs.uk/CodeSystem/Spine-ErrorOrWarningCode";
/// Code system of the store's EPS errors.
pub const EPS: &str = "https://fhir.nhs.uk/CodeSystem/EPS-IssueCode";
/// Code system of answers to cancellations.
pub const HISTORY: &str = "https://fhir.nhs.uk/CodeSystem/medicationrequest-status-history";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Severity {
    Fatal,
    Error,
    Information,
}

impl Severity {
    fn text(self) -> &'static str {
        match self {
            Severity::Fatal => "fatal",
            Severity::Error => "error",
            Severity::Information => "information",
        }
    }
}

/// `details.coding[0]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Coding {
    pub system: &'static str,
    pub code: &'static str,
    /// Empty for none.
    pub display: String,
}

/// One issue.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Issue {
    pub severity: Severity,
    /// FHIR's issue type.
    pub code: &'static str,
    pub coding: Option<Coding>,
    /// Empty for none.
    pub diagnostics: String,
    /// Path of the element; empty for none.
    pub expression: String,
    /// What would be right, where neither of the texts says it; in `details.text`.
    pub right: &'static str,
}

impl Issue {
    /// A check (steps 6 and 7): text in `diagnostics`, no `details`.
    pub fn check(code: &'static str, diagnostics: impl Into<String>, expression: impl Into<String>) -> Self {
        Issue {
            severity: Severity::Error,
            code,
            coding: None,
            diagnostics: diagnostics.into(),
            expression: expression.into(),
            right: "",
        }
    }

    /// A check that ends the reading: wrong resource, wrong event.
    pub fn fatal(code: &'static str, diagnostics: impl Into<String>, expression: impl Into<String>) -> Self {
        Issue { severity: Severity::Fatal, ..Self::check(code, diagnostics, expression) }
    }

    fn coded(severity: Severity, issue: &'static str, system: &'static str, code: &'static str, display: &str) -> Self {
        let coding = Some(Coding { system, code, display: display.to_owned() });
        Issue { severity, code: issue, coding, diagnostics: String::new(), expression: String::new(), right: "" }
    }

    /// Step 8: the message has no form in the store.
    fn conversion(code: &'static str, display: &str, expression: impl Into<String>) -> Self {
        let expression = expression.into();
        Issue { expression, ..Self::coded(Severity::Fatal, "invalid", SPINE_R4, code, display) }
    }

    /// Step 8: a value that means nothing here.
    pub fn invalid(display: &str, expression: impl Into<String>) -> Self {
        Self::conversion("INVALID_VALUE", display, expression)
    }

    /// Step 8: something is missing.
    pub fn too_few(display: &str, expression: impl Into<String>) -> Self {
        Self::conversion("TOO_FEW_VALUES_SUBMITTED", display, expression)
    }

    /// Step 8: something is there more than once.
    pub fn too_many(display: &str, expression: impl Into<String>) -> Self {
        Self::conversion("TOO_MANY_VALUES_SUBMITTED", display, expression)
    }

    /// Step 8, the other shape: values that should be the same are not (§10.3).
    pub fn inconsistent(diagnostics: impl Into<String>, expression: impl Into<String>) -> Self {
        Issue {
            diagnostics: diagnostics.into(),
            expression: expression.into(),
            ..Self::coded(Severity::Error, "invalid", SPINE, "INVALID_VALUE", "")
        }
    }

    /// A check that also carries a code of the validator's system.
    pub fn coded_check(
        code: &'static str,
        coding: &'static str,
        display: &str,
        diagnostics: &str,
        expression: &str,
    ) -> Self {
        Issue {
            diagnostics: diagnostics.to_owned(),
            expression: expression.to_owned(),
            ..Self::coded(Severity::Error, code, SPINE_R4, coding, display)
        }
    }

    /// Step 2: the validator misses an element.
    pub fn missing(resource: &str, element: &str, expression: impl Into<String>) -> Self {
        let display = format!("ResourceType {resource} must contain '{element}' field");
        Issue {
            expression: expression.into(),
            ..Self::coded(Severity::Error, "value", SPINE_R4, "MISSING_FIELD", &display)
        }
    }

    /// Step 2: the validator finds an element of another shape than it must have.
    pub fn shape(rule: &str, expression: impl Into<String>) -> Self {
        Issue {
            expression: expression.into(),
            ..Self::coded(Severity::Error, "structure", SPINE_R4, "INVALID_VALUE", rule)
        }
    }

    /// The store does not take it (step 10): `issue` and `code` as in §19.2 and §19.3; where it is, and what would be right.
    pub fn store(
        issue: &'static str,
        system: &'static str,
        (code, display): (&'static str, &str),
        path: &str,
        right: &str,
    ) -> Self {
        Issue {
            diagnostics: right.to_owned(),
            expression: path.to_owned(),
            ..Self::coded(Severity::Error, issue, system, code, display)
        }
    }

    /// The store does not take it: a field breaks a rule of §7.2.
    pub fn failure(rule: Rule) -> Self {
        let told = ("FAILURE_TO_PROCESS_MESSAGE", unable(rule.reason));
        Self::store("processing", SPINE, (told.0, &told.1), rule.path, rule.right)
    }

    /// The same in the vocabulary of cancellations (§8.4).
    pub fn cancel_failure(rule: Rule) -> Self {
        Self::store("processing", HISTORY, ("R-5000", &unable(rule.reason)), rule.path, rule.right)
    }

    /// Step 5: the token has no scope for it; `what` is `prescribing`, `dispensing` or `tracker` (§3.2).
    pub fn no_scope(what: &str) -> Self {
        let text = format!("Your app does not have permission to access {what} functionality.");
        Self::fatal("forbidden", text, "")
    }

    /// Step 5: an application asks where a user is needed.
    pub fn user_needed(what: &str) -> Self {
        let what = capital(what);
        let text = format!("{what} functionality can only be accessed using the user-restricted access mode.");
        Self::fatal("forbidden", text, "")
    }

    /// Step 5: the operator switched it off.
    pub fn disabled(what: &str) -> Self {
        Self::fatal("not-supported", format!("{} functionality is disabled.", capital(what)), "")
    }

    fn json(&self) -> Value {
        let mut issue = Map::new();
        issue.insert("severity".into(), self.severity.text().into());
        issue.insert("code".into(), self.code.into());
        if let Some(coding) = &self.coding {
            let mut member = json!({"system": coding.system, "code": coding.code});
            if !coding.display.is_empty() {
                member["display"] = coding.display.clone().into();
            }
            issue.insert("details".into(), json!({"coding": [member]}));
        }
        if !self.right.is_empty() {
            issue.entry("details").or_insert_with(|| json!({}))["text"] = self.right.into();
        }
        if !self.diagnostics.is_empty() {
            issue.insert("diagnostics".into(), self.diagnostics.clone().into());
        }
        if !self.expression.is_empty() {
            issue.insert("expression".into(), json!([self.expression]));
        }
        Value::Object(issue)
    }
}

/// The word as it begins a sentence.
fn capital(word: &str) -> String {
    let mut letters = word.chars();
    letters.next().map_or_else(String::new, |first| first.to_uppercase().chain(letters).collect())
}

fn unable(reason: &str) -> String {
    format!("Unable to process message. Information missing or invalid - {reason}")
}

/// Everything that is wrong with a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problems {
    pub issues: Vec<Issue>,
}

impl From<Issue> for Problems {
    fn from(issue: Issue) -> Self {
        Problems { issues: vec![issue] }
    }
}

impl Problems {
    /// Nothing wrong, or all of it.
    pub fn none(mut issues: Vec<Issue>) -> Result<(), Problems> {
        issues.truncate(MOST);
        if issues.is_empty() { Ok(()) } else { Err(Problems { issues }) }
    }

    /// The answer's status (§3.4).
    pub fn status(&self) -> u16 {
        let all = |code: &str| self.issues.iter().all(|i| i.code == code);
        if all("informational") {
            200
        } else if all("forbidden") {
            403
        } else {
            400
        }
    }

    /// The answer's `OperationOutcome`; `request` is what was read, null where it is no JSON.
    pub fn outcome(&self, request: &Value, now: EpochMillis) -> Value {
        let issues: Vec<Value> = self.issues.iter().map(Issue::json).collect();
        outcome(&last_updated(request, now), issues)
    }
}

fn outcome(last_updated: &str, issues: Vec<Value>) -> Value {
    json!({"resourceType": "OperationOutcome", "meta": {"lastUpdated": last_updated}, "issue": issues})
}

/// What an `OperationOutcome` says in `meta.lastUpdated`: the request's own, else now (§3.5).
pub fn last_updated(request: &Value, now: EpochMillis) -> String {
    let own = request.pointer("/meta/lastUpdated").and_then(Value::as_str);
    own.filter(|text| time::parse_iso(text).is_some()).map_or_else(|| instant(now), str::to_owned)
}

/// UTC, seconds, `+00:00`.
pub fn instant(at: EpochMillis) -> String {
    format!("{}+00:00", time::iso(at).get(..19).unwrap_or_default())
}

/// It went well.
pub fn success(last_updated: &str) -> Value {
    outcome(last_updated, vec![json!({"severity": Severity::Information.text(), "code": "informational"})])
}
