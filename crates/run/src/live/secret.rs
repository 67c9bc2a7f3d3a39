//! Small files with a secret: that of a cluster, or the token of its gateway.

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::path::Path;

use meshsim_wire::Secret;

/// Longest file with a secret, in bytes.
pub const SECRET_BYTES_MAX: u64 = 4096;

/// The text in a small file. If the file is missing, it is created with a random text, readable only by its owner.
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

/// The text in a small file.
///
/// # Errors
/// If it cannot be read, or is larger than [`SECRET_BYTES_MAX`].
pub fn read_secret(file: &Path) -> io::Result<String> {
    if fs::metadata(file)?.len() > SECRET_BYTES_MAX {
        return Err(io::Error::new(io::ErrorKind::InvalidData, format!("larger than {SECRET_BYTES_MAX} bytes")));
    }
    fs::read_to_string(file)
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
