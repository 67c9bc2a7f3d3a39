//! Records of a run on disk
