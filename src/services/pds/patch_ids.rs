//! Which item an operation means (spec/pds.md §9.3): companions that name it, tests before removals, ids that must exist.

use super::{
    patch::{Operation, Verb, item_id},
    refusal::{Problem, shown},
};
use serde_json::Value;

/// What one request says of an item's id: checked after all operations could be applied (§9.2).
pub struct Claim {
    list: String,
    /// The id of the item at that place.
    stored: String,
    given: Value,
}

impl Claim {
    /// `item`: the item as it was when the operation's turn came.
    pub fn of(operation: &Operation, item: &Value) -> Claim {
        let list = operation.tokens[0].clone();
        let given = match operation.is_whole_item() {
            true => Value::String(item_id(&list, &operation.value).to_owned()),
            false => operation.value.clone(),
        };
        Claim { stored: item_id(&list, item).to_owned(), given, list }
    }

    pub fn check(&self) -> Result<(), Problem> {
        if self.given.as_str() == Some(self.stored.as_str()) {
            return Ok(());
        }
        let what = if self.list == "extension" { "url" } else { "id" };
        Err(Problem::update(format!("no '{}' resources with object {what} '{}'", self.list, shown(&self.given))))
    }
}

/// The rules that need only the operations.
pub fn companions(operations: &[Operation]) -> Result<(), Problem> {
    for (n, operation) in operations.iter().enumerate() {
        let Some((list, at)) = operation.item() else {
            if operation.tokens.len() == 1 && is_list(&operation.tokens[0]) && operation.verb != Verb::Test {
                let text = format!("Invalid patch - '{}' can only be changed item by item", operation.path);
                return Err(Problem::update(text));
            }
            continue;
        };
        if operation.is_whole_item() {
            whole(operations, n, list, at)?;
        } else if !operation.is_id() && operation.verb != Verb::Test {
            below(operations, operation, list, at)?;
        }
    }
    Ok(())
}

fn is_list(member: &str) -> bool {
    super::fhir::LISTS.contains(&member) || member == "extension"
}

fn root_missing(list: &str, at: &str) -> Problem {
    Problem::update(format!("no id or url found for path with root /{list}/{at}"))
}

fn whole(operations: &[Operation], n: usize, list: &str, at: &str) -> Result<(), Problem> {
    let operation = &operations[n];
    match operation.verb {
        Verb::Add if at != "-" => {
            let text = format!("Invalid patch - items are added to '/{list}' with the index '-' only");
            Err(Problem::update(text))
        }
        Verb::Add if list != "extension" && operation.value.get("id").is_some() => {
            Err(Problem::update("Invalid patch - an added item cannot bring an id of its own"))
        }
        Verb::Replace if item_id(list, &operation.value).is_empty() => Err(root_missing(list, at)),
        Verb::Remove => tested(operations, n),
        _ => Ok(()),
    }
}

/// A removal comes immediately after a test on the item's id, its url, or the whole item.
fn tested(operations: &[Operation], n: usize) -> Result<(), Problem> {
    let path = &operations[n].path;
    let before = n.checked_sub(1).and_then(|n| operations.get(n));
    let equal = before.is_some_and(|test| {
        test.verb == Verb::Test
            && (test.path == *path || test.path == format!("{path}/id") || test.path == format!("{path}/url"))
    });
    if equal {
        return Ok(());
    }
    let instead = match before {
        None => "it is the first item".to_owned(),
        Some(other) => format!("it is preceded by '{}'", other.path),
    };
    let text = format!("removal '{path}' is not immediately preceded by equivalent test - instead {instead}");
    Err(Problem::update(text))
}

/// A change below an item needs an operation on its id or url, or brings its own url.
fn below(operations: &[Operation], operation: &Operation, list: &str, at: &str) -> Result<(), Problem> {
    let named =
        operations.iter().any(|other| other.verb != Verb::Remove && other.is_id() && other.item() == Some((list, at)));
    let tested_whole = operations
        .iter()
        .any(|other| other.verb == Verb::Test && other.is_whole_item() && other.item() == Some((list, at)));
    let own = list == "extension"
        && operation.tokens.len() == 4
        && operation.tokens[2] == "extension"
        && operation.value.get("url").is_some();
    if named || tested_whole || own { Ok(()) } else { Err(root_missing(list, at)) }
}
