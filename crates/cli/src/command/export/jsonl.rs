//! `meshsim export jsonl`: the records as they are, a JSON object a line.

use std::io::{self, Write};

use meshsim_report::plural;
use meshsim_trace::Header;
use meshsim_trace::export::jsonl_line_of;

use super::{Common, Exporter, Form, Told};
use crate::error::{Error, Exit};
use crate::flow::Item;
use crate::flow::words::Names;
use crate::screen::Screen;

pub(super) const ABOUT: &str = "Every record with its content, a JSON object a line";

pub(super) const HELP: &str = "\
Opened by jq, DuckDB (read_json), pandas (read_json with lines=True) and polars (scan_ndjson).
  meshsim export jsonl last --kind lost | jq -r '.message.type' | sort | uniq -c";

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    common: Common,
}

impl Args {
    pub(super) fn execute(self, screen: &mut Screen) -> Result<Exit, Error> {
        super::execute(&self.common, Form::Text, screen, |source| {
            Box::new(Jsonl { header: &source.header, names: &source.names, written: 0 })
        })
    }
}

struct Jsonl<'a> {
    header: &'a Header,
    names: &'a Names,
    written: u64,
}

impl Exporter for Jsonl<'_> {
    fn record(&mut self, item: &Item, is_wanted: bool, mut out: &mut dyn Write) -> io::Result<()> {
        if is_wanted {
            self.written += 1;
            jsonl_line_of(self.header, &item.record, &item.derived, item.request(self.names).as_ref(), &mut out)?;
        }
        Ok(())
    }

    fn end(&mut self, _out: &mut dyn Write) -> io::Result<Told> {
        Ok(Told { holds: plural(self.written, "record"), left_out: Vec::new() })
    }
}
