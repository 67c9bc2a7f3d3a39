//! The same work for the peers, each as its documentation would have it.

pub(crate) mod desque;
pub(crate) mod nexosim;
pub(crate) mod simcore;
