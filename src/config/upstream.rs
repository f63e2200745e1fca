//! What a node needs to hand requests to the system that is being replaced: addresses by service, and who the site is there.
//! Which organisation's requests go there is no setting but a row of the registry (docs/arriving.md).

use std::{path::PathBuf, time::Duration};

/// Settings of the `upstream` section, named after their keys.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Upstream {
    /// Authorities of that system's certificates.
    pub ca: PathBuf,
    /// The certificate that the site shows there, and its key.
    pub cert: PathBuf,
    pub key: PathBuf,
    /// Service and address, of those that have one.
    pub addresses: Vec<(&'static str, http::Uri)>,
    /// How long it may take to answer, and to pause within an answer.
    pub patience: Duration,
    /// Requests at once to each service's address.
    pub relays: usize,
}

/// An address as it stands in a file: https, a host, and nothing behind a path.
pub fn address(text: &str) -> Result<http::Uri, String> {
    let wrong = || format!("{text:?} is no https address such as \"https://spine.old.example:8443\"");
    let uri: http::Uri = text.trim().trim_end_matches('/').parse().map_err(|_| wrong())?;
    let plain = uri.scheme_str() == Some("https")
        && uri.host().is_some_and(|host| !host.is_empty())
        && uri.query().is_none()
        && uri.authority().is_some_and(|a| !a.as_str().contains('@'));
    if plain { Ok(uri) } else { Err(wrong()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_handed_on_over_tls_only() {
        assert!(address("https://10.0.0.7:8443").is_ok());
        assert!(address("https://spine.old.test/base/").is_ok());
        for bad in
            ["http://10.0.0.7:8443", "10.0.0.7:8443", "https://", "https://a.test/?x=1", "https://u:p@a.test", ""]
        {
            assert!(address(bad).is_err(), "{bad}");
        }
    }
}
