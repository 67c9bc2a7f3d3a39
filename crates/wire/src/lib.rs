//! Messages as bytes: the only crate that knows bincode
