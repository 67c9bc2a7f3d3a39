//! An impairment of a machine: a part of its actor's work fails, is late, hangs or is slow.
//!
//! A machine holds its impairments as it holds its pace, and its actor reads them from [`Cx`](crate::Cx) as it reads
//! its clock. So an actor knows how its machine does now, but neither that a fault began nor when it will end.

use serde::{Deserialize, Serialize};

use crate::{ActorId, Dist};

/// One impairment of a machine.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Impairment {
    /// Names it, on all machines alike. Its random draws are keyed by this, so they move no other draw.
    pub key: u64,
    /// The work that it concerns.
    pub subject: Subject,
    /// Its effect on that work.
    pub effect: ImpairmentKind,
}

/// The work that an impairment concerns.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Subject {
    /// Number of the program (in a mesh: the service).
    pub program: u16,
    /// Number of one of its entries (the endpoint); `None`: all.
    pub entry: Option<u16>,
    /// Version of the program; `None`: all.
    pub version: Option<u32>,
    /// Copies of the program (the instances), as actor and number on its machine, in rising order; `None`: all.
    pub copies: Option<Vec<(ActorId, u32)>>,
    /// The side on which it acts.
    pub side: Side,
}

/// The side of a call on which an impairment acts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Side {
    /// The place where the program runs.
    Served,
    /// The place where the program is called: by this program, or by the actor itself.
    CalledBy(Option<u16>),
}

/// Effect of an impairment.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum ImpairmentKind {
    /// This share of the requests fails when all their work is done; of calls, before they are sent.
    Errors(f64),
    /// Each request begins later by this.
    Latency(Dist),
    /// This share of the requests begins only when the impairment has ended; of calls, they are never sent.
    Hang(f64),
    /// This share of the requests is refused at once.
    Refuse(f64),
    /// A copy has this share of its slots, and at least one.
    Slots(f64),
    /// Work is done at this multiple of its speed, above 0.
    Speed(f64),
}

impl Subject {
    /// True if it concerns a request of this program that runs in this copy.
    #[inline]
    pub fn serves(&self, program: u16, entry: u16, version: u32, copy: (ActorId, u32)) -> bool {
        self.side == Side::Served
            && self.program == program
            && self.entry.is_none_or(|it| it == entry)
            && self.has_copy(version, copy)
    }

    /// True if it concerns this copy, whatever its requests ask for.
    #[inline]
    pub fn has_copy(&self, version: u32, copy: (ActorId, u32)) -> bool {
        self.version.is_none_or(|it| it == version)
            && self.copies.as_ref().is_none_or(|copies| copies.binary_search(&copy).is_ok())
    }

    /// True if it concerns a call of this program by `caller`: a program, or the actor itself.
    #[inline]
    pub fn calls(&self, caller: Option<u16>, program: u16, entry: u16) -> bool {
        self.side == Side::CalledBy(caller) && self.program == program && self.entry.is_none_or(|it| it == entry)
    }
}

impl ImpairmentKind {
    /// Checks the parameters and describes the problem, if any. One that fails this check may have no effect, but never
    /// panics.
    ///
    /// # Errors
    /// If a share is not within 0 and 1, a speed is not above 0, or the distribution is none.
    pub fn validate(&self) -> Result<(), String> {
        let share = |share: f64| match (0.0..=1.0).contains(&share) {
            true => Ok(()),
            false => Err(format!("a share is between 0 and 1, not {share}")),
        };
        match self {
            ImpairmentKind::Errors(it)
            | ImpairmentKind::Hang(it)
            | ImpairmentKind::Refuse(it)
            | ImpairmentKind::Slots(it) => share(*it),
            ImpairmentKind::Latency(dist) => dist.validate().map_err(|error| error.to_string()),
            ImpairmentKind::Speed(speed) if speed.is_finite() && *speed > 0.0 => Ok(()),
            ImpairmentKind::Speed(speed) => Err(format!("a speed is above zero, not {speed}")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(copies: Option<Vec<(ActorId, u32)>>, side: Side) -> Subject {
        Subject { program: 3, entry: Some(1), version: Some(2), copies, side }
    }

    #[test]
    fn a_subject_concerns_its_program_entry_version_and_copies_only() {
        let it = of(Some(vec![(ActorId(1), 4), (ActorId(2), 0)]), Side::Served);
        assert!(it.serves(3, 1, 2, (ActorId(1), 4)) && it.serves(3, 1, 2, (ActorId(2), 0)));
        assert!(!it.serves(2, 1, 2, (ActorId(1), 4)), "another program");
        assert!(!it.serves(3, 0, 2, (ActorId(1), 4)), "another entry");
        assert!(!it.serves(3, 1, 1, (ActorId(1), 4)), "another version");
        assert!(!it.serves(3, 1, 2, (ActorId(1), 0)), "another copy");
        assert!(!it.calls(None, 3, 1), "the other side");
    }

    #[test]
    fn a_subject_of_calls_concerns_its_caller_only() {
        let it = of(None, Side::CalledBy(Some(7)));
        assert!(it.calls(Some(7), 3, 1));
        assert!(!it.calls(Some(6), 3, 1) && !it.calls(None, 3, 1) && !it.calls(Some(7), 3, 0));
        assert!(!it.serves(3, 1, 2, (ActorId(1), 4)));
    }

    #[test]
    fn shares_beyond_one_and_speeds_of_zero_are_named() {
        assert!(ImpairmentKind::Errors(1.5).validate().unwrap_err().contains("1.5"));
        assert!(ImpairmentKind::Slots(f64::NAN).validate().is_err());
        assert!(ImpairmentKind::Speed(0.0).validate().unwrap_err().contains("above zero"));
        assert!(ImpairmentKind::Hang(1.0).validate().is_ok() && ImpairmentKind::Refuse(0.0).validate().is_ok());
    }
}
