//! The linearizability checker (P2): is there an order in which the operations of a history, one at a time, could have
//! given these answers, none before it was asked for and none after it was answered?
//!
//! The way of Wing and Gong in Lowe's just-in-time form: the history is walked in real time with all states that the object
//! may be in; an operation takes effect at the latest when it returns, alone or behind others that are under way. What was
//! seen once (state and operations in effect) is not looked at again. An operation without an answer may take effect at any
//! time after it was asked for, or never. Nothing here depends on luck: one history, one verdict.
//!
//! Each key of a system is checked on its own, which is enough: linearizability is local.

#![allow(dead_code, reason = "each test crate that takes this file in uses its own part of it")]

use std::{collections::BTreeMap, fmt::Debug};

/// A moment on the clock of whoever recorded the history.
pub type Moment = u64;

/// A sequential object.
pub trait Model {
    type State: Clone + Ord + Debug;
    /// A call together with its answer, where there is one.
    type Op: Debug;
    fn start(&self) -> Self::State;
    /// The state after it; `None` where the object in this state would have answered otherwise.
    fn step(&self, state: &Self::State, op: &Self::Op) -> Option<Self::State>;
    /// Whether it never changes any state.
    fn reads(&self, op: &Self::Op) -> bool;
}

/// An operation of a history. Without `done` nobody knows whether it happened.
#[derive(Clone, Debug)]
pub struct Event<Op> {
    pub op: Op,
    pub invoked: Moment,
    pub done: Option<Moment>,
}

#[derive(Debug, PartialEq)]
pub enum Verdict {
    Linearizable,
    /// The operation of this place in the history could not have returned so; what was possible before it did.
    Wrong {
        at: usize,
        told: String,
    },
    /// The search met its bound: too much was under way at once.
    Undecided,
}

/// States looked at before the search is given up. A history that needs more is not one of a few clients and one key.
const MOST: usize = 100_000;

/// Places in the history, in order.
type Places = Vec<usize>;
/// Where the object may be: its state and the changes under way that are in effect; and, for each way there, what it has
/// cost: never-returning operations used, reads under way that still wait for a state that suits them. Only ways that cost
/// least are kept: what one can go on with, another that has used and owes more cannot do better.
type Configs<S> = BTreeMap<(S, Places), Vec<Places>>;

pub fn check<M: Model>(model: &M, history: &[Event<M::Op>]) -> Verdict {
    check_within(model, history, MOST)
}

/// As `check`, giving up after so many configurations at one return.
pub fn check_within<M: Model>(model: &M, history: &[Event<M::Op>], most: usize) -> Verdict {
    // Calls before returns of the same moment: they overlapped, as far as the clock can tell.
    let mut edges: Vec<(Moment, bool, usize)> = vec![];
    for (at, event) in history.iter().enumerate() {
        edges.push((event.invoked, false, at));
        edges.extend(event.done.map(|done| (done.max(event.invoked), true, at)));
    }
    edges.sort_unstable();
    let mut search = Search { model, history, under_way: vec![], without_return: vec![], most };
    let mut configs: Configs<M::State> = BTreeMap::from([((model.start(), vec![]), vec![vec![]])]);
    for (_, returns, at) in edges {
        if !returns {
            search.called(&mut configs, at);
            continue;
        }
        let Some(next) = search.returned(&configs, at) else { return Verdict::Undecided };
        if next.is_empty() {
            return Verdict::Wrong { at, told: search.told(&configs, at) };
        }
        configs = next;
        search.under_way.retain(|one| *one != at);
    }
    Verdict::Linearizable
}

struct Search<'a, M: Model> {
    model: &'a M,
    history: &'a [Event<M::Op>],
    /// Called and not yet returned.
    under_way: Places,
    /// Called, and will never return.
    without_return: Places,
    most: usize,
}

/// One configuration on its way through the search.
struct Config<S> {
    state: S,
    taken: Places,
    cost: Places,
}

impl<M: Model> Search<'_, M> {
    fn step(&self, state: &M::State, at: usize) -> Option<M::State> {
        self.model.step(state, &self.history[at].op)
    }

    fn reads(&self, at: usize) -> bool {
        self.model.reads(&self.history[at].op)
    }

    /// A read takes effect as soon as there is a state that suits it: later is no better.
    fn called(&mut self, configs: &mut Configs<M::State>, at: usize) {
        match (self.history[at].done.is_some(), self.reads(at)) {
            // A read without an answer says nothing.
            (false, true) => return,
            (false, false) => self.without_return.push(at),
            (true, _) => self.under_way.push(at),
        }
        if self.reads(at) {
            let unsuited = configs.iter_mut().filter(|((state, _), _)| self.step(state, at).is_none());
            unsuited.flat_map(|(_, ways)| ways).for_each(|cost| insert(cost, at));
        }
    }

    /// All configurations in which operation `at` has taken effect, reached from `configs`; it is taken out of them.
    fn returned(&self, configs: &Configs<M::State>, at: usize) -> Option<Configs<M::State>> {
        let (mut found, mut seen) = (Configs::new(), Configs::new());
        let mut next: Vec<Config<M::State>> = vec![];
        for ((state, taken), ways) in configs {
            let one = |cost: &Places| Config { state: state.clone(), taken: taken.clone(), cost: cost.clone() };
            next.extend(ways.iter().map(one));
        }
        let mut looked = 0;
        while let Some(one) = next.pop() {
            if !keep(&mut seen, &one) {
                continue;
            }
            looked += 1;
            if looked > self.most {
                return None;
            }
            let in_effect = if self.reads(at) { !holds(&one.cost, at) } else { holds(&one.taken, at) };
            if in_effect {
                let mut one = one;
                one.taken.retain(|other| *other != at);
                keep(&mut found, &one);
                continue;
            }
            self.go_on(&one, &mut next);
        }
        Some(found)
    }

    /// Each change under way may be next, also behind one that never returns. Such a one is used only where it makes a
    /// difference to what directly follows: else the history would be as good without it.
    fn go_on(&self, from: &Config<M::State>, next: &mut Vec<Config<M::State>>) {
        let changes = |n: &&usize| !self.reads(**n) && !holds(&from.taken, **n);
        for at in self.under_way.iter().filter(changes) {
            next.extend(self.step(&from.state, *at).map(|state| self.then(from, state, &[*at], &[])));
        }
        let unused: Places = self.without_return.iter().copied().filter(|n| !holds(&from.cost, *n)).collect();
        for lost in &unused {
            let Some(between) = self.step(&from.state, *lost).filter(|state| *state != from.state) else { continue };
            let follows = self.under_way.iter().filter(|n| !holds(&from.taken, **n)).chain(&unused);
            for at in follows.filter(|n| *n != lost) {
                let Some(state) = self.step(&between, *at) else { continue };
                if self.step(&from.state, *at).is_some_and(|without| without == state) {
                    continue;
                }
                match (self.reads(*at), self.history[*at].done) {
                    (true, _) => next.push(self.then(from, state, &[], &[*lost])),
                    (false, Some(_)) => next.push(self.then(from, state, &[*at], &[*lost])),
                    (false, None) => next.push(self.then(from, state, &[], &[*lost, *at])),
                }
            }
        }
    }

    /// The configuration with a new state; reads that wait for it are served.
    fn then(&self, from: &Config<M::State>, state: M::State, taken: &[usize], used: &[usize]) -> Config<M::State> {
        let mut one = Config { state, taken: from.taken.clone(), cost: from.cost.clone() };
        taken.iter().for_each(|at| insert(&mut one.taken, *at));
        used.iter().for_each(|at| insert(&mut one.cost, *at));
        one.cost.retain(|at| self.history[*at].done.is_none() || self.step(&one.state, *at).is_none());
        one
    }

    fn told(&self, configs: &Configs<M::State>, at: usize) -> String {
        const SHOWN: usize = 8;
        let states: Vec<&M::State> = configs.keys().map(|(state, _)| state).take(SHOWN).collect();
        let others = self.under_way.iter().chain(&self.without_return).filter(|n| **n != at);
        let others: Vec<_> = others.take(SHOWN).map(|n| &self.history[*n]).collect();
        format!(
            "{:?} cannot be: the state before it was one of {states:?}, under way were {others:?}",
            self.history[at]
        )
    }
}

fn holds(places: &Places, at: usize) -> bool {
    places.binary_search(&at).is_ok()
}

fn insert(places: &mut Places, at: usize) {
    if let Err(place) = places.binary_search(&at) {
        places.insert(place, at);
    }
}

/// Puts a configuration in, unless a way there that costs no more is known; takes those out that it makes needless.
fn keep<S: Clone + Ord>(all: &mut Configs<S>, one: &Config<S>) -> bool {
    let within = |a: &Places, b: &Places| a.iter().all(|place| holds(b, *place));
    let ways = all.entry((one.state.clone(), one.taken.clone())).or_default();
    if ways.iter().any(|way| within(way, &one.cost)) {
        return false;
    }
    ways.retain(|way| !within(&one.cost, way));
    ways.push(one.cost.clone());
    true
}

/// A value that is written and read whole.
pub struct Register<V> {
    pub start: V,
}

#[derive(Clone, Debug, PartialEq)]
pub enum Access<V> {
    Write(V),
    Read(V),
}

impl<V: Clone + Ord + Debug> Model for Register<V> {
    type State = V;
    type Op = Access<V>;
    fn start(&self) -> V {
        self.start.clone()
    }
    fn step(&self, state: &V, op: &Access<V>) -> Option<V> {
        match op {
            Access::Write(value) => Some(value.clone()),
            Access::Read(value) => (value == state).then(|| state.clone()),
        }
    }
    fn reads(&self, op: &Access<V>) -> bool {
        matches!(op, Access::Read(_))
    }
}

/// One message: not there, waiting in its inbox, collected.
pub struct Delivery;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Place {
    Absent,
    Waiting,
    Collected,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    Send,
    /// A list or a read that showed the message.
    Seen,
    /// A whole list that did not show it.
    Unseen,
    /// A read that said that it has been collected.
    Over,
    Acknowledge,
}

impl Model for Delivery {
    type State = Place;
    type Op = Step;
    fn start(&self) -> Place {
        Place::Absent
    }
    fn step(&self, state: &Place, op: &Step) -> Option<Place> {
        match (op, state) {
            (Step::Send, Place::Absent) => Some(Place::Waiting),
            (Step::Seen, Place::Waiting) => Some(Place::Waiting),
            (Step::Unseen, Place::Absent | Place::Collected) | (Step::Over, Place::Collected) => Some(*state),
            (Step::Acknowledge, Place::Waiting | Place::Collected) => Some(Place::Collected),
            _ => None,
        }
    }
    fn reads(&self, op: &Step) -> bool {
        matches!(op, Step::Seen | Step::Unseen | Step::Over)
    }
}

#[cfg(test)]
#[path = "linear_tests.rs"]
mod tests;
