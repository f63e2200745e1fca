//! Workflow permission and automatic routing to a practice (mesh.md §11.2, §11.3).

use super::*;
use crate::services::directory::command::{Disable, Kind};

fn status(site: &mut Site, to: &str, workflow: &str) -> (u16, String) {
    let response = site.ask("POST", A, "outbox", &[("mex-to", to), ("mex-workflowid", workflow)], b"x");
    (response.status, if response.status < 300 { String::new() } else { error(&response).1 })
}

#[test]
fn each_mode_of_enforcement() {
    use super::super::Enforcement as E;
    let no = |code: &str| (417, code.to_owned());
    let yes = || (202, String::new());
    for (mode, known, foreign_sender, foreign_receiver, unknown, open) in [
        (E::Off, yes(), yes(), yes(), yes(), yes()),
        (E::Restricted, yes(), no("16"), no("17"), yes(), yes()),
        (E::Strict, yes(), no("16"), no("17"), no("17"), no("16")),
    ] {
        for partitions in [1, 3] {
            let mut site = Site::new(partitions, MeshOptions { enforcement: mode, ..Default::default() });
            assert_eq!(status(&mut site, B, "TEST_WORKFLOW"), known, "{mode:?}");
            assert_eq!(status(&mut site, B, "TEST_WORKFLOW_ACK"), foreign_sender, "{mode:?}");
            assert_eq!(status(&mut site, C, "TEST_WORKFLOW"), foreign_receiver, "{mode:?}");
            assert_eq!(status(&mut site, C, "NEVER HEARD"), unknown, "{mode:?}");
            assert_eq!(status(&mut site, C, "OPEN"), open, "{mode:?}");
            site.register(Disable { kind: Kind::Workflow as u8, id: "TEST_WORKFLOW".into(), ..Default::default() });
            assert_eq!(status(&mut site, B, "TEST_WORKFLOW"), unknown, "a switched-off workflow is as unknown");
        }
    }
}

#[test]
fn a_patient_without_a_practice_is_reported_after_the_202() {
    for mut site in sites() {
        for (to, code, words) in [
            ("GPPROVIDER_9434765918_19700101_SMITH", "EPL-152", "Invalid NHS Number"),
            ("GPPROVIDER_9434765919_19700101_SMITH", "EPL-153", "NHS Number not found"),
        ] {
            let extra = [("mex-subject", "S"), ("mex-localid", "L")];
            let id = site.send_to(A, to, "TOC_FHIR_IP_DISCH", b"x", &extra);
            let report = site.inbox(A).pop().unwrap();
            let got = site.get(A, &format!("inbox/{report}"));
            assert_eq!(
                (got.status, &got.body, header(&got, "mex-messagetype").as_str()),
                (200, &Body::Empty, "REPORT")
            );
            for (name, value) in [
                ("mex-statuscode", code),
                ("mex-statusevent", "SEND"),
                ("mex-statusdescription", words),
                ("mex-statussuccess", "ERROR"),
                ("mex-subject", "S"),
                ("mex-localid", "L"),
                ("mex-linkedmsgid", &id),
                ("mex-workflowid", "TOC_FHIR_IP_DISCH"),
            ] {
                assert_eq!(header(&got, name), value, "{name}");
            }
            assert_eq!(site.status(&id), "error");
            let tracked = json(&site.get2(A, &format!("outbox/tracking?messageID={id}")));
            assert_eq!((&tracked["status_code"], &tracked["status_success"]), (&code.into(), &false.into()));
        }
        // Nothing of the patient is kept anywhere.
        let kept = site.partitions.iter().flat_map(|p| p.0.iter()).any(|(k, v)| {
            [&k[..], &v[..]].iter().any(|bytes| bytes.windows(5).any(|w| w == b"SMITH" || w == b"94347"))
        });
        assert!(!kept);
        assert!(site.notes.iter().all(|n| !format!("{n:?}").contains("SMITH")));
        assert_eq!(status(&mut site, "GPPROVIDER_9434765919_19700101_SMITH", "OTHER"), (417, "12".into()));
        assert!(site.notes.iter().all(|n| !format!("{n:?}").contains("SMITH")));
    }
}

#[test]
fn a_chunked_message_to_a_patient_is_reported_when_complete() {
    for mut site in sites() {
        let to = "GPPROVIDER_9434765919_01011970_SMITH";
        let id = site.send_to(A, to, "GPCONNECT_SEND_DOCUMENT", b"x", &[("mex-chunk-range", "1:2")]);
        assert!(site.inbox(A).is_empty());
        assert_eq!(site.status(&id), "uploading");
        let done = site.ask("POST", A, &format!("outbox/{id}/2"), &[("mex-chunk-range", "2:2")], b"y");
        assert_eq!(done.status, 202);
        assert_eq!((site.inbox(A).len(), site.status(&id).as_str()), (1, "error"));
        assert_eq!(site.rows(crate::store::tables::Table::Bodies), 0);
    }
}
