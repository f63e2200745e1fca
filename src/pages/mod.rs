//! What every web page of the site is made of: the frame and the components of the NHS design system, its style and pictures, and what
//! a browser is told beside a page. Pure: text in, text out.
//!
//! | file | duty |
//! |---|---|
//! | `parts` | components: button, input, radios, error summary… |
//! | `markdown` | the documents' Markdown as pages |
//! | `assets` | style and pictures as they are served, from `assets/` (`packaging/update-nhsuk`) |
//!
//! Invariants: every page has one `h1`, a title of its own, a way past the header, and a site's name in words (the NHS logo is a protected
//! mark); nothing is fetched from elsewhere; what a person typed is escaped; a page without a script of its own needs none.

pub mod assets;
pub mod markdown;
pub mod parts;
#[cfg(test)]
mod tests;

use parts::escaped;

/// A page: what is between header and end.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sheet {
    /// Of the window, and mostly the heading's words.
    pub title: String,
    /// HTML.
    pub main: String,
    /// Something that was typed is to be mended.
    pub failed: bool,
    /// Where a script of the page's own lies; empty for none.
    pub script: String,
}

impl Sheet {
    pub fn new(title: &str, main: String) -> Sheet {
        Sheet { title: title.to_owned(), main, ..Default::default() }
    }

    /// The whole page of a site of this name.
    pub fn html(&self, site: &str) -> String {
        let site = escaped(site);
        let error = if self.failed { "Error: " } else { "" };
        let script = match self.script.as_str() {
            "" => String::new(),
            address => format!("<script src=\"{}\" defer></script>", escaped(address)),
        };
        format!(
            "<!DOCTYPE html><html lang=\"en\"><head><meta charset=\"utf-8\"><title>{error}{title} - {site}</title><meta \
             name=\"viewport\" content=\"width=device-width, initial-scale=1, viewport-fit=cover\"><meta name=\"theme-color\" \
             content=\"#005eb8\"><link rel=\"stylesheet\" href=\"{style}\"><link rel=\"icon\" href=\"{icon}\" \
             type=\"image/svg+xml\">{script}</head><body>{skip}<header class=\"nhsuk-header\" role=\"banner\"><div \
             class=\"nhsuk-header__container nhsuk-width-container\"><div class=\"nhsuk-header__service\"><span \
             class=\"nhsuk-header__service-name\">{site}</span></div></div></header><div class=\"nhsuk-width-container\"><main \
             class=\"nhsuk-main-wrapper\" id=\"maincontent\"><div class=\"nhsuk-grid-row\"><div \
             class=\"nhsuk-grid-column-two-thirds\">{main}</div></div></main></div></body></html>",
            title = escaped(&self.title),
            style = assets::STYLE,
            icon = assets::ICON,
            skip = parts::skip_link(),
            main = self.main,
        )
    }

    /// `content-security-policy`: the site's own style and pictures, its own script where the page has one, and no frame.
    pub fn policy(&self) -> &'static str {
        if self.script.is_empty() { POLICY } else { SCRIPTED_POLICY }
    }
}

// No `form-action`: browsers hold it against redirects too, and a log-in's form ends at the application, on a host of its own.
const POLICY: &str =
    "default-src 'none'; style-src 'self'; img-src 'self'; font-src 'none'; frame-ancestors 'none'; base-uri 'none'";
const SCRIPTED_POLICY: &str = "default-src 'none'; style-src 'self'; img-src 'self'; font-src 'none'; script-src 'self'; \
                               frame-ancestors 'none'; base-uri 'none'";

/// `strict-transport-security` of pages under this address; nothing for the machine's own name, which other programs serve without TLS.
pub fn transport_security(url: &str) -> Option<&'static str> {
    let host = url.strip_prefix("https://")?;
    let host = host.split(['/', ':']).next().unwrap_or_default();
    (host != "localhost" && !host.is_empty()).then_some("max-age=31536000")
}
