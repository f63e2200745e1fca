//! From the replies to the response.

use super::{
    Call, Response,
    ask::{Asked, Goal, MOST_FOUND, MOST_RELEASED, Stage, call},
    command::Reply,
    ids, message, packed,
    record::{Dispenser, Nomination, Prescription},
    refuse,
    refused::Refused,
    show::{
        cancel,
        document::Document,
        exact,
        help::{self, Of},
        metadata::{self, Base},
        refusals::{self, Vocabulary},
        release::{Answer, Given, GivenItem},
    },
    sign::{self, Checked},
    steps::{ANSWERED, Cancelled, Code, cancel::WHYS},
};
use crate::{engine::draft::Fault, model::EpochMillis, wire::record::Record};
use bytes::Bytes;

/// Who gives a prescription back by itself (§9.4).
const SPINE: &str = "NHS Spine";
/// Return reason "Invalid digital signature" (§20.7).
const BAD_SIGNATURE: &str = "0005";

/// A prescription that was given out, as its answer needs it.
pub(super) struct Out {
    reply: Reply,
    prescription: Prescription,
    order: Document,
    /// Its signature holds.
    good: bool,
}

impl Asked {
    /// The replies of the last calls. What follows is in [`Asked::onward`].
    pub fn replied(&mut self, replies: &[Bytes]) -> Result<(), Fault> {
        let replies = replies.iter().map(Reply::of).collect::<Result<Vec<_>, _>>()?;
        match &mut self.goal {
            Goal::Nominated { template, stage: stage @ Stage::Looking, rest, more } => {
                // Remembered with the keys: an answer without prescriptions is of this moment when it is asked for again.
                let Reply { at, keys, attempt, .. } = replies.into_iter().next().unwrap_or_default();
                self.now = at;
                (*more, *rest) = (keys.len() >= MOST_FOUND, keys);
                let repeat = attempt != self.attempt && rest.len() > MOST_RELEASED;
                *stage = if repeat { Stage::Recalling } else { Stage::Taking };
                self.next = if repeat { recalls(rest, template) } else { next_of(rest, template) };
            }
            Goal::Nominated { template, stage: stage @ Stage::Recalling, rest, .. } => {
                // What was refused then may be free by now: the tries before the one that got something are not made again.
                let had = |reply: &Reply| reply.refused == 0 || reply.reason == ANSWERED;
                let at = replies.iter().position(had).unwrap_or_default();
                rest.drain(..at / MOST_RELEASED * MOST_RELEASED);
                *stage = Stage::Taking;
                self.next = next_of(rest, template);
            }
            Goal::Nominated { .. } | Goal::Release(_) if self.out.is_empty() => {
                self.replies.clone_from(&replies);
                for reply in replies {
                    self.given_out(reply)?;
                }
                let bad = self.out.iter().filter(|out| !out.good && out.reply.taken_back == 0);
                self.next = bad.map(|out| self.given_back(out)).collect();
                if self.out.is_empty() {
                    self.next = self.next_try();
                }
            }
            // Spine's own returns: the answer is what was given out, good and bad.
            Goal::Nominated { .. } | Goal::Release(_) => {}
            _ => self.replies = replies,
        }
        Ok(())
    }

    /// What a nominated release takes when all before were others' by the time it came. One that was answered before takes no more
    /// than it had then, though it has come back since.
    fn next_try(&mut self) -> Vec<Call> {
        let answered = self.replies.iter().any(|reply| reply.refused != 0 && reply.reason == ANSWERED);
        match &mut self.goal {
            Goal::Nominated { more, .. } if answered => {
                *more = true;
                vec![]
            }
            Goal::Nominated { template, rest, .. } => next_of(rest, template),
            _ => vec![],
        }
    }

    pub fn onward(&mut self) -> Vec<Call> {
        std::mem::take(&mut self.next)
    }

    /// Keeps a prescription that was given out; one that somebody else got in between is left out.
    fn given_out(&mut self, reply: Reply) -> Result<(), Fault> {
        if reply.refused != 0 || reply.prescription.is_empty() {
            return Ok(());
        }
        let prescription = decoded(&reply.prescription)?;
        let text = packed::unpack(&reply.order).ok_or_else(|| Fault::Other("an order without its document".into()))?;
        let options = &self.eps.options;
        let checked = sign::check(&text, options.signatures, &self.trust);
        // What was taken back for its signature stays so for a repeat, whatever the lists say by now: nobody holds it.
        let good = reply.taken_back == 0 && matches!(checked, Checked::Signed(failures) if failures.is_empty());
        let order = Document::read(&text).ok_or_else(|| Fault::Other("an order that is no JSON".into()))?;
        self.out.push(Out { reply, prescription, order, good });
        Ok(())
    }

    /// Spine gives a prescription back whose signature does not hold: it becomes 0001 again, without nomination (§9.4).
    fn given_back(&self, out: &Out) -> Call {
        let p = &out.prescription;
        let told = message::Return {
            message: ids::taken_back(&self.request, &p.id),
            id: p.id.clone(),
            nhs: p.nhs,
            issue: out.reply.issue,
            reason: BAD_SIGNATURE.into(),
            response: out.reply.response.clone(),
            // In the holder's name: it is they who have it.
            by: message::Sender { ods: self.holder_of(out), name: SPINE.into(), ..Default::default() },
            ..Default::default()
        };
        call(p.key(), told.into(), String::new())
    }

    fn holder_of(&self, out: &Out) -> String {
        let issue = out.prescription.issue(out.reply.issue);
        issue.and_then(|issue| out.prescription.holder(issue)).map(|d| d.ods.clone()).unwrap_or_default()
    }

    pub fn answer(&mut self) -> Result<Response, Fault> {
        match std::mem::replace(&mut self.goal, Goal::Done) {
            Goal::Ready(response) => Ok(response),
            Goal::Done => self.done(),
            Goal::Cancel(request) => self.cancelled(&request),
            Goal::Release(_) if self.out.is_empty() => self.not_released(),
            Goal::Release(release) => self.released(&release),
            // Where others took all that were found meanwhile, and more may wait, the answer is an empty one: it is asked again.
            Goal::Nominated { more: false, .. } if self.out.is_empty() => {
                Ok(refuse::respond(200, &refusals::no_more_prescriptions(self.now)))
            }
            Goal::Nominated { template, .. } => self.released(&template),
            Goal::Read(read) => self.shown(read),
        }
    }

    fn first(&self) -> Result<&Reply, Fault> {
        self.replies.first().ok_or_else(|| Fault::Other("an answer before its reply".into()))
    }

    /// Success, or the store's refusal in the prescribing vocabulary.
    fn done(&self) -> Result<Response, Fault> {
        let reply = self.first()?;
        Ok(match reply.refusal() {
            None => refuse::respond(200, &super::read::problem::success(&self.last_updated(reply.at))),
            Some(refused) => self.not_taken(&refused, reply.at),
        })
    }

    /// What the store refuses of a message, with where it lies and what would be right.
    fn not_taken(&self, refused: &Refused, at: EpochMillis) -> Response {
        let mut told = refusals::refusal(refused, Vocabulary::Prescribing, at);
        help::tell(&mut told, help::help(refused, Of::message(&self.root)));
        refuse::respond(400, &told)
    }

    fn last_updated(&self, at: EpochMillis) -> String {
        super::read::problem::last_updated(&self.root, at)
    }

    fn cancelled(&self, request: &Document) -> Result<Response, Fault> {
        let reply = self.first()?;
        if let Some(refused) = reply.refusal() {
            return Ok(self.not_taken(&refused, reply.at));
        }
        let code = Code::of(reply.code).ok_or_else(|| Fault::Other("a cancellation without its code".into()))?;
        let order = packed::unpack(&reply.order).and_then(|text| Document::read(&text));
        let dispenser = (!reply.owner.is_empty()).then(|| Dispenser {
            owner: reply.owner.clone(),
            agent: reply.agent.clone(),
            ..Default::default()
        });
        let why = WHYS.into_iter().find(|why| *why == reply.reason).unwrap_or_default();
        let decided = Cancelled { code, at: reply.decided, dispenser, why };
        let answer = cancel::Answer { decided: &decided, request, order: order.as_ref(), base: &self.base() };
        let (status, mut body) = answer.show(&mut self.ids(&request.message()));
        if body["resourceType"] == "OperationOutcome" {
            help::tell(&mut body, help::cancellation(code, why));
        }
        Ok(refuse::written(status, exact::write(&body)))
    }

    /// A release by id that the store refused, in the dispensing vocabulary.
    fn not_released(&self) -> Result<Response, Fault> {
        let reply = self.first()?;
        let refused = reply.refusal().ok_or_else(|| Fault::Other("a release without a prescription".into()))?;
        let mut body = match &refused {
            Refused::WithAnotherDispenser => {
                let p = decoded(&reply.prescription)?;
                let holder = p.current_issue().and_then(|issue| p.holder(issue));
                refusals::with_another_dispenser(holder, reply.at, &mut self.ids("holder"))
            }
            refused => refusals::refusal(refused, Vocabulary::Dispensing, reply.at),
        };
        help::tell(&mut body, help::help(&refused, Of::Release));
        Ok(refuse::respond(400, &body))
    }

    fn released(&self, release: &message::Release) -> Result<Response, Fault> {
        let (good, bad): (Vec<&Out>, Vec<&Out>) = self.out.iter().partition(|out| out.good);
        let passed: Vec<Given<'_>> = good.into_iter().map(Out::given).collect();
        let failed: Vec<Given<'_>> = bad.into_iter().map(Out::given).collect();
        let at = self.out.iter().map(Out::released_at).max().unwrap_or(self.now);
        let answer = Answer {
            response: &release.response,
            request: &release.request,
            passed: &passed,
            failed: &failed,
            at,
            base: &self.base(),
        };
        let body = answer.show(&mut self.ids(&release.response));
        Ok(refuse::written(200, exact::write(&body)))
    }

    /// §2 no. 13.
    pub(super) fn metadata(&self) -> Response {
        let base = match self.path.split('/').nth(1).unwrap_or_default() {
            "fhir-prescribing" => Base::Prescribing,
            "fhir-dispensing" => Base::Dispensing,
            "prescription-status-update" => Base::Status,
            "clinical-prescription-tracker" => Base::Tracker,
            _ => Base::Both,
        };
        let (at, date) = (self.served_at(), super::show::zoned(self.now));
        refuse::respond(200, &metadata::capability(base, &at, &date, env!("CARGO_PKG_VERSION")))
    }

    /// An answer that needs neither caller nor engine.
    pub fn at_once(&self) -> Option<Response> {
        use super::Route;
        let body = match self.route {
            Route::Ping => metadata::ping(env!("CARGO_PKG_VERSION")),
            Route::Status => metadata::status(env!("CARGO_PKG_VERSION"), env!("CARGO_PKG_VERSION"), true),
            _ => return None,
        };
        let headers = vec![("content-type", Bytes::from_static(b"application/json"))];
        Some(Response { status: 200, headers, body: body.to_string().into() })
    }
}

impl Out {
    fn given(&self) -> Given<'_> {
        let (p, nomination) = (&self.prescription, self.nomination());
        let before = |at: usize| self.reply.items_before.get(at).map_or(0, |status| u16::from(*status));
        let items = p.items.iter().enumerate().map(|(at, item)| GivenItem {
            id: item.id.to_string(),
            status: before(at),
            issues: item.issues,
        });
        Given {
            order: &self.order,
            treatment: p.treatment,
            prescribed_at: p.prescribed_at,
            issue: self.reply.issue,
            items: items.collect(),
            nominated: &nomination.ods,
            nominated_type: &nomination.kind,
            last_dispensed: Some(self.reply.last_dispensed).filter(|at| *at != 0),
        }
    }

    /// Who was nominated when it was given out: a return ends that.
    fn nomination(&self) -> &Nomination {
        let (p, back) = (&self.prescription, self.reply.taken_back);
        let ended = p.past_nominations.iter().find(|past| back != 0 && past.ended_at == back);
        ended.unwrap_or(&p.nomination)
    }

    fn released_at(&self) -> EpochMillis {
        let (p, back) = (&self.prescription, self.reply.taken_back);
        if back != 0 {
            return p.log.iter().rev().find(|e| e.is_release() && e.at <= back).map_or(back, |e| e.at);
        }
        p.issue(self.reply.issue).map_or(0, |issue| issue.released_at)
    }
}

/// The releases of the next of those that a nominated release found.
fn next_of(rest: &mut Vec<String>, template: &message::Release) -> Vec<Call> {
    rest.drain(..rest.len().min(MOST_RELEASED)).map(|key| taking(template, key)).collect()
}

/// What a repeat asks of all that was found.
fn recalls(found: &[String], template: &message::Release) -> Vec<Call> {
    let recalling = message::Release { recalls: true, ..template.clone() };
    found.iter().map(|key| taking(&recalling, key.clone())).collect()
}

/// The release of one of those that a nominated release found.
fn taking(template: &message::Release, key: String) -> Call {
    let release = message::Release { id: key.clone(), ..template.clone() };
    call(&key, release.into(), String::new())
}

pub(super) fn decoded(bytes: &Bytes) -> Result<Prescription, Fault> {
    Prescription::decode(bytes).map_err(|e| Fault::Other(format!("a prescription in a reply: {e}")))
}
