//! The terminal as a whole: for commands that draw on all of it and read keys one by one.

use std::io::{self, IsTerminal};
use std::time::Duration;

use meshsim_experiment::printable;
use meshsim_report::table::Style;
use meshsim_report::wrap::shortened;
use ratatui::crossterm::event::{self, Event, KeyCode, KeyEvent, KeyEventKind, KeyModifiers};
use ratatui::style::{self, Color, Modifier};
use ratatui::text::Line;
use ratatui::{DefaultTerminal, Frame};

use crate::error::Error;

/// The terminal while a program draws on all of it. Dropped, it is as it was before, also after a panic.
pub(crate) struct FullScreen(DefaultTerminal);

/// An input of the person at the terminal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Input {
    /// Pressed a key.
    Key(KeyCode),
    /// Pressed Ctrl-C, which is no signal then.
    Quit,
    /// Changed the size of the terminal, or something else that needs a new drawing.
    Redraw,
}

impl FullScreen {
    /// Takes the terminal.
    ///
    /// # Errors
    /// If input or output is none, with the help.
    pub(crate) fn open(command: &str, help: &str) -> Result<Self, Error> {
        if !io::stdout().is_terminal() || !io::stdin().is_terminal() {
            let why = format!("`{command}` needs a terminal, for its output and its keys");
            return Err(Error::WrongInput(why, help.into()));
        }
        ratatui::try_init().map(FullScreen).map_err(unusable)
    }

    /// Draws, at the size that the terminal has now.
    ///
    /// # Errors
    /// If the terminal is gone.
    pub(crate) fn draw(&mut self, draw: impl FnOnce(&mut Frame<'_>)) -> Result<(), Error> {
        self.0.draw(draw).map(drop).map_err(unusable)
    }

    /// Columns and rows.
    ///
    /// # Errors
    /// If the terminal is gone.
    pub(crate) fn size(&self) -> Result<(u16, u16), Error> {
        self.0.size().map(|size| (size.width, size.height)).map_err(unusable)
    }

    /// The next input, if one comes within this time.
    ///
    /// # Errors
    /// If the terminal is gone.
    pub(crate) fn input(&mut self, within: Duration) -> Result<Option<Input>, Error> {
        if !event::poll(within).map_err(unusable)? {
            return Ok(None);
        }
        Ok(match event::read().map_err(unusable)? {
            Event::Key(KeyEvent { kind: KeyEventKind::Release, .. }) => None,
            Event::Key(KeyEvent { code: KeyCode::Char('c' | 'd'), modifiers, .. })
                if modifiers.contains(KeyModifiers::CONTROL) =>
            {
                Some(Input::Quit)
            }
            Event::Key(KeyEvent { code, .. }) => Some(Input::Key(code)),
            _ => Some(Input::Redraw),
        })
    }
}

impl Drop for FullScreen {
    fn drop(&mut self) {
        ratatui::restore();
    }
}

/// A text in so many columns, cut if it is longer, in its style.
pub(crate) fn line(text: &str, style: Style, columns: u16) -> Line<'static> {
    Line::styled(fitted(text, columns), drawn(style))
}

/// The text without characters that a terminal would obey, in so many columns.
pub(crate) fn fitted(text: &str, columns: u16) -> String {
    shortened(&printable(text), usize::from(columns), '…')
}

/// The style as the terminal has it.
pub(crate) fn drawn(style: Style) -> style::Style {
    match style {
        Style::Bold => style::Style::new().add_modifier(Modifier::BOLD),
        Style::Dim => style::Style::new().add_modifier(Modifier::DIM),
        Style::Good => style::Style::new().fg(Color::Green),
        Style::Warn => style::Style::new().fg(Color::Yellow),
        Style::Bad => style::Style::new().fg(Color::Red),
        Style::Plain => style::Style::new(),
    }
}

fn unusable(error: io::Error) -> Error {
    Error::WrongInput(format!("the terminal cannot be used: {error}"), "run it in another terminal".into())
}
