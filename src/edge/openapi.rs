//! Each HTTP interface's own description, for suppliers' tools (operations.md §10): `/openapi/<service>.json`, the files of
//! `docs/openapi` as they are. Open to whoever reaches the listener: it says nothing that is not in the documents.

use super::api::problem;
use super::offhand::{Offhand, only_get};
use super::protocol::{Exchange, Protocol, Reply, ReplyBody};
use bytes::Bytes;

pub const INTERACTION: &str = "api.openapi";
const BASE: &str = "/openapi/";

macro_rules! documents {
    ($($name:literal),* $(,)?) => {
        /// Services and their descriptions.
        pub const DOCUMENTS: &[(&str, &str)] =
            &[$(($name, include_str!(concat!("../../docs/openapi/", $name, ".json")))),*];
    };
}
documents!["audit", "directory", "eps", "identity", "mesh", "pds", "relationships"];

/// The protocol; one for all listeners.
pub struct OpenapiProtocol;

impl Protocol for OpenapiProtocol {
    fn name(&self) -> &'static str {
        "openapi"
    }
    fn takes(&self, path: &str) -> bool {
        path.starts_with(BASE)
    }
    fn interactions(&self) -> Vec<&'static str> {
        vec![INTERACTION]
    }
    fn begin(&self, head: &http::request::Parts) -> Box<dyn Exchange> {
        Box::new(Asked { get: head.method == http::Method::GET, document: document(head.uri.path()) })
    }
}

fn document(path: &str) -> Option<&'static str> {
    let name = path.strip_prefix(BASE)?.strip_suffix(".json")?;
    DOCUMENTS.iter().find(|(service, _)| *service == name).map(|(_, text)| *text)
}

struct Asked {
    get: bool,
    document: Option<&'static str>,
}

impl Offhand for Asked {
    const INTERACTION: &'static str = INTERACTION;

    fn reply(&self) -> Reply {
        match self.document {
            _ if !self.get => only_get(),
            Some(text) => {
                let headers = vec![("content-type", Bytes::from_static(super::api::JSON))];
                Reply { status: 200, headers, body: ReplyBody::Bytes(Bytes::from_static(text.as_bytes())) }
            }
            None => {
                let names: Vec<&str> = DOCUMENTS.iter().map(|(name, _)| *name).collect();
                problem(404, "invalid_request", &format!("There is one for each of: {}", names.join(", ")))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::access::{gate::Admits, rules};
    use serde_json::Value;
    use std::collections::BTreeSet;

    /// Interactions that a description names.
    fn told(text: &str) -> Vec<String> {
        let document: Value = serde_json::from_str(text).unwrap();
        let operations =
            document["paths"].as_object().unwrap().values().flat_map(|path| path.as_object().unwrap().values());
        let named = operations.filter_map(|operation| operation["x-interactions"].as_array()).flatten();
        named.map(|name| name.as_str().unwrap().to_owned()).collect()
    }

    #[test]
    fn what_is_told_has_a_rule_and_what_needs_leave_is_told() {
        let all: Vec<String> = DOCUMENTS.iter().flat_map(|(_, text)| told(text)).collect();
        let names: BTreeSet<&str> = all.iter().map(String::as_str).collect();
        assert_eq!(names.len(), all.len(), "one operation for each");
        let rules =
            || rules::ALL.iter().filter(|(listener, _)| *listener != "ldap").flat_map(|(_, rules)| rules.iter());
        for name in &names {
            assert!(rules().any(|rule| rule.interaction == *name), "{name} has no rule");
        }
        // Operators' and the test mode's, and SOAP's.
        let elsewhere =
            |name: &str| name == "pds.status" || name.starts_with("smsp.") || name.starts_with("mesh.admin_");
        let guarded = rules().filter(|rule| !matches!(rule.admits, Admits::Anyone | Admits::AnyCertificate));
        let missing: Vec<&str> =
            guarded.map(|rule| rule.interaction).filter(|name| !elsewhere(name) && !names.contains(name)).collect();
        assert!(missing.is_empty(), "not described: {missing:?}");
    }

    #[test]
    fn a_description_is_had_by_its_services_name() {
        let ask = |method: &str, path: &str| {
            let head = http::Request::builder().method(method).uri(path).body(()).unwrap().into_parts().0;
            let reply = OpenapiProtocol.begin(&head).at_once().unwrap();
            let ReplyBody::Bytes(body) = reply.body else { panic!("a short body") };
            (reply.status, body)
        };
        let (status, body) = ask("GET", "/openapi/pds.json");
        assert_eq!((status, body.as_ref()), (200, include_bytes!("../../docs/openapi/pds.json") as &[u8]));
        for (method, path, status) in
            [("GET", "/openapi/none.json", 404), ("GET", "/openapi/", 404), ("POST", "/openapi/pds.json", 405)]
        {
            assert_eq!(ask(method, path).0, status, "{method} {path}");
        }
    }
}
