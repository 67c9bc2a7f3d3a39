//! The operator token: its holder may change the run.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use meshsim_run::read_or_make_secret;
use meshsim_wire::{SECRET_CHARS_MIN, Secret, Side};

use crate::listener::GatewayError;

/// Token that a request must present.
#[derive(Debug)]
pub(crate) struct Token(Secret);

/// Default file of a token, removed on drop: who is still being answered knows the
/// token, and must not keep the file.
pub(crate) struct Kept {
    pub(crate) file: PathBuf,
    /// The token.
    pub(crate) text: String,
    /// Locked as long as the gateway is there: the system unlocks it however the process ends.
    _open: File,
}

/// Default file of the token of the gateway at this port: `meshsim ctl` of the same user and
/// machine looks there. `None` if there is no folder for this user alone.
pub fn kept_for(port: u16) -> Option<PathBuf> {
    let file = format!("meshsim-{port}.token");
    let folders: Vec<PathBuf> = folders().into_iter().filter(|folder| is_private(folder)).collect();
    // A run with another environment may have kept it in another of them.
    let there = folders.iter().map(|folder| folder.join(&file)).find(|file| file.is_file());
    there.or_else(|| folders.first().map(|folder| folder.join(&file)))
}

/// Folders that may be for this user alone, the best first.
fn folders() -> Vec<PathBuf> {
    let of = |name| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    // Gone when the user logs out.
    let runtime = of("XDG_RUNTIME_DIR").map(|folder| folder.join("meshsim"));
    let cache = of("XDG_CACHE_HOME").or_else(|| of("HOME").map(|home| home.join(".cache")));
    // Another user may have created one of these: then the next is tried.
    #[cfg(unix)]
    let user = rustix::process::geteuid().as_raw().to_string();
    #[cfg(not(unix))]
    let user = "user";
    let temporary = (0..SHARED_MAX).map(|n| std::env::temp_dir().join(format!("meshsim-{user}-{n}")));
    runtime.into_iter().chain(cache.map(|folder| folder.join("meshsim"))).chain(temporary).collect()
}

/// Number of names to try in a folder in which other users may create files, too.
const SHARED_MAX: u32 = 16;

/// True for a folder that belongs to this user and that no other user can read.
fn is_private(folder: &Path) -> bool {
    let Ok(about) = fs::symlink_metadata(folder) else { return false };
    #[cfg(unix)]
    {
        use std::os::unix::fs::MetadataExt;
        about.is_dir() && about.uid() == rustix::process::geteuid().as_raw() && about.mode() & 0o077 == 0
    }
    #[cfg(not(unix))]
    about.is_dir()
}

/// Makes a folder for this user alone, unless it is there. False if it is not for this user alone then.
fn make_private(folder: &Path) -> bool {
    let mut builder = fs::DirBuilder::new();
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    // The folders above belong to the system or the user: they are not made here.
    let _ = builder.create(folder);
    is_private(folder)
}

/// Rules for a token.
pub const HELP: &str =
    "a token is one line of at least 16 ASCII characters; where there is no file, the run makes one with a token";

/// Whether a file's text is a token. It stands in a header: one line of plain text.
pub fn is_token(text: &str) -> bool {
    let text = text.trim();
    text.len() >= SECRET_CHARS_MIN && text.chars().all(|c| c == ' ' || c.is_ascii_graphic())
}

impl Token {
    /// The one in a file, which is made if it is not there.
    pub(crate) fn of_file(file: &Path) -> Result<Self, GatewayError> {
        let text = read_or_make_secret(file).map_err(|error| GatewayError::TokenFile(file.to_owned(), error))?;
        match Secret::new(&text) {
            Ok(secret) if is_token(&text) => Ok(Token(secret)),
            _ => Err(GatewayError::NoToken(file.to_owned())),
        }
    }

    /// A fresh one, kept for this user as long as the second is there.
    pub(crate) fn kept(port: u16) -> Result<(Self, Kept), GatewayError> {
        let text = Secret::fresh_text();
        let secret = Secret::new(&text).map_err(|error| GatewayError::Kept(error.to_string()))?;
        let mut why = io::Error::other("no folder is for this user alone");
        for folder in folders().into_iter().filter(|folder| make_private(folder)) {
            clear(&folder);
            let file = folder.join(format!("meshsim-{port}.token"));
            match write_anew(&file, &text) {
                Ok(open) => return Ok((Token(secret), Kept { file, text, _open: open })),
                Err(error) => why = error,
            }
        }
        Err(GatewayError::Kept(why.to_string()))
    }

    /// True for the right one; takes as long for a wrong one.
    pub(crate) fn is(&self, shown: &str) -> bool {
        // HMACs of both are compared, in constant time.
        let said = b"token";
        Secret::new(shown)
            .is_ok_and(|shown| self.0.verify(&shown.prove(Side::Dialler, said, said), Side::Dialler, said, said))
    }
}

/// Removes the tokens of gateways that have ended: no process holds the lock of such a file.
fn clear(folder: &Path) {
    let Ok(entries) = fs::read_dir(folder) else { return };
    for path in entries.filter_map(|entry| Some(entry.ok()?.path())) {
        let is_token = path.extension().is_some_and(|extension| extension == "token");
        if is_token && File::open(&path).is_ok_and(|file| file.try_lock().is_ok()) {
            let _ = fs::remove_file(&path);
        }
    }
}

/// The existing file belongs to a gateway that has ended, or is not a token file: it is neither read nor written.
fn write_anew(file: &Path, text: &str) -> io::Result<File> {
    // Locked before it has its name: `clear` must not find it open.
    let under = file.with_extension("part");
    match fs::remove_file(&under) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut open = options.open(&under)?;
    open.lock()?;
    open.write_all(format!("{text}\n").as_bytes())?;
    fs::rename(&under, file)?;
    Ok(open)
}

impl std::fmt::Debug for Kept {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Kept").field("file", &self.file).finish_non_exhaustive()
    }
}

impl Drop for Kept {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.file);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_token_is_right_with_white_space_around_it_and_wrong_otherwise() {
        let token = Token(Secret::new("sixteen chars and more").unwrap());
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

    #[test]
    #[cfg(unix)]
    fn a_folder_that_others_can_look_into_is_not_private_and_neither_is_a_link() {
        use std::os::unix::fs::{PermissionsExt, symlink};
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        assert!(make_private(&at("fresh")) && make_private(&at("fresh")));
        symlink(at("fresh"), at("link")).unwrap();
        fs::create_dir(at("open")).unwrap();
        fs::set_permissions(at("open"), fs::Permissions::from_mode(0o755)).unwrap();
        fs::write(at("file"), "").unwrap();
        assert_eq!(["link", "open", "file"].map(|name| make_private(&at(name))), [false; 3]);
    }

    #[test]
    fn the_token_of_a_gateway_that_is_gone_is_cleared_and_that_of_a_live_one_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let (gone, live) = (folder.path().join("a.token"), folder.path().join("b.token"));
        drop(write_anew(&gone, "secret").unwrap());
        let open = write_anew(&live, "secret").unwrap();
        fs::write(folder.path().join("notes"), "precious").unwrap();
        clear(folder.path());
        assert_eq!((gone.exists(), live.exists(), folder.path().join("notes").exists()), (false, true, true));
        drop(open);
    }
}
