//! The place of what is measured end to end: an experiment file in, a summary out.

use crate::measure::Options;

/// Prints what the example `thousand` (1,000 services, 2,000 instances) takes from its file to its summary.
///
/// It belongs here, in a process of its own like every other measurement, as soon as an experiment can be run from a
/// library.
pub(crate) fn print(_: Options) {}
