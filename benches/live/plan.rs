//! The messages of a measurement, and the programs that send them.

use std::str::FromStr;

use crate::process::{Failure, Report};
use crate::{bare, grpc, transport, whole};

/// Number of messages, and their rhythm.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Plan {
    /// Number of receivers, each with its own connection.
    pub(crate) targets: u32,
    /// Number of receivers in one process.
    pub(crate) together: u32,
    /// Messages to each target in a row; it acknowledges the last of them.
    pub(crate) burst: u32,
    /// Number of bursts that may be in flight.
    pub(crate) ahead: u32,
    /// Number of bursts; 0: nothing is sent, and the measurement never ends.
    pub(crate) bursts: u32,
}

impl Plan {
    /// As many messages as possible in one direction, in bursts of 64 KiB.
    pub(crate) fn one_way(messages: u32) -> Self {
        Plan { targets: 1, together: 1, burst: 512, ahead: 32, bursts: messages / 512 }
    }

    /// One message in each direction, repeatedly.
    pub(crate) fn round_trips(count: u32) -> Self {
        Plan { targets: 1, together: 1, burst: 1, ahead: 1, bursts: count }
    }

    /// One message to each of many receivers and one back from each, repeatedly.
    pub(crate) fn broadcasts(targets: u32, count: u32) -> Self {
        Plan { targets, together: targets, burst: 1, ahead: 1, bursts: count }
    }

    /// No messages, to processes of one receiver each.
    pub(crate) fn idle(targets: u32) -> Self {
        Plan { targets, together: 1, burst: 1, ahead: 1, bursts: 0 }
    }

    /// Number of messages; acknowledgements do not count.
    pub(crate) fn messages(&self) -> u64 {
        u64::from(self.targets) * self.messages_each()
    }

    /// Number of messages to each receiver.
    pub(crate) fn messages_each(&self) -> u64 {
        u64::from(self.burst) * u64::from(self.bursts)
    }

    /// Text for the command line of a child.
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

/// A way of sending: a program of two processes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Way {
    pub(crate) name: &'static str,
    /// Announces its port, and runs the listening side.
    pub(crate) listen: fn(&Plan) -> Result<Report, Failure>,
    /// Connects to that port, and runs the other side.
    pub(crate) dial: fn(&Plan, u16) -> Result<Report, Failure>,
}

pub(crate) const BARE: Way = Way { name: "bare socket", listen: bare::listen, dial: bare::dial };
pub(crate) const TRANSPORT: Way = Way { name: "transport", listen: transport::listen, dial: transport::dial };
pub(crate) const WHOLE: Way = Way { name: "whole path", listen: whole::listen, dial: whole::dial };
pub(crate) const TONIC: Way = Way { name: "tonic", listen: grpc::listen, dial: grpc::dial };

pub(crate) const WAYS: [Way; 4] = [BARE, TRANSPORT, WHOLE, TONIC];
