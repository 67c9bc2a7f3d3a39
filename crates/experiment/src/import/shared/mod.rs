//! What the importers share: reading with positions, the draft of a mesh, and writing it down.

pub(crate) mod draft;
pub(crate) mod reading;
pub(crate) mod units;
pub(crate) mod write;
pub(crate) mod yaml;
