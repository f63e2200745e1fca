//! The documents' Markdown as pages: GitHub's headings, tables and anchors, so that a link works here as it does there.

use pulldown_cmark::{CowStr, Event, HeadingLevel, Options, Parser, Tag, TagEnd, html};
use std::collections::BTreeMap;

/// A document, read.
#[derive(Debug, PartialEq, Eq)]
pub struct Document {
    /// The words of its first heading.
    pub title: String,
    /// HTML, for a sheet's main part.
    pub main: String,
}

/// Reads a document. `link` says where a link leads from here; what leads nowhere is text.
pub fn read(text: &str, link: impl Fn(&str) -> Option<String>) -> Document {
    let parser = Parser::new_ext(text, Options::ENABLE_TABLES | Options::ENABLE_STRIKETHROUGH);
    let mut events = vec![];
    let mut anchors = Anchors::default();
    let (mut title, mut heading) = (String::new(), None);
    // Whether each link that is open is shown as one.
    let mut links = vec![];
    for event in parser {
        match event {
            // Comments, for those who edit.
            Event::Html(_) | Event::InlineHtml(_) => continue,
            Event::Start(Tag::Heading { level, .. }) => {
                heading = Some((events.len(), String::new()));
                events.push(Event::Start(headed(level, String::new())));
            }
            Event::End(TagEnd::Heading(level)) => {
                if let Some((at, words)) = heading.take() {
                    events[at] = Event::Start(headed(level, anchors.of(&words)));
                    if title.is_empty() {
                        title = words;
                    }
                }
                events.push(event);
            }
            Event::Start(Tag::Link { link_type, dest_url, title, id }) => {
                let to = link(&dest_url);
                links.push(to.is_some());
                if let Some(to) = to {
                    events.push(Event::Start(Tag::Link { link_type, dest_url: to.into(), title, id }));
                }
            }
            Event::End(TagEnd::Link) => {
                if links.pop() == Some(true) {
                    events.push(event);
                }
            }
            Event::Text(ref words) | Event::Code(ref words) => {
                if let Some((_, heading)) = &mut heading {
                    heading.push_str(words);
                }
                events.push(event);
            }
            other => events.push(other),
        }
    }
    let mut main = String::new();
    html::push_html(&mut main, events.into_iter());
    Document { title, main }
}

fn headed(level: HeadingLevel, id: String) -> Tag<'static> {
    let class = match level {
        HeadingLevel::H1 => "nhsuk-heading-l",
        HeadingLevel::H2 => "nhsuk-heading-m",
        _ => "nhsuk-heading-s",
    };
    let id = (!id.is_empty()).then(|| CowStr::from(id));
    Tag::Heading { level, id, classes: vec![class.into()], attrs: vec![] }
}

/// Headings' names in addresses, as GitHub makes them: small letters, no marks, a second of the same name is numbered.
#[derive(Default)]
struct Anchors(BTreeMap<String, usize>);

impl Anchors {
    fn of(&mut self, words: &str) -> String {
        let kept = words.to_lowercase().replace(' ', "-");
        let kept: String = kept.chars().filter(|c| c.is_alphanumeric() || *c == '-' || *c == '_').collect();
        let seen = self.0.entry(kept.clone()).and_modify(|seen| *seen += 1).or_default();
        if *seen == 0 { kept } else { format!("{kept}-{seen}") }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headings_have_anchors_links_are_turned_and_comments_left_out() {
        let text = "# The `spine` site's end\n\n<!-- ci: on 1\nsecret\n-->\n\nSee [a](b.md#c) and [d](../e).\n\n## X\n\n## X\n\n| a |\n|---|\n| <b> |\n";
        let read = read(text, |to| to.starts_with("b.md").then(|| to.replace("b.md", "/docs/b")));
        assert_eq!(read.title, "The spine site's end");
        let start = "<h1 id=\"the-spine-sites-end\" class=\"nhsuk-heading-l\">The <code>spine</code> site's end</h1>\n";
        assert!(read.main.starts_with(start), "{}", read.main);
        assert!(read.main.contains("See <a href=\"/docs/b#c\">a</a> and d.") && !read.main.contains("secret"));
        assert!(read.main.contains("id=\"x\"") && read.main.contains("id=\"x-1\""), "{}", read.main);
        assert!(read.main.contains("<table>") && !read.main.contains("<b>"), "{}", read.main);
    }
}
