//! Where a request stands in a trace that its sender keeps: W3C Trace Context, header `traceparent`. Holds no data of anybody.

use bytes::Bytes;

/// A trace and the step in it that what follows is part of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TraceContext {
    /// Names the trace everywhere; never all zeroes.
    pub trace: [u8; 16],
    /// The step above; all zeroes where there is none, at the beginning of a trace of our own.
    pub span: [u8; 8],
    /// Whether somebody above records the trace.
    pub sampled: bool,
}

const SAMPLED: u8 = 1;
/// Bytes of one in a command.
const LEN: usize = 16 + 8 + 1;

impl TraceContext {
    /// Reads a `traceparent` (W3C Trace Context §3.2.2). `None` for anything that the standard calls invalid: a trace of one's own is
    /// begun then. Of later versions only the beginning is read, as it asks (§3.2.4).
    pub fn parse(header: &str) -> Option<TraceContext> {
        let bytes = header.as_bytes();
        let (version, rest) = (hex::<1>(bytes.get(..2)?)?[0], bytes.get(55..)?);
        let dashes = [2, 35, 52].iter().all(|at| bytes.get(*at) == Some(&b'-'));
        // Version 00 ends there; a later one may go on behind a dash.
        let ends = if version == 0 { rest.is_empty() } else { rest.first().is_none_or(|byte| *byte == b'-') };
        if !dashes || !ends || version == 0xff {
            return None;
        }
        let (trace, span) = (hex::<16>(&bytes[3..35])?, hex::<8>(&bytes[36..52])?);
        let flags = hex::<1>(&bytes[53..55])?[0];
        let whole = trace != [0; 16] && span != [0; 8];
        whole.then_some(TraceContext { trace, span, sampled: flags & SAMPLED != 0 })
    }

    /// The header for whoever is asked next.
    pub fn header(&self) -> String {
        format!("00-{}-{}-{:02x}", text(&self.trace), text(&self.span), u8::from(self.sampled))
    }

    /// The trace's name, as logs give it.
    pub fn trace_id(&self) -> String {
        text(&self.trace)
    }

    /// As it travels within a command.
    pub fn encode(&self) -> Bytes {
        let flags = if self.sampled { SAMPLED } else { 0 };
        [&self.trace[..], &self.span[..], &[flags]].concat().into()
    }

    /// Reads that. Anything else is no context: nothing is refused for it.
    pub fn decode(bytes: &[u8]) -> Option<TraceContext> {
        let bytes: &[u8; LEN] = bytes.try_into().ok()?;
        let (trace, span) = (bytes[..16].try_into().ok()?, bytes[16..24].try_into().ok()?);
        Some(TraceContext { trace, span, sampled: bytes[24] & SAMPLED != 0 })
    }
}

/// Lower-case hexadecimal, as the standard and OTLP's JSON write ids.
pub fn text(id: &[u8]) -> String {
    use std::fmt::Write;
    id.iter().fold(String::with_capacity(id.len() * 2), |mut out, byte| {
        let _ = write!(out, "{byte:02x}");
        out
    })
}

/// Bytes from lower-case hexadecimal; upper case is invalid in this header.
fn hex<const N: usize>(digits: &[u8]) -> Option<[u8; N]> {
    let value = |digit: u8| match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        _ => None,
    };
    let mut out = [0; N];
    for (at, pair) in out.iter_mut().zip(digits.chunks_exact(2)) {
        *at = value(pair[0])? << 4 | value(pair[1])?;
    }
    (digits.len() == 2 * N).then_some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_standards_examples_are_read_and_written() {
        let header = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
        let read = TraceContext::parse(header).unwrap();
        assert_eq!((read.trace_id().as_str(), read.sampled), ("4bf92f3577b34da6a3ce929d0e0e4736", true));
        assert_eq!(read.header(), header);
        assert_eq!(TraceContext::decode(&read.encode()), Some(read));
        let silent = TraceContext::parse("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00").unwrap();
        assert!(!silent.sampled && TraceContext::decode(&silent.encode()) == Some(silent));
        // A later version, of which only the beginning is known.
        let later = TraceContext::parse("cc-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-what-is-new").unwrap();
        assert_eq!(later, read);
    }

    #[test]
    fn what_the_standard_calls_invalid_is_nothing() {
        for bad in [
            "",
            "00",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-1",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-more",
            "cc-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01.more",
            "ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01",
            "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
            "00-4bf92f3577b34da6a3ce929d0e0e473-600f067aa0ba902b7-01",
            "00_4bf92f3577b34da6a3ce929d0e0e4736_00f067aa0ba902b7_01",
            "00-4bf92f3577b34da6a3ce929d0e0é736-00f067aa0ba902b7-01",
        ] {
            assert_eq!(TraceContext::parse(bad), None, "{bad}");
        }
        assert_eq!(TraceContext::decode(b""), None);
        assert_eq!(TraceContext::decode(&[1; 26]), None);
    }
}
