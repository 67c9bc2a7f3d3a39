//! Broken experiment files, each with its error messages; and invalid manual operations and faults.
//!
//! The messages for `tests/broken/NN-name.yaml` must be those of `NN-name.txt`. With `MESHSIM_BLESS=1` the texts are
//! written anew: read each of them before you commit it, as the person who must fix the file.

use std::path::{Path, PathBuf};

use meshsim_actor::Time;
use meshsim_experiment::{Problems, load};

const WIDTH: usize = 100;

#[expect(clippy::disallowed_methods, reason = "asks whether the expected texts are to be written anew")]
fn bless() -> bool {
    std::env::var("MESHSIM_BLESS").is_ok_and(|value| value == "1")
}

/// Asserts that the messages for each broken text of a folder equal the file beside it.
fn expect_answers(folder: &Path, least: usize, read: impl Fn(&Path) -> Option<Problems>) {
    let mut files: Vec<PathBuf> = std::fs::read_dir(Path::new(".").join(folder))
        .unwrap()
        .map(|entry| folder.join(entry.unwrap().file_name()))
        .collect();
    files.retain(|file| file.extension().is_some_and(|extension| extension == "yaml") && !file.ends_with("mesh.yaml"));
    files.sort();
    assert!(files.len() >= least, "{} files", files.len());
    let mut wrong = String::new();
    for file in files {
        let told = read(&file).map_or("nothing is wrong with it\n".to_owned(), |it| it.render(false, WIDTH));
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

#[test]
fn every_broken_file_is_answered_with_the_message_that_stands_beside_it() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/broken");
    // The only test of this binary that does not name its files in full: names in the messages are then relative to the
    // folder.
    std::env::set_current_dir(&folder).unwrap();
    expect_answers(Path::new(""), 40, |file| load(file, &[]).err());
}

#[test]
fn an_invalid_manual_operation_or_fault_gets_the_message_beside_it() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/broken/by-hand");
    let mesh = load(&folder.join("mesh.yaml"), &[]).unwrap_or_else(|problems| panic!("{problems}"));
    expect_answers(&folder, 15, |file| {
        let text = std::fs::read_to_string(file).unwrap();
        match file.file_stem().unwrap().to_string_lossy().starts_with("fault") {
            true => mesh.fault(&text, Time::ZERO).err(),
            false => mesh.operation(&text).err(),
        }
    });
}
