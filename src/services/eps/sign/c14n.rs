//! Exclusive canonical XML without comments (spec/eps.md §6.3), as far as prescriptions and their signatures need it: no prefixes,
//! no processing instructions. One writer for what we make, and the same for a document that came in.
//!
//! `xmlns` first, then attributes by name, double quotes, end tags always, no blanks that are not content.

use crate::wire::xml::Element;

/// Writes elements into one line.
#[derive(Default)]
pub struct Writer {
    out: String,
}

impl Writer {
    pub fn new() -> Writer {
        Writer { out: String::with_capacity(16 << 10) }
    }

    /// An element with what `within` writes in it. Attributes may come in any order; one whose value is empty is left out, as a value
    /// that a message does not have.
    pub fn element(&mut self, name: &str, attributes: &[(&str, &str)], within: impl FnOnce(&mut Writer)) {
        self.out.push('<');
        self.out.push_str(name);
        let mut sorted: Vec<&(&str, &str)> = attributes.iter().filter(|(_, value)| !value.is_empty()).collect();
        sorted.sort_by_key(|(name, _)| (*name != "xmlns", *name));
        for (name, value) in sorted {
            self.out.push(' ');
            self.out.push_str(name);
            self.out.push_str("=\"");
            escape_attribute(value, &mut self.out);
            self.out.push('"');
        }
        self.out.push('>');
        within(self);
        self.out.push_str("</");
        self.out.push_str(name);
        self.out.push('>');
    }

    /// An element without content.
    pub fn empty(&mut self, name: &str, attributes: &[(&str, &str)]) {
        self.element(name, attributes, |_| {});
    }

    /// An element that holds text only.
    pub fn leaf(&mut self, name: &str, text: &str) {
        self.element(name, &[], |w| w.text(text));
    }

    pub fn text(&mut self, text: &str) {
        escape_text(text, &mut self.out);
    }

    pub fn finish(self) -> String {
        self.out
    }
}

/// Escapes of text between tags.
pub fn escape_text(text: &str, out: &mut String) {
    // Nearly all texts have nothing to escape.
    if !text.bytes().any(|b| matches!(b, b'&' | b'<' | b'>' | b'\r')) {
        return out.push_str(text);
    }
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '\r' => out.push_str("&#xD;"),
            c => out.push(c),
        }
    }
}

fn escape_attribute(text: &str, out: &mut String) {
    if !text.bytes().any(|b| matches!(b, b'&' | b'<' | b'"' | b'\t' | b'\n' | b'\r')) {
        return out.push_str(text);
    }
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '"' => out.push_str("&quot;"),
            '\t' => out.push_str("&#x9;"),
            '\n' => out.push_str("&#xA;"),
            '\r' => out.push_str("&#xD;"),
            c => out.push(c),
        }
    }
}

/// A document that came in, as if it had been signed on its own: the namespace stands on the outermost element. Text that
/// is all blanks is layout and falls away (signatures come pretty-printed; what is signed has none).
pub fn canonical(element: &Element) -> String {
    let mut writer = Writer::new();
    put(element, "", &mut writer);
    writer.finish()
}

/// Depth is bounded by the reader of `wire::xml`.
fn put(element: &Element, outer: &str, writer: &mut Writer) {
    let mut attributes: Vec<(&str, &str)> = element.attributes.iter().map(|(n, v)| (n.as_str(), v.as_str())).collect();
    if element.namespace != outer {
        attributes.push(("xmlns", &element.namespace));
    }
    writer.element(&element.name, &attributes, |w| {
        if !element.text.trim().is_empty() {
            w.text(&element.text);
        }
        element.children.iter().for_each(|child| put(child, &element.namespace, w));
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::xml::parse;

    #[test]
    fn attributes_are_sorted_and_everything_is_escaped() {
        let mut w = Writer::new();
        w.element("a", &[("z", "1"), ("b", "\"<&>\t\n\r"), ("xmlns", "urn:x"), ("none", "")], |w| {
            w.text("<&>\r\n\"\t");
            w.empty("c", &[]);
        });
        let written = w.finish();
        assert_eq!(
            written,
            "<a xmlns=\"urn:x\" b=\"&quot;&lt;&amp;>&#x9;&#xA;&#xD;\" z=\"1\">&lt;&amp;&gt;&#xD;\n\"\t<c></c></a>"
        );
    }

    #[test]
    fn what_came_in_is_written_the_same_however_it_was_laid_out() {
        let plain = "<s xmlns=\"urn:s\"><m b=\"1\" c=\"2\"></m><v>a b</v></s>";
        for text in [plain, "<s xmlns='urn:s'>\r\n  <m c='2' b='1'>\n</m><!-- x -->\n<v>a b</v>\n</s>"] {
            assert_eq!(canonical(&parse(text).unwrap()), plain);
        }
        let inner = "<a><b xmlns=\"urn:b\"><c></c></b></a>";
        assert_eq!(canonical(&parse(inner).unwrap()), inner);
    }
}
