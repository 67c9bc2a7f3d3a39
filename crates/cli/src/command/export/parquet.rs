//! `meshsim export parquet`: records as rows, in columns.

use std::io::{self, Write};

use meshsim_columns::Parquet;
use meshsim_report::plural;

use super::{Common, Exporter, Form, Told};
use crate::error::{Error, Exit};
use crate::flow::Item;
use crate::flow::table::{COLUMNS, row};
use crate::flow::words::Names;
use crate::screen::Screen;

pub(super) const ABOUT: &str = "Records as rows of a table, with names, in columns";

pub(super) const HELP: &str = "\
Opened by pandas, polars, DuckDB and Spark.
  meshsim export parquet last --kind deliver -o deliveries.parquet
  duckdb -c \"select type, count(*), avg(took_ns)/1e6 as ms from 'deliveries.parquet' group by type\"

The columns are those of `meshsim export csv`, each with its type. Times are nanoseconds since the run began. What a record \
does not have is null.";

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    common: Common,
}

impl Args {
    pub(super) fn execute(self, screen: &mut Screen) -> Result<Exit, Error> {
        super::execute(&self.common, Form::Binary, screen, |source| {
            Box::new(Columns { names: &source.names, file: None, written: 0 })
        })
    }
}

struct Columns<'a> {
    names: &'a Names,
    /// Begun with the export.
    file: Option<Parquet>,
    written: u64,
}

impl Exporter for Columns<'_> {
    fn begin(&mut self, _selection: Option<&str>, _out: &mut dyn Write) -> io::Result<()> {
        self.file = Some(Parquet::new(COLUMNS)?);
        Ok(())
    }

    fn record(&mut self, item: &Item, is_wanted: bool, out: &mut dyn Write) -> io::Result<()> {
        match &mut self.file {
            Some(file) if is_wanted => {
                self.written += 1;
                file.row(row(item, self.names), out)
            }
            _ => Ok(()),
        }
    }

    fn end(&mut self, out: &mut dyn Write) -> io::Result<Told> {
        self.file.take().map_or(Ok(()), |file| file.end(out))?;
        Ok(Told { holds: plural(self.written, "record"), left_out: Vec::new() })
    }
}
