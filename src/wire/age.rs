//! Files encrypted to a public key, in the form that `age` and `rage` read (age-encryption.org/v1, recipients of X25519): who
//! writes one keeps nothing to read it with. Pieces are sealed one by one, each in its place and the last as the last, so a file
//! is read and written in bounded memory, at any place, and one that was cut off, joined or changed does not open (P6, P7).
//!
//! Randomness is handed in: this room has none.

use super::jwt::{from_base64url, to_base64url};
use aws_lc_rs::{
    aead::{Aad, CHACHA20_POLY1305, LessSafeKey, Nonce, UnboundKey},
    agreement::{self, UnparsedPublicKey, X25519},
    constant_time::verify_slices_are_equal,
    hkdf::{HKDF_SHA256, Salt},
    hmac,
};
use std::fmt;

/// Bytes of content in a piece, and what its seal adds.
pub const PIECE: usize = 64 << 10;
pub const SEAL: usize = 16;
/// Longest header that is believed: some hundred recipients.
pub const LONGEST_HEADER: usize = 16 << 10;
/// Most recipients of a file.
pub const MOST_RECIPIENTS: usize = 20;

const VERSION: &str = "age-encryption.org/v1\n";
const PUBLIC: &str = "age";
const SECRET: &str = "age-secret-key-";
const INFO: &[u8] = b"age-encryption.org/v1/X25519";
const FILE_KEY: usize = 16;
const NONCE: usize = 16;

/// Fills with randomness.
pub type Random<'a> = &'a mut dyn FnMut(&mut [u8]);

/// Why a file does not open.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Locked {
    #[error("it does not begin as an encrypted file")]
    Header,
    #[error("it is encrypted for other keys")]
    OtherKey,
    #[error("what its header says was changed")]
    Forged,
    #[error("a piece of it was changed, moved or cut off")]
    Piece,
}

/// Whom a file is encrypted for: the public half.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Recipient([u8; 32]);

/// Who opens it: the private half. Has no `Debug`.
#[derive(Clone)]
pub struct Identity {
    secret: [u8; 32],
    public: Recipient,
}

impl fmt::Display for Recipient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&bech32(PUBLIC, &self.0))
    }
}

impl fmt::Debug for Recipient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

impl Recipient {
    /// `age1…`. The few numbers with which no secret can be agreed upon are nobody's key.
    pub fn parse(text: &str) -> Option<Recipient> {
        let key = from_bech32(PUBLIC, text)?;
        wrapping(&[0x42; 32], &key, &[]).map(|_| Recipient(key))
    }

    /// The lines of a file: one recipient each, empty lines and remarks between. The error names the line.
    pub fn all(text: &str) -> Result<Vec<Recipient>, String> {
        let found = each_line(text, Recipient::parse, "no public key (age1…)")?;
        match found.len() {
            0 => Err("it names no public key (age1…)".into()),
            n if n > MOST_RECIPIENTS => Err(format!("it names {n} public keys; {MOST_RECIPIENTS} are most")),
            _ => Ok(found),
        }
    }
}

impl Identity {
    pub fn new(random: Random<'_>) -> Identity {
        let mut secret = [0; 32];
        random(&mut secret);
        Identity { secret, public: public(&secret) }
    }

    /// `AGE-SECRET-KEY-1…`
    pub fn parse(text: &str) -> Option<Identity> {
        let secret = from_bech32(SECRET, text)?;
        Some(Identity { secret, public: public(&secret) })
    }

    /// The lines of a file, as [`Recipient::all`]. The error never repeats what stands there.
    pub fn all(text: &str) -> Result<Vec<Identity>, String> {
        let found = each_line(text, Identity::parse, "no private key (AGE-SECRET-KEY-1…)")?;
        match found.is_empty() {
            true => Err("it holds no private key (AGE-SECRET-KEY-1…)".into()),
            false => Ok(found),
        }
    }

    /// As it stands in a file: a secret.
    pub fn secret_text(&self) -> String {
        bech32(SECRET, &self.secret).to_ascii_uppercase()
    }

    pub fn public(&self) -> Recipient {
        self.public
    }
}

fn each_line<T>(text: &str, parse: fn(&str) -> Option<T>, wrong: &str) -> Result<Vec<T>, String> {
    let lines = text.lines().enumerate().map(|(n, line)| (n + 1, line.trim()));
    let lines = lines.filter(|(_, line)| !line.is_empty() && !line.starts_with('#'));
    lines.map(|(n, line)| parse(line).ok_or_else(|| format!("line {n} is {wrong}"))).collect()
}

/// X25519 with the base point. Any 32 bytes are a private key.
fn public(secret: &[u8; 32]) -> Recipient {
    let mut out = [0; 32];
    let made = agreement::PrivateKey::from_private_key(&X25519, secret).and_then(|key| Ok(key.compute_public_key()?));
    if let Ok(key) = made {
        out.copy_from_slice(key.as_ref());
    }
    Recipient(out)
}

fn derived(salt: &[u8], from: &[u8], info: &[u8]) -> [u8; 32] {
    let mut out = [0; 32];
    let key = Salt::new(HKDF_SHA256, salt).extract(from);
    // Only longer outputs than a hash's 255-fold fail.
    let filled = key.expand(&[info], HKDF_SHA256).and_then(|okm| okm.fill(&mut out));
    debug_assert!(filled.is_ok());
    out
}

fn cipher(key: &[u8; 32]) -> Option<LessSafeKey> {
    UnboundKey::new(&CHACHA20_POLY1305, key).ok().map(LessSafeKey::new)
}

/// The key that a file's key is wrapped with. `None` for a public key that no private key has.
fn wrapping(secret: &[u8; 32], other: &[u8; 32], salt: &[u8]) -> Option<LessSafeKey> {
    let secret = agreement::PrivateKey::from_private_key(&X25519, secret).ok()?;
    let other = UnparsedPublicKey::new(&X25519, other);
    let shared = agreement::agree(&secret, other, Locked::Header, |shared| Ok(derived(salt, shared, INFO)));
    cipher(&shared.ok()?)
}

/// The content of one file: seals its pieces, or opens them.
pub struct Pieces(LessSafeKey);

impl Pieces {
    fn of(file_key: &[u8; FILE_KEY], nonce: &[u8]) -> Option<Pieces> {
        cipher(&derived(nonce, file_key, b"payload")).map(Pieces)
    }

    fn nonce(number: u64, last: bool) -> Nonce {
        let mut nonce = [0; 12];
        nonce[3..11].copy_from_slice(&number.to_be_bytes());
        nonce[11] = u8::from(last);
        Nonce::assume_unique_for_key(nonce)
    }

    /// Seals a piece in place: [`PIECE`] bytes, but for the last. Only an empty file has an empty one.
    pub fn seal(&self, number: u64, last: bool, piece: &mut Vec<u8>) -> Result<(), Locked> {
        self.0.seal_in_place_append_tag(Self::nonce(number, last), Aad::empty(), piece).map_err(|_| Locked::Piece)
    }

    pub fn open(&self, number: u64, last: bool, piece: &mut Vec<u8>) -> Result<(), Locked> {
        let opened = self.0.open_in_place(Self::nonce(number, last), Aad::empty(), piece);
        let len = opened.map_err(|_| Locked::Piece)?.len();
        piece.truncate(len);
        Ok(())
    }
}

/// Begins a file for these recipients: its first bytes, and what seals the pieces that follow.
pub fn begin(recipients: &[Recipient], random: Random<'_>) -> Result<(Vec<u8>, Pieces), String> {
    let (mut file_key, mut nonce) = ([0; FILE_KEY], [0; NONCE]);
    random(&mut file_key);
    random(&mut nonce);
    let mut header = VERSION.to_owned();
    for recipient in recipients {
        let one = Identity::new(random);
        let salt = [one.public.0, recipient.0].concat();
        let wrap = wrapping(&one.secret, &recipient.0, &salt);
        let wrap = wrap.ok_or_else(|| format!("{recipient} is nobody's public key"))?;
        let mut body = file_key.to_vec();
        let sealed = wrap.seal_in_place_append_tag(Nonce::assume_unique_for_key([0; 12]), Aad::empty(), &mut body);
        sealed.map_err(|_| "a key cannot be wrapped".to_owned())?;
        header.push_str(&format!("-> X25519 {}\n{}\n", base64(&one.public.0), base64(&body)));
    }
    header.push_str("---");
    let mac = hmac::sign(&mac_key(&file_key), header.as_bytes());
    header.push_str(&format!(" {}\n", base64(mac.as_ref())));
    let pieces = Pieces::of(&file_key, &nonce).ok_or("no cipher can be had")?;
    Ok(([header.as_bytes(), &nonce].concat(), pieces))
}

fn mac_key(file_key: &[u8; FILE_KEY]) -> hmac::Key {
    hmac::Key::new(hmac::HMAC_SHA256, &derived(&[], file_key, b"header"))
}

/// Opens a file from its first bytes (at most [`LONGEST_HEADER`] are looked at): how many of them come before the pieces, and
/// what opens those.
pub fn open(start: &[u8], identities: &[Identity]) -> Result<(usize, Pieces), Locked> {
    let start = &start[..start.len().min(LONGEST_HEADER)];
    let (mut at, mut file_key) = (0, None);
    let mut next = || -> Result<(usize, &str), Locked> {
        let rest = start.get(at..).unwrap_or_default();
        let end = rest.iter().position(|b| *b == b'\n').ok_or(Locked::Header)?;
        let line = std::str::from_utf8(&rest[..end]).map_err(|_| Locked::Header)?;
        let begun = at;
        at += end + 1;
        Ok((begun, line))
    };
    if next()?.1 != VERSION.trim_end() {
        return Err(Locked::Header);
    }
    let mut line = next()?;
    let mac = loop {
        if let Some(mac) = line.1.strip_prefix("--- ") {
            break mac;
        }
        let words: Vec<&str> = line.1.strip_prefix("-> ").ok_or(Locked::Header)?.split(' ').collect();
        let mut body = String::new();
        loop {
            let (_, part) = next()?;
            body.push_str(part);
            if part.len() < 64 {
                break;
            }
        }
        if let (["X25519", share], None) = (&words[..], &file_key) {
            file_key = identities.iter().find_map(|identity| unwrapped(identity, share, &body));
        }
        line = next()?;
    };
    let file_key = file_key.ok_or(Locked::OtherKey)?;
    let wanted = hmac::sign(&mac_key(&file_key), &start[..line.0 + 3]);
    let mac = from_base64(mac).ok_or(Locked::Header)?;
    verify_slices_are_equal(wanted.as_ref(), &mac).map_err(|_| Locked::Forged)?;
    let nonce = start.get(at..at + NONCE).ok_or(Locked::Header)?;
    Pieces::of(&file_key, nonce).map(|pieces| (at + NONCE, pieces)).ok_or(Locked::Header)
}

fn unwrapped(identity: &Identity, share: &str, body: &str) -> Option<[u8; FILE_KEY]> {
    let share: [u8; 32] = from_base64(share)?.try_into().ok()?;
    let mut body = from_base64(body).filter(|body| body.len() == FILE_KEY + SEAL)?;
    let salt = [share, identity.public.0].concat();
    let wrap = wrapping(&identity.secret, &share, &salt)?;
    let key = wrap.open_in_place(Nonce::assume_unique_for_key([0; 12]), Aad::empty(), &mut body).ok()?;
    key.first_chunk().copied()
}

/// Unpadded base64 of the common alphabet.
fn base64(bytes: &[u8]) -> String {
    to_base64url(bytes).replace('-', "+").replace('_', "/")
}

fn from_base64(text: &str) -> Option<Vec<u8>> {
    match text.contains(['-', '_']) {
        true => None,
        false => from_base64url(text.replace('+', "-").replace('/', "_")),
    }
}

const DIGITS: &[u8; 32] = b"qpzry9x8gf2tvdw0s3jn54khce6mua7l";

/// The checksum's polynomial over digits (BIP 173).
fn checksum(prefix: &str, digits: &[u8]) -> u32 {
    const TURNS: [u32; 5] = [0x3b6a_57b2, 0x2650_8e6d, 0x1ea1_19fa, 0x3d42_33dd, 0x2a14_62b3];
    let high = prefix.bytes().map(|b| b >> 5);
    let low = prefix.bytes().map(|b| b & 31);
    high.chain([0]).chain(low).chain(digits.iter().copied()).fold(1, |sum: u32, digit| {
        let top = sum >> 25;
        let sum = (sum & 0x1ff_ffff) << 5 ^ u32::from(digit);
        (0..5).filter(|bit| top >> bit & 1 == 1).fold(sum, |sum, bit| sum ^ TURNS[bit])
    })
}

fn bech32(prefix: &str, bytes: &[u8; 32]) -> String {
    let mut digits = vec![];
    for place in 0..(bytes.len() * 8).div_ceil(5) {
        let bit = |n: usize| bytes.get(n / 8).map_or(0, |byte| byte >> (7 - n % 8) & 1);
        digits.push((0..5).fold(0, |digit, n| digit << 1 | bit(place * 5 + n)));
    }
    let sum = checksum(prefix, &[&digits[..], &[0; 6]].concat()) ^ 1;
    digits.extend((0..6).map(|n| (sum >> (5 * (5 - n)) & 31) as u8));
    let text: String = digits.iter().map(|digit| DIGITS[usize::from(*digit)] as char).collect();
    format!("{prefix}1{text}")
}

fn from_bech32(prefix: &str, text: &str) -> Option<[u8; 32]> {
    // All of one case, as the form wants it.
    let lower = text.to_ascii_lowercase();
    if text != lower && text != text.to_ascii_uppercase() {
        return None;
    }
    let digits = lower.strip_prefix(prefix)?.strip_prefix('1')?.bytes();
    let digit = |b: u8| DIGITS.iter().position(|digit| *digit == b).map(|n| n as u8);
    let digits: Vec<u8> = digits.map(digit).collect::<Option<_>>()?;
    if digits.len() != 52 + 6 || checksum(prefix, &digits) != 1 {
        return None;
    }
    let mut out = [0; 32];
    for (n, digit) in digits[..52].iter().enumerate() {
        for bit in (0..5).filter(|bit| digit >> (4 - bit) & 1 == 1) {
            // Bits behind the last byte must be zero: one text for one key.
            *out.get_mut((n * 5 + bit) / 8)? |= 1 << (7 - (n * 5 + bit) % 8);
        }
    }
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Counts up: keys of tests only.
    fn counting(from: u8) -> impl FnMut(&mut [u8]) {
        let mut next = from;
        move |out| {
            for byte in out {
                (*byte, next) = (next, next.wrapping_add(1));
            }
        }
    }

    fn sealed(content: &[u8], recipients: &[Recipient]) -> Vec<u8> {
        let (mut out, pieces) = begin(recipients, &mut counting(9)).unwrap();
        let all: Vec<&[u8]> = if content.is_empty() { vec![&[]] } else { content.chunks(PIECE).collect() };
        for (n, piece) in all.iter().enumerate() {
            let mut piece = piece.to_vec();
            pieces.seal(n as u64, n + 1 == all.len(), &mut piece).unwrap();
            out.extend(piece);
        }
        out
    }

    fn opened(file: &[u8], identities: &[Identity]) -> Result<Vec<u8>, Locked> {
        let (at, pieces) = open(file, identities)?;
        let all: Vec<&[u8]> = file[at..].chunks(PIECE + SEAL).collect();
        let mut out = vec![];
        for (n, piece) in all.iter().enumerate() {
            let mut piece = piece.to_vec();
            pieces.open(n as u64, n + 1 == all.len(), &mut piece)?;
            out.extend(piece);
        }
        Ok(out)
    }

    #[test]
    fn keys_are_written_as_age_writes_them() {
        // From the documents of age (age(1), age-keygen(1)), whose pair this is.
        let secret = "AGE-SECRET-KEY-1GFPYYSJZGFPYYSJZGFPYYSJZGFPYYSJZGFPYYSJZGFPYYSJZGFPQ4EGAEX";
        let identity = Identity::parse(secret).unwrap();
        assert_eq!((identity.secret, identity.secret_text().as_str()), ([0x42; 32], secret));
        let public = "age1zvkyg2lqzraa2lnjvqej32nkuu0ues2s82hzrye869xeexvn73equnujwj";
        assert_eq!(identity.public().to_string(), public);
        assert_eq!(Recipient::parse(public), Some(identity.public()));
        assert_eq!(Recipient::parse(&public.to_ascii_uppercase()), Some(identity.public()));
        for n in 0..public.len() {
            let mut other = public.as_bytes().to_vec();
            other[n] = if other[n] == b'q' { b'p' } else { b'q' };
            assert!(Recipient::parse(std::str::from_utf8(&other).unwrap()).is_none(), "{n}");
        }
        assert!(
            Identity::parse(public).is_none() && Recipient::parse(secret).is_none() && Recipient::parse("").is_none()
        );
        let mut nobodys = [[0; 32], [0; 32]];
        nobodys[1][0] = 1;
        assert!(nobodys.iter().all(|key| Recipient::parse(&bech32(PUBLIC, key)).is_none()));
    }

    #[test]
    fn what_age_itself_wrote_opens() {
        // age 1.1.1 of Debian 12, for another key, an SSH key and that of `keys_are_written_as_age_writes_them`.
        const FILE: &str = "YWdlLWVuY3J5cHRpb24ub3JnL3YxCi0+IFgyNTUxOSA2MURya0tuZGgzY21ub3dubjlGYWpiZkdpb1J5NWVOK1pRdCszaloyNG5J\
             CnlncGVVV0IzdlA2TS9SN0xnSGRuejEzbXhiUDlydTlJdDlVVnFKbzZvaW8KLT4gWDI1NTE5IEN5R052WnhWblFobXF6UUtmZHJN\
             c2JRWEJQSUhXOHJnZGdMeVpPL0xXR2sKdXBlY1VabE10SUZyYkszcFEvSFNCeHNnd3BNaW8zUno4Znh5V3UvTmVsZwotPiBzc2gt\
             ZWQyNTUxOSBoMmFuQlEgUnNzRHdEaHNNQ2k0TS9KTG9FS2loNFNPNTFFVW1YZWwweWl0T3BDWUxCVQpIM2lpVHlPdGpJNWNyMyt2\
             bUUrY3NFQitNUFVsdUEyaXh3VXM3OERrU0lZCi0tLSBBckQ4K0hhMld5WUpnOXNHZDAycWg1ajVSeHJURjYrSGlwd242VlM3OWxZ\
             ClRohZL2hcVmpwECTRWdMcF+/8aQI5P+PkyWFeSTlvtPLB31RbXKbIZqazTvLylsCfEZ2P71ow";
        let file = from_base64(FILE).unwrap();
        let own = Identity { secret: [0x42; 32], public: public(&[0x42; 32]) };
        assert_eq!(opened(&file, &[own]).unwrap(), b"the body of a message\n");
    }

    #[test]
    fn a_file_opens_with_each_of_its_keys_and_no_other() {
        let [one, two, other] = [1, 77, 140].map(|n| Identity::new(&mut counting(n)));
        for len in [0, 1, PIECE - 1, PIECE, PIECE + 1, 3 * PIECE] {
            let content: Vec<u8> = (0..len).map(|n| n as u8).collect();
            let file = sealed(&content, &[one.public(), two.public()]);
            for identities in [vec![one.clone()], vec![other.clone(), two.clone()]] {
                assert_eq!(opened(&file, &identities).as_ref(), Ok(&content), "{len}");
            }
            assert_eq!(opened(&file, std::slice::from_ref(&other)), Err(Locked::OtherKey));
        }
    }

    #[test]
    fn what_was_changed_moved_or_cut_off_does_not_open() {
        let one = [Identity::new(&mut counting(1))];
        let file = sealed(&vec![7; 2 * PIECE + 9], &[one[0].public()]);
        let head = open(&file, &one).unwrap().0;
        for at in (0..head).chain([head, head + PIECE, file.len() - 1]) {
            let mut bad = file.clone();
            bad[at] ^= 1;
            assert!(opened(&bad, &one).is_err(), "byte {at}");
        }
        let piece = |n: usize| &file[head + n * (PIECE + SEAL)..(head + (n + 1) * (PIECE + SEAL)).min(file.len())];
        let whole = [&file[..head], piece(0), piece(1), piece(2)].concat();
        assert_eq!(whole, file);
        for bad in [[piece(1), piece(0), piece(2)].concat(), [piece(0), piece(1)].concat(), piece(2).to_vec(), vec![]] {
            let bad = [&file[..head], &bad].concat();
            assert!(opened(&bad, &one).is_err() || bad.len() == head);
        }
        assert!((0..head).all(|len| open(&file[..len], &one).is_err()));
    }

    #[test]
    fn files_of_keys_name_the_line_that_is_none() {
        let one = Identity::new(&mut counting(1));
        let text = format!("# of the site\n\n{}\n", one.public());
        assert_eq!(Recipient::all(&text), Ok(vec![one.public()]));
        assert_eq!(Recipient::all("# x\nage1nothing\n"), Err("line 2 is no public key (age1…)".into()));
        assert!(Recipient::all("# nobody\n").is_err() && Recipient::all(&text.repeat(21)).is_err());
        assert_eq!(Identity::all(&one.secret_text()).unwrap()[0].public(), one.public());
        assert!(Identity::all(&one.public().to_string()).is_err());
    }
}
