//! P2: what clients saw of each register is what one register that does one thing at a time could have said.

use crate::clients::{Act, Known, Op};
use crate::linear::{self, Access, Event, Register};
use crate::site::Site;

fn event(op: &Op) -> Event<Access<u64>> {
    let access = match op.act {
        Act::Set(value) => Access::Write(value),
        Act::Saw(value) => Access::Read(value),
    };
    Event { op: access, invoked: op.called, done: op.answered }
}

pub fn check(site: &Site, known: &Known) {
    for (name, ops) in known.registers.lock().unwrap().iter() {
        let history: Vec<_> = ops.iter().map(event).collect();
        match linear::check(&Register { start: 0 }, &history) {
            linear::Verdict::Linearizable => {}
            linear::Verdict::Wrong { told, .. } => site.trace.fail(format!("P2: register {name}: {told}")),
            linear::Verdict::Undecided => site.trace.say(format!("register {name}: too much at once to judge")),
        }
    }
}
