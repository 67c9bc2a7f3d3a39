//! What a network and a machine do to a run: one file per fault
