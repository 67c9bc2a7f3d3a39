//! The flow of messages in a run, for its views: the records with names, the known facts about each, and their
//! selection.

pub(crate) mod follow;
pub(crate) mod line;
pub(crate) mod messages;
pub(crate) mod part;
pub(crate) mod place;
pub(crate) mod replayed;
pub(crate) mod requests;
pub(crate) mod select;
pub(crate) mod source;
pub(crate) mod spans;
pub(crate) mod stream;
pub(crate) mod table;
pub(crate) mod timeline;
pub(crate) mod words;

pub(crate) use line::Lines;
pub(crate) use select::Selection;
pub(crate) use source::Source;
pub(crate) use stream::Item;
