//! Style and pictures of the site's pages (`crate::pages`), for anyone: they hold nobody's data, and a page is nothing without them. Answered
//! before a turn is taken, from the program itself; kept by browsers for ever, since each release has addresses of its own.

use super::api;
use super::offhand::{Offhand, only_get};
use super::protocol::{Exchange, Protocol, Reply, ReplyBody};
use crate::pages::assets::{self, Asset};
use crate::wire::mesh::values::accepts_gzip;
use bytes::Bytes;
use http::{Method, header};

const INTERACTION: &str = "pages.asset";
const FOR_EVER: &[u8] = b"public, max-age=31536000, immutable";

/// The protocol.
pub struct PagesProtocol;

impl Protocol for PagesProtocol {
    fn name(&self) -> &'static str {
        "pages"
    }
    fn takes(&self, path: &str) -> bool {
        path.starts_with(assets::ROOT)
    }
    fn interactions(&self) -> Vec<&'static str> {
        vec![INTERACTION]
    }
    fn begin(&self, head: &http::request::Parts) -> Box<dyn Exchange> {
        let mut codings = head.headers.get_all(header::ACCEPT_ENCODING).iter();
        Box::new(Asked {
            asset: assets::find(head.uri.path()),
            looks: head.method == Method::GET,
            gzip: codings.any(|value| accepts_gzip(value.as_bytes())),
        })
    }
}

struct Asked {
    asset: Option<&'static Asset>,
    looks: bool,
    /// The browser takes gzip.
    gzip: bool,
}

impl Offhand for Asked {
    const INTERACTION: &'static str = INTERACTION;

    fn reply(&self) -> Reply {
        let Some(asset) = self.asset else { return api::problem(404, "invalid_request", "Not Found") };
        if !self.looks {
            return only_get();
        }
        let mut headers = vec![
            ("content-type", Bytes::from_static(asset.kind.as_bytes())),
            ("cache-control", Bytes::from_static(FOR_EVER)),
            ("x-content-type-options", Bytes::from_static(b"nosniff")),
        ];
        let bytes = Bytes::from_static(asset.bytes);
        let body = match (asset.zipped, self.gzip) {
            (false, _) => ReplyBody::Bytes(bytes),
            (true, gzip) => {
                headers.push(("vary", Bytes::from_static(b"accept-encoding")));
                if gzip {
                    headers.push(("content-encoding", Bytes::from_static(b"gzip")));
                }
                if gzip { ReplyBody::Bytes(bytes) } else { ReplyBody::Inflate(bytes) }
            }
        };
        Reply { status: 200, headers, body }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::access::{gate::Gate, rules};

    fn ask(method: &str, path: &str, codings: &str) -> Reply {
        let request = http::Request::builder().method(method).uri(path).header("accept-encoding", codings);
        let (head, ()) = request.body(()).unwrap().into_parts();
        PagesProtocol.begin(&head).at_once().unwrap()
    }

    fn header(reply: &Reply, name: &str) -> String {
        let found = reply.headers.iter().find(|(n, _)| *n == name);
        found.map(|(_, value)| String::from_utf8(value.to_vec()).unwrap()).unwrap_or_default()
    }

    #[test]
    fn the_style_is_for_everyone_for_ever_and_zipped_for_who_takes_it() {
        Gate::new(PagesProtocol.interactions(), rules::PAGES).expect("a rule for each");
        let zipped = ask("GET", assets::STYLE, "br, gzip");
        assert_eq!((zipped.status, header(&zipped, "content-encoding").as_str()), (200, "gzip"));
        assert!(matches!(&zipped.body, ReplyBody::Bytes(bytes) if bytes.len() < 40_000));
        let plain = ask("GET", assets::STYLE, "identity");
        assert_eq!(header(&plain, "content-encoding"), "");
        assert!(matches!(&plain.body, ReplyBody::Inflate(_)));
        for reply in [zipped, plain] {
            assert_eq!(header(&reply, "vary"), "accept-encoding");
            assert_eq!(header(&reply, "content-type"), "text/css; charset=utf-8");
            assert!(header(&reply, "cache-control").contains("immutable"));
        }
        let icon = ask("GET", assets::ICON, "gzip");
        assert_eq!((icon.status, header(&icon, "content-type").as_str()), (200, "image/svg+xml"));
        assert_eq!(header(&icon, "content-encoding"), "");
        for path in ["/assets/", "/assets/nhsuk-10.6.1/", "/assets/nhsuk-10.6.1/../../etc/passwd", "/assets/x.css"] {
            assert_eq!(ask("GET", path, "gzip").status, 404, "{path}");
        }
        assert_eq!(ask("POST", assets::STYLE, "gzip").status, 405);
        assert_eq!(ask("DELETE", "/assets/x.css", "gzip").status, 404);
    }
}
