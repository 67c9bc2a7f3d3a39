//! The flow of messages in a run, for those who look into it: its records with names, what is known of each, and which of
//! them are wanted.

pub(crate) mod line;
pub(crate) mod part;
pub(crate) mod select;
pub(crate) mod source;
pub(crate) mod stream;
pub(crate) mod words;

pub(crate) use line::Lines;
pub(crate) use select::Selection;
pub(crate) use source::Source;
pub(crate) use stream::Item;
