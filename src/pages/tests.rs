//! Components are those of the design system's package, pages keep their promises, and what is served is what its list of digests says.

use super::{
    assets::{ALL, STYLE, find},
    parts::{Choice, Input, Mistake, button, error_summary, inset, radios, second_button, skip_link},
    *,
};
use std::{io::Read, path::Path};

/// What the package says (`packaging/update-nhsuk`), without the white space between its elements.
fn published(component: &str, name: &str) -> String {
    let text = include_str!("../../tests/data/nhsuk/fixtures.json");
    let all: serde_json::Value = serde_json::from_str(text).unwrap();
    let found = all.as_array().unwrap().iter().find(|f| f["component"] == component && f["name"] == name);
    found.unwrap_or_else(|| panic!("{component}: {name}"))["html"].as_str().unwrap().lines().map(str::trim).collect()
}

/// The keyboard stands on a summary without a script: the package does it by one.
fn without_focus(html: &str) -> String {
    html.replace(" tabindex=\"-1\" autofocus", "")
}

#[test]
fn components_are_those_of_the_package() {
    assert_eq!(skip_link(), published("skip-link", "default"));
    assert_eq!(button("Save and continue"), published("button", "default"));
    assert_eq!(second_button("Find my location"), published("button", "secondary"));
    let words = "You can report any suspected side effect using the Yellow Card safety scheme";
    assert_eq!(inset(words), published("inset-text", "default"));
    let born = [Mistake::new("example-day", "Date of birth must be in the past")];
    assert_eq!(without_focus(&error_summary("", &born)), published("error-summary", "default"));
    let about = error_summary("Describe the errors and how to correct them", &born);
    assert_eq!(without_focus(&about), published("error-summary", "with description"));
    let terms = "Agree to the terms of service to log in";
    let mixed = [Mistake::new("", "Invalid username or password"), Mistake::new("example-terms-of-service", terms)];
    assert_eq!(without_focus(&error_summary("", &mixed)), published("error-summary", "without error link (mixed)"));
    assert_eq!(error_summary("", &[]), "");
}

#[test]
fn fields_are_those_of_the_package() {
    let named = |html: String| html.replace("name=\"without-heading\"", "name=\"example\"");
    let label = "What is your NHS number?";
    let plain = Input { id: "without-heading", label, code: true, width: 10, ..Default::default() };
    assert_eq!(named(plain.html()), published("input", "without heading"));
    let hint = "This is a 10 digit number (like 999 123 4567) that you can find on an NHS letter, prescription or in the NHS App";
    let wrong = Input { id: "with-hint-error", hint, error: Some("Enter NHS number"), ..plain };
    let ours = wrong.html().replace("name=\"with-hint-error\"", "name=\"example\"");
    let theirs = published("input", "with error message and hint, without heading");
    assert_eq!(ours, theirs.replace("<span class=\"nhsuk-u-nowrap\">999 123 4567</span>", "999 123 4567"));

    let choice = |value, words, hint| Choice { value, words, hint, chosen: false };
    let choices = [
        choice("mobile", "Yes, I have a mobile phone with signal", "We will text you a 6 digit security code"),
        choice("landline", "No, I want to use my landline", "We will call you to give you a 6 digit security code"),
    ];
    let ours = radios("with-hint-item", "example", "Do you have a mobile phone with signal?", &choices);
    assert_eq!(ours, published("radios", "with hints on items"));
}

#[test]
fn what_was_typed_is_kept_and_does_nothing() {
    let typed = "\"><script>alert('x')</script>&";
    let field = Input { id: "user", label: "User", value: typed, longest: 12, ..Default::default() }.html();
    assert!(field.contains("value=\"&quot;&gt;&lt;script&gt;alert(&#39;x&#39;)&lt;/script&gt;&amp;\""), "{field}");
    let sheet = Sheet { failed: true, ..Sheet::new("Log in", parts::heading("Log in")) };
    let page = sheet.html("Ward <7>");
    assert!(page.contains("<title>Error: Log in - Ward &lt;7&gt;</title>") && !page.contains("<7>"), "{page}");
    for once in ["<h1", "<main", "href=\"#maincontent\"", "id=\"maincontent\"", STYLE] {
        assert_eq!(page.matches(once).count(), 1, "{once}");
    }
    assert!(!page.contains("<script") && !page.contains("style=") && !sheet.policy().contains("script-src"));
    let scripted = Sheet { script: "/a.js".into(), ..sheet };
    assert!(scripted.html("S").contains("<script src=\"/a.js\" defer></script>"));
    assert!(scripted.policy().contains("script-src 'self';") && !scripted.policy().contains("unsafe"));
}

#[test]
fn assets_are_what_their_list_says_and_fetch_nothing_from_elsewhere() {
    let sums = include_str!("assets/SHA256SUMS");
    let version = include_str!("assets/VERSION").trim();
    let mut style = String::new();
    for asset in ALL {
        assert!(asset.path().starts_with(&format!("{}nhsuk-{version}/", assets::ROOT)), "{}", asset.path());
        let mut plain = asset.bytes.to_vec();
        if asset.zipped {
            plain.clear();
            flate2::read::GzDecoder::new(asset.bytes).read_to_end(&mut plain).unwrap();
        }
        let name = Path::new(asset.path()).file_name().unwrap().to_str().unwrap();
        let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, &plain);
        let hex: String = digest.as_ref().iter().map(|b| format!("{b:02x}")).collect();
        assert!(name == "icon.svg" || sums.contains(&format!("{hex}  {name}")), "{name} is not in SHA256SUMS");
        if asset.path() == STYLE {
            style = String::from_utf8(plain).unwrap();
        }
    }
    assert!(style.len() > 200_000 && !style.contains("@font-face") && !style.contains("@import"));
    let folder = STYLE.rsplit_once('/').unwrap().0;
    for address in style.split("url(").skip(1).map(|rest| rest.split(')').next().unwrap()) {
        assert!(find(&format!("{folder}/{address}")).is_some(), "{address} is not served");
    }
    assert!(find("/assets/nhsuk-10.6.1/../icon.svg").is_none());
}

#[test]
fn a_machines_own_name_is_not_bound_to_tls() {
    for (url, told) in [
        ("https://spine.example.nhs.uk:8444", true),
        ("https://10.0.0.1", true),
        ("https://localhost:9843", false),
        ("http://spine.example.nhs.uk", false),
        ("", false),
    ] {
        assert_eq!(transport_security(url).is_some(), told, "{url}");
    }
}
