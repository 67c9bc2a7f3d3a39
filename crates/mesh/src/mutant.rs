//! Mutants: faults that are built into the protocol on purpose, to show that a campaign of `search` would find them.
//!
//! A test switches one on with `Mutant::scope`, in its own thread. They exist with the feature `mutants` alone, which
//! only tests enable; without it no mutant is on, and the compiler leaves all of them out. With the feature, the
//! variable `MESHSIM_MUTANT` switches one on in a whole process: so one sees whether other tests find it.

/// A fault that can be switched on. R1 to R12 are the rules of the delivery contract in ARCHITECTURE.md.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Mutant {
    /// R1: a coordinator that crashes loses its last step if no node has acknowledged it, though it was sent.
    SentBeforeLogged,
    /// R1: steps are sent before they are synced.
    SentBeforeSynced,
    /// R2: a coordinator that restarts keeps its term.
    TermNotRaised,
    /// R2: a coordinator resends steps of its former life in the term in which they were decided.
    ResentInOldTerm,
    /// R3: a crash soon after a step loses its effect; the step counts as applied.
    NumberWithoutEffect,
    /// R3: a crash soon after a step loses its number; the effect stays.
    EffectWithoutNumber,
    /// R4: a step that a node has applied is not acknowledged again.
    RepeatNotAcknowledged,
    /// R4: an older step that arrives again takes effect again.
    RepeatApplied,
    /// R4: a step that arrives again in a newer term has another digest.
    DigestOfTerm,
    /// R5: a step is applied though the one before it is missing.
    GapApplied,
    /// R6: a step is acknowledged while it waits for the one before it.
    AcknowledgedEarly,
    /// R6: a crash soon after a step loses it, though it was acknowledged.
    AcknowledgedBeforeStored,
    /// R6: steps are acknowledged before they are synced.
    AcknowledgedBeforeSynced,
    /// R6: an acknowledgement of a node's former life counts for its present one.
    FormerLifeAcknowledges,
    /// R6: an acknowledgement counts for one step alone.
    NotCumulative,
    /// R7: the coordinator gives up after two resends.
    GivesUp,
    /// R7: a coordinator that restarts waits for acknowledgements, and resends nothing.
    RestartsWithoutResend,
    /// R8: a node that was wiped counts as having all that it had before.
    WipeNotNoticed,
    /// R8: a node that was wiped has the same lineage as before.
    LineageKept,
    /// R8: a coordinator that restarts has forgotten the lineages.
    LineageForgotten,
    /// R8: a node has the wrong digest after a snapshot.
    SnapshotWithoutDigest,
    /// R8: a snapshot leaves out the services that were undeployed.
    SnapshotWithoutUndeployed,
    /// R8: a node that joins, or is back, is not sent what it has missed.
    NotCaughtUp,
    /// R8: a step is sent after its targets were dropped from the log.
    TailTooLong,
    /// R10: a node takes steps of an older term.
    OlderTermTaken,
    /// R10: a node that restarts has forgotten the newest term that it has seen.
    TermForgotten,
    /// R12: a step waits for a node that is dead.
    WaitsForDead,
    /// A repair has the generation of the step before.
    GenerationOfRepair,
    /// Instances of a dead node are placed elsewhere, and stay placed on it.
    PlacedTwice,
    /// Instances without room are not placed when a node is back.
    RoomNotUsed,
    /// A node that restarts does not report what it has.
    RestartNotReported,
    /// The instances of a node's former life stay in the view.
    FormerLifeViewed,
    /// A readiness report of a node's former life counts for its present one.
    FormerLifeReports,
    /// A readiness report counts though the one before it is missing.
    ReportGapTaken,
    /// A lost readiness report is never asked for.
    LostReportNotAskedFor,
    /// The reports of a node that was declared dead still count as known when it is back.
    ReportsOfDeadKept,
    /// A lost view is never sent again.
    LostViewNotResent,
    /// A caller takes a view that is older than its own.
    OlderViewTaken,
    /// An instance serves one request more than it has slots.
    SlotTooMany,
    /// One request more waits at an instance than its queue holds.
    QueueTooLong,
}

impl Mutant {
    /// All of them.
    pub const ALL: [Mutant; 40] = [
        Mutant::SentBeforeLogged,
        Mutant::SentBeforeSynced,
        Mutant::TermNotRaised,
        Mutant::ResentInOldTerm,
        Mutant::NumberWithoutEffect,
        Mutant::EffectWithoutNumber,
        Mutant::RepeatNotAcknowledged,
        Mutant::RepeatApplied,
        Mutant::DigestOfTerm,
        Mutant::GapApplied,
        Mutant::AcknowledgedEarly,
        Mutant::AcknowledgedBeforeStored,
        Mutant::AcknowledgedBeforeSynced,
        Mutant::FormerLifeAcknowledges,
        Mutant::NotCumulative,
        Mutant::GivesUp,
        Mutant::RestartsWithoutResend,
        Mutant::WipeNotNoticed,
        Mutant::LineageKept,
        Mutant::LineageForgotten,
        Mutant::SnapshotWithoutDigest,
        Mutant::SnapshotWithoutUndeployed,
        Mutant::NotCaughtUp,
        Mutant::TailTooLong,
        Mutant::OlderTermTaken,
        Mutant::TermForgotten,
        Mutant::WaitsForDead,
        Mutant::GenerationOfRepair,
        Mutant::PlacedTwice,
        Mutant::RoomNotUsed,
        Mutant::RestartNotReported,
        Mutant::FormerLifeViewed,
        Mutant::FormerLifeReports,
        Mutant::ReportGapTaken,
        Mutant::LostReportNotAskedFor,
        Mutant::ReportsOfDeadKept,
        Mutant::LostViewNotResent,
        Mutant::OlderViewTaken,
        Mutant::SlotTooMany,
        Mutant::QueueTooLong,
    ];

    /// Its name, as in the code.
    pub fn name(self) -> String {
        format!("{self:?}")
    }

    /// Runs `act` with this mutant in this thread.
    #[cfg(feature = "mutants")]
    pub fn scope<T>(self, act: impl FnOnce() -> T) -> T {
        switch::scope(Some(self), act)
    }

    /// True if it is switched on.
    #[cfg(feature = "mutants")]
    pub(crate) fn is_on(self) -> bool {
        switch::is_on(self)
    }

    /// True if it is switched on: never.
    #[cfg(not(feature = "mutants"))]
    #[inline(always)]
    pub(crate) const fn is_on(self) -> bool {
        false
    }
}

/// True if any mutant is switched on. A node then writes no notes of what it applies: no rule may depend on its word.
pub(crate) fn any() -> bool {
    #[cfg(feature = "mutants")]
    return switch::any();
    #[cfg(not(feature = "mutants"))]
    false
}

#[cfg(feature = "mutants")]
mod switch {
    use std::cell::Cell;

    use super::Mutant;

    thread_local! {
        static ON: Cell<Option<Mutant>> = Cell::new(of_process());
    }

    #[expect(clippy::disallowed_methods, reason = "the variable is for tests, which are not given a mutant otherwise")]
    fn of_process() -> Option<Mutant> {
        let name = std::env::var("MESHSIM_MUTANT").ok()?;
        let named = Mutant::ALL.into_iter().find(|mutant| mutant.name() == name);
        Some(named.unwrap_or_else(|| panic!("MESHSIM_MUTANT={name}: there is no such mutant")))
    }

    /// Switches back at its end, also after a panic.
    struct Back(Option<Mutant>);

    impl Drop for Back {
        fn drop(&mut self) {
            ON.set(self.0);
        }
    }

    pub(super) fn scope<T>(mutant: Option<Mutant>, act: impl FnOnce() -> T) -> T {
        let _back = Back(ON.replace(mutant));
        act()
    }

    pub(super) fn is_on(mutant: Mutant) -> bool {
        ON.get() == Some(mutant)
    }

    pub(super) fn any() -> bool {
        ON.get().is_some()
    }
}
