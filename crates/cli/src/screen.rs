//! Where a command prints to: a terminal, a file, or a pipe that may be closed at any moment.

use std::io::{self, IsTerminal, Write};

use meshsim_report::table::{Look, Paint};
use serde::Serialize;

use crate::error::Error;

/// Messages are broken into lines of at most this many columns, and of fewer if the terminal has no more.
const COLUMNS_MAX: u16 = 100;
const COLUMNS_MIN: u16 = 40;

/// The columns of the terminal that stderr is, as far as they are used.
pub(crate) fn columns() -> usize {
    let columns = terminal_size::terminal_size_of(io::stderr()).map_or(COLUMNS_MAX, |(width, _)| width.0);
    columns.clamp(COLUMNS_MIN, COLUMNS_MAX).into()
}

/// stdout and stderr, with what they can show.
#[derive(Debug)]
pub(crate) struct Screen {
    coloured: bool,
    errors_coloured: bool,
    /// The reader of stdout is gone (`| head`): that is no error, and nothing more is printed.
    closed: bool,
}

impl Screen {
    pub(crate) fn open() -> Self {
        // https://no-color.org
        let wanted = std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
        Screen {
            coloured: wanted && io::stdout().is_terminal(),
            errors_coloured: wanted && io::stderr().is_terminal(),
            closed: false,
        }
    }

    /// The colours of stdout.
    pub(crate) fn paint(&self) -> Paint {
        Paint(self.coloured)
    }

    pub(crate) fn errors_coloured(&self) -> bool {
        self.errors_coloured
    }

    /// Prints to stdout.
    pub(crate) fn print(&mut self, text: &str) -> Result<(), Error> {
        self.write_with(|out| out.write_all(text.as_bytes()))
    }

    /// Prints to stdout as JSON for people and machines.
    pub(crate) fn print_json(&mut self, value: &impl Serialize) -> Result<(), Error> {
        self.write_with(|out| {
            serde_json::to_writer_pretty(&mut *out, value)?;
            out.write_all(b"\n")
        })
    }

    /// Lets something be written to stdout, buffered. If its reader goes away the rest is not written, which is fine.
    pub(crate) fn write_with(
        &mut self,
        write: impl FnOnce(&mut io::BufWriter<io::StdoutLock<'static>>) -> io::Result<()>,
    ) -> Result<(), Error> {
        if self.closed {
            return Ok(());
        }
        let mut out = io::BufWriter::with_capacity(64 << 10, io::stdout().lock());
        let written = write(&mut out).and_then(|()| out.flush());
        // What could not be written must not be tried again when the buffer is dropped.
        let _ = out.into_parts();
        match written {
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => {
                self.closed = true;
                Ok(())
            }
            other => other.map_err(Error::Print),
        }
    }

    /// Says something beside the result, on stderr.
    pub(crate) fn remark(&self, text: &str) {
        // There is nobody to tell that stderr is closed.
        let _ = io::stderr().lock().write_all(text.as_bytes());
    }

    /// Says on stderr what will not go as wished.
    pub(crate) fn warn(&self, text: &str) {
        self.remark(&format!("{} {text}\n", Paint(self.errors_coloured).on(Look::Warn, "warning:")));
    }

    /// Says on stderr what went wrong.
    pub(crate) fn complain(&self, error: &Error) {
        let text = match error {
            Error::Problems(problems) => problems.render(self.errors_coloured, columns()),
            other => {
                let theme = if self.errors_coloured {
                    miette::GraphicalTheme::unicode()
                } else {
                    miette::GraphicalTheme::unicode_nocolor()
                };
                let handler = miette::GraphicalReportHandler::new_themed(theme).with_width(columns());
                let mut text = String::new();
                match handler.render_report(&mut text, other) {
                    Ok(()) => text,
                    Err(_) => format!("{other}\n"),
                }
            }
        };
        self.remark(&text);
    }
}
