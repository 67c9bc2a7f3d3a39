//! Policies for calls that do not succeed.
//!
//! To add one: a file here, its settings in [`CallPolicy`](crate::model::CallPolicy), its place in
//! [`Caller`](crate::call::Caller).

mod deadline;
mod retry;

pub(crate) use deadline::try_until;
pub(crate) use retry::{backoff, within_budget};

#[cfg(test)]
mod tests {
    #[test]
    fn every_file_of_the_folder_is_registered() {
        crate::expect_registered("policy", include_str!("mod.rs"));
    }
}
