//! An update (spec/pds.md §9): the envelope, the operations on what the caller sees, and back to what is stored.

use super::{
    PdsOptions,
    access::Mode,
    command::Update,
    decide::No,
    fhir::{self, LISTS, Object, STORED, items, text},
    names::day_number,
    patch_ids::{self, Claim},
    refusal::{self, Problem, python, shown},
    rows::{self, Person, Sensitivity},
    rules, rules_lists,
    show::{self, Flags},
};
use crate::{
    engine::draft::{Fault, Stamp},
    model::NhsNumber,
    store::Reader,
};
use serde_json::{Value, json};

/// What the rules need to know beside the record.
pub struct Context<'a> {
    pub mode: Mode,
    pub flags: Flags,
    pub back_office: bool,
    /// `YYYY-MM-DD`, and as `names::day_number`.
    pub today: String,
    pub today_number: u32,
    pub now: String,
    pub entropy: [u8; 16],
    pub options: &'a PdsOptions,
    pub site: &'a dyn Reader,
}

impl<'a> Context<'a> {
    pub fn of(command: &Update, stamp: &Stamp, options: &'a PdsOptions, site: &'a dyn Reader) -> Context<'a> {
        let today = fhir::day(stamp.now);
        Context {
            mode: Mode::of_number(command.mode).unwrap_or(Mode::Application),
            flags: Flags::of_bits(command.flags),
            back_office: command.back_office,
            today_number: day_number(&today).unwrap_or(u32::MAX),
            today,
            now: fhir::moment(stamp.now),
            entropy: stamp.entropy,
            options,
            site,
        }
    }
}

/// What an operation does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verb {
    Add,
    Replace,
    Remove,
    Test,
}

/// One operation of RFC 6902.
pub struct Operation {
    pub verb: Verb,
    pub path: String,
    pub tokens: Vec<String>,
    /// Null for a removal.
    pub value: Value,
}

impl Operation {
    /// The list and index of the item that it is on or in.
    pub fn item(&self) -> Option<(&str, &str)> {
        let list = self.tokens.first()?.as_str();
        let index = self.tokens.get(1)?.as_str();
        (LISTS.contains(&list) || list == "extension").then_some((list, index))
    }
    /// True for `/name/0` and the like.
    pub fn is_whole_item(&self) -> bool {
        self.tokens.len() == 2 && self.item().is_some()
    }
    /// True for `/name/0/id` and `/extension/0/url`.
    pub fn is_id(&self) -> bool {
        self.tokens.len() == 3
            && self.item().is_some_and(|(list, _)| self.tokens[2] == if list == "extension" { "url" } else { "id" })
    }
}

fn invalid_patch(what: impl std::fmt::Display) -> Problem {
    Problem::update(format!("Invalid patch - {what}"))
}

/// The operations of a body, as they came.
pub fn operations(body: &Value) -> Result<&[Value], Problem> {
    match body.get("patches").and_then(Value::as_array) {
        Some(list) if !list.is_empty() => Ok(list),
        _ => Err(Problem::update("No patches found")),
    }
}

/// The stored members and the history after an update.
pub fn updated(nhs: NhsNumber, old: &Person, raw: &[Value], context: &Context<'_>) -> Result<(Object, Object), No> {
    let before = show::patient(nhs, old, context.flags)?;
    let operations = raw.iter().enumerate().map(|(n, op)| syntax(n, op)).collect::<Result<Vec<_>, _>>()?;
    for operation in &operations {
        let top = operation.tokens.first().map_or("", String::as_str);
        if !STORED.contains(&top) || top == "managingOrganization" {
            return Err(Problem::update(format!("Update unsupported for resource - '{top}'")).into());
        }
    }
    patch_ids::companions(&operations)?;
    if context.mode == Mode::Patient {
        rules::patient_may(&operations, &before)?;
    }
    let mut after = Value::Object(before.clone());
    let mut claims = vec![];
    for operation in &operations {
        apply(&mut after, operation, &mut claims)?;
    }
    claims.iter().try_for_each(Claim::check)?;
    let Value::Object(mut after) = after else { return Err(Fault::Other("a patient is no object".into()).into()) };
    clean(&mut after);
    rules::check(&before, &mut after, context)?;
    rules_lists::check(&before, &mut after, context)?;
    rules_lists::replaced_addresses(&operations, &before, &after)?;
    let stored = old.stored()?;
    let mut new = restored(&before, after, &stored);
    if old.sensitivity() != Sensitivity::Unrestricted {
        keep_hidden(&before, &mut new, &stored)?;
    }
    rows::give_ids(&mut new, &context.entropy);
    let history = history(old.history()?, &stored, &new);
    Ok((new, history))
}

/// One operation, checked by itself (§9.1).
fn syntax(n: usize, operation: &Value) -> Result<Operation, Problem> {
    let field = |member: &str| format!("{n}/{member}");
    let given = |member: &str| shown(operation.get(member).unwrap_or(&Value::Null));
    let verb = match text(operation, "op") {
        "add" => Verb::Add,
        "replace" => Verb::Replace,
        "remove" => Verb::Remove,
        "test" => Verb::Test,
        _ => return Err(Problem::invalid(&given("op"), &field("op"))),
    };
    let path = text(operation, "path").to_owned();
    let Some(rest) = path.strip_prefix('/').filter(|rest| !rest.is_empty()) else {
        return Err(Problem::invalid(&given("path"), &field("path")));
    };
    let tokens: Vec<String> = rest.split('/').map(|t| t.replace("~1", "/").replace("~0", "~")).collect();
    let value = match (verb, operation.get("value")) {
        (Verb::Remove, None) => Value::Null,
        (Verb::Remove, Some(value)) => return Err(Problem::invalid(&shown(value), &field("value"))),
        (_, None) => return Err(Problem::missing(&field("value"))),
        (_, Some(value)) => value.clone(),
    };
    Ok(Operation { verb, path, tokens, value })
}

fn index(token: &str, len: usize) -> Result<usize, Problem> {
    let out = || invalid_patch(format!("index '{token}' is out of bounds"));
    let plain = token == "0" || (!token.starts_with('0') && token.bytes().all(|b| b.is_ascii_digit()));
    token.parse::<usize>().ok().filter(|n| plain && *n < len).ok_or_else(out)
}

/// Down to the value that a token names.
fn down<'a>(value: &'a mut Value, token: &str) -> Result<&'a mut Value, Problem> {
    match value {
        Value::Object(members) => {
            members.get_mut(token).ok_or_else(|| invalid_patch(format!("member '{token}' not found")))
        }
        Value::Array(items) => {
            let at = index(token, items.len())?;
            Ok(&mut items[at])
        }
        _ => Err(invalid_patch(format!("member '{token}' not found"))),
    }
}

fn apply(document: &mut Value, operation: &Operation, claims: &mut Vec<Claim>) -> Result<(), Problem> {
    let Some((last, above)) = operation.tokens.split_last() else { return Err(invalid_patch("an empty path")) };
    let adds = operation.verb == Verb::Add && operation.is_whole_item();
    if let (true, Some(members)) = (adds, document.as_object_mut()) {
        // The first item of a list makes the list.
        members.entry(operation.tokens[0].clone()).or_insert_with(|| json!([]));
    }
    let mut parent = &mut *document;
    for token in above {
        parent = down(parent, token)?;
    }
    if operation.is_id() {
        // Names the item; never renames it.
        claims.push(Claim::of(operation, parent));
        return Ok(());
    }
    if operation.is_whole_item() && operation.verb == Verb::Replace {
        let at = index(last, parent.as_array().map_or(0, Vec::len))?;
        claims.push(Claim::of(operation, &parent[at]));
    }
    match operation.verb {
        Verb::Test => {
            let stored = down(parent, last)?;
            same(stored, &operation.value)
        }
        Verb::Add => add(parent, last, operation),
        Verb::Replace => replace(parent, last, operation),
        Verb::Remove => remove(parent, last),
    }
}

fn add(parent: &mut Value, last: &str, operation: &Operation) -> Result<(), Problem> {
    let value = operation.value.clone();
    match parent {
        Value::Object(members) => {
            members.insert(last.to_owned(), value);
        }
        Value::Array(items) if last == "-" => items.push(value),
        Value::Array(items) => {
            let at = index(last, items.len() + 1)?;
            items.insert(at, value);
        }
        _ => return Err(invalid_patch(format!("member '{last}' not found"))),
    }
    Ok(())
}

fn replace(parent: &mut Value, last: &str, operation: &Operation) -> Result<(), Problem> {
    let missing = || invalid_patch(format!("can't replace non-existent object '{last}'"));
    let whole_line = operation.tokens.len() == 3 && operation.tokens[0] == "address" && last == "line";
    if whole_line {
        return Err(missing());
    }
    match parent {
        Value::Object(members) => *members.get_mut(last).ok_or_else(missing)? = operation.value.clone(),
        Value::Array(items) => {
            let at = index(last, items.len())?;
            items[at] = operation.value.clone();
        }
        _ => return Err(missing()),
    }
    Ok(())
}

fn remove(parent: &mut Value, last: &str) -> Result<(), Problem> {
    let missing = || invalid_patch(format!("can't remove non-existent object '{last}'"));
    match parent {
        Value::Object(members) => members.remove(last).map(|_| ()).ok_or_else(missing),
        Value::Array(items) => {
            let at = index(last, items.len()).map_err(|_| missing())?;
            items.remove(at);
            Ok(())
        }
        _ => Err(missing()),
    }
}

/// A test. A list that is not there equals an empty one (§9.3).
fn same(stored: &Value, given: &Value) -> Result<(), Problem> {
    if without_empty(stored) == without_empty(given) {
        return Ok(());
    }
    let class = |value: &Value| match value {
        Value::Null => "NoneType",
        Value::Bool(_) => "bool",
        Value::Number(n) if n.is_f64() => "float",
        Value::Number(_) => "int",
        Value::String(_) => "str",
        Value::Array(_) => "list",
        Value::Object(_) => "dict",
    };
    let plain = |value: &Value| match value {
        Value::String(text) => text.clone(),
        other => python(other),
    };
    Err(invalid_patch(format!(
        "{} (<class '{}'>) is not equal to tested value {} (<class '{}'>)",
        plain(stored),
        class(stored),
        plain(given),
        class(given)
    )))
}

fn without_empty(value: &Value) -> Value {
    match value {
        Value::Object(members) => {
            let kept = members.iter().filter(|(_, v)| v.as_array().is_none_or(|l| !l.is_empty()));
            Value::Object(kept.map(|(k, v)| (k.clone(), without_empty(v))).collect())
        }
        Value::Array(items) => Value::Array(items.iter().map(without_empty).collect()),
        other => other.clone(),
    }
}

/// Takes away lists that operations have emptied.
fn clean(after: &mut Object) {
    after.retain(|_, value| value.as_array().is_none_or(|list| !list.is_empty()));
    for list in LISTS {
        let Some(Value::Array(items)) = after.get_mut(list) else { continue };
        for item in items.iter_mut().filter_map(Value::as_object_mut) {
            item.retain(|_, value| value.as_array().is_none_or(|list| !list.is_empty()));
        }
    }
}

/// An item's name within its list: `id`, or an extension's `url`.
pub fn item_id<'a>(list: &str, item: &'a Value) -> &'a str {
    text(item, if list == "extension" { "url" } else { "id" })
}

/// Back to what is stored: what is as the caller saw it keeps what is stored of it, hidden parts included.
fn restored(before: &Object, after: Object, stored: &Object) -> Object {
    let mut new = Object::new();
    for (member, value) in fhir::stored_part(after) {
        let value = match value {
            same if before.get(&member) == Some(&same) => stored.get(&member).cloned().unwrap_or(same),
            Value::Array(list) => {
                let of = |lists: &Object, item: &Value| {
                    let id = item_id(&member, item);
                    items(lists, &member).iter().find(|i| !id.is_empty() && item_id(&member, i) == id).cloned()
                };
                let back = list.into_iter().map(|item| match of(before, &item) {
                    Some(seen) if seen == item => of(stored, &item).unwrap_or(item),
                    _ => plain_lines(item),
                });
                Value::Array(back.filter(|item| text(item, "url") != fhir::CONSENT).collect())
            }
            other => other,
        };
        new.insert(member, value);
    }
    fhir::stored_part(new)
}

/// What a label hides of a record stays (§6): the caller saw nothing of it, so nothing that they asked for can mean it. What is
/// hidden counts where only one may be there.
fn keep_hidden(before: &Object, new: &mut Object, stored: &Object) -> Result<(), Problem> {
    for (member, value) in stored {
        let seen = |item: &Value| items(before, member).iter().any(|i| item_id(member, i) == item_id(member, item));
        match value.as_array() {
            // The list of an untouched member is the stored one already.
            _ if new.get(member) == Some(value) => {}
            Some(list) => {
                let mut kept: Vec<Value> = list.iter().filter(|item| !seen(item)).cloned().collect();
                kept.extend(items(new, member).iter().cloned());
                if !kept.is_empty() {
                    new.insert(member.clone(), Value::Array(kept));
                }
            }
            None if !before.contains_key(member) && !new.contains_key(member) => {
                new.insert(member.clone(), value.clone());
            }
            None => {}
        }
    }
    rules::one_extension_of_each(items(new, "extension"))?;
    rules_lists::one_of_each(stored, new)
}

/// Blank lines as they are stored: empty text, without the marks of §2.
fn plain_lines(mut item: Value) -> Value {
    let Some(members) = item.as_object_mut() else { return item };
    members.remove("_line");
    if let Some(Value::Array(lines)) = members.get_mut("line") {
        lines.iter_mut().filter(|line| line.is_null()).for_each(|line| *line = json!(""));
    }
    item
}

/// Replaced values that are kept for searches with history; beyond, the oldest go (the versions keep them all).
const MOST_HISTORY: usize = 50;

fn history(mut history: Object, old: &Object, new: &Object) -> Object {
    let mut keep = |member: &str, value: Value| {
        let list = history.entry(member.to_owned()).or_insert_with(|| json!([]));
        if let Value::Array(list) = list
            && !list.contains(&value)
        {
            list.push(value);
            if list.len() > MOST_HISTORY {
                list.remove(0);
            }
        }
    };
    for member in ["gender", "birthDate"] {
        if let Some(value) = old.get(member).filter(|value| new.get(member) != Some(*value)) {
            keep(member, value.clone());
        }
    }
    for member in ["name", "address", "telecom"] {
        for item in items(old, member).iter().filter(|item| !items(new, member).contains(item)) {
            keep(member, item.clone());
        }
    }
    history
}

/// The refusal of something that no rule of its own has words for.
pub fn not_permitted(what: &str, field: &str) -> Problem {
    Problem::forbidden(format!("source not permitted to {what} '{field}'"))
}

/// `UNSUPPORTED_VALUE` on a field.
pub fn unsupported(value: &Value, field: &str) -> Problem {
    Problem::says(&refusal::UNSUPPORTED_VALUE, format!("Unsupported value - '{}' in field '{field}'", shown(value)))
}
