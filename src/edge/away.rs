//! For how long those who are refused are told to stay away (P6).
//!
//! A refusal costs TLS, HTTP and an answer: a third of what it costs to store a message. Told a fixed time, more clients
//! mean more refusals, until a site does nothing else. So the time is found: it grows while refusals are more than a small
//! part of what is served, and shrinks while they are less.

use std::time::Duration;
use tokio::time::Instant;

/// Refusals that are thought no burden: one for so many served.
const SERVED_FOR_EACH: u32 = 8;
/// How often the time is looked at.
const ROUND: Duration = Duration::from_secs(1);
/// The most that it grows or shrinks in a round: what clients do follows it only after it.
const GROWS: f64 = 1.6;
const SHRINKS: f64 = 0.7;

/// The time, and what speaks for a change of it.
pub struct Away {
    seconds: f64,
    served: u32,
    refused: u32,
    since: Instant,
}

impl Away {
    /// Where refusals are few.
    pub const LEAST: Duration = Duration::from_secs(1);
    /// A site is as it was ten seconds after an overload: nobody is sent away for longer.
    pub const MOST: Duration = Duration::from_secs(8);

    pub fn new(now: Instant) -> Away {
        Away { seconds: Away::LEAST.as_secs_f64(), served: 0, refused: 0, since: now }
    }

    /// A request was worked on to its end.
    pub fn served(&mut self) {
        self.served = self.served.saturating_add(1);
    }

    /// A request is refused: the whole seconds that it should stay away.
    pub fn refused(&mut self, now: Instant) -> Duration {
        self.refused = self.refused.saturating_add(1);
        let rounds = now.saturating_duration_since(self.since).as_secs_f64() / ROUND.as_secs_f64();
        if rounds >= 1.0 {
            let bearable = f64::from(self.served / SERVED_FOR_EACH).max(1.0);
            let change = (f64::from(self.refused) / bearable).clamp(SHRINKS, GROWS);
            // Rounds in which nobody was refused count as well.
            let change = if rounds >= 2.0 { SHRINKS.powf(rounds - 1.0) } else { change };
            self.seconds = (self.seconds * change).clamp(Away::LEAST.as_secs_f64(), Away::MOST.as_secs_f64());
            (self.served, self.refused, self.since) = (0, 0, now);
        }
        Duration::from_secs(self.seconds.round() as u64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Clients that come again as soon as they may, at a site that serves `capacity` a second and has no other guests.
    /// Returns the refusals of the last second for each of `seconds`.
    fn crowd(away: &mut Away, from: Instant, clients: usize, capacity: usize, seconds: u64) -> Vec<usize> {
        let mut back_at: Vec<f64> = vec![0.0; clients];
        let mut refusals = vec![0; seconds as usize];
        let mut room = 0.0;
        for step in 0..seconds * 100 {
            let time = step as f64 / 100.0;
            room = (room + capacity as f64 / 100.0).min(capacity as f64 / 20.0);
            for (n, back) in back_at.iter_mut().enumerate().filter(|(_, back)| **back <= time) {
                if room >= 1.0 {
                    room -= 1.0;
                    away.served();
                    *back = time + 0.01;
                } else {
                    let told = away.refused(from + Duration::from_secs_f64(time)).as_secs_f64();
                    refusals[time as usize] += 1;
                    *back = time + told * (0.5 + (n % 100) as f64 / 200.0);
                }
            }
        }
        refusals
    }

    #[test]
    fn however_many_come_refusing_stays_a_small_part_of_the_work() {
        let now = Instant::now();
        let refusals = crowd(&mut Away::new(now), now, 6_000, 2_000, 40);
        assert!(refusals[0] > 6_000, "all of them at first: {refusals:?}");
        let settled = &refusals[20..];
        assert!(settled.iter().sum::<usize>() / settled.len() < 1_200, "{refusals:?}");
    }

    #[test]
    fn few_refusals_send_nobody_away_for_long() {
        let now = Instant::now();
        let mut away = Away::new(now);
        for second in 0..20 {
            (0..2_000).for_each(|_| away.served());
            assert_eq!(away.refused(now + ROUND * second), Away::LEAST);
        }
    }

    #[test]
    fn after_an_overload_the_time_is_short_again() {
        let now = Instant::now();
        let mut away = Away::new(now);
        for second in 0..20 {
            for _ in 0..1_000 {
                let _ = away.refused(now + ROUND * second);
            }
        }
        assert_eq!(away.refused(now + ROUND * 20), Away::MOST);
        assert_eq!(away.refused(now + ROUND * 30), Away::LEAST);
    }
}
