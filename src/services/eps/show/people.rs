//! People and organisations copied from messages into an answer, each under a new id: two messages may use one reference for two
//! things, so none of their references is taken over.

use super::{
    Ids,
    document::{Document, text},
    entry, reference,
};
use serde_json::{Value, json};

/// Of which message a reference is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    Request,
    Order,
}

/// The entries of an answer in their published order: kinds one after another.
const KINDS: [&str; 4] = ["Patient", "Practitioner", "PractitionerRole", "Organization"];

pub struct Copies<'a> {
    ids: Ids<'a>,
    known: Vec<(Origin, String, String)>,
    made: Vec<(String, Value)>,
}

impl<'a> Copies<'a> {
    pub fn new(ids: Ids<'a>) -> Self {
        Copies { ids, known: vec![], made: vec![] }
    }
    pub fn id(&mut self) -> String {
        (self.ids)()
    }
    /// A resource of no message.
    pub fn put(&mut self, mut resource: Value) -> String {
        let id = self.id();
        resource["id"] = json!(id);
        self.made.push((id.clone(), resource));
        id
    }
    /// The copy's id, made where it is the first.
    fn copy(&mut self, origin: Origin, url: &str, make: impl FnOnce(&mut Self) -> Value) -> String {
        if let Some((.., id)) = self.known.iter().find(|(o, u, _)| *o == origin && u == url) {
            return id.clone();
        }
        let resource = make(self);
        let id = self.put(resource);
        self.known.push((origin, url.to_owned(), id.clone()));
        id
    }
    pub fn plain(&mut self, origin: Origin, url: &str, resource: &Value) -> String {
        self.copy(origin, url, |_| resource.clone())
    }
    /// A role with its person and its organisation; the unit inside an organisation is left out.
    pub fn role(&mut self, origin: Origin, message: &Document, url: &str, role: &Value) -> String {
        self.copy(origin, url, |all| {
            let mut copy = role.clone();
            for member in ["practitioner", "organization"] {
                if let Some((url, resource)) = message.resolve(&role[member]) {
                    copy[member] = reference(&all.plain(origin, url, resource));
                }
            }
            if let Some(copy) = copy.as_object_mut() {
                copy.remove("healthcareService");
            }
            copy
        })
    }
    /// Who holds a prescription, from the `owner` and the `agent` of its release: the role's id.
    pub fn dispenser(&mut self, owner: &Value, agent: &Value) -> String {
        let mut role = agent.clone();
        let person = &agent["practitioner"];
        if person.get("identifier").is_some() {
            let mut practitioner = json!({"resourceType": "Practitioner", "identifier": [person["identifier"]]});
            if !text(person, "display").is_empty() {
                practitioner["name"] = json!([{"text": person["display"]}]);
            }
            role["practitioner"] = reference(&self.put(practitioner));
        }
        if owner.is_object() {
            role["organization"] = reference(&self.put(owner.clone()));
        }
        role["resourceType"] = json!("PractitionerRole");
        self.put(role)
    }
    /// Everything copied, as entries.
    pub fn entries(self) -> Vec<Value> {
        let kind = |resource: &Value| KINDS.iter().position(|k| *k == text(resource, "resourceType"));
        let mut made: Vec<_> = self.made.into_iter().map(|(id, r)| (kind(&r).unwrap_or(KINDS.len()), id, r)).collect();
        made.sort_by_key(|(kind, ..)| *kind);
        made.into_iter().map(|(_, id, resource)| entry(&id, resource)).collect()
    }
}
