//! Codes and names of job roles, activities and areas of work (spec/identity.md §2.2, §6.3).

/// The rationalised job roles, which access is granted by.
const ROLES: &[(&str, &str)] = &[
    ("R8000", "Clinical Practitioner Access Role"),
    ("R8001", "Nurse Access Role"),
    ("R8002", "Nurse Manager Access Role"),
    ("R8003", "Health Professional Access Role"),
    ("R8004", "Healthcare Student Access Role"),
    ("R8005", "Biomedical Scientist Access Role"),
    ("R8006", "Medical Secretary Access Role"),
    ("R8007", "Clinical Coder Access Role"),
    ("R8008", "Admin/Clinical Support Access Role"),
    ("R8009", "Receptionist Access Role"),
    ("R8010", "Clerical Access Role"),
    ("R8011", "Clerical Manager Access Role"),
    ("R8012", "Information Officer Access Role"),
    ("R8013", "Health Records Manager Access Role"),
    ("R8014", "Social Worker Access Role"),
    ("R8015", "Systems Support Access Role"),
    ("R8016", "Midwife Access Role"),
    ("R8017", "Midwife Manager Access Role"),
    ("R8024", "Bank Access Role"),
    ("R0001", "Privacy Officer"),
    ("R5080", "Registration Authority Manager"),
    ("R5090", "Registration Authority Agent"),
    ("R5105", "Caldicott Guardian"),
    ("R0260", "General Medical Practitioner"),
    ("R0270", "Salaried General Practitioner"),
    ("R1290", "Pharmacist"),
    ("R0600", "Specialist Nurse Practitioner"),
    ("R0620", "Staff Nurse"),
    ("R0050", "Consultant"),
    ("R6200", "GP Registrar"),
    ("R6300", "Sessional GP"),
];

/// Staff groups and sub-groups whose names are public.
const GROUPS: &[(&str, &str)] =
    &[("S8000", "Clinical"), ("G8000", "Clinical Provision"), ("S8001", "Support"), ("G8002", "Support")];

fn is_code(text: &str, letter: char) -> bool {
    text.len() == 5 && text.starts_with(letter) && text[1..].bytes().all(|b| b.is_ascii_digit())
}

fn is_triple(text: &str, letters: [char; 3]) -> bool {
    let parts: Vec<&str> = text.split(':').collect();
    parts.len() == 3 && parts.iter().zip(letters).all(|(part, letter)| is_code(part, letter))
}

/// `S8000:G8000:R8001`.
pub fn is_role_code(text: &str) -> bool {
    text.is_ascii() && is_triple(text, ['S', 'G', 'R'])
}

/// `R8001`.
pub fn is_job_role(text: &str) -> bool {
    text.is_ascii() && is_code(text, 'R')
}

/// `B0825`.
pub fn is_activity(text: &str) -> bool {
    text.is_ascii() && is_code(text, 'B')
}

/// `P0010:Q0020:T0030`.
pub fn is_area(text: &str) -> bool {
    text.is_ascii() && is_triple(text, ['P', 'Q', 'T'])
}

/// Three quoted parts, joined by colons.
pub fn is_role_name(text: &str) -> bool {
    let inner = text.strip_prefix('"').and_then(|rest| rest.strip_suffix('"'));
    let parts: Vec<&str> = inner.unwrap_or_default().split("\":\"").collect();
    text.len() <= 300
        && parts.len() == 3
        && parts.iter().all(|p| !p.trim().is_empty() && !p.contains('"') && !p.contains(char::is_control))
}

/// The name of a job role that this program knows, as tokens carry it. A group without a public name is called by its code.
pub fn name(role_code: &str) -> Option<String> {
    let parts: Vec<&str> = role_code.split(':').collect();
    let [staff, sub, job] = parts[..] else { return None };
    let (_, job) = ROLES.iter().find(|(code, _)| *code == job)?;
    let group = |code| GROUPS.iter().find(|(known, _)| *known == code).map_or(code, |(_, name)| *name);
    Some(format!("\"{}\":\"{}\":\"{job}\"", group(staff), group(sub)))
}
