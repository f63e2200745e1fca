//! Two looks at a node's own counters, and what happened between them: rates, and latencies out of the buckets.

use crate::ops::metrics::{REQUEST_DURATION, REQUESTS, REQUESTS_IN_FLIGHT, REQUESTS_WAITING};
use std::collections::BTreeMap;

/// One look at `/metrics`: each line's name and labels, as they stand there, with the value.
#[derive(Clone, Debug, Default)]
pub struct Sample {
    series: BTreeMap<String, f64>,
    /// When it was taken, in seconds of any clock that only goes forward.
    pub at: f64,
}

/// What happened to one service or interaction in between.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Work {
    pub answered: f64,
    pub refused: f64,
    /// Requests by the upper bound of their bucket, in seconds; not cumulated.
    buckets: BTreeMap<u64, (f64, f64)>,
}

impl Work {
    fn add(&mut self, other: &Work) {
        self.answered += other.answered;
        self.refused += other.refused;
        for (order, (bound, count)) in &other.buckets {
            self.buckets.entry(*order).or_insert((*bound, 0.0)).1 += count;
        }
    }

    /// The latency, in seconds, that this part of the requests stayed under: between a bucket's bounds as if its requests lay
    /// evenly, and the last bound for all that took longer. `None` where there were none.
    pub fn quantile(&self, part: f64) -> Option<f64> {
        let total: f64 = self.buckets.values().map(|(_, count)| count).sum();
        let (mut lower, mut below) = (0.0, 0.0);
        for (bound, count) in self.buckets.values() {
            if *count > 0.0 && below + count >= part * total {
                let within = (part * total - below) / count;
                return Some(if bound.is_finite() { lower + (bound - lower) * within } else { lower });
            }
            below += count;
            lower = if bound.is_finite() { *bound } else { lower };
        }
        None
    }
}

impl Sample {
    pub fn read(text: &str, at: f64) -> Sample {
        let one = |line: &str| {
            let (name, value) = line.rsplit_once(' ')?;
            Some((name.to_owned(), value.parse().ok()?))
        };
        let series = text.lines().filter(|line| !line.starts_with('#')).filter_map(one).collect();
        Sample { series, at }
    }

    /// Of all listeners.
    pub fn in_flight(&self) -> f64 {
        self.of(REQUESTS_IN_FLIGHT).map(|(_, value)| value).sum()
    }
    pub fn waiting(&self) -> f64 {
        self.of(REQUESTS_WAITING).map(|(_, value)| value).sum()
    }

    fn of(&self, name: &str) -> impl Iterator<Item = (&str, f64)> {
        let begin = format!("{name}{{");
        let from = self.series.range(begin.clone()..);
        from.take_while(move |(key, _)| key.starts_with(&begin)).map(|(key, value)| (key.as_str(), *value))
    }

    /// How much a counter has grown since; one that is smaller began anew with its node.
    fn grown(&self, key: &str, since: &Sample) -> f64 {
        let (now, before) =
            (self.series.get(key).copied().unwrap_or(0.0), since.series.get(key).copied().unwrap_or(0.0));
        if now >= before { now - before } else { now }
    }

    /// What happened since, by interaction; those at rest are left out.
    pub fn work_since(&self, since: &Sample) -> BTreeMap<String, Work> {
        let mut all: BTreeMap<String, Work> = BTreeMap::new();
        for (key, _) in self.of(REQUESTS) {
            let (Some(interaction), Some(outcome)) = (label(key, "interaction"), label(key, "outcome")) else {
                continue;
            };
            let count = self.grown(key, since);
            let work = all.entry(interaction.to_owned()).or_default();
            work.answered += count;
            work.refused += if outcome == "ok" { 0.0 } else { count };
        }
        for (interaction, bounds) in self.bounds() {
            let work = all.entry(interaction).or_default();
            let mut below = 0.0;
            for (order, (bound, keys)) in bounds {
                let up_to: f64 = keys.iter().map(|key| self.grown(key, since)).sum();
                work.buckets.entry(order).or_insert((bound, 0.0)).1 += (up_to - below).max(0.0);
                below = up_to;
            }
        }
        all.retain(|_, work| work.answered > 0.0);
        all
    }

    /// The buckets of each interaction in order, with the lines that count up to each.
    fn bounds(&self) -> BTreeMap<String, BTreeMap<u64, (f64, Vec<&str>)>> {
        let mut all: BTreeMap<String, BTreeMap<u64, (f64, Vec<&str>)>> = BTreeMap::new();
        for (key, _) in self.of(&format!("{REQUEST_DURATION}_bucket")) {
            let (Some(interaction), Some(bound)) = (label(key, "interaction"), label(key, "le")) else { continue };
            let bound = if bound == "+Inf" { f64::INFINITY } else { bound.parse().unwrap_or(f64::INFINITY) };
            let of = all.entry(interaction.to_owned()).or_default();
            // Positive numbers stand in the order of their bits.
            of.entry(bound.to_bits()).or_insert((bound, vec![])).1.push(key);
        }
        all
    }
}

/// Interactions by service: the first part of their name.
pub fn by_service(work: &BTreeMap<String, Work>) -> BTreeMap<String, Work> {
    let mut all: BTreeMap<String, Work> = BTreeMap::new();
    for (interaction, work) in work {
        let service = interaction.split('.').next().unwrap_or_default();
        all.entry(service.to_owned()).or_default().add(work);
    }
    all
}

/// A label's value in a line's name: ours hold no quotes.
fn label<'a>(key: &'a str, name: &str) -> Option<&'a str> {
    let labels = key.split_once('{')?.1.strip_suffix('}')?;
    labels.split(',').find_map(|pair| pair.strip_prefix(name)?.strip_prefix("=\"")?.strip_suffix('"'))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(sent: u64, refused: u64, fast: u64, slow: u64) -> String {
        let of = |listener: &str, interaction: &str| format!("service=\"{listener}\",interaction=\"{interaction}\"");
        let (send, retrieve) = (of("mesh", "mesh.send"), of("api", "pds.retrieve"));
        let all = fast + slow;
        format!(
            "# HELP spine_requests_total Requests answered.\nspine_requests_total{{{send},outcome=\"ok\"}} {sent}\n\
             spine_requests_total{{{send},outcome=\"busy\"}} {refused}\nspine_requests_total{{{retrieve},outcome=\"ok\"}} 7\n\
             spine_request_duration_seconds_bucket{{{send},le=\"0.001\"}} 0\n\
             spine_request_duration_seconds_bucket{{{send},le=\"0.01\"}} {fast}\n\
             spine_request_duration_seconds_bucket{{{send},le=\"5\"}} {fast}\n\
             spine_request_duration_seconds_bucket{{{send},le=\"+Inf\"}} {all}\n\
             spine_request_duration_seconds_sum{{{send}}} 1.5\nspine_requests_in_flight{{service=\"mesh\"}} 3\n"
        )
    }

    #[test]
    fn rates_and_latencies_are_of_what_happened_in_between() {
        let before = Sample::read(&text(100, 10, 100, 10), 0.0);
        let after = Sample::read(&text(280, 30, 280, 30), 2.0);
        let work = after.work_since(&before);
        assert_eq!(work.keys().collect::<Vec<_>>(), ["mesh.send"], "what rests is left out");
        let send = &work["mesh.send"];
        assert_eq!((send.answered as u64, send.refused as u64), (200, 20));
        // 180 between 1 and 10 ms, 20 beyond the last bound.
        let p50 = send.quantile(0.5).unwrap();
        assert!((p50 - 0.006).abs() < 1e-9, "{p50}");
        let p99 = send.quantile(0.99).unwrap();
        assert!((p99 - 5.0).abs() < 1e-9, "{p99}");
        assert_eq!(by_service(&work)["mesh"], *send);
        assert!((after.in_flight() - 3.0).abs() < 1e-9);
        assert_eq!(Work::default().quantile(0.5), None);
    }

    #[test]
    fn counters_of_a_node_that_began_anew_do_not_run_backwards() {
        let before = Sample::read(&text(100, 10, 100, 10), 0.0);
        let after = Sample::read(&text(4, 1, 4, 1), 1.0);
        let work = after.work_since(&before);
        assert_eq!((work["mesh.send"].answered as u64, work["mesh.send"].refused as u64), (5, 1));
    }
}
