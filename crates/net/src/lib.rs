//! The live host.
