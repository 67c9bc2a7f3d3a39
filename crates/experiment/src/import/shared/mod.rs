//! Common parts of the importers: reading with positions, the draft of a mesh, and the writer.

pub(crate) mod draft;
pub(crate) mod graph;
pub(crate) mod guess;
pub(crate) mod looks;
pub(crate) mod names;
pub(crate) mod reading;
pub(crate) mod units;
pub(crate) mod write;
pub(crate) mod yaml;
