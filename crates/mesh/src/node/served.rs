//! Counts of the requests of a service on a node: in the figures of the run, in the window of their place, and for the
//! SLOs of the service.
//!
//! A request counts at the time when it arrived, whenever it ends.

use std::collections::BTreeMap;

use meshsim_actor::{Span, Time};
use serde::{Deserialize, Serialize};

use super::hosting::{Figures, HostedService};
use crate::criterion::{Count, Criterion};
use crate::measure::{Failure, ServiceMetrics};
use crate::model::{Mesh, ServiceId};
use crate::policy::PolicyEvent;

/// Counts for the SLOs of one service.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct SloCounts(Box<[SloCount]>);

/// Counts for one criterion.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct SloCount {
    /// Index into [`Mesh::criteria`].
    index: u32,
    criterion: Criterion,
    /// By piece: those in which a request arrived, as many nodes see few of them.
    pieces: BTreeMap<u32, Count>,
}

impl SloCounts {
    pub(super) fn new(service: ServiceId, mesh: &Mesh) -> Self {
        let of_service = (0..).zip(&mesh.criteria).filter(|(_, criterion)| criterion.scope.is_service(service));
        let count =
            |(index, criterion): (u32, &Criterion)| SloCount { index, criterion: *criterion, pieces: BTreeMap::new() };
        SloCounts(of_service.map(count).collect())
    }

    /// Counts a request, or something about one, that arrived then.
    #[inline]
    fn count(&mut self, arrived: Time, how: impl Fn(&Criterion, &mut Count)) {
        for SloCount { criterion, pieces, .. } in self.0.iter_mut().filter(|it| it.criterion.is_within(arrived)) {
            how(criterion, pieces.entry(criterion.place(arrived) as u32).or_default());
        }
    }

    /// The counts until `now`, by index into [`Mesh::criteria`] and piece. `in_flight`: when the requests arrived that
    /// have no answer yet.
    pub(super) fn until(&self, now: Time, in_flight: impl Iterator<Item = Time> + Clone) -> Vec<((u32, u32), Count)> {
        let mut all = Vec::new();
        for SloCount { index, criterion, pieces } in &self.0 {
            let (longest, mut pieces) = (Count::longest(pieces.values()), pieces.clone());
            for arrived in in_flight.clone().filter(|arrived| criterion.is_within(*arrived)) {
                let count = pieces.entry(criterion.place(arrived) as u32).or_default();
                count.unanswered(criterion, now.since(arrived), longest);
            }
            all.extend(pieces.into_iter().map(|(piece, count)| ((*index, piece), count)));
        }
        all
    }
}

impl HostedService {
    /// Measurements in which a request that arrived at `arrived` counts; `None` in the warm-up.
    pub(super) fn measured(&mut self, arrived: Time) -> Option<&mut ServiceMetrics> {
        (arrived >= self.from).then(|| &mut self.figures.get_or_insert_default().served)
    }

    /// A request arrived at a place.
    pub(super) fn arrived(&mut self, place: u32, is_retry: bool, now: Time) {
        if let Some(served) = self.measured(now) {
            served.arrived += 1;
        }
        let window = self.places.course(place).at(now);
        window.offered += 1;
        window.retries += u64::from(is_retry);
        self.slo_counts.count(now, |_, count| count.offered += 1);
    }

    /// A request has waited for its slot, whatever becomes of it.
    pub(super) fn waited(&mut self, arrived: Time, now: Time) {
        if let Some(served) = self.measured(arrived) {
            served.waited_ns = served.waited_ns.saturating_add(now.since(arrived).nanos());
        }
    }

    /// A request was answered well; `root` is that of its load's request.
    pub(super) fn answered(&mut self, place: u32, arrived: Time, degraded: bool, root: u64, now: Time) {
        let took = now.since(arrived);
        self.places.ended(place, now).done(arrived, took, root);
        let Figures { served, early } = &mut **self.figures.get_or_insert_default();
        if arrived >= self.from {
            served.done += 1;
            served.degraded += u64::from(degraded);
            early.longest_later = early.longest_later.max(took);
        } else {
            early.record(took, self.places.scale());
        }
        self.slo_counts.count(arrived, |criterion, count| count.answered(criterion, took));
        if let Some(counts) = &mut self.counts {
            counts.answered(self.places.version(place), took);
        }
    }

    /// A request that was taken in was answered badly.
    #[cold]
    pub(super) fn failed(&mut self, place: u32, arrived: Time, failure: Failure, now: Time) {
        self.places.ended(place, now).failed(arrived, now.since(arrived), failure);
        self.has_failed(place, arrived, failure);
    }

    /// A request was not taken in.
    #[cold]
    pub(super) fn refused(&mut self, place: u32, now: Time) {
        self.places.course(place).failed(now, Span::ZERO, Failure::Refused);
        self.has_failed(place, now, Failure::Refused);
    }

    fn has_failed(&mut self, place: u32, arrived: Time, failure: Failure) {
        if let Some(served) = self.measured(arrived) {
            served.failed.count(failure);
        }
        self.slo_counts.count(arrived, |_, count| count.failed += 1);
        self.count_failed(place);
    }

    /// A request that was taken in goes unanswered: its caller has given up.
    #[cold]
    pub(super) fn expired(&mut self, place: u32, arrived: Time, now: Time) {
        self.places.ended(place, now).left(arrived, now.since(arrived));
        self.has_expired(place, arrived);
    }

    /// A request came when its caller had given up.
    #[cold]
    pub(super) fn came_late(&mut self, place: u32, now: Time) {
        self.has_expired(place, now);
    }

    fn has_expired(&mut self, place: u32, arrived: Time) {
        self.places.course(place).at(arrived).expired += 1;
        if let Some(served) = self.measured(arrived) {
            served.expired += 1;
        }
        self.slo_counts.count(arrived, |_, count| count.failed += 1);
        self.count_failed(place);
    }

    /// Counts a failed request for a rollout, if there is one.
    fn count_failed(&mut self, place: u32) {
        if let Some(counts) = &mut self.counts {
            counts.failed(self.places.version(place));
        }
    }

    /// A policy refused a request that arrived at `arrived` at a place.
    #[cold]
    pub(super) fn shed(&mut self, event: PolicyEvent, place: u32, arrived: Time) {
        if let Some(served) = self.measured(arrived) {
            served.policies.count(event);
        }
        self.places.course(place).at(arrived).policies.count(event);
    }
}
