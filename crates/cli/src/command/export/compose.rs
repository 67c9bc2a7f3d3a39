//! `meshsim export compose`: an experiment as containers.

use crate::command::compose;

pub(super) use compose::Args;

pub(super) const ABOUT: &str = compose::ABOUT;

pub(super) const HELP: &str = compose::EXAMPLES;
