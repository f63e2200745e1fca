//! What `spine bench pds` asks: people of the site, and requests about them as clients make them.

use super::payload::Dice;
use crate::services::pds::fhir::BASE;
use bytes::Bytes;
use http::Request;
use http_body_util::Full;
use serde_json::{Value, json};
use std::fmt::Write;

/// What is asked for, each a run of its own.
#[derive(clap::ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
pub enum Op {
    /// By NHS number
    Retrieve,
    /// By family name, birth date and gender
    Search,
    /// The same with the postcode
    SearchPostcode,
    /// By family and given name and birth date, fuzzy
    Fuzzy,
    /// One change of the gender; needs a user's token
    Patch,
}

impl Op {
    pub fn name(self) -> &'static str {
        match self {
            Op::Retrieve => "retrieve",
            Op::Search => "search",
            Op::SearchPostcode => "search-postcode",
            Op::Fuzzy => "fuzzy",
            Op::Patch => "patch",
        }
    }
}

/// What is known of one person.
#[derive(Clone, Debug)]
pub struct Known {
    pub nhs: String,
    /// The version that is there, as far as is known.
    pub version: u64,
    pub family: String,
    pub given: String,
    pub born: String,
    pub gender: String,
    pub postcode: String,
}

impl Known {
    /// Of a line of a file of people, if all of the asks make sense of them: not restricted, not merged, not dead in part.
    pub fn of_line(line: &str) -> Option<Known> {
        let line: Value = serde_json::from_str(line).ok()?;
        let resource = &line["resource"];
        let text = |path: &str| resource.pointer(path).and_then(Value::as_str).map(str::to_owned);
        let open = line.get("invalidated").is_none() && text("/meta/security/0/code")? == "U";
        Some(Known {
            nhs: line["nhsNumber"].as_str()?.to_owned(),
            version: text("/meta/versionId")?.parse().ok()?,
            family: text("/name/0/family")?,
            given: text("/name/0/given/0")?,
            born: text("/birthDate").filter(|day| day.len() == 10)?,
            gender: text("/gender")?,
            postcode: text("/address/0/postalCode")?,
        })
        .filter(|_| open)
    }

    /// The request; `one`: the caller may have one result only.
    pub fn request(&self, op: Op, one: bool, dice: &mut Dice, host: &str, token: &str) -> Request<Full<Bytes>> {
        let mut path = format!("{BASE}/Patient");
        match op {
            Op::Retrieve | Op::Patch => path.push_str(&format!("/{}", self.nhs)),
            Op::Search | Op::SearchPostcode => {
                add(&mut path, '?', "family", &self.family);
                add(&mut path, '&', "birthdate", &format!("eq{}", self.born));
                add(&mut path, '&', "gender", &self.gender);
                if op == Op::SearchPostcode {
                    add(&mut path, '&', "address-postalcode", &self.postcode);
                }
            }
            Op::Fuzzy => {
                add(&mut path, '?', "_fuzzy-match", "true");
                add(&mut path, '&', "family", &self.family);
                add(&mut path, '&', "given", &self.given);
                add(&mut path, '&', "birthdate", &format!("eq{}", self.born));
            }
        }
        if one && path.contains('?') {
            add(&mut path, '&', "_max-results", "1");
        }
        let (a, b) = (dice.roll(), dice.roll());
        let id = uuid::Builder::from_random_bytes(((u128::from(a) << 64) | u128::from(b)).to_be_bytes()).into_uuid();
        let builder = Request::builder()
            .uri(path)
            .header("host", host)
            .header("authorization", token)
            .header("x-request-id", id.to_string());
        let request = match op {
            Op::Patch => {
                let gender = ["male", "female", "unknown"][(dice.roll() % 3) as usize];
                let body = json!({"patches": [{"op": "replace", "path": "/gender", "value": gender}]}).to_string();
                builder
                    .method("PATCH")
                    .header("content-type", "application/json-patch+json")
                    .header("if-match", format!("W/\"{}\"", self.version))
                    .body(Full::new(Bytes::from(body)))
            }
            _ => builder.body(Full::default()),
        };
        request.unwrap_or_default()
    }
}

fn add(path: &mut String, sign: char, name: &str, value: &str) {
    path.push(sign);
    path.push_str(name);
    path.push('=');
    for byte in value.bytes() {
        if byte.is_ascii_alphanumeric() || b"-_.".contains(&byte) {
            path.push(char::from(byte));
        } else {
            // Writing to a String cannot fail.
            let _ = write!(path, "%{byte:02X}");
        }
    }
}

/// Whether an answer is what was asked for: people, or that there are too many of them for this caller.
pub fn is_good(status: u16) -> bool {
    status == 200
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_person_becomes_requests_and_odd_ones_are_left_out() {
        let line = json!({"nhsNumber": "9990000018", "resource": {"meta": {"versionId": "3", "security": [{"code": "U"}]},
            "name": [{"family": "O'Brien", "given": ["Zoë"]}], "birthDate": "1970-01-02", "gender": "female",
            "address": [{"postalCode": "LS1 4AP"}]}});
        let known = Known::of_line(&line.to_string()).unwrap();
        let mut dice = Dice(1);
        let mut asked = |op| known.request(op, true, &mut dice, "localhost", "Bearer t");
        assert_eq!(asked(Op::Retrieve).uri().path(), "/personal-demographics/FHIR/R4/Patient/9990000018");
        assert_eq!(
            asked(Op::SearchPostcode).uri().query().unwrap(),
            "family=O%27Brien&birthdate=eq1970-01-02&gender=female&address-postalcode=LS1%204AP&_max-results=1"
        );
        let fuzzy = asked(Op::Fuzzy);
        assert_eq!(
            fuzzy.uri().query().unwrap(),
            "_fuzzy-match=true&family=O%27Brien&given=Zo%C3%AB&birthdate=eq1970-01-02&_max-results=1"
        );
        assert_ne!(asked(Op::Fuzzy).headers()["x-request-id"], fuzzy.headers()["x-request-id"]);
        let patch = asked(Op::Patch);
        assert_eq!((patch.method().as_str(), patch.headers()["if-match"].to_str().unwrap()), ("PATCH", "W/\"3\""));
        let mut restricted = line.clone();
        restricted["resource"]["meta"]["security"][0]["code"] = json!("R");
        assert!(Known::of_line(&restricted.to_string()).is_none());
    }
}
