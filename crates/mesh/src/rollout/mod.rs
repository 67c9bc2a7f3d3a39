//! Rollouts with analysis: the coordinator's side, and what nodes count for it.
//!
//! - `progress`: the rollout as a state machine, a pure function of the time, of the nodes' reports and of
//!   measurements.
//! - [`history`]: what happened to it, for reports.
//! - [`figures`]: the counts of a node, by version, and the message that carries them.
//! - `samples`: the coordinator's store of these messages, from which it measures.
//!
//! # Signals
//!
//! A measurement uses nothing but messages. While a rollout with an analysis goes on, the coordinator asks each node
//! that hosts the service for its counts, in rounds ([`Control::metrics`](crate::model::Control::metrics)). The counts
//! rise from the first question on, so a lost answer costs precision and no request. A measurement takes the latest
//! answer of each node, and subtracts the one from a window earlier. It is **inconclusive** if no node with an instance
//! of the new version has answered lately, or if too few requests ended. Nodes that died or cannot be reached are
//! missing from it.
//!
//! Nodes count the requests that reach them. One that found no instance or was lost on the way is not among them: the
//! same holds for a mesh whose proxies report as destinations (Flagger's queries for Istio:
//! <https://docs.flagger.app/usage/metrics>).

pub mod figures;
pub mod history;
pub(crate) mod progress;
pub(crate) mod samples;

pub use progress::{Advance, Assumed, Measure, RolloutProgress};
