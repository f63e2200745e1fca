//! XML as it comes in: a small tree with resolved namespaces. Refused: document types (so nothing is ever expanded), processing
//! instructions, anything nested deeper or larger than a message can be (P6). Pure.

use quick_xml::{
    XmlVersion,
    events::{BytesStart, Event},
    name::ResolveResult,
    reader::NsReader,
};

/// Elements within elements; a SOAP message of the interactions here has some fifteen.
const MAX_DEPTH: usize = 64;
/// Elements of one document.
const MAX_ELEMENTS: usize = 20_000;

/// Why a text is no document that is taken. Holds nothing of its content (P10).
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    #[error("the text is not well-formed XML")]
    NotXml,
    #[error("document types and processing instructions are not taken")]
    Forbidden,
    #[error("the document is nested too deeply")]
    TooDeep,
    #[error("the document has too many elements")]
    TooLarge,
}

/// An element. Names are local; its namespace stands beside.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Element {
    pub namespace: String,
    pub name: String,
    /// Attributes without a prefix of their own, `xmlns` left out; prefixed ones under `prefix:name`.
    pub attributes: Vec<(String, String)>,
    pub children: Vec<Element>,
    /// All text directly within, put together.
    pub text: String,
}

impl Element {
    /// An attribute; empty where it is not there.
    pub fn attribute(&self, name: &str) -> &str {
        self.attributes.iter().find(|(n, _)| n == name).map_or("", |(_, value)| value)
    }
    /// The first child of that local name.
    pub fn child(&self, name: &str) -> Option<&Element> {
        self.children.iter().find(|child| child.name == name)
    }
    /// The first child of that namespace and name.
    pub fn of(&self, namespace: &str, name: &str) -> Option<&Element> {
        self.children.iter().find(|child| child.name == name && child.namespace == namespace)
    }
    /// Its own text without blanks around.
    pub fn trimmed(&self) -> &str {
        self.text.trim()
    }
}

/// Reads a document into its root element.
pub fn parse(text: &str) -> Result<Element, Malformed> {
    let mut reader = NsReader::from_str(text.trim_start_matches('\u{feff}'));
    let (mut open, mut root, mut count) = (Vec::<Element>::new(), None, 0);
    loop {
        let (namespace, event) = reader.read_resolved_event().map_err(|_| Malformed::NotXml)?;
        let namespace = match namespace {
            ResolveResult::Bound(namespace) => namespace.into_inner().to_owned(),
            ResolveResult::Unbound => String::new(),
            ResolveResult::Unknown(_) => return Err(Malformed::NotXml),
        };
        match event {
            Event::Start(ref start) | Event::Empty(ref start) => {
                count += 1;
                if count > MAX_ELEMENTS {
                    return Err(Malformed::TooLarge);
                }
                if open.len() == MAX_DEPTH {
                    return Err(Malformed::TooDeep);
                }
                if open.is_empty() && root.is_some() {
                    return Err(Malformed::NotXml);
                }
                let element = element(namespace, start)?;
                match event {
                    Event::Empty(_) => close(element, &mut open, &mut root),
                    _ => open.push(element),
                }
            }
            Event::End(_) => {
                let element = open.pop().ok_or(Malformed::NotXml)?;
                close(element, &mut open, &mut root);
            }
            Event::Text(text) => put(&text.xml10_content(), &mut open)?,
            Event::CData(text) => put(&text.xml10_content(), &mut open)?,
            Event::GeneralRef(name) => {
                let one = name.resolve_char_ref().map_err(|_| Malformed::NotXml)?.map(String::from);
                let known = || quick_xml::escape::resolve_predefined_entity(&name).map(str::to_owned);
                put(&one.or_else(known).ok_or(Malformed::Forbidden)?, &mut open)?;
            }
            Event::DocType(_) | Event::PI(_) => return Err(Malformed::Forbidden),
            Event::Comment(_) | Event::Decl(_) => {}
            Event::Eof => return root.filter(|_| open.is_empty()).ok_or(Malformed::NotXml),
        }
    }
}

/// A name of Namespaces in XML 1.0, with at most one prefix. The library looks for where names end and at nothing else: a local
/// name with a colon in it could be taken for one with a prefix by whoever reads the message after us.
fn is_name(name: &str) -> bool {
    let part = |part: &str| {
        part.starts_with(|c: char| c.is_alphabetic() || c == '_')
            && part.chars().all(|c| c.is_alphanumeric() || "-._\u{b7}".contains(c))
    };
    let (prefix, local) = name.split_once(':').unwrap_or(("_", name));
    part(prefix) && part(local)
}

fn element(namespace: String, start: &BytesStart<'_>) -> Result<Element, Malformed> {
    if !is_name(start.name().into_inner()) {
        return Err(Malformed::NotXml);
    }
    let mut attributes = vec![];
    for attribute in start.attributes() {
        let attribute = attribute.map_err(|_| Malformed::NotXml)?;
        let name = attribute.key.into_inner();
        if !is_name(name) {
            return Err(Malformed::NotXml);
        }
        if name == "xmlns" || name.starts_with("xmlns:") {
            continue;
        }
        let value = attribute.normalized_value(XmlVersion::Implicit1_0).map_err(|_| Malformed::NotXml)?;
        attributes.push((name.to_owned(), value.into_owned()));
    }
    Ok(Element { namespace, name: start.local_name().into_inner().to_owned(), attributes, ..Default::default() })
}

fn close(element: Element, open: &mut [Element], root: &mut Option<Element>) {
    match open.last_mut() {
        Some(parent) => parent.children.push(element),
        None => *root = Some(element),
    }
}

/// Text between elements; outside of the root only blanks may stand.
fn put(text: &str, open: &mut [Element]) -> Result<(), Malformed> {
    match open.last_mut() {
        Some(element) => element.text.push_str(text),
        None if text.trim().is_empty() => {}
        None => return Err(Malformed::NotXml),
    }
    Ok(())
}

/// A text as it stands in XML, between tags or in an attribute. What XML cannot hold at all is left out.
pub fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\t' | '\n' | '\r' => out.push(' '),
            c if c.is_control() || matches!(c, '\u{fffe}' | '\u{ffff}') => {}
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_namespaces_attributes_and_text_are_read() {
        let read = parse(
            "<?xml version=\"1.0\"?><!-- c --><a:r xmlns:a='urn:a' xmlns='urn:b' x='1 &amp; 2'>t&#65;<b><![CDATA[<c>]]></b><d/> &lt;</a:r>",
        );
        let root = read.unwrap();
        assert_eq!((root.namespace.as_str(), root.name.as_str(), root.attribute("x")), ("urn:a", "r", "1 & 2"));
        assert_eq!((root.text.as_str(), root.child("b").unwrap().trimmed()), ("tA <", "<c>"));
        assert!(root.of("urn:b", "d").is_some() && root.of("urn:a", "d").is_none());
        assert_eq!(escaped("a<b>&\"\u{0}\n"), "a&lt;b&gt;&amp;&quot; ");
    }

    /// Found by the fuzz target `xml`: `i:manyfesti:em` was an element of the local name `manyfesti:em`.
    #[test]
    fn names_are_names_with_one_prefix_at_most() {
        assert!(parse("<i:r-1.a xmlns:i='urn:i' _b='1' i:\u{e9}='2'/>").is_ok());
        for text in
            ["<i:a:b xmlns:i='urn:i'/>", "<r a:b:c='1'/>", "<r :a='1'/>", "<va^l/>", "<r a\u{1}b='1'/>", "<1r/>"]
        {
            assert_eq!(parse(text), Err(Malformed::NotXml), "{text}");
        }
    }

    #[test]
    fn what_could_expand_or_grow_is_refused() {
        for (text, why) in [
            ("<!DOCTYPE r [<!ENTITY a \"b\">]><r>&a;</r>", Malformed::Forbidden),
            ("<r>&a;</r>", Malformed::Forbidden),
            ("<?php x?><r/>", Malformed::Forbidden),
            ("<r><a></r>", Malformed::NotXml),
            ("<r/><r/>", Malformed::NotXml),
            ("<p:r/>", Malformed::NotXml),
            ("<r", Malformed::NotXml),
            ("x", Malformed::NotXml),
            ("", Malformed::NotXml),
        ] {
            assert_eq!(parse(text), Err(why), "{text}");
        }
        assert_eq!(parse(&"<a>".repeat(MAX_DEPTH + 1)), Err(Malformed::TooDeep));
        let wide = format!("<r>{}</r>", "<a/>".repeat(MAX_ELEMENTS));
        assert_eq!(parse(&wide), Err(Malformed::TooLarge));
    }
}
