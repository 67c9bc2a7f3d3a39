//! Small files with a secret: that of a cluster, or the token of its gateway.

use std::fs::{self, OpenOptions};
use std::io::{self, Read, Write};
use std::path::Path;

use meshsim_experiment::{is_standard_input, open_regular};
use meshsim_wire::Secret;

/// Longest file with a secret, in bytes.
pub const SECRET_BYTES_MAX: u64 = 4096;

/// The text in a small file, or of standard input for `-`. If the file is missing, it is created with a random text,
/// readable only by its owner.
///
/// # Errors
/// If it can be neither read nor created.
pub fn read_or_make_secret(file: &Path) -> io::Result<String> {
    match read_secret(file) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => match make(file) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => read_secret(file),
            other => other,
        },
        other => other,
    }
}

/// The text in a small file, or of standard input up to its end, for `-`.
///
/// # Errors
/// If it cannot be read, is not a regular file (a pipe may never end), is not UTF-8, or is larger than
/// [`SECRET_BYTES_MAX`].
pub fn read_secret(file: &Path) -> io::Result<String> {
    match is_standard_input(file) {
        true => text_of(io::stdin().lock()),
        false => text_of(open_regular(file)?),
    }
}

fn text_of(source: impl Read) -> io::Result<String> {
    let wrong = |why: String| io::Error::new(io::ErrorKind::InvalidData, why);
    let mut bytes = Vec::new();
    source.take(SECRET_BYTES_MAX + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > SECRET_BYTES_MAX {
        return Err(wrong(format!("it is larger than {SECRET_BYTES_MAX} bytes")));
    }
    String::from_utf8(bytes).map_err(|_| wrong("it is not text (UTF-8)".into()))
}

fn make(file: &Path) -> io::Result<String> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    // Under another name first, so that a waiting process never reads a part of it.
    let under = file.with_extension("part");
    let _ = fs::remove_file(&under);
    let text = Secret::fresh_text();
    options.open(&under)?.write_all(format!("{text}\n").as_bytes())?;
    // This does not replace a file that another process has created meanwhile.
    let linked = fs::hard_link(&under, file);
    fs::remove_file(&under)?;
    linked.map(|()| text)
}
