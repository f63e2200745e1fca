//! The published examples, replayed: patches as their files say, errors in their shape.

use super::*;

#[test]
fn the_published_patches_do_what_they_say() {
    let cases: &[(&str, u16)] = &[
        ("add-name", 200),
        ("update-gender", 200),
        ("update-address", 200),
        ("update-address-alternative", 200),
        ("add-deceased-date-time", 200),
        // The person's death is formal, their pharmacy is there already, and their usual name stays.
        ("update-extension", 403),
        ("delete-extension", 200),
        ("add-extension", 403),
        ("delete-gender", 403),
        ("delete-name", 403),
    ];
    for mut site in sites() {
        let mut version = 2;
        for (name, status) in cases {
            let patches = example(&format!("patch/{name}.json"))["patches"].clone();
            let response = site.patch(&worker(), JANE, version, patches);
            assert_eq!(response.status, *status, "{name}: {}", json(&response));
            version += u64::from(response.status == 200);
        }
        let alternative = example("patch/delete-name-alternative.json")["patches"].clone();
        let text = error(&site.patch(&worker(), JANE, version, alternative)).2;
        assert!(text.contains("is not equal to tested value"), "her name has no MBE");
    }
}

#[test]
fn errors_have_the_published_shape() {
    use super::super::refusal::{ALL, Problem};
    let mut compared = 0;
    for (_, text) in EXAMPLES.iter().filter(|(name, _)| name.starts_with("errors/")) {
        let published: Value = serde_json::from_str(text).unwrap();
        let coding = &published["issue"][0]["details"]["coding"][0];
        let code = coding["code"].as_str().unwrap();
        let row = ALL.iter().find(|row| row.code == code).unwrap_or_else(|| panic!("{code} is in no table"));
        let mut ours = Problem::plain(row).outcome();
        if let Some(text) = published["issue"][0].get("diagnostics") {
            ours["issue"][0]["diagnostics"] = text.clone();
        }
        if coding["display"].as_str().unwrap().starts_with("#(") {
            ours["issue"][0]["details"]["coding"][0]["display"] = coding["display"].clone();
        }
        assert_eq!(ours, published, "{code}");
        compared += 1;
    }
    assert!(compared > 20);
}
