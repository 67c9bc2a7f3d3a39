//! Which records of a trace are kept.

use std::cmp::Reverse;
use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

use meshsim_actor::{Rng, Span, Time};
use meshsim_report::owner::Known;

/// Most of the slowest requests that can be kept.
pub const SLOWEST_MAX: usize = 100_000;

/// Most failed requests that are kept; those that fail first are.
pub const FAILED_MAX: usize = 1_000_000;

/// Of what a trace is to be: of all that happens, or of control messages and some requests.
///
/// As text: parts with commas between them, each `control`, a share such as `1%`, `slowest=100` or `failed`. The
/// records of the control plane are always kept.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Keep(Option<Part>);

#[derive(Clone, Debug, Default, PartialEq)]
struct Part {
    /// The fraction of the requests that is drawn.
    share: f64,
    /// So many of the slowest that were done.
    slowest: usize,
    /// Those that failed.
    failed: bool,
}

impl Keep {
    /// All records.
    pub const ALL: Keep = Keep(None);

    /// True if all records are kept.
    pub fn is_all(&self) -> bool {
        self.0.is_none()
    }

    /// True if it is known only at the end of a run which requests are kept.
    pub fn is_known_late(&self) -> bool {
        self.0.as_ref().is_some_and(|some| some.slowest > 0)
    }

    /// True if it is known when a request ends whether it is kept.
    pub(crate) fn is_known_at_ends(&self) -> bool {
        self.0.as_ref().is_some_and(|some| some.slowest > 0 || some.failed)
    }

    /// True if request `root` of a run with this seed is drawn: the same in every process, and whatever else is kept.
    fn draws(&self, seed: u64, root: u64) -> bool {
        let share = self.0.as_ref().map_or(1.0, |some| some.share);
        Rng::keyed(seed ^ KEPT, root, 0).chance(share)
    }
}

/// The stream that draws the requests which are kept.
const KEPT: u64 = u64::from_be_bytes(*b"\0\0\0\0kept");

impl FromStr for Keep {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut some = Part::default();
        for part in text.split(',').map(str::trim) {
            match (part, part.strip_suffix('%'), part.strip_prefix("slowest=")) {
                ("control", ..) => {}
                ("failed", ..) => some.failed = true,
                (_, Some(share), _) => {
                    let share = share.trim().parse::<f64>().ok().filter(|share| *share > 0.0 && *share <= 100.0);
                    some.share = share
                        .ok_or_else(|| format!("`{part}` is not a share: write one above 0 and up to 100 %"))?
                        / 100.0;
                }
                (.., Some(count)) => {
                    let count = count.parse().ok().filter(|count| (1..=SLOWEST_MAX).contains(count));
                    some.slowest = count.ok_or_else(|| format!("`{part}`: write a count from 1 to {SLOWEST_MAX}"))?;
                }
                _ => {
                    let known = "write `control`, a share of the requests such as `1%`, `slowest=100` or `failed`";
                    return Err(format!("`{part}` is unknown: {known}; several by commas"));
                }
            }
        }
        Ok(Keep(Some(some)))
    }
}

impl fmt::Display for Keep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(some) = &self.0 else { return Ok(()) };
        f.write_str("control")?;
        if some.failed {
            f.write_str(",failed")?;
        }
        if some.slowest > 0 {
            write!(f, ",slowest={}", some.slowest)?;
        }
        if some.share > 0.0 {
            write!(f, ",{}%", meshsim_report::number(some.share * 100.0))?;
        }
        Ok(())
    }
}

/// The requests that are kept, as far as that is known.
#[derive(Clone, Debug)]
pub struct Choice {
    keep: Keep,
    seed: u64,
    /// Latency and name of each of the slowest so far, and their names.
    slowest: BTreeSet<(Span, Reverse<u64>)>,
    slowest_names: BTreeSet<u64>,
    /// The failed ones, and those that had to be kept before they ended.
    chosen: BTreeSet<u64>,
    /// Failed requests beyond [`FAILED_MAX`].
    pub(crate) beyond: u64,
}

impl Choice {
    /// Nothing is known yet of a run with this seed.
    pub fn new(keep: Keep, seed: u64) -> Self {
        Choice {
            keep,
            seed,
            slowest: BTreeSet::new(),
            slowest_names: BTreeSet::new(),
            chosen: BTreeSet::new(),
            beyond: 0,
        }
    }

    /// Records that are kept.
    pub fn keep(&self) -> &Keep {
        &self.keep
    }

    /// True if a request is kept, as far as that is known.
    pub(crate) fn has(&self, root: u64) -> bool {
        self.chosen.contains(&root) || self.slowest_names.contains(&root) || self.is_drawn(root)
    }

    /// True if a request is kept however it ends.
    pub(crate) fn is_drawn(&self, root: u64) -> bool {
        self.keep.draws(self.seed, root)
    }

    /// Keeps a request before it has ended.
    pub(crate) fn keep_now(&mut self, root: u64) {
        self.chosen.insert(root);
    }

    /// A record was seen: if a request has ended with it, it may be one of those.
    pub(crate) fn see(&mut self, at: Time, known: &Known) {
        let (Some(some), Some(ended), Some(owner)) = (&self.keep.0, known.ended, known.owner()) else {
            return;
        };
        if ended.failure.is_some() {
            if some.failed && self.chosen.len() < FAILED_MAX {
                self.chosen.insert(owner.root);
            } else {
                self.beyond += u64::from(some.failed);
            }
        } else if some.slowest > 0 {
            self.slowest.insert((at.since(ended.due), Reverse(owner.root)));
            self.slowest_names.insert(owner.root);
            if self.slowest.len() > some.slowest
                && let Some((_, Reverse(root))) = self.slowest.pop_first()
            {
                self.slowest_names.remove(&root);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_kept_is_read_and_written() {
        for (text, as_written) in [
            ("control", "control"),
            ("1%", "control,1%"),
            ("failed, slowest=100 ,0.5%", "control,failed,slowest=100,0.5%"),
        ] {
            assert_eq!(text.parse::<Keep>().unwrap().to_string(), as_written);
            assert_eq!(as_written.parse::<Keep>().unwrap(), text.parse().unwrap());
        }
        assert_eq!(Keep::ALL.to_string(), "");
        for text in ["", "all", "0%", "101%", "x%", "slowest", "slowest=0", "slowest=-1", "1", "nan%"] {
            assert!(text.parse::<Keep>().unwrap_err().contains("write "), "{text}");
        }
    }

    #[test]
    fn a_share_draws_the_same_requests_whatever_else_is_kept() {
        let drawn = |text: &str, seed| {
            let choice = Choice::new(text.parse().unwrap(), seed);
            (0..100_000).filter(|root| choice.has(*root)).collect::<Vec<u64>>()
        };
        let one = drawn("1%", 7);
        assert!((900..1_100).contains(&one.len()), "{}", one.len());
        assert_eq!(drawn("failed,1%", 7), one);
        let two = drawn("2%", 7);
        assert!(one.iter().all(|root| two.contains(root)), "a larger share holds the smaller one");
        assert_ne!(drawn("1%", 8), one);
        assert!(drawn("control", 7).is_empty());
    }
}
