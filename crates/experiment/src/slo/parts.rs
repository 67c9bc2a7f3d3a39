//! Parts of a run that an SLO calls by the name of a fault or an operation.

use std::collections::BTreeMap;

use meshsim_actor::Time;

use crate::problem::{Location, Reporter, nearest, one_of, shortened};
use crate::schema::File;
use crate::units;

/// When the operations and faults that have names begin and end.
#[derive(Debug, Default)]
pub(crate) struct Parts(BTreeMap<String, Moments>);

#[derive(Clone, Copy, Debug)]
struct Moments {
    from: Time,
    /// When a fault ends. When an operation has settled is known only in the run.
    to: Option<Time>,
}

impl Parts {
    /// The names of a file; each may be there once.
    pub(crate) fn new(file: &File, reporter: &mut Reporter) -> Self {
        let mut all = Parts::default();
        let operations = file.operations.value.iter().filter_map(|it| {
            let (name, at) = it.value.named();
            Some((name?, Moments { from: Time::ZERO + at, to: None }))
        });
        let faults = file.faults.value.iter().filter_map(|it| {
            let (name, at, length) = it.value.named();
            let from = Time::ZERO + at;
            Some((name?, Moments { from, to: Some(from + length) }))
        });
        for (name, moments) in operations.chain(faults) {
            if all.0.insert(name.value.0.clone(), moments).is_some() {
                reporter
                    .report(name.place, format!("`{}` is there twice", shortened(&name.value.0)))
                    .help("an SLO could not tell which it is about: give one of them another name");
            }
        }
        all
    }

    fn find(&self, name: &str, place: Location, reporter: &mut Reporter) -> Option<Moments> {
        let found = self.0.get(name).copied();
        if found.is_none() {
            let known = || self.0.keys().map(String::as_str);
            let help = match self.0.len() {
                0 => format!("give a fault or an operation this name: `name: {}`", shortened(name)),
                _ => format!("write {}", one_of(known())),
            };
            reporter
                .report(place, format!("no fault and no operation has the name `{}`", shortened(name)))
                .label(nearest(name, known()).map(|near| format!("did you mean `{near}`?")))
                .help(help);
        }
        found
    }

    /// While a fault holds.
    pub(super) fn during(&self, name: &str, place: Location, reporter: &mut Reporter) -> Option<(Time, Time)> {
        let Moments { from, to } = self.find(name, place, reporter)?;
        if to.is_none() {
            reporter
                .report(place, format!("`{name}` is an operation: when it will have settled is not known"))
                .help(format!("write `after {name} for 10s`: the 10s after it begins"));
        }
        Some((from, to?))
    }

    /// When a fault ends.
    pub(super) fn ends(&self, name: &str, place: Location, reporter: &mut Reporter) -> Option<Time> {
        let Moments { to, .. } = self.find(name, place, reporter)?;
        if to.is_none() {
            reporter
                .report(place, format!("`{name}` is an operation, and a mesh recovers from faults"))
                .help("write the name of a fault, or `p99 < 80ms after NAME for 10s`");
        }
        to
    }

    /// For a time after a fault has ended, or an operation has begun: `outage for 10s`.
    pub(super) fn after(&self, text: &str, place: Location, reporter: &mut Reporter) -> Option<(Time, Time)> {
        let Some((name, length)) = text.split_once(" for ") else {
            reporter.report(place, "this part has no length").help("write `after outage for 10s`");
            return None;
        };
        let length = units::duration(length);
        let length = length.map_err(|error| reporter.report(place, error.message).help(error.help)).ok();
        let Moments { from, to } = self.find(name.trim(), place, reporter)?;
        let (from, length) = (to.unwrap_or(from), length?);
        if length.is_zero() {
            reporter.report(place, "a part of no length has no requests").help("write `after outage for 10s`");
            return None;
        }
        Some((from, from + length))
    }
}
