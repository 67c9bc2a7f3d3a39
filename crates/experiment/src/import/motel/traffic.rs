//! Traffic: the rate of traces over time.
//!
//! Source: `pkg/synth/traffic.go` and `rate.go`. All patterns count from the start of the run, even one that a scenario
//! defines. An overlay multiplies the rate by its value relative to its own base.

use std::collections::BTreeSet;

use meshsim_actor::Span;

use super::scenarios::{REST, Scenario, active, moments};
use crate::import::shared::draft::{Arrivals, Draft, Stage};
use crate::import::shared::reading::{Fields, Reading};
use crate::problem::Location;
use crate::tree::Node;
use crate::units::RATE_MAX;

/// Pieces of a day's wave: between two of them the rate is a straight line.
const WAVE_PIECES: u32 = 48;

/// Maximum number of pieces of a written rate.
const STAGES_MAX: usize = 2_000;

/// A run is not made longer than this for the sake of a pattern that repeats.
const PATTERN_MAX: Span = Span::from_secs(3600);

/// A pattern, and what modulates it.
#[derive(Clone, Debug)]
pub(super) struct Pattern {
    base: f64,
    shape: Shape,
    is_random: bool,
    overlay: Option<Box<Pattern>>,
}

#[derive(Clone, Debug)]
enum Shape {
    Steady,
    /// A sine between two factors, lowest at the start.
    Wave {
        low: f64,
        high: f64,
        period: Span,
    },
    /// Bursts: a higher rate for a while, repeated from the start on.
    Bursts {
        factor: f64,
        every: Span,
        length: Span,
    },
    /// Rates until given times, then the base.
    Segments(Vec<(Span, f64)>),
}

impl Pattern {
    fn rate(&self, at: Span) -> f64 {
        let own = match &self.shape {
            Shape::Steady => self.base,
            Shape::Wave { low, high, period } => {
                let turn = at.secs() / period.secs() - 0.25;
                self.base * ((high + low) / 2.0 + (high - low) / 2.0 * (std::f64::consts::TAU * turn).sin())
            }
            Shape::Bursts { factor, every, length } => {
                let is_burst = at.nanos() % every.nanos() < length.nanos();
                if is_burst { self.base * factor } else { self.base }
            }
            Shape::Segments(segments) => {
                let next = segments.partition_point(|(until, _)| *until <= at);
                segments.get(next).map_or(self.base, |(_, rate)| *rate)
            }
        };
        self.overlay.as_ref().map_or(own, |overlay| own * overlay.rate(at) / overlay.base)
    }

    /// The times before `end` at which the rate jumps or bends. At most so many: the rest is left as it is then.
    fn edges(&self, end: Span, out: &mut BTreeSet<Span>) {
        let within = |at: &Span| *at < end;
        match &self.shape {
            Shape::Steady => {}
            Shape::Wave { period, .. } => {
                let piece = Span::from_nanos((period.nanos() / u64::from(WAVE_PIECES)).max(1));
                out.extend((0..STAGES_MAX as u64).map(|n| piece * n).take_while(within));
            }
            Shape::Bursts { every, length, .. } => {
                let starts = (0..STAGES_MAX as u64 / 2).map(|n| *every * n);
                out.extend(starts.flat_map(|start| [start, start + *length]).take_while(within));
            }
            Shape::Segments(segments) => out.extend(segments.iter().map(|(until, _)| *until)),
        }
        if let Some(overlay) = &self.overlay {
            overlay.edges(end, out);
        }
    }

    /// Shortest run that includes all of it; a repeating pattern, once.
    fn length(&self) -> Span {
        let own = match &self.shape {
            Shape::Steady => Span::ZERO,
            Shape::Wave { period: once, .. } | Shape::Bursts { every: once, .. } => (*once).min(PATTERN_MAX),
            Shape::Segments(segments) => segments.last().map_or(Span::ZERO, |(until, _)| *until) + REST,
        };
        self.overlay.as_ref().map_or(own, |overlay| own.max(overlay.length()))
    }

    fn repeats(&self) -> bool {
        let own = matches!(self.shape, Shape::Wave { .. } | Shape::Bursts { .. });
        own || self.overlay.as_ref().is_some_and(|overlay| overlay.repeats())
    }

    fn is_wave(&self) -> bool {
        let own = matches!(self.shape, Shape::Wave { .. });
        own || self.overlay.as_ref().is_some_and(|overlay| overlay.is_wave())
    }
}

pub(super) fn read(node: &Node, reading: &mut Reading) -> Option<Pattern> {
    let mut fields = reading.fields(node, "`traffic`");
    let mut pattern = read_own(node, &mut fields, reading);
    if let Some(overlay) = fields.take("overlay") {
        let mut fields = reading.fields(overlay, "`overlay`");
        let overlay = read_own(overlay, &mut fields, reading);
        fields.ignore_rest(reading, "traffic.overlay");
        if let Some(pattern) = &mut pattern {
            pattern.overlay = overlay.map(Box::new);
        }
    }
    fields.ignore_rest(reading, "traffic");
    pattern
}

fn read_own(node: &Node, fields: &mut Fields<'_>, reading: &mut Reading) -> Option<Pattern> {
    let rate = fields.take("rate").map(|node| read_rate(node, reading));
    let kind = fields.take("pattern").map_or(Some("uniform".to_owned()), |node| {
        let kinds = ["uniform", "diurnal", "poisson", "bursty", "custom"];
        let kind = |text: &str| kinds.contains(&text).then(|| text.to_owned());
        reading.parsed(node, "`pattern`", kind, "write `uniform`, `diurnal`, `poisson`, `bursty` or `custom`")
    });
    let mut factor = |key, default: f64, reading: &mut Reading| {
        let parse = |text: &str| text.parse::<f64>().ok().filter(|factor| (0.0..=1e6).contains(factor));
        let given = fields.take(key);
        let given =
            given.and_then(|node| reading.parsed(node, &format!("`{key}`"), parse, "write a factor such as `5`"));
        // motel takes 0 as not given.
        given.filter(|factor| *factor > 0.0).unwrap_or(default)
    };
    let bursts = factor("burst_multiplier", 5.0, reading);
    let (high, low) = (factor("peak_multiplier", 1.5, reading), factor("trough_multiplier", 0.5, reading));
    let mut span = |key, default: u64, reading: &mut Reading| {
        let parse = |text: &str| crate::import::shared::units::parse_span(text).filter(|span| *span > Span::ZERO);
        let given = fields.take(key);
        let help = "write a time above zero such as `30s`";
        let given = given.and_then(|node| reading.parsed(node, &format!("`{key}`"), parse, help));
        given.unwrap_or(Span::from_secs(default))
    };
    let (every, length) = (span("burst_interval", 300, reading), span("burst_duration", 30, reading));
    let period = span("period", 86_400, reading);
    let segments = fields.take("segments").map(|node| read_segments(node, reading));
    let Some(rate) = rate else {
        reading.problem(node.place, "the traffic has no `rate`", "write `rate: 100/s`");
        return None;
    };
    let kind = kind?;
    let shape = match kind.as_str() {
        "bursty" if length >= every => {
            reading.problem(node.place, "a burst lasts until the next one", "make `burst_interval` longer");
            return None;
        }
        "bursty" => Shape::Bursts { factor: bursts, every, length },
        "diurnal" if high < low => {
            let message = format!("`peak_multiplier` ({high}) is below `trough_multiplier` ({low})");
            reading.problem(node.place, message, "swap them");
            return None;
        }
        "diurnal" => Shape::Wave { low, high, period },
        "custom" => match segments {
            Some(segments) => Shape::Segments(segments),
            None => {
                let help = "write `segments: [ { until: 30s, rate: 10/s } ]`";
                reading.problem(node.place, "a custom pattern has no segments", help);
                return None;
            }
        },
        _ => Shape::Steady,
    };
    Some(Pattern { base: rate?, shape, is_random: kind == "poisson", overlay: None })
}

fn read_segments(node: &Node, reading: &mut Reading) -> Vec<(Span, f64)> {
    let mut segments = Vec::new();
    for node in reading.list(node, "`segments`") {
        let mut fields = reading.fields(node, "a segment");
        let (until, rate) = (fields.take("until"), fields.take("rate"));
        fields.ignore_rest(reading, "traffic.segments[]");
        match (until, rate) {
            (Some(until), Some(rate)) => {
                let until = reading.span(until, "`until`");
                segments.extend(until.zip(read_rate(rate, reading)));
            }
            _ => reading.problem(
                node.place,
                "a segment requires `until` and `rate`",
                "write `{ until: 30s, rate: 10/s }`",
            ),
        }
    }
    segments.sort_by_key(|(until, _)| *until);
    segments
}

/// `100/s`, `60/min`, `1000/hour`.
fn read_rate(node: &Node, reading: &mut Reading) -> Option<f64> {
    let parse = |text: &str| {
        let (number, unit) = text.split_once('/')?;
        let seconds = match unit.trim().to_ascii_lowercase().as_str() {
            "s" | "sec" | "second" | "seconds" => 1.0,
            "m" | "min" | "minute" | "minutes" => 60.0,
            "h" | "hour" | "hours" => 3600.0,
            _ => return None,
        };
        let rate = number.trim().parse::<f64>().ok()? / seconds;
        (rate > 0.0 && rate <= 1e7).then_some(rate)
    };
    reading.parsed(node, "`rate`", parse, "write a rate above zero such as `100/s` or `3000/m`")
}

/// Writes the rate down piece by piece, as the traffic and the scenarios have it together.
pub(super) fn apply(traffic: Option<&Pattern>, scenarios: &[Scenario], draft: &mut Draft, reading: &mut Reading) {
    let patterns: Vec<_> = traffic.into_iter().chain(scenarios.iter().filter_map(|it| it.traffic.as_ref())).collect();
    let Some(traffic) = traffic else {
        if !patterns.is_empty() {
            reading.ignore("scenarios[].traffic: there is no `traffic` that it could change");
        }
        return;
    };
    let longest = patterns.iter().map(|pattern| pattern.length()).max().unwrap_or_default();
    draft.duration = draft.duration.max(Some(longest).filter(|longest| *longest > Span::ZERO));
    let end = draft.duration.unwrap_or_default().max(Span::from_secs(60));

    let mut edges = moments(scenarios);
    patterns.iter().for_each(|pattern| pattern.edges(end, &mut edges));
    let edges: Vec<Span> = edges.into_iter().take(STAGES_MAX).collect();
    let rate = |from: Span, at: Span| {
        let of = active(scenarios, from).into_iter().rev().find_map(|scenario| scenario.traffic.as_ref());
        of.unwrap_or(traffic).rate(at)
    };
    let mut stages: Vec<Stage> = Vec::new();
    for (index, from) in edges.iter().copied().enumerate() {
        let next = edges.get(index + 1).copied();
        let begin = rate(from, from);
        // Until just before the next edge, where it may jump.
        let last = next.map_or(begin, |next| rate(from, Span::from_nanos(next.nanos() - 1)));
        let length = next.map(|next| Span::from_nanos(next.nanos() - from.nanos()));
        match stages.last_mut() {
            Some(before) if before.from == before.to && begin == last && before.from == begin => {
                before.length = before.length.zip(length).map(|(before, length)| before + length);
            }
            _ => stages.push(Stage { length, from: begin, to: last }),
        }
    }
    if stages.iter().any(|stage| stage.from.max(stage.to) > RATE_MAX) {
        reading.problem(Location::default(), "the traffic is too much", format!("at most {RATE_MAX}/s in all"));
    }
    if patterns.iter().any(|pattern| pattern.repeats()) {
        draft.differences.push("a pattern of traffic that repeats is written out to the end of the run only".into());
    }
    if patterns.iter().any(|pattern| pattern.is_wave()) {
        draft.differences.push(format!("a wave of traffic is {WAVE_PIECES} straight lines for each period"));
    }
    draft.arrivals = Some(Arrivals { is_random: traffic.is_random, stages });
}
