//! `meshsim export csv`: records as rows.

use std::io::{self, Write};

use csv::WriterBuilder;
use meshsim_columns::Value;
use meshsim_report::plural;

use super::{Common, Exporter, Form, Told};
use crate::error::{Error, Exit};
use crate::flow::Item;
use crate::flow::table::{COLUMNS, row};
use crate::flow::words::Names;
use crate::screen::Screen;

pub(super) const ABOUT: &str = "Records as rows of a table, with names";

pub(super) const HELP: &str = "\
Opened by pandas, polars, DuckDB, R and spreadsheets.
  meshsim export csv last --kind deliver -o deliveries.csv
  duckdb -c \"select type, count(*), avg(took_ns)/1e6 as ms from 'deliveries.csv' group by type\"

Times are nanoseconds since the run began. What a record does not have is empty.";

/// Bytes of a row, mostly.
const ROW_BYTES: usize = 512;

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    common: Common,
}

impl Args {
    pub(super) fn execute(self, screen: &mut Screen) -> Result<Exit, Error> {
        super::execute(&self.common, Form::Text, screen, |source| Box::new(Csv { names: &source.names, written: 0 }))
    }
}

struct Csv<'a> {
    names: &'a Names,
    written: u64,
}

fn write(out: &mut dyn Write, cells: impl Iterator<Item = String>) -> io::Result<()> {
    let mut writer = WriterBuilder::new().buffer_capacity(ROW_BYTES).from_writer(out);
    writer.write_record(cells)?;
    writer.flush()
}

impl Exporter for Csv<'_> {
    fn begin(&mut self, _selection: Option<&str>, out: &mut dyn Write) -> io::Result<()> {
        write(out, COLUMNS.iter().map(|(name, _)| (*name).to_owned()))
    }

    fn record(&mut self, item: &Item, is_wanted: bool, out: &mut dyn Write) -> io::Result<()> {
        if !is_wanted {
            return Ok(());
        }
        self.written += 1;
        write(out, row(item, self.names).iter().map(Value::to_string))
    }

    fn end(&mut self, _out: &mut dyn Write) -> io::Result<Told> {
        Ok(Told { holds: plural(self.written, "record"), left_out: Vec::new() })
    }
}
