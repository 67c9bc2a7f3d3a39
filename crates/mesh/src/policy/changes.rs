//! Timeouts, retries, hedges and fallbacks that operations have changed, for all calls of a service.
//!
//! In the file they belong to each call, so callers of one service may differ; a change holds for all of them. It is
//! looked up when it is needed: a call in flight follows it from its next attempt on, and its attempts in flight keep
//! the timeout with which they were sent. Copies for mirrors and calls of fallbacks have what they were made with, and
//! requests of external clients what they ask for.

use meshsim_actor::Span;
use serde::{Deserialize, Serialize};

use super::budget::WindowBudget;
use super::fallback::Fallback;
use super::hedge::Hedge;
use super::{Applied, CallRulesId, FailureSet};
use crate::model::{CallPolicy, Retry};

/// Overrides for all calls of a service; `None`: the caller's own value applies.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct CallChanges {
    /// [`CallPolicy::timeout`].
    pub timeout: Option<Option<Span>>,
    /// [`CallPolicy::retries`].
    pub retries: Option<u32>,
    /// When and how long after a failure a retry is made.
    pub retry: Option<RetryRules>,
    /// [`CallRules::hedge`](super::CallRules::hedge).
    pub hedge: Option<Option<Hedge>>,
    /// [`CallRules::fallback`](super::CallRules::fallback).
    pub fallback: Option<Option<Fallback>>,
}

/// All that says when a retry is made.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct RetryRules {
    /// Backoff and budget.
    pub retry: Retry,
    /// [`CallRules::retry_on`](super::CallRules::retry_on).
    pub retry_on: Option<FailureSet>,
    /// [`CallRules::other_instance`](super::CallRules::other_instance).
    pub other_instance: u32,
    /// [`CallRules::budget`](super::CallRules::budget).
    pub window_budget: Option<WindowBudget>,
}

impl CallRulesId {
    /// Marks a call to which no [`CallChanges`] apply; no entry of `Mesh::call_rules` has this number.
    pub(crate) const UNCHANGED: CallRulesId = CallRulesId(u16::MAX);
}

impl CallPolicy {
    /// Policy of a mirror's copy or a fallback's call that is made for a call with this one: this `timeout`, no
    /// retries, and no changes.
    pub(crate) fn alone(self, timeout: Option<Span>) -> Self {
        CallPolicy { timeout, retries: 0, rules: Some(CallRulesId::UNCHANGED), ..self }
    }

    /// The same policy, without regard to changes.
    pub(crate) fn own(self) -> Self {
        CallPolicy { rules: self.rules.or(Some(CallRulesId::UNCHANGED)), ..self }
    }

    /// Timeout of an attempt that is sent now.
    #[inline]
    pub(crate) fn timeout_now(&self, of: Option<Applied<'_>>) -> Option<Span> {
        of.and_then(|of| of.changes?.timeout).unwrap_or(self.timeout)
    }

    /// Attempts after the first.
    #[inline]
    pub(crate) fn retries_now(&self, of: Option<Applied<'_>>) -> u32 {
        of.and_then(|of| of.changes?.retries).unwrap_or(self.retries)
    }

    /// Backoff and budget of a retry.
    #[inline]
    pub(crate) fn retry_now<'a>(&'a self, of: Option<Applied<'a>>) -> &'a Retry {
        of.and_then(|of| Some(&of.changes?.retry.as_ref()?.retry)).unwrap_or(&self.retry)
    }
}
