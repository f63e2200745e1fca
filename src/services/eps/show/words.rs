//! Displays of codes in the trackers and elsewhere (spec/eps.md §20), as the live tracker spells them.

use crate::services::eps::states;

/// An issue's status in `RequestGroup`: one is spelled there in another way than in `states`.
pub fn tracker_issue(status: u16) -> &'static str {
    match status {
        states::issue::TO_BE_DISPENSED => "To be Dispensed",
        other => states::issue_display(other),
    }
}

/// An item's status in `RequestGroup`.
pub fn tracker_item(status: u16) -> &'static str {
    match status {
        states::item::OWING => "Item not dispensed - owing",
        states::item::TO_BE_DISPENSED => "Item to be dispensed",
        other => states::item_display(other),
    }
}

/// A cancellation reason (§20.5); empty for an unknown one.
pub fn cancel_reason(code: &str) -> &'static str {
    match code {
        "0001" => "Prescribing Error",
        "0002" => "Clinical contra-indication",
        "0003" => "Change to medication treatment regime",
        "0004" => "Clinical grounds",
        "0005" => "At the Patient's request",
        "0006" => "At the Pharmacist's request",
        "0007" => "Notification of Death",
        "0008" => "Patient deducted - other reason",
        "0009" => "Patient deducted - registered with new practice",
        _ => "",
    }
}

/// A reason for not dispensing (§20.6); empty for an unknown one.
pub fn not_dispensed_reason(code: &str) -> &'static str {
    match code {
        "0001" => "Not required as instructed by the patient",
        "0002" => "Clinically unsuitable",
        "0003" => "Owings note issued to patient",
        "0004" => "Prescription cancellation",
        "0005" => "Prescription cancellation due to death",
        "0006" => "Illegal NHS prescription",
        "0007" => "Prescribed out of scope item",
        "0008" => "Item or prescription expired",
        "0009" => "Not allowed on FP10",
        "0010" => "Patient did not collect medication",
        "0011" => "Patient purchased medication over the counter",
        _ => "",
    }
}

/// A dispensing site preference (§5.4); empty for an unknown one.
pub fn site_type(code: &str) -> &'static str {
    match code {
        "P1" => "Other (e.g. Community Pharmacy)",
        "P2" => "Appliance Contractor",
        "P3" => "Dispensing Doctor",
        "0004" => "None",
        _ => "",
    }
}

/// A prescription type of those that are listed (§20.1); empty for the others.
pub fn prescription_type(code: &str) -> String {
    let Some((setting, prescriber)) = code.split_at_checked(2) else { return String::new() };
    let (setting, country) = match setting {
        "01" => ("Primary Care Prescriber", ""),
        "10" => ("Outpatient Community Prescriber", ""),
        "11" => ("Outpatient Pharmacy Prescriber", ""),
        "12" => ("Outpatient Homecare Prescriber", ""),
        "02" => ("Primary Care Prescriber", " (Wales)"),
        "20" => ("Outpatient Community Prescriber", " (Wales)"),
        "05" => ("Primary Care Prescriber", " (IOM)"),
        "50" => ("Outpatient Community Prescriber", " (IOM)"),
        _ => return String::new(),
    };
    let prescriber = match prescriber {
        "01" => "Medical Prescriber",
        "04" => "Nurse Independent/Supplementary prescriber",
        "05" => "Community Practitioner Nurse prescriber",
        "08" => "Pharmacist Independent/Supplementary prescriber",
        "13" => "Optometrist Independent/Supplementary prescriber",
        "14" => "Podiatrist/Chiropodist Independent/Supplementary prescriber",
        "16" => "Radiographer Independent/Supplementary prescriber",
        "17" => "Physiotherapist Independent/Supplementary prescriber",
        "24" => "Dietician Supplementary prescriber",
        "25" => "Paramedic Independent/Supplementary prescriber",
        _ => return String::new(),
    };
    format!("{setting} - {prescriber}{country}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types_are_spelled_as_published() {
        assert_eq!(prescription_type("0101"), "Primary Care Prescriber - Medical Prescriber");
        let nurse = "Outpatient Community Prescriber - Nurse Independent/Supplementary prescriber (IOM)";
        assert_eq!(prescription_type("5004"), nurse);
        for other in ["", "01", "é1", "0607", "NotProvided"] {
            assert_eq!(prescription_type(other), "", "{other}");
        }
    }
}
