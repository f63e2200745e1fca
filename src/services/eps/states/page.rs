//! The states as a page: docs/eps-states.md is this text, made from the tables that the steps ask.

use super::{
    ITEM_TRANSITIONS, ITEMS_UNDER, TRANSITIONS, Trigger, allowed, code, issue, issue_display, item, item_display,
};

/// docs/eps-states.md.
pub fn markdown() -> String {
    let mut out = String::from(
        "# States of a prescription\n\nMade by `spine generate eps-states` from the table that the program asks \
         (`src/services/eps/states.rs`); do not edit. Anything that is no row is refused with \
         `PRESCRIPTION_INVALID_STATE_TRANSITION` and changes nothing.\n\n## Issues\n\n| Status | Display | Items may be |\n|---|---|---|\n",
    );
    for status in issue::ALL {
        let items = ITEMS_UNDER.iter().find(|(under, _)| under.contains(status)).map_or(&[][..], |(_, items)| items);
        row(&mut out, &[code(*status), issue_display(*status).into(), codes(items)]);
    }
    out.push_str("\n0005 that was reached from 0007 keeps items 0002.\n\n## Items\n\n| Status | Display | In a dispense notification may become |\n|---|---|---|\n");
    for status in item::ALL {
        let ends = ITEM_TRANSITIONS.iter().find(|(from, _)| from == status).map_or(&[][..], |(_, ends)| ends);
        row(&mut out, &[code(*status), item_display(*status).into(), codes(ends)]);
    }
    out.push_str("\n## Transitions\n\n| From | To | Trigger | By | Rule |\n|---|---|---|---|---|\n");
    for t in TRANSITIONS {
        let from = if t.from.is_empty() { "–".to_owned() } else { codes(t.from) };
        row(&mut out, &[from, codes(t.to), t.trigger.words().into(), t.by.into(), t.rule.into()]);
    }
    row(&mut out, &["completed".into(), "gone".into(), Trigger::Delete.words().into(), "Spine".into(), "§18.1".into()]);
    matrix(&mut out);
    out
}

/// Every status against every trigger: what it may become.
fn matrix(out: &mut String) {
    let triggers = Trigger::ALL.iter().filter(|t| TRANSITIONS.iter().any(|row| row.trigger == **t));
    let triggers: Vec<Trigger> = triggers.copied().collect();
    out.push_str("\n## Every status, every trigger\n\nEmpty: refused.\n\n| |");
    triggers.iter().for_each(|t| out.push_str(&format!(" {} |", t.words())));
    out.push_str("\n|---|");
    out.push_str(&"---|".repeat(triggers.len()));
    out.push('\n');
    for from in std::iter::once(None).chain(issue::ALL.iter().copied().map(Some)) {
        let mut cells = vec![from.map_or("–".to_owned(), code)];
        cells.extend(triggers.iter().map(|t| {
            let ends: Vec<u16> = issue::ALL.iter().copied().filter(|to| allowed(from, *to, *t)).collect();
            codes(&ends)
        }));
        row(out, &cells);
    }
}

fn codes(statuses: &[u16]) -> String {
    statuses.iter().map(|s| code(*s)).collect::<Vec<_>>().join(" ")
}

fn row(out: &mut String, cells: &[String]) {
    out.push('|');
    cells.iter().for_each(|cell| out.push_str(&format!(" {cell} |")));
    out.push('\n');
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_page_in_the_docs_is_what_the_tables_say() {
        let page = include_str!("../../../../docs/eps-states.md");
        assert_eq!(page.trim_end(), super::markdown().trim_end(), "spine generate eps-states > docs/eps-states.md");
    }
}
