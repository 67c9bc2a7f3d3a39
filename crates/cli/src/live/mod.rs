//! A run of real processes: what the commands that take part in one share.

mod cast;
mod children;
mod cluster;
mod conduct;
mod parts;
mod tape;

pub(crate) use cast::{Charter, cast};
pub(crate) use children::{Children, Role};
pub(crate) use cluster::{ClusterArgs, Place, is_loopback, listen};
pub(crate) use conduct::{Conduct, conduct};
