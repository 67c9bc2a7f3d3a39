//! Messages that arrive whatever other faults do.

use serde::{Deserialize, Serialize};

use crate::{Disturbance, Link};

/// No other fault of the network loses these messages: neither a drop, nor a loss, nor a partition. (A machine that is
/// down still takes in nothing.) Delays and copies stay. The network asks for it before all others.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Deliver {
    /// The links.
    pub on: Link,
}

impl Disturbance for Deliver {}
