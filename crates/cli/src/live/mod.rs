//! A run of real processes: what the commands that take part in one share.

mod children;
mod cluster;
mod join;
mod run;

pub(crate) use children::{Children, Role};
pub(crate) use cluster::{ClusterArgs, SecretRole, is_loopback, read_once};
pub(crate) use join::JoinArgs;
pub(crate) use run::{LiveObserver, LiveRun};
