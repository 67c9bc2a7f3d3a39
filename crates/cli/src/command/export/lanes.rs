//! The time line of a run as rows of slices, in a format of viewers of traces of programs.

use std::io::{self, Write};

use super::{Exporter, Told};
use crate::flow::Item;
use crate::flow::timeline::{Drawn, Moment, Slice, Timeline};
use crate::flow::words::Names;

/// A format of slices and moments.
pub(super) trait Draw {
    /// Before the first one.
    fn begin(&mut self, out: &mut dyn Write) -> io::Result<()>;

    fn slice(&mut self, slice: &Slice<'_>, out: &mut dyn Write) -> io::Result<()>;

    fn moment(&mut self, moment: &Moment<'_>, out: &mut dyn Write) -> io::Result<()>;

    /// After the last one: the selection, and the omissions, a sentence each.
    fn end(&mut self, selection: Option<&str>, left_out: &[String], out: &mut dyn Write) -> io::Result<()>;
}

/// An exporter of the time line.
pub(super) struct Lanes<'a, D> {
    timeline: Timeline<'a>,
    selection: Option<String>,
    format: D,
}

impl<'a, D: Draw> Lanes<'a, D> {
    pub(super) fn new(names: &'a Names, format: D) -> Self {
        Lanes { timeline: Timeline::new(names), selection: None, format }
    }

    fn draw(&mut self, drawn: &[Drawn<'_>], out: &mut dyn Write) -> io::Result<()> {
        drawn.iter().try_for_each(|drawn| match drawn {
            Drawn::Slice(slice) => self.format.slice(slice, out),
            Drawn::Moment(moment) => self.format.moment(moment, out),
        })
    }
}

impl<D: Draw> Exporter for Lanes<'_, D> {
    fn begin(&mut self, selection: Option<&str>, out: &mut dyn Write) -> io::Result<()> {
        self.selection = selection.map(str::to_owned);
        self.format.begin(out)
    }

    fn record(&mut self, item: &Item, is_wanted: bool, out: &mut dyn Write) -> io::Result<()> {
        let drawn = self.timeline.take(item, is_wanted);
        self.draw(&drawn, out)
    }

    fn is_waiting(&self) -> bool {
        self.timeline.is_waiting()
    }

    fn end(&mut self, out: &mut dyn Write) -> io::Result<Told> {
        let rest = self.timeline.rest();
        self.draw(&rest, out)?;
        let told = Told { holds: self.timeline.holds(), left_out: self.timeline.left_out() };
        self.format.end(self.selection.as_deref(), &told.left_out, out)?;
        Ok(told)
    }
}
