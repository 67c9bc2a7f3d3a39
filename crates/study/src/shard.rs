//! One of several equal parts of a plan: `2/8`, or `auto/8`, whose number comes from the engine that started the
//! process.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::plan::RUNS_MAX;

/// Variable of an engine, and its value.
pub type Variable = (&'static str, String);

/// A part of a plan. Run `i` of the plan, from 0, belongs to part `i % of + 1`: the neighbours of an expensive run,
/// which are often expensive too, go to other parts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Shard {
    /// Number of the part, from 1.
    #[serde(rename = "shard")]
    number: usize,
    /// Number of parts.
    of: usize,
}

/// A shard as requested: its number may be the engine's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wanted {
    /// `2/8`
    Fixed(Shard),
    /// `auto/8`
    Auto {
        /// Number of shards.
        of: usize,
    },
}

/// Reason why there is no shard of this number.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ShardError {
    /// The text is no shard.
    #[error("write a shard as `2/8`, from 1, or `auto/8`; a plan has at most {RUNS_MAX} shards")]
    Text,
    /// The number is above the number of shards, or 0.
    #[error("there is no shard {0} of {1}: shards are numbered from 1 to {1}")]
    Number(u64, usize),
    /// No engine started this process.
    #[error("no engine says which shard this is: none of {} is set", names().join(", "))]
    NoEngine,
    /// The variable of the engine is no number.
    #[error("{0} is `{1}`, which is not the index of a task")]
    NotANumber(&'static str, String),
    /// The engine's tasks do not fit the number of shards.
    #[error("{name} is {index}, which is shard {shard}, and the shards are numbered from 1 to {of}")]
    Outside {
        /// Variable of the engine.
        name: &'static str,
        /// Its value.
        index: u64,
        /// The shard that it stands for.
        shard: u64,
        /// Number of shards.
        of: usize,
    },
    /// The engine started another number of processes.
    #[error("{0} is {1}: the engine started {1} processes for {2} shards")]
    Count(&'static str, String, usize),
    /// Two engines say different numbers.
    #[error("{0} and {1} say different shards")]
    Ambiguous(&'static str, &'static str),
}

/// A variable in which an engine tells a process which of its tasks it is.
struct Engine {
    name: &'static str,
    /// The engine's first index, where the engine and not the user chooses it; 1 where the user numbers the tasks.
    first: u64,
    /// Variable with the number of tasks, if there is one that does not change when some tasks are repeated.
    count: Option<&'static str>,
}

/// Tasks of arrays. To add an engine: a line here.
const ARRAYS: [Engine; 6] = [
    // Slurm: `--array=1-8` (sbatch(1)). `SLURM_ARRAY_TASK_COUNT` changes when some tasks are submitted again.
    Engine { name: "SLURM_ARRAY_TASK_ID", first: 1, count: None },
    // Kubernetes: an Indexed Job counts its completions from 0.
    Engine { name: "JOB_COMPLETION_INDEX", first: 0, count: None },
    // HyperQueue: `--array 1-8`.
    Engine { name: "HQ_TASK_ID", first: 1, count: None },
    // PBS: `-J 1-8`.
    Engine { name: "PBS_ARRAY_INDEX", first: 1, count: None },
    // Grid Engine: `-t 1-8`. It is `undefined` in a job without an array.
    Engine { name: "SGE_TASK_ID", first: 1, count: None },
    // AWS Batch counts the children of an array job from 0.
    Engine { name: "AWS_BATCH_JOB_ARRAY_INDEX", first: 0, count: None },
];

/// Ranks of MPI, which count from 0. A task of an array may be started by MPI, as its only rank; so the array counts.
const RANKS: [Engine; 2] = [
    Engine { name: "OMPI_COMM_WORLD_RANK", first: 0, count: Some("OMPI_COMM_WORLD_SIZE") },
    Engine { name: "PMI_RANK", first: 0, count: Some("PMI_SIZE") },
];

fn names() -> Vec<&'static str> {
    ARRAYS.iter().chain(&RANKS).map(|engine| engine.name).collect()
}

impl Shard {
    /// The whole plan, as its only part.
    pub const WHOLE: Shard = Shard { number: 1, of: 1 };

    /// Part `number` of `of`.
    ///
    /// # Errors
    /// If the number is not between 1 and `of`, or `of` is not between 1 and [`RUNS_MAX`].
    pub fn new(number: usize, of: usize) -> Result<Self, ShardError> {
        match () {
            () if !(1..=RUNS_MAX).contains(&of) => Err(ShardError::Text),
            () if !(1..=of).contains(&number) => Err(ShardError::Number(number as u64, of)),
            () => Ok(Shard { number, of }),
        }
    }

    /// Number of the part, from 1.
    pub fn number(self) -> usize {
        self.number
    }

    /// Number of parts.
    pub fn of(self) -> usize {
        self.of
    }

    /// True if the run at this place of the plan, from 0, belongs to the part.
    pub fn holds(self, place: usize) -> bool {
        place % self.of == self.number - 1
    }
}

impl fmt::Display for Shard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.number, self.of)
    }
}

impl FromStr for Wanted {
    type Err = ShardError;

    fn from_str(text: &str) -> Result<Self, ShardError> {
        let (number, of) = text.split_once('/').ok_or(ShardError::Text)?;
        let of = of.parse().ok().filter(|of| (1..=RUNS_MAX).contains(of)).ok_or(ShardError::Text)?;
        match number {
            "auto" => Ok(Wanted::Auto { of }),
            number => Shard::new(number.parse().map_err(|_| ShardError::Text)?, of).map(Wanted::Fixed),
        }
    }
}

impl Wanted {
    /// Number of shards.
    pub fn of(self) -> usize {
        match self {
            Wanted::Fixed(shard) => shard.of,
            Wanted::Auto { of } => of,
        }
    }

    /// The shard, and the variable that says its number, with its value, if an engine chose it. `variable` reads a
    /// variable of the environment.
    ///
    /// # Errors
    /// If no engine says a number, several say different ones, or there is no such shard.
    pub fn resolve(self, variable: impl Fn(&str) -> Option<String>) -> Result<(Shard, Option<Variable>), ShardError> {
        let of = match self {
            Wanted::Fixed(shard) => return Ok((shard, None)),
            Wanted::Auto { of } => of,
        };
        let set = |engine: &Engine| {
            variable(engine.name)
                .filter(|value| !value.is_empty() && value != "undefined")
                .map(|value| (engine.name, value))
        };
        let engines = if ARRAYS.iter().any(|engine| set(engine).is_some()) { &ARRAYS[..] } else { &RANKS[..] };
        let mut found: Option<(Shard, (&'static str, String))> = None;
        for engine in engines {
            let Some((name, value)) = set(engine) else { continue };
            let shard = engine.shard(name, &value, of, &variable)?;
            match &found {
                Some((other, (by, _))) if *other != shard => return Err(ShardError::Ambiguous(by, name)),
                Some(_) => {}
                None => found = Some((shard, (name, value))),
            }
        }
        found.map(|(shard, by)| (shard, Some(by))).ok_or(ShardError::NoEngine)
    }
}

impl Engine {
    fn shard(
        &self,
        name: &'static str,
        value: &str,
        of: usize,
        variable: impl Fn(&str) -> Option<String>,
    ) -> Result<Shard, ShardError> {
        let index: u64 = value.parse().map_err(|_| ShardError::NotANumber(name, value.chars().take(40).collect()))?;
        if let Some((count, value)) = self.count.and_then(|count| Some((count, variable(count)?)))
            && value.parse() != Ok(of)
        {
            return Err(ShardError::Count(count, value.chars().take(40).collect(), of));
        }
        let shard = index.saturating_add(1 - self.first);
        let outside = ShardError::Outside { name, index, shard, of };
        usize::try_from(shard).ok().and_then(|number| Shard::new(number, of).ok()).ok_or(outside)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn auto(of: usize, set: &[(&str, &str)]) -> Result<String, ShardError> {
        let variable = |name: &str| set.iter().find(|(it, _)| *it == name).map(|(_, value)| (*value).to_owned());
        Wanted::Auto { of }.resolve(variable).map(|(shard, _)| shard.to_string())
    }

    #[test]
    fn every_run_belongs_to_exactly_one_shard() {
        for of in [1, 3, 8, 20] {
            let holders = |place| (1..=of).filter(|number| Shard::new(*number, of).unwrap().holds(place)).count();
            assert!((0..50).all(|place| holders(place) == 1), "{of}");
        }
    }

    #[test]
    fn engines_that_count_from_0_and_users_that_count_from_1_mean_the_same() {
        for (name, value) in [
            ("SLURM_ARRAY_TASK_ID", "2"),
            ("JOB_COMPLETION_INDEX", "1"),
            ("HQ_TASK_ID", "2"),
            ("PBS_ARRAY_INDEX", "2"),
            ("SGE_TASK_ID", "2"),
            ("AWS_BATCH_JOB_ARRAY_INDEX", "1"),
            ("OMPI_COMM_WORLD_RANK", "1"),
            ("PMI_RANK", "1"),
        ] {
            assert_eq!(auto(8, &[(name, value)]).as_deref(), Ok("2/8"), "{name}");
            assert!(auto(8, &[(name, "9")]).is_err(), "{name}");
        }
    }

    #[test]
    fn a_number_that_no_shard_has_is_an_error_and_not_another_shard() {
        let outside = auto(8, &[("SLURM_ARRAY_TASK_ID", "0")]);
        assert!(matches!(outside, Err(ShardError::Outside { shard: 0, .. })), "{outside:?}");
        assert!(matches!(auto(8, &[("PBS_ARRAY_INDEX", "x")]), Err(ShardError::NotANumber(..))));
        assert!(auto(8, &[("AWS_BATCH_JOB_ARRAY_INDEX", "18446744073709551615")]).is_err());
        assert_eq!(auto(8, &[]), Err(ShardError::NoEngine));
        assert_eq!(auto(8, &[("SGE_TASK_ID", "undefined")]), Err(ShardError::NoEngine));
        let two = [("SLURM_ARRAY_TASK_ID", "2"), ("HQ_TASK_ID", "3")];
        assert_eq!(auto(8, &two), Err(ShardError::Ambiguous("SLURM_ARRAY_TASK_ID", "HQ_TASK_ID")));
        let other = [("PMI_RANK", "1"), ("PMI_SIZE", "4")];
        assert_eq!(auto(8, &other), Err(ShardError::Count("PMI_SIZE", "4".into(), 8)));
    }

    #[test]
    fn a_task_of_an_array_that_mpi_started_is_the_shard_of_its_task() {
        let set = [("SLURM_ARRAY_TASK_ID", "5"), ("PMI_RANK", "0"), ("PMI_SIZE", "1")];
        assert_eq!(auto(8, &set).as_deref(), Ok("5/8"));
    }

    #[test]
    fn shards_are_written_as_they_are_read() {
        assert_eq!("2/8".parse(), Ok(Wanted::Fixed(Shard { number: 2, of: 8 })));
        assert_eq!("auto/8".parse(), Ok(Wanted::Auto { of: 8 }));
        for wrong in ["", "2", "0/8", "9/8", "2/0", "-1/8", "2/8/9", "auto", "auto/0", "2/99999999"] {
            assert!(wrong.parse::<Wanted>().is_err(), "{wrong}");
        }
    }
}
