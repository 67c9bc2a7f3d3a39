//! The token: whoever has it may change something.

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use meshsim_wire::{SECRET_CHARS_MIN, Secret, Side};

use crate::error::Error;
use crate::interrupt::UNFINISHED;
use crate::live::read_or_make;

/// What has to be shown.
#[derive(Debug)]
pub(super) struct Token {
    secret: Secret,
    /// Where it is kept for `meshsim ctl`, if nobody named a file.
    place: Option<PathBuf>,
}

/// The file of a token that nobody named a file for. It is gone when this is: who is still being answered knows the
/// token, and must not keep the file.
#[derive(Debug)]
pub(super) struct Kept(PathBuf);

/// Where the token of the gateway at this port is kept if nobody named a file: `meshsim ctl` of the same user and
/// machine looks there.
pub(crate) fn kept_for(port: u16) -> PathBuf {
    // For the user alone, and gone when they log out. Elsewhere the file's mode keeps others away.
    let runtime = std::env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from).filter(|folder| folder.is_dir());
    runtime.unwrap_or_else(std::env::temp_dir).join(format!("meshsim-{port}.token"))
}

/// What a token is.
pub(crate) const HELP: &str =
    "a token is one line of at least 16 ASCII characters; where there is no file, the run makes one with a token";

/// Whether a file's text is a token. It stands in a header: one line of plain text.
pub(crate) fn is_token(text: &str) -> bool {
    let text = text.trim();
    text.len() >= SECRET_CHARS_MIN && text.chars().all(|c| c == ' ' || c.is_ascii_graphic())
}

impl Token {
    /// The one in a file, which is made if it is not there.
    pub(super) fn of_file(file: &Path) -> Result<Self, Error> {
        let text = read_or_make(file)?;
        match Secret::new(&text) {
            Ok(secret) if is_token(&text) => Ok(Token { secret, place: None }),
            _ => Err(Error::WrongInput(format!("{} holds no token", file.display()), HELP.into())),
        }
    }

    /// A fresh one, kept for this user as long as the second is there.
    pub(super) fn kept(port: u16) -> Result<(Self, Kept), Error> {
        let (file, text) = (kept_for(port), Secret::fresh_text());
        let refused = |error: io::Error| {
            let help = "`--token-file FILE` keeps it elsewhere".into();
            Error::WrongInput(format!("the token cannot be kept in {}: {error}", file.display()), help)
        };
        let secret = Secret::new(&text).map_err(|error| refused(io::Error::other(error)))?;
        write_anew(&file, &text).map_err(refused)?;
        locked().push(file.clone());
        Ok((Token { secret, place: Some(file.clone()) }, Kept(file)))
    }

    /// True for the right one; takes as long for a wrong one.
    pub(super) fn is(&self, shown: &str) -> bool {
        // HMACs of both are compared, in constant time.
        let said = b"token";
        Secret::new(shown)
            .is_ok_and(|shown| self.secret.verify(&shown.prove(Side::Dialler, said, said), Side::Dialler, said, said))
    }

    /// Where it is kept, if nobody named a file.
    pub(super) fn place(&self) -> Option<&Path> {
        self.place.as_deref()
    }
}

/// What lies there is of a gateway that is gone, or is no file of ours: it is neither read nor written to.
fn write_anew(file: &Path, text: &str) -> io::Result<()> {
    match fs::remove_file(file) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(file)?.write_all(format!("{text}\n").as_bytes())
}

/// The second Ctrl-C takes the file away, too.
fn locked() -> std::sync::MutexGuard<'static, Vec<PathBuf>> {
    UNFINISHED.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
}

impl Drop for Kept {
    fn drop(&mut self) {
        locked().retain(|other| *other != self.0);
        let _ = fs::remove_file(&self.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_token_is_right_with_white_space_around_it_and_wrong_otherwise() {
        let token = Token { secret: Secret::new("sixteen chars and more").unwrap(), place: None };
        assert!(
            HELP.contains(&SECRET_CHARS_MIN.to_string())
                && is_token("sixteen chars and more")
                && !is_token("sixteen\nchars here")
        );
        assert!(token.is("sixteen chars and more") && token.is(" sixteen chars and more\n"));
        assert!(["", "sixteen chars", "sixteen chars and morf", "Sixteen chars and more"].iter().all(|t| !token.is(t)));
    }

    #[test]
    fn what_lies_where_the_token_is_kept_is_replaced_and_not_followed() {
        let folder = tempfile::tempdir().unwrap();
        let (file, other) = (folder.path().join("token"), folder.path().join("other"));
        fs::write(&other, "precious").unwrap();
        #[cfg(unix)]
        std::os::unix::fs::symlink(&other, &file).unwrap();
        write_anew(&file, "secret").unwrap();
        assert_eq!(
            (fs::read_to_string(&file).unwrap(), fs::read_to_string(&other).unwrap()),
            ("secret\n".into(), "precious".into())
        );
        #[cfg(unix)]
        assert_eq!(std::os::unix::fs::PermissionsExt::mode(&file.metadata().unwrap().permissions()) & 0o777, 0o600);
    }
}
