//! The same work with the peers, each used as its documentation recommends.

pub(crate) mod desque;
pub(crate) mod nexosim;
pub(crate) mod simcore;
