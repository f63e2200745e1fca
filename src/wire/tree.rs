//! A document as a tree whose members keep their order: written as JSON, as FHIR XML, or as the XML of the organisation
//! reference data. Pure. For answers that we make; what comes in is read with serde.

/// One value. Members that are absent are left out by whoever builds the object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Node {
    Text(String),
    Int(i64),
    Bool(bool),
    List(Vec<Node>),
    Object(Vec<(&'static str, Node)>),
}

impl From<&str> for Node {
    fn from(text: &str) -> Node {
        Node::Text(text.to_owned())
    }
}
impl From<String> for Node {
    fn from(text: String) -> Node {
        Node::Text(text)
    }
}
impl From<bool> for Node {
    fn from(yes: bool) -> Node {
        Node::Bool(yes)
    }
}
impl From<Vec<Node>> for Node {
    fn from(items: Vec<Node>) -> Node {
        Node::List(items)
    }
}
impl From<Members> for Node {
    fn from(members: Members) -> Node {
        Node::Object(members.0)
    }
}

/// An object on its way.
#[derive(Clone, Debug, Default)]
pub struct Members(Vec<(&'static str, Node)>);

impl Members {
    pub fn new() -> Members {
        Members::default()
    }
    pub fn with(mut self, name: &'static str, value: impl Into<Node>) -> Members {
        self.0.push((name, value.into()));
        self
    }
    /// Left out where the text is empty.
    pub fn text(self, name: &'static str, text: &str) -> Members {
        if text.is_empty() { self } else { self.with(name, text) }
    }
    /// Left out where the list is empty.
    pub fn list(self, name: &'static str, items: Vec<Node>) -> Members {
        if items.is_empty() { self } else { self.with(name, items) }
    }
}

impl Node {
    pub fn json(&self) -> String {
        let mut out = String::with_capacity(1_024);
        self.json_into(&mut out);
        out
    }

    fn json_into(&self, out: &mut String) {
        match self {
            Node::Text(text) => quote(text, out),
            Node::Int(number) => out.push_str(&number.to_string()),
            Node::Bool(yes) => out.push_str(if *yes { "true" } else { "false" }),
            Node::List(items) => {
                out.push('[');
                for (n, item) in items.iter().enumerate() {
                    if n > 0 {
                        out.push(',');
                    }
                    item.json_into(out);
                }
                out.push(']');
            }
            Node::Object(members) => {
                out.push('{');
                for (n, (name, value)) in members.iter().enumerate() {
                    if n > 0 {
                        out.push(',');
                    }
                    quote(name, out);
                    out.push(':');
                    value.json_into(out);
                }
                out.push('}');
            }
        }
    }

    fn member(&self, wanted: &str) -> Option<&Node> {
        let Node::Object(members) = self else { return None };
        members.iter().find(|(name, _)| *name == wanted).map(|(_, value)| value)
    }

    /// FHIR XML (hl7.org/fhir/R4/xml.html): values are attributes, `url` of an extension too, a resource is an element of
    /// its type's name.
    pub fn fhir_xml(&self) -> String {
        let mut out = String::with_capacity(2_048);
        out.push_str(r#"<?xml version="1.0" encoding="UTF-8"?>"#);
        self.resource(&mut out);
        out
    }

    fn resource(&self, out: &mut String) {
        let Some(Node::Text(kind)) = self.member("resourceType") else { return };
        out.push_str(&format!(r#"<{kind} xmlns="http://hl7.org/fhir">"#));
        self.fhir_members(out);
        out.push_str(&format!("</{kind}>"));
    }

    fn fhir_members(&self, out: &mut String) {
        let Node::Object(members) = self else { return };
        for (name, value) in members.iter().filter(|(name, _)| *name != "resourceType") {
            match value {
                Node::List(items) => items.iter().for_each(|item| item.fhir_element(name, out)),
                one => one.fhir_element(name, out),
            }
        }
    }

    fn fhir_element(&self, name: &str, out: &mut String) {
        let text = match self {
            Node::Text(text) => text.clone(),
            Node::Int(number) => number.to_string(),
            Node::Bool(yes) => yes.to_string(),
            Node::List(_) => return,
            Node::Object(members) => {
                out.push_str(&format!("<{name}"));
                let url = if name == "extension" { self.member("url") } else { None };
                if let Some(Node::Text(url)) = url {
                    attribute("url", url, out);
                }
                out.push('>');
                if self.member("resourceType").is_some() {
                    self.resource(out);
                } else if url.is_some() {
                    let rest = members.iter().filter(|(name, _)| *name != "url").cloned().collect();
                    Node::Object(rest).fhir_members(out);
                } else {
                    self.fhir_members(out);
                }
                out.push_str(&format!("</{name}>"));
                return;
            }
        };
        out.push_str(&format!("<{name}"));
        attribute("value", &text, out);
        out.push_str("/>");
    }

    /// XML of the organisation reference data: members whose names begin small are attributes, others elements; plain
    /// values stand in an attribute `value`, but for names and parts of addresses, which are text.
    pub fn ord_xml(&self, root: &str) -> String {
        let mut out = String::from(r#"<?xml version="1.0" encoding="UTF-8"?>"#);
        self.ord_element(root, &mut out);
        out
    }

    fn ord_element(&self, name: &str, out: &mut String) {
        match self {
            Node::List(items) => items.iter().for_each(|item| item.ord_element(name, out)),
            Node::Object(members) => {
                out.push_str(&format!("<{name}"));
                let small = |name: &str| name.starts_with(|c: char| c.is_ascii_lowercase());
                for (name, value) in members.iter().filter(|(name, _)| small(name)) {
                    attribute(name, &value.plain(), out);
                }
                out.push('>');
                members.iter().filter(|(name, _)| !small(name)).for_each(|(name, value)| value.ord_element(name, out));
                out.push_str(&format!("</{name}>"));
            }
            plain if matches!(name, "Type" | "Start" | "End" | "Status" | "LastChangeDate") => {
                out.push_str(&format!("<{name}"));
                attribute("value", &plain.plain(), out);
                out.push_str("/>");
            }
            plain => out.push_str(&format!("<{name}>{}</{name}>", escaped(&plain.plain()))),
        }
    }

    fn plain(&self) -> String {
        match self {
            Node::Text(text) => text.clone(),
            Node::Int(number) => number.to_string(),
            Node::Bool(yes) => yes.to_string(),
            Node::List(_) | Node::Object(_) => String::new(),
        }
    }
}

fn attribute(name: &str, value: &str, out: &mut String) {
    out.push_str(&format!(r#" {name}="{}""#, escaped(value)));
}

/// Text as XML holds it. Characters that XML 1.0 cannot hold are left out.
pub fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            c if c < ' ' && !matches!(c, '\t' | '\n' | '\r') => {}
            c => out.push(c),
        }
    }
    out
}

fn quote(text: &str, out: &mut String) {
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            c if c < ' ' => out.push_str(&format!("\\u{:04x}", c as u32)),
            c => out.push(c),
        }
    }
    out.push('"');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_tree_is_json_and_two_kinds_of_xml() {
        let extension = Members::new().with("url", "u").with("valueBoolean", true);
        let tree: Node = Members::new()
            .with("resourceType", "Thing")
            .with("id", "a\"<")
            .with("extension", vec![extension.into()])
            .text("none", "")
            .list("line", vec!["x".into(), "y".into()])
            .into();
        let json =
            r#"{"resourceType":"Thing","id":"a\"<","extension":[{"url":"u","valueBoolean":true}],"line":["x","y"]}"#;
        assert_eq!(tree.json(), json);
        assert_eq!(serde_json::from_str::<serde_json::Value>(json).unwrap()["id"], "a\"<");
        let xml = tree.fhir_xml();
        let (_, body) = xml.split_once("?>").unwrap();
        assert_eq!(
            body,
            "<Thing xmlns=\"http://hl7.org/fhir\"><id value=\"a&quot;&lt;\"/><extension url=\"u\">\
             <valueBoolean value=\"true\"/></extension><line value=\"x\"/><line value=\"y\"/></Thing>"
        );
        let role = Members::new().with("id", "RO1").with("Status", "Active").with("Name", "A & B");
        let ord = Node::from(role).ord_xml("Role");
        assert!(ord.ends_with("<Role id=\"RO1\"><Status value=\"Active\"/><Name>A &amp; B</Name></Role>"), "{ord}");
    }
}
