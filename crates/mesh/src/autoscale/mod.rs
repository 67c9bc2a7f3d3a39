//! Autoscaling: an actor that measures services and changes their number of instances.
//!
//! It sees nothing but messages. It asks every node for samples of the instances that run there, and the coordinator
//! for the number that is wanted; both can be late or lost, and a dead node answers nothing. Its decisions are
//! `extend` operations that it sends to the coordinator, which may be down.
//!
//! To add a kind of autoscaler: a file here, with its settings, its state and the source of its defaults, a variant of
//! [`Autoscale`] and a line in [`Autoscaler`]; its words in `experiment/src/schema/autoscale.rs`.

mod actor;
pub mod hpa;
pub mod signal;

use serde::{Deserialize, Serialize};

pub use actor::{Autoscaler, DECISIONS_MAX, Decision, Standing};

use hpa::Hpa;

/// Autoscaler of a service.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Autoscale {
    /// Kubernetes' horizontal pod autoscaler.
    Hpa(Hpa),
}

impl Autoscale {
    /// Fewest and most instances.
    pub fn range(&self) -> (u32, u32) {
        let Autoscale::Hpa(hpa) = self;
        (hpa.min, hpa.max)
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn every_file_of_the_folder_is_registered() {
        crate::expect_registered("autoscale", &include_str!("mod.rs").replace("pub mod", "mod"));
    }
}
