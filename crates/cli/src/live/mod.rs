//! A run of real processes: what the commands that take part in one share.

mod board;
mod cast;
mod children;
mod cluster;
mod conduct;
mod joining;
mod parts;
mod tape;

pub(crate) use board::Board;
pub(crate) use children::{Children, Role};
pub(crate) use cluster::{ClusterArgs, Place, is_loopback, read_or_make};
pub(crate) use conduct::{Attendant, Conduct, conduct, manual_fault};
pub(crate) use joining::JoinArgs;
