//! The site's documents for whoever runs it or connects to it (operations.md §12): `/docs` and its pages, those of `docs` that the package
//! brings. Open to whoever reaches the listener: they say nothing of this site.

use super::api;
use super::offhand::{Offhand, only_get};
use super::protocol::{Exchange, Protocol, Reply, ReplyBody};
use crate::pages::{
    Sheet,
    markdown::{self, Document},
};
use bytes::Bytes;
use std::sync::LazyLock;

const INTERACTION: &str = "pages.document";
const BASE: &str = "/docs";

macro_rules! documents {
    ($($name:literal: $what:literal),* $(,)?) => {
        /// Names, what each is about, and their Markdown.
        const DOCUMENTS: &[(&str, &str, &str)] =
            &[$(($name, $what, include_str!(concat!("../../docs/", $name, ".md")))),*];
    };
}
documents! {
    "demo": "Quick start: a whole site on one machine",
    "install": "Install and grow: from bare Debian to a running site",
    "upgrade": "Upgrade: a new release while the site serves",
    "backup": "Back up and restore",
    "runbooks": "Lose a process, a disk, a machine, a site",
    "two-sites": "Two sites: move the service to another data centre",
    "certificates": "Certificates: renew each, shut somebody out",
    "connect": "Connect a system",
    "arriving": "Arrive from another system, service by service",
    "registration": "Register people who work here",
    "watching": "Watch: dashboards, alerts and what to do",
    "errors": "Errors: every code",
    "metrics": "Metrics",
    "configuration": "Configuration: every key",
    "eps-states": "States of a prescription",
    "hazards": "Security and hazards: what holds each back",
}

/// Each as a page, in the same order: they are made once, when the first is asked for.
static PAGES: LazyLock<Vec<Bytes>> = LazyLock::new(|| {
    let page = |(_, _, text): &(&str, &str, &str)| whole(&markdown::read(text, leads));
    DOCUMENTS.iter().map(page).collect()
});

static INDEX: LazyLock<Bytes> = LazyLock::new(|| {
    let line = |(name, what, _): &(&str, &str, &str)| format!("<li><a href=\"{BASE}/{name}\">{what}</a></li>");
    let list: String = DOCUMENTS.iter().map(line).collect();
    let main = format!(
        "<h1 class=\"nhsuk-heading-l\">Documents</h1><ul class=\"nhsuk-list\">{list}</ul><p>The interfaces are described in \
         OpenAPI at <code>/openapi/SERVICE.json</code>.</p>"
    );
    Bytes::from(Sheet::new("Documents", main).html("Spine"))
});

fn whole(document: &Document) -> Bytes {
    let back = format!("<p><a href=\"{BASE}\">All documents</a></p>");
    Bytes::from(Sheet::new(&document.title, back + &document.main).html("Spine"))
}

/// Where a link of the documents leads here: to another that is served, within the page, or out into the world.
fn leads(to: &str) -> Option<String> {
    if to.starts_with('#') || to.starts_with("https://") {
        return Some(to.to_owned());
    }
    let (file, anchor) = to.split_once('#').map_or((to, None), |(file, anchor)| (file, Some(anchor)));
    let name = file.strip_suffix(".md").filter(|name| find(name).is_some())?;
    Some(anchor.map_or(format!("{BASE}/{name}"), |anchor| format!("{BASE}/{name}#{anchor}")))
}

fn find(name: &str) -> Option<usize> {
    DOCUMENTS.iter().position(|(known, ..)| *known == name)
}

/// The protocol.
pub struct DocumentsProtocol;

impl Protocol for DocumentsProtocol {
    fn name(&self) -> &'static str {
        "documents"
    }
    fn takes(&self, path: &str) -> bool {
        path.strip_prefix(BASE).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    }
    fn interactions(&self) -> Vec<&'static str> {
        vec![INTERACTION]
    }
    fn begin(&self, head: &http::request::Parts) -> Box<dyn Exchange> {
        let name = head.uri.path().strip_prefix(BASE).unwrap_or_default().trim_matches('/').to_owned();
        // The connection leaves the body of an answer to HEAD away, and tells its length.
        Box::new(Asked { looks: matches!(head.method, http::Method::GET | http::Method::HEAD), name })
    }
}

struct Asked {
    looks: bool,
    /// Empty: the list of all.
    name: String,
}

impl Offhand for Asked {
    const INTERACTION: &'static str = INTERACTION;

    fn reply(&self) -> Reply {
        let page = match self.name.as_str() {
            "" => Some(INDEX.clone()),
            name => find(name).and_then(|at| PAGES.get(at).cloned()),
        };
        let Some(page) = page else { return api::problem(404, "invalid_request", "Not Found") };
        if !self.looks {
            let mut reply = only_get();
            reply.headers.retain(|(name, _)| *name != "allow");
            reply.headers.push(("allow", Bytes::from_static(b"GET, HEAD")));
            return reply;
        }
        let policy = Sheet::default().policy();
        let headers = vec![
            ("content-type", Bytes::from_static(b"text/html; charset=utf-8")),
            ("cache-control", Bytes::from_static(b"public, max-age=600")),
            ("content-security-policy", Bytes::from_static(policy.as_bytes())),
            ("x-content-type-options", Bytes::from_static(b"nosniff")),
        ];
        Reply { status: 200, headers, body: ReplyBody::Bytes(page) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::access::{gate::Gate, rules};

    fn ask(method: &str, path: &str) -> (u16, String) {
        let head = http::Request::builder().method(method).uri(path).body(()).unwrap().into_parts().0;
        let reply = DocumentsProtocol.begin(&head).at_once().unwrap();
        let ReplyBody::Bytes(body) = reply.body else { panic!("a short body") };
        (reply.status, String::from_utf8(body.to_vec()).unwrap())
    }

    #[test]
    fn every_document_is_a_page_and_every_link_between_them_finds_its_heading() {
        Gate::new(DocumentsProtocol.interactions(), rules::DOCUMENTS).expect("a rule for each");
        let (_, index) = ask("GET", "/docs");
        let mut links = 0;
        for (name, ..) in DOCUMENTS {
            assert!(index.contains(&format!("href=\"/docs/{name}\"")), "{name}");
            let (status, page) = ask("GET", &format!("/docs/{name}"));
            assert_eq!(status, 200, "{name}");
            assert_eq!(page.matches("<h1").count(), 1, "{name}");
            assert!(!page.contains("ci: on"), "{name} shows what is for those who edit");
            for link in page.split("href=\"").skip(1).filter_map(|rest| rest.split('"').next()) {
                let (to, anchor) = link.split_once('#').unwrap_or((link, ""));
                if anchor.is_empty() || anchor == "maincontent" || to.starts_with("https:") {
                    continue;
                }
                let there = if to.is_empty() { page.clone() } else { ask("GET", to).1 };
                assert!(there.contains(&format!("id=\"{anchor}\"")), "{name}: {link} leads nowhere");
                links += 1;
            }
        }
        assert!(links > 20, "{links}");
    }

    #[test]
    fn what_is_not_there_is_404_and_what_is_there_is_only_looked_at() {
        for (method, path, status) in [
            ("GET", "/docs/none", 404),
            ("GET", "/docs/../x", 404),
            ("POST", "/docs/install", 405),
            ("GET", "/docs/", 200),
            ("HEAD", "/docs", 200),
            ("HEAD", "/docs/install", 200),
            ("HEAD", "/docs/none", 404),
        ] {
            assert_eq!(ask(method, path).0, status, "{method} {path}");
        }
        assert!(!DocumentsProtocol.takes("/docsx"));
    }
}
