//! JSON as people read it on a terminal: a field a line, and in a list an item a line.

use std::io::{self, Write};

use actix_web::{HttpResponse, HttpResponseBuilder};
use serde::Serialize;
use serde_json::ser::{Formatter, Serializer};

/// Levels that are broken into lines.
const BROKEN: usize = 2;

/// Answers with this.
pub(crate) fn respond(response: &mut HttpResponseBuilder, value: &impl Serialize) -> HttpResponse {
    response.content_type("application/json").body(lines(value))
}

fn lines(value: &impl Serialize) -> Vec<u8> {
    let mut out = Vec::new();
    if let Err(error) = value.serialize(&mut Serializer::with_formatter(&mut out, Lines::default())) {
        tracing::error!("an answer cannot be written: {error}");
    }
    out.push(b'\n');
    out
}

#[derive(Default)]
struct Lines {
    depth: usize,
    has_value: bool,
}

impl Lines {
    fn open<W: ?Sized + Write>(&mut self, out: &mut W, bracket: &[u8]) -> io::Result<()> {
        self.depth += 1;
        self.has_value = false;
        out.write_all(bracket)
    }

    fn close<W: ?Sized + Write>(&mut self, out: &mut W, gap: &[u8], bracket: &[u8]) -> io::Result<()> {
        self.depth -= 1;
        if self.has_value {
            match self.depth < BROKEN {
                true => self.new_line(out)?,
                false => out.write_all(gap)?,
            }
        }
        self.has_value = true;
        out.write_all(bracket)
    }

    fn next<W: ?Sized + Write>(&mut self, out: &mut W, first: bool, gap: &[u8]) -> io::Result<()> {
        if !first {
            out.write_all(b",")?;
        }
        match self.depth <= BROKEN {
            true => self.new_line(out),
            false => out.write_all(if first { gap } else { b" " }),
        }
    }

    fn new_line<W: ?Sized + Write>(&self, out: &mut W) -> io::Result<()> {
        out.write_all(b"\n")?;
        (0..self.depth).try_for_each(|_| out.write_all(b"  "))
    }
}

impl Formatter for Lines {
    fn begin_array<W: ?Sized + Write>(&mut self, out: &mut W) -> io::Result<()> {
        self.open(out, b"[")
    }

    fn end_array<W: ?Sized + Write>(&mut self, out: &mut W) -> io::Result<()> {
        self.close(out, b"", b"]")
    }

    fn begin_array_value<W: ?Sized + Write>(&mut self, out: &mut W, first: bool) -> io::Result<()> {
        self.next(out, first, b"")
    }

    fn end_array_value<W: ?Sized + Write>(&mut self, _: &mut W) -> io::Result<()> {
        self.has_value = true;
        Ok(())
    }

    fn begin_object<W: ?Sized + Write>(&mut self, out: &mut W) -> io::Result<()> {
        self.open(out, b"{")
    }

    fn end_object<W: ?Sized + Write>(&mut self, out: &mut W) -> io::Result<()> {
        self.close(out, b" ", b"}")
    }

    fn begin_object_key<W: ?Sized + Write>(&mut self, out: &mut W, first: bool) -> io::Result<()> {
        self.next(out, first, b" ")
    }

    fn begin_object_value<W: ?Sized + Write>(&mut self, out: &mut W) -> io::Result<()> {
        out.write_all(b": ")
    }

    fn end_object_value<W: ?Sized + Write>(&mut self, _: &mut W) -> io::Result<()> {
        self.has_value = true;
        Ok(())
    }
}

/// A length of time in milliseconds, to the microsecond.
pub(crate) fn millis(span: meshsim_actor::Span) -> f64 {
    (span.nanos() / 1_000) as f64 / 1e3
}

/// A time of the run in seconds, to the microsecond.
pub(crate) fn seconds(time: meshsim_actor::Time) -> f64 {
    (time.nanos() / 1_000) as f64 / 1e6
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn a_field_is_a_line_and_in_a_list_an_item_is() {
        let value = json!({ "a": 1, "none": [], "path": [{ "x": 1, "y": [1, 2], "z": {} }, { "x": 2 }], "o": { "k": { "l": 1 } } });
        let text = String::from_utf8(lines(&value)).unwrap();
        let wanted = r#"{
  "a": 1,
  "none": [],
  "path": [
    { "x": 1, "y": [1, 2], "z": {} },
    { "x": 2 }
  ],
  "o": {
    "k": { "l": 1 }
  }
}
"#;
        assert_eq!(text, wanted);
        assert_eq!(serde_json::from_str::<Value>(&text).unwrap(), value);
    }
}
