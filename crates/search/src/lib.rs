//! A search for runs that break an invariant.
//!
//! Each seed of a search is an experiment: [`draw`] draws its topology, operations, faults and rates, and before them
//! which kinds of faults and operations it has at all (swarm testing: Groce and others, 2012). Its first phase has the
//! faults; then all of them end, and in the second phase everything must become as it was decided. [`trial`] runs it in
//! virtual time, with all rules of `verify` on every record, and writes nothing. [`campaign`] tries many seeds on all
//! cores, and stops at the first that breaks a rule. [`shrink`] leaves out of such an experiment what it does not need
//! for that.
//!
//! The same seeds give the same results, on any number of threads.

pub mod campaign;
pub mod draw;
pub mod rare;
mod settled;
pub mod shrink;
pub mod trial;
