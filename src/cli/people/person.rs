//! Households and the records of who lives in them: plausible as a whole, and among them those that programs stumble over
//! (operations.md §10): no postcode, no fixed abode, sensitive, deceased, merged, invalid, many names, born on a leap day.

use super::{
    luck::Luck,
    words::{BEGINNINGS, ENDINGS, LANGUAGES, MEN, STREETS, SURNAMES, TOWNS, WOMEN},
};
use crate::{model::NhsNumber, services::pds::fhir};
use serde_json::{Map, Value, json};

/// The year in which the nation is looked at: fixed, so that a seed means the same people for ever.
const YEAR: i64 = 2026;

/// One address, one family name, one practice.
pub struct Household {
    family: String,
    pub address: Value,
    practice: String,
    since: String,
}

/// One person of a household.
pub struct Member {
    woman: bool,
    born: (i64, i64, i64),
    family: String,
    /// Which of a multiple birth, from 1; 0 for most.
    birth_order: u64,
    child: bool,
}

fn surname(luck: &mut Luck) -> String {
    match luck.below(100) {
        0..=69 => luck.common(SURNAMES).to_owned(),
        70..=96 => format!("{}{}", luck.pick(BEGINNINGS), luck.pick(ENDINGS)),
        _ => format!("{}-{}", luck.common(SURNAMES), luck.common(SURNAMES)),
    }
}

fn date((year, month, day): (i64, i64, i64)) -> String {
    format!("{year:04}-{month:02}-{day:02}")
}

fn day_of(luck: &mut Luck, from: i64, to: i64) -> (i64, i64, i64) {
    let year = luck.between(from, to);
    if luck.one_in(250) && year % 4 == 0 {
        return (year, 2, 29);
    }
    (year, luck.between(1, 12), luck.between(1, 28))
}

fn address(luck: &mut Luck) -> Value {
    let (town, county, area, districts) = TOWNS[luck.below(TOWNS.len() as u64) as usize];
    let number = luck.between(1, 240);
    let street = luck.pick(STREETS);
    let (first, second) = match luck.below(10) {
        0 => (format!("Flat {}", luck.between(1, 40)), format!("{number} {street}")),
        1 => (format!("{}{} House", luck.pick(BEGINNINGS), luck.pick(ENDINGS)), street.to_owned()),
        _ => (String::new(), format!("{number} {street}")),
    };
    let letters = b"ABDEFGHJLNPQRSTUWXYZ";
    let letter = |luck: &mut Luck| char::from(letters[luck.below(letters.len() as u64) as usize]);
    let district = luck.between(1, districts as i64);
    let postcode = format!("{area}{district} {}{}{}", luck.below(10), letter(luck), letter(luck));
    json!({"line": [first, second, "", town, county], "postalCode": postcode})
}

impl Household {
    pub fn new(luck: &mut Luck) -> Household {
        let place = address(luck);
        let since = date(day_of(luck, 1995, YEAR - 1));
        let practice =
            format!("{}{:05}", luck.pick(&["A", "B", "C", "D", "E", "F", "G", "H"]), luck.between(81_000, 81_900));
        Household { family: surname(luck), address: place, practice, since }
    }

    /// One to six people: alone, a couple, a family, people who share.
    pub fn members(&self, luck: &mut Luck) -> Vec<Member> {
        let adult = |woman: bool, family: String, born: (i64, i64, i64)| Member {
            woman,
            born,
            family,
            birth_order: 0,
            child: false,
        };
        let first_born = day_of(luck, 1925, YEAR - 19);
        let woman = luck.percent(51);
        let first = adult(woman, self.family.clone(), first_born);
        let mut all = vec![first];
        let kind = luck.below(100);
        if kind < 30 {
            return all;
        }
        let near = (first_born.0 + luck.between(-6, 6)).min(YEAR - 18);
        let other_family = if kind >= 92 || luck.percent(25) { surname(luck) } else { self.family.clone() };
        let other = day_of(luck, near, near);
        all.push(adult(kind >= 92 || !woman, other_family, other));
        if (62..92).contains(&kind) {
            let youngest = (first_born.0 + 42).min(YEAR);
            let children = luck.between(1, 4);
            let mut last = None;
            for _ in 0..children {
                let twin = last.filter(|_| luck.one_in(30));
                let born =
                    twin.unwrap_or_else(|| day_of(luck, (first_born.0 + 20).min(YEAR - 1), youngest.min(YEAR - 1)));
                if twin.is_some()
                    && let Some(before) = all.last_mut()
                {
                    before.birth_order = 1;
                }
                let woman = luck.percent(49);
                let birth_order = if twin.is_some() { 2 } else { 0 };
                all.push(Member { woman, born, family: self.family.clone(), birth_order, child: true });
                last = Some(born);
            }
        }
        all
    }
}

impl Member {
    /// An adult woman, whose children in the household may be hers.
    pub fn may_be_mother(&self) -> bool {
        self.woman && !self.child
    }
    pub fn is_child(&self) -> bool {
        self.child
    }
}

/// A person's line.
pub fn line(household: &Household, member: &Member, number: NhsNumber, luck: &mut Luck) -> Value {
    let nhs = number.digits();
    let mut resource = Map::new();
    let mut line = Map::new();
    let mut history = Map::new();
    resource.insert("resourceType".into(), json!("Patient"));
    resource.insert("id".into(), json!(nhs));
    let version = 1 + luck.below(4);
    if luck.one_in(1_000) {
        let label =
            json!({"versionId": version.to_string(), "security": [{"code": "REDACTED", "display": "redacted"}]});
        resource.insert("meta".into(), label);
        return json!({"nhsNumber": nhs, "invalidated": true, "resource": resource});
    }
    let code = match luck.below(1_000) {
        0 => "V",
        1..=3 => "R",
        _ => "U",
    };
    resource.insert("meta".into(), json!({"versionId": version.to_string(), "security": [{"code": code}]}));
    names(member, &mut resource, &mut history, luck);
    let gender = if member.woman { "female" } else { "male" };
    resource.insert("gender".into(), json!(if luck.one_in(1_500) { "unknown" } else { gender }));
    resource.insert("birthDate".into(), json!(date(member.born)));
    if member.birth_order > 0 {
        resource.insert("multipleBirthInteger".into(), json!(member.birth_order));
    }
    let mut hidden = Map::new();
    let secret = code != "U";
    places(household, member, if secret { &mut hidden } else { &mut resource }, &mut history, luck);
    extensions(member, &mut resource, luck);
    if member.child && luck.percent(20) {
        let parent = json!([{"id": luck.id(), "active": true, "name": [{"use": "usual", "family": household.family,
            "given": [luck.common(WOMEN)]}], "relationship": [{"coding": [{
            "system": "http://hl7.org/fhir/ValueSet/relatedperson-relationshiptype", "code": "MTH", "display": "mother"}]}]}]);
        line.insert("relatedPersons".into(), parent);
    }
    line.insert("nhsNumber".into(), json!(nhs));
    line.insert("resource".into(), Value::Object(resource));
    if !history.is_empty() {
        line.insert("history".into(), Value::Object(history));
    }
    if secret {
        line.insert("confidential".into(), Value::Object(hidden));
    }
    Value::Object(line)
}

fn names(member: &Member, resource: &mut Map<String, Value>, history: &mut Map<String, Value>, luck: &mut Luck) {
    let list = if member.woman { WOMEN } else { MEN };
    let mut given = vec![luck.common(list).to_owned()];
    if luck.percent(70) {
        given.push(luck.common(list).to_owned());
    }
    if luck.one_in(40) {
        given[0] = format!("{} {}", given[0], luck.pick(list));
    }
    let since = date((member.born.0.max(1948), member.born.1, member.born.2.min(28)));
    let mut usual =
        json!({"id": luck.id(), "use": "usual", "family": member.family, "given": given, "period": {"start": since}});
    if !member.child {
        let prefix = if luck.one_in(60) {
            "Dr"
        } else if member.woman {
            luck.pick(&["Mrs", "Ms", "Miss"])
        } else {
            "Mr"
        };
        usual["prefix"] = json!([prefix]);
    }
    let mut all = vec![usual];
    if luck.one_in(50) {
        let short: String = given[0].chars().take(3).collect();
        all.push(json!({"id": luck.id(), "use": "nickname", "family": member.family, "given": [short], "period": {"start": since}}));
    }
    resource.insert("name".into(), Value::Array(all));
    if member.woman && !member.child && luck.percent(35) {
        let maiden = json!({"id": luck.id(), "use": "usual", "family": surname(luck), "given": given});
        history.insert("name".into(), json!([maiden]));
    }
}

/// Where the person lives, can be reached, and is registered.
fn places(
    household: &Household,
    member: &Member,
    resource: &mut Map<String, Value>,
    history: &mut Map<String, Value>,
    luck: &mut Luck,
) {
    let born = date(member.born);
    let since = household.since.clone().max(born);
    let home = |place: &Value, luck: &mut Luck| {
        let mut home = place.clone();
        home["id"] = json!(luck.id());
        home["use"] = json!("home");
        home["period"] = json!({"start": since});
        home
    };
    let mut addresses = vec![match luck.below(600) {
        0 => home(&json!({"line": ["", "No fixed abode", "", "", ""], "postalCode": "ZZ99 3VZ"}), luck),
        1 | 2 => home(&json!({"line": household.address["line"]}), luck),
        _ => home(&household.address, luck),
    }];
    if luck.one_in(150) {
        let mut temp = address(luck);
        temp["id"] = json!(luck.id());
        temp["use"] = json!("temp");
        temp["text"] = json!(luck.pick(&["Student Accommodation", "Second Home", "Respite Care Address"]));
        temp["period"] = json!({"start": "2026-09-01", "end": "2026-11-29"});
        addresses.push(temp);
    }
    resource.insert("address".into(), Value::Array(addresses));
    if luck.percent(25) {
        let mut old = address(luck);
        old["id"] = json!(luck.id());
        old["use"] = json!("home");
        history.insert("address".into(), json!([old]));
    }
    let mut telecom = vec![];
    if !member.child {
        // 07700 900000 to 900999 are kept for fiction.
        let mobile = format!("07700900{:03}", luck.below(1_000));
        telecom.push(
            json!({"id": luck.id(), "system": "phone", "use": "mobile", "value": mobile, "period": {"start": since}}),
        );
        if luck.percent(60) {
            let mail = format!("person{}@example.com", luck.below(10_000_000));
            telecom.push(
                json!({"id": luck.id(), "system": "email", "use": "home", "value": mail, "period": {"start": since}}),
            );
        }
        resource.insert("telecom".into(), Value::Array(telecom));
    }
    if luck.percent(97) {
        let practice = json!([{"id": luck.id(), "type": "Organization", "identifier": {"system": fhir::ODS,
            "value": household.practice, "period": {"start": since}}}]);
        resource.insert("generalPractitioner".into(), practice);
    }
}

fn coded(url: &str, system: &str, code: &str, display: &str) -> Value {
    json!({"url": url, "valueCodeableConcept": {"coding": [{"system": system, "version": "1.0.0", "code": code, "display": display}]}})
}

fn extensions(member: &Member, resource: &mut Map<String, Value>, luck: &mut Luck) {
    let mut all = vec![];
    let age = YEAR - member.born.0;
    if luck.below(1_000) < (age.max(0) as u64).pow(3) / 4_000 {
        let day = date(day_of(luck, (member.born.0 + 1).min(YEAR - 1), YEAR - 1));
        let (code, display) = match luck.percent(90) {
            true => ("2", "Formal - death notice received from Registrar of Deaths"),
            false => (
                "1",
                "Informal - death notice received via an update from a local NHS Organisation such as GP or Trust",
            ),
        };
        resource.insert("deceasedDateTime".into(), json!(format!("{day}T00:00:00+00:00")));
        all.push(json!({"url": fhir::DEATH_NOTIFICATION, "extension": [
            coded("deathNotificationStatus", fhir::DEATH_SYSTEM, code, display),
            {"url": "systemEffectiveDate", "valueDateTime": format!("{day}T00:00:00+00:00")}]}));
    } else if luck.one_in(120) {
        let (code, display) = [
            ("SCT", "Transferred to Scotland"),
            ("EMB", "Embarkation"),
            ("AFN", "Armed Forces (notified by Armed Forces)"),
            ("LDN", "Logical deletion"),
        ][luck.below(4) as usize];
        resource.remove("generalPractitioner");
        all.push(json!({"url": fhir::REMOVAL, "extension": [
            {"url": "removalFromRegistrationCode", "valueCodeableConcept": {"coding": [{
                "system": "https://fhir.nhs.uk/CodeSystem/PDS-RemovalReasonExitCode", "code": code, "display": display}]}},
            {"url": "effectiveTime", "valuePeriod": {"start": "2020-01-01T00:00:00+00:00"}}]}));
    }
    if luck.percent(10) {
        let code = format!("F{}{:03}", luck.pick(&["A", "C", "E", "H"]), luck.below(1_000));
        all.push(json!({"url": fhir::NOMINATED_PHARMACY, "valueReference": {"identifier": {"system": fhir::ODS, "value": code}}}));
    }
    if luck.one_in(60) {
        let (code, display) = LANGUAGES[luck.below(LANGUAGES.len() as u64) as usize];
        all.push(json!({"url": fhir::COMMUNICATION, "extension": [
            coded("language", "https://fhir.hl7.org.uk/CodeSystem/UKCore-HumanLanguage", code, display),
            {"url": "interpreterRequired", "valueBoolean": luck.percent(50)}]}));
    }
    if !all.is_empty() {
        resource.insert("extension".into(), Value::Array(all));
    }
}
