//! The trace that a request is part of, if its sender keeps one or this node begins one: what came in `traceparent` and
//! `tracestate` (W3C Trace Context) goes on with whatever is done for the request, on this node, on others and outside.

use crate::model::TraceContext;
use crate::seam::spans::{self, Side, Step};
use bytes::Bytes;
use http::{HeaderMap, HeaderValue};

/// Longest `tracestate` that goes on, in bytes: as much as the standard (§3.3.1.5) asks for.
const MAX_STATE: usize = 512;

/// A request's; that of a request without a trace is empty.
#[derive(Clone, Default)]
pub struct Trace {
    context: Option<TraceContext>,
    /// What other tracing systems on the way noted, given on as it came.
    state: Option<HeaderValue>,
}

impl Trace {
    /// As the sender says. What is invalid counts as not sent, as the standard wants it; so does a header that is there twice.
    pub fn of(headers: &HeaderMap) -> Trace {
        let mut given = headers.get_all("traceparent").iter();
        let only = given.next().filter(|_| given.next().is_none()).and_then(|value| value.to_str().ok());
        let Some(context) = only.and_then(TraceContext::parse) else {
            return Trace { context: spans::begin_trace(), state: None };
        };
        let mut states = headers.get_all("tracestate").iter();
        let state = states.next().filter(|_| states.next().is_none()).filter(|value| value.len() <= MAX_STATE);
        Trace { context: Some(context), state: state.cloned() }
    }

    /// Its name, for the log.
    pub fn id(&self) -> Option<String> {
        self.context.map(|context| context.trace_id())
    }

    /// Begins a step of the request's.
    pub fn step(&self, name: &'static str, side: Side) -> Option<Step> {
        spans::begin(self.context, name, side)
    }

    /// What follows is within this step.
    pub fn within(&mut self, step: Option<&Step>) {
        if let Some(context) = step.and_then(Step::context) {
            self.context = Some(context);
        }
    }

    /// For a command. A trace that nobody records ends here: the engine would keep it with what it stores.
    pub fn encode(&self) -> Bytes {
        self.context.filter(|context| context.sampled).map_or_else(Bytes::new, |context| context.encode())
    }

    /// For a request to somebody outside, made within `step`.
    pub fn headers(&self, step: Option<&Step>) -> Vec<(&'static str, HeaderValue)> {
        let Some(context) = step.and_then(Step::context).or(self.context) else { return vec![] };
        let parent = HeaderValue::try_from(context.header()).ok().map(|value| ("traceparent", value));
        parent.into_iter().chain(self.state.clone().map(|state| ("tracestate", state))).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GIVEN: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    fn of(headers: &[(&'static str, &'static str)]) -> Vec<(&'static str, String)> {
        let headers = headers.iter().map(|(name, value)| (name.parse().unwrap(), HeaderValue::from_static(value)));
        let mut map = HeaderMap::new();
        headers.for_each(|(name, value): (http::HeaderName, _)| {
            map.append(name, value);
        });
        let told = Trace::of(&map).headers(None);
        told.into_iter().map(|(name, value)| (name, value.to_str().unwrap().to_owned())).collect()
    }

    #[test]
    fn what_came_goes_on_and_what_is_invalid_does_not() {
        let whole = of(&[("traceparent", GIVEN), ("tracestate", "rojo=00f067aa0ba902b7")]);
        assert_eq!(whole, [("traceparent", GIVEN.into()), ("tracestate", "rojo=00f067aa0ba902b7".into())]);
        assert_eq!(of(&[("traceparent", GIVEN)]).len(), 1);
        assert!(of(&[("traceparent", GIVEN), ("traceparent", GIVEN)]).is_empty(), "which one is meant?");
        assert!(of(&[("traceparent", "00-1-2-3"), ("tracestate", "a=b")]).is_empty(), "state of no trace");
        assert!(of(&[]).is_empty());
    }
}
