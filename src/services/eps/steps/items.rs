//! Items while an issue moves: what expiry makes of them, and whether a pending cancellation leaves anything to dispense.

use crate::services::eps::states::item;

/// An item when its issue expires or is closed without a claim (§17.5, §18.2).
pub fn expired(status: u16) -> u16 {
    match status {
        item::TO_BE_DISPENSED | item::WITH => item::EXPIRED,
        item::PARTIAL => item::DISPENSED,
        item::OWING => item::NOT_DISPENSED,
        other => other,
    }
}

/// An item when its issue is given out.
pub fn released(status: u16) -> u16 {
    if status == item::TO_BE_DISPENSED { item::WITH } else { status }
}

/// An item when its issue comes back.
pub fn returned(status: u16) -> u16 {
    if status == item::WITH { item::TO_BE_DISPENSED } else { status }
}
