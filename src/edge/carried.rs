//! Between the edge and services whose requests and answers are whole documents (`services::carried`).

use super::protocol::{Body, Broken, Call, Next, Reply, ReplyBody};
use crate::engine::draft::Fault;
use crate::services::carried::{BodyIn, Call as Asked, Response, Step};

impl From<Body> for BodyIn {
    fn from(body: Body) -> BodyIn {
        match body {
            Body::Inline(bytes) => BodyIn::Bytes(bytes),
            Body::TooLarge | Body::Stored(_) => BodyIn::TooLarge,
            Body::None | Body::Skipped => BodyIn::None,
        }
    }
}

impl From<Response> for Reply {
    fn from(response: Response) -> Reply {
        Reply { status: response.status, headers: response.headers, body: ReplyBody::Bytes(response.body) }
    }
}

/// The service itself says of what content its request ids are.
impl From<Asked> for Call {
    fn from(call: Asked) -> Call {
        Call { key: call.key, payload: call.payload, request_id: call.request_id }
    }
}

/// As a call whose id counts for this content alone (P3).
pub fn once(call: Asked) -> Call {
    Call::once(call.key, call.payload, &call.request_id)
}

impl From<Step> for Next {
    fn from(step: Step) -> Next {
        match step {
            Step::Answer(response) => Next::Answer(response.into()),
            Step::Submit(calls) => Next::Submit(calls.into_iter().map(Call::from).collect()),
            Step::Look => Next::Look,
        }
    }
}

/// What went wrong while a service looked at rows: told when the answer is due.
#[derive(Default)]
pub struct Look(Option<Fault>);

impl Look {
    pub fn next(&mut self, looked: Result<Step, Fault>) -> Next {
        match looked {
            Ok(step) => step.into(),
            Err(fault) => {
                self.0 = Some(fault);
                Next::Submit(vec![])
            }
        }
    }

    pub fn told(&mut self) -> Result<(), Broken> {
        self.0.take().map_or(Ok(()), |fault| Err(fault.into()))
    }
}
