//! What is sent, and by whose means.

use std::str::FromStr;

use crate::process::{Failure, Report};
use crate::{bare, grpc, transport, whole};

/// How much is sent, in which rhythm.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Plan {
    /// Who is sent to, each over a connection of its own.
    pub(crate) targets: u32,
    /// How many of them share a process.
    pub(crate) together: u32,
    /// Messages to each target in a row; it acknowledges the last of them.
    pub(crate) burst: u32,
    /// Bursts that may be under way.
    pub(crate) ahead: u32,
    /// Bursts in all; 0: nothing is sent, and nobody is ever done.
    pub(crate) bursts: u32,
}

impl Plan {
    /// As many messages one way as can be, in bursts of 64 KiB.
    pub(crate) fn one_way(messages: u32) -> Self {
        Plan { targets: 1, together: 1, burst: 512, ahead: 32, bursts: messages / 512 }
    }

    /// One message there and one back, again and again.
    pub(crate) fn round_trips(count: u32) -> Self {
        Plan { targets: 1, together: 1, burst: 1, ahead: 1, bursts: count }
    }

    /// One message to each of many, and one back from each, again and again.
    pub(crate) fn broadcasts(targets: u32, count: u32) -> Self {
        Plan { targets, together: targets, burst: 1, ahead: 1, bursts: count }
    }

    /// Nothing, to processes of one target each.
    pub(crate) fn idle(targets: u32) -> Self {
        Plan { targets, together: 1, burst: 1, ahead: 1, bursts: 0 }
    }

    /// Messages that are sent; acknowledgements do not count.
    pub(crate) fn messages(&self) -> u64 {
        u64::from(self.targets) * self.messages_each()
    }

    /// Messages to each target.
    pub(crate) fn messages_each(&self) -> u64 {
        u64::from(self.burst) * u64::from(self.bursts)
    }

    /// For the command line of a child.
    pub(crate) fn write(&self) -> String {
        let Plan { targets, together, burst, ahead, bursts } = self;
        format!("{targets}:{together}:{burst}:{ahead}:{bursts}")
    }
}

impl FromStr for Plan {
    type Err = Failure;
    fn from_str(text: &str) -> Result<Self, Failure> {
        let numbers = text.split(':').map(str::parse).collect::<Result<Vec<u32>, _>>()?;
        let [targets, together, burst, ahead, bursts] = numbers[..] else {
            return Err("a plan has five numbers".into());
        };
        Ok(Plan { targets, together, burst, ahead, bursts })
    }
}

/// By whose means: a program of two processes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Way {
    pub(crate) name: &'static str,
    /// Says at which port it listens, and plays its part.
    pub(crate) listen: fn(&Plan) -> Result<Report, Failure>,
    /// Connects to that port, and plays the other.
    pub(crate) dial: fn(&Plan, u16) -> Result<Report, Failure>,
}

pub(crate) const BARE: Way = Way { name: "bare socket", listen: bare::listen, dial: bare::dial };
pub(crate) const TRANSPORT: Way = Way { name: "transport", listen: transport::listen, dial: transport::dial };
pub(crate) const WHOLE: Way = Way { name: "whole path", listen: whole::listen, dial: whole::dial };
pub(crate) const TONIC: Way = Way { name: "tonic", listen: grpc::listen, dial: grpc::dial };

pub(crate) const WAYS: [Way; 4] = [BARE, TRANSPORT, WHOLE, TONIC];
