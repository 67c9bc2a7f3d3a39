//! A run of real processes: what the commands that take part in one share.

mod children;
mod cluster;
mod conduct;
mod joining;

pub(crate) use children::{Children, Role};
pub(crate) use cluster::{ClusterArgs, SecretRole, is_loopback, read_once};
pub(crate) use conduct::{Attendant, LiveRun, conduct};
pub(crate) use joining::JoinArgs;
