//! Real files of other authors: the test corpus in `../shared/data` beside the checkout, or in the folder
//! `MESHSIM_CORPUS`. A test that needs one prints a note and passes when it is absent.

use std::path::{Path, PathBuf};

#[expect(clippy::disallowed_methods, reason = "where the corpus is differs between machines")]
fn corpus() -> PathBuf {
    let beside = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data");
    std::env::var("MESHSIM_CORPUS").map_or(beside, PathBuf::from)
}

/// The path of a corpus file, if the corpus is here.
pub(crate) fn corpus_file(name: &str) -> Option<PathBuf> {
    let path = corpus().join(name);
    if !path.exists() {
        println!("skipped: {} is absent; set MESHSIM_CORPUS to the test corpus", path.display());
        return None;
    }
    Some(path)
}
