//! JSON: what we write of foreign text, and what test mode and operators send us.
//!
//! Whatever stands in a header or a row, the JSON made of it reads back as that text.

use super::paths::{MESH, sound};
use super::{KIB, Take, Target};
use bytes::Bytes;
use http::HeaderMap;
use spine::config::running::Running;
use spine::engine::draft::MapStore;
use spine::services::mesh::command::MeshCommand;
use spine::services::mesh::{Attempt, BodyInfo, Route};
use spine::wire::mesh::json::Json;
use spine::wire::mesh::values::readable;

/// serde_json's tree costs some dozens of bytes for each of a deep or flat document's.
pub const TARGET: Target = Target { name: "json", run, seeds, longest: 8 << 10, base: 256 * KIB, factor: 600 };

fn run(input: &[u8]) {
    written(input);
    let bytes = Bytes::copy_from_slice(input);
    for route in [Route::AdminReport, Route::AdminEvent { message: "20220228174323222222_ABCDEF".into() }] {
        let attempt = Attempt { number: 1, forgiven: vec![] };
        match MESH.ask(&route, &HeaderMap::new(), BodyInfo::Inline(bytes.clone()), &MapStore::default(), attempt) {
            Err(response) => sound(&response),
            Ok(ask) => {
                let decodes = ask.calls.iter().all(|call| MeshCommand::decode(&call.payload).is_ok());
                assert!(decodes, "what was taken becomes commands");
            }
        }
    }
    if let Ok(running) = serde_json::from_slice::<Running>(input) {
        let again: Running = serde_json::from_slice(&serde_json::to_vec(&running).expect("it is plain")).expect("json");
        assert_eq!(again, running);
        let _ = running.settings();
    }
}

/// Texts of any bytes as an object and in an array.
fn written(input: &[u8]) {
    let mut take = Take(input);
    let (mut object, mut array) = (Json::object(), Json::array());
    let mut texts = vec![];
    while !take.is_empty() && texts.len() < 64 {
        let len = usize::from(take.byte());
        texts.push(take.bytes(len));
    }
    for (number, text) in texts.iter().enumerate() {
        object.bytes(&format!("t{number}"), text).number(&format!("n{number}"), number as u64);
        array.item(&readable(text));
    }
    object.raw("all", &array.end());
    let read: serde_json::Value = serde_json::from_slice(&object.end()).expect("what we write is JSON");
    for (number, text) in texts.iter().enumerate() {
        assert_eq!(read[format!("t{number}")], readable(text));
        assert_eq!(read["all"][number], readable(text));
    }
}

fn seeds() -> Vec<Vec<u8>> {
    let texts = [
        r#"{"mailbox_id":"X26ABC1","code":"14","description":"Not collected","workflow_id":"W","subject":"é\u0001",
            "local_id":"l","status":"undeliverable","file_name":"f","linked_message_id":"20220228174323222222_ABCDEF"}"#,
        r#"{"status":"error","code":"EPL-152","event":"SEND","description":"d","linked_message_id":null}"#,
        r#"{"file":"/etc/spine/spine.toml","read":true,"set":["node.number=2"],
            "values":[{"key":"node.number","value":"2","origin":"--set"}]}"#,
        r#"[[[[[[[[[[[[[[[[{"a":1e400,"b":-0.0,"c":"\ud800"}]]]]]]]]]]]]]]]]"#,
        "\u{3}a\"b\u{4}\u{1}\\\n\u{7f}",
    ];
    let mut seeds: Vec<Vec<u8>> = texts.iter().map(|t| t.as_bytes().to_vec()).collect();
    seeds.push(vec![3, 0xff, 0xe9, b'"', 2, 0xc3, 0xa9]);
    seeds.push(vec![b'['; 4000]);
    seeds
}
