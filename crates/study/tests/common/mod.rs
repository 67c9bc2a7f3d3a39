//! Parts that several tests share.

use std::fs;
use std::path::Path;

/// Name and text of each file of a folder, by name.
pub(crate) fn files(folder: &Path) -> Vec<(String, String)> {
    let file = |entry: std::io::Result<fs::DirEntry>| {
        let path = entry.unwrap().path();
        let content = String::from_utf8_lossy(&fs::read(&path).unwrap()).into_owned();
        (path.file_name().unwrap().to_string_lossy().into_owned(), content)
    };
    let mut files: Vec<_> = fs::read_dir(folder).unwrap().map(file).collect();
    files.sort();
    files
}
