//! Broken experiment files, each with what a person is told about it.
//!
//! `tests/broken/NN-name.yaml` goes in, `NN-name.txt` must come out. With `MESHSIM_BLESS=1` the texts are written anew:
//! read each of them before you commit it, as somebody who has to mend the file.

use std::path::{Path, PathBuf};

use meshsim_experiment::load;

const WIDTH: usize = 100;

#[expect(clippy::disallowed_methods, reason = "asks whether the expected texts are to be written anew")]
fn bless() -> bool {
    std::env::var("MESHSIM_BLESS").is_ok_and(|value| value == "1")
}

#[test]
fn every_broken_file_is_answered_with_the_message_that_stands_beside_it() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/broken");
    // The only test of this binary: names in the messages are then as if somebody stood in the folder.
    std::env::set_current_dir(&folder).unwrap();
    let mut files: Vec<PathBuf> =
        std::fs::read_dir(".").unwrap().map(|entry| entry.unwrap().file_name().into()).collect();
    files.retain(|file| file.extension().is_some_and(|extension| extension == "yaml"));
    files.sort();
    assert!(files.len() >= 40, "{} files", files.len());
    let mut wrong = String::new();
    for file in files {
        let told = match load(&file, &[]) {
            Ok(_) => "nothing is wrong with it\n".to_owned(),
            Err(problems) => problems.render(false, WIDTH),
        };
        let expected = file.with_extension("txt");
        if bless() {
            std::fs::write(&expected, &told).unwrap();
        }
        let expected = std::fs::read_to_string(&expected).unwrap_or_default();
        assert!(!told.starts_with("nothing"), "{}: nothing is wrong with it", file.display());
        if told != expected {
            wrong += &format!("=== {}\n--- expected\n{expected}\n--- told\n{told}\n", file.display());
        }
    }
    assert!(wrong.is_empty(), "{wrong}\n(MESHSIM_BLESS=1 writes the texts anew)");
}
