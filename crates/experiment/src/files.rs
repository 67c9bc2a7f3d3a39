//! Files that an experiment names: latencies between zones, and arrivals to replay. All are CSV.
//!
//! They are read from the experiment's folder; each has a bound, and what is wrong in one is reported at its line.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use meshsim_actor::Span;

use crate::inputs::Inputs;
use crate::problem::{Place, Reporter, all_of, nearest, shortened};
use crate::schema::ZONES_MAX;
use crate::section::At;
use crate::units;

/// Largest file of latencies between zones, in bytes.
pub const ZONES_BYTES_MAX: u64 = 4 << 20;
/// Largest file of arrivals, in bytes.
pub const REPLAY_BYTES_MAX: u64 = 256 << 20;
/// Most rows of a file of arrivals.
pub const REPLAY_ROWS_MAX: usize = 10_000_000;

/// A matrix of latencies.
pub(crate) struct ZoneTable {
    pub(crate) names: Vec<String>,
    /// From, to (both by their place in `names`), how long.
    pub(crate) latencies: Vec<(usize, usize, Span)>,
}

/// Reads a whole file as text, if it is one and not too large.
pub(crate) fn read_text(path: &Path, bytes_max: u64) -> Result<String, String> {
    let file = File::open(path).map_err(|error| match error.kind() {
        std::io::ErrorKind::NotFound => "there is no such file".to_owned(),
        _ => error.to_string(),
    })?;
    let metadata = file.metadata().map_err(|error| error.to_string())?;
    if metadata.is_dir() {
        return Err("it is a folder".to_owned());
    }
    // A pipe or a device may never end, nor even begin.
    if !metadata.is_file() {
        return Err("it is not a file".to_owned());
    }
    let mut bytes = Vec::new();
    file.take(bytes_max + 1).read_to_end(&mut bytes).map_err(|error| error.to_string())?;
    check_bytes(bytes.len() as u64, bytes_max)?;
    String::from_utf8(bytes)
        .map_err(|error| format!("it is not text (UTF-8): byte {}", error.utf8_error().valid_up_to()))
}

/// Says so if a text is too large.
pub(crate) fn check_bytes(bytes: u64, bytes_max: u64) -> Result<(), String> {
    if bytes > bytes_max { Err(format!("it is larger than {} MiB", bytes_max >> 20)) } else { Ok(()) }
}

/// A CSV file in memory, and its place among the sources.
struct Csv {
    text: std::sync::Arc<str>,
    source: u16,
}

impl Csv {
    fn open(path: &At<String>, bytes_max: u64, inputs: &mut Inputs<'_>, reporter: &mut Reporter) -> Option<Self> {
        let (text, source) = inputs.open(path, bytes_max, reporter)?;
        Some(Csv { text, source })
    }

    fn reader(&self) -> csv::Reader<&[u8]> {
        csv::ReaderBuilder::new()
            .has_headers(false)
            .flexible(true)
            .trim(csv::Trim::All)
            .from_reader(self.text.as_bytes())
    }

    /// The line of a record, without its end.
    fn place(&self, record: &csv::StringRecord) -> Place {
        let start = (record.position().map_or(0, |at| at.byte()) as usize).min(self.text.len());
        // A record may begin behind empty lines.
        let start = start + self.text[start..].len() - self.text[start..].trim_start().len();
        let end = self.text[start..].find(['\n', '\r']).map_or(self.text.len(), |at| start + at);
        Place::new(self.source, start, end)
    }

    /// All records; a broken one is reported.
    fn records<'a>(
        &'a self,
        reader: &'a mut csv::Reader<&[u8]>,
        reporter: &mut Reporter,
    ) -> Option<Vec<csv::StringRecord>> {
        let mut out = vec![];
        for record in reader.records() {
            match record {
                Ok(record) if out.len() <= REPLAY_ROWS_MAX => out.push(record),
                Ok(record) => {
                    let help = format!("at most {REPLAY_ROWS_MAX}");
                    reporter.report(self.place(&record), "the file has too many rows").help(help);
                    return None;
                }
                Err(error) => {
                    let at = error.position().map_or(0, |at| at.byte()) as usize;
                    reporter.report(Place::new(self.source, at, at + 1), format!("this is not CSV: {error}"));
                    return None;
                }
            }
        }
        Some(out)
    }
}

/// Reads one-way latencies in milliseconds: the first row and the first column are names of zones, row = from.
pub(crate) fn zones(path: &At<String>, inputs: &mut Inputs<'_>, reporter: &mut Reporter) -> Option<ZoneTable> {
    let csv = Csv::open(path, ZONES_BYTES_MAX, inputs, reporter)?;
    let mut reader = csv.reader();
    let records = csv.records(&mut reader, reporter)?;
    let Some((header, rows)) = records.split_first() else {
        reporter
            .report(path.place, format!("`{}` is empty", shortened(&path.value)))
            .help("its first row names the zones: `from/to,a,b`");
        return None;
    };
    let names: Vec<String> = header.iter().skip(1).map(str::to_owned).collect();
    if names.len() > ZONES_MAX {
        reporter
            .report(csv.place(header), format!("{} zones are too many", names.len()))
            .help(format!("at most {ZONES_MAX}"));
        return None;
    }
    let mut latencies = vec![];
    for record in rows {
        let name = record.get(0).unwrap_or_default();
        let Some(from) = names.iter().position(|known| known == name) else {
            reporter
                .report(csv.place(record), format!("the row `{}` is no zone of the first row", shortened(name)))
                .label(nearest(name, names.iter().map(String::as_str)).map(|near| format!("did you mean `{near}`?")))
                .help(format!("the zones are {}", all_of(names.iter().map(String::as_str))));
            continue;
        };
        if record.len() != names.len() + 1 {
            reporter
                .report(
                    csv.place(record),
                    format!("latencies in this row: {}, not {}", record.len().saturating_sub(1), names.len()),
                )
                .help("one for each zone of the first row");
            continue;
        }
        for (to, figure) in record.iter().skip(1).enumerate() {
            match figure.parse::<f64>() {
                Ok(ms) if (0.0..=3.6e6).contains(&ms) => latencies.push((from, to, Span::from_secs_f64(ms / 1e3))),
                _ => {
                    reporter
                        .report(csv.place(record), format!("`{}` is no latency (to {})", shortened(figure), names[to]))
                        .help("one-way milliseconds, from 0 to an hour, as in `38` or `0.5`");
                }
            }
        }
    }
    Some(ZoneTable { names, latencies })
}

/// One column of a file with a header, each figure with its place.
fn column<T>(
    path: &At<String>,
    column: Option<&At<String>>,
    inputs: &mut Inputs<'_>,
    reporter: &mut Reporter,
    parse: impl Fn(&str) -> Result<T, &'static str>,
) -> Option<Vec<T>> {
    let csv = Csv::open(path, REPLAY_BYTES_MAX, inputs, reporter)?;
    let mut reader = csv.reader();
    let records = csv.records(&mut reader, reporter)?;
    let Some((header, rows)) = records.split_first().filter(|(_, rows)| !rows.is_empty()) else {
        reporter
            .report(path.place, format!("`{}` has no rows", shortened(&path.value)))
            .help("a replay needs a header and at least one row");
        return None;
    };
    let index = match column {
        None => 0,
        Some(column) => {
            let found = header.iter().position(|name| name == column.value);
            if found.is_none() {
                reporter
                    .report(column.place, format!("the file has no column `{}`", shortened(&column.value)))
                    .label(nearest(&column.value, header.iter()).map(|near| format!("did you mean `{near}`?")))
                    .help(format!("it has {}", all_of(header.iter())));
            }
            found?
        }
    };
    let mut out = Vec::with_capacity(rows.len());
    for record in rows {
        match record.get(index).ok_or("it is missing").and_then(&parse) {
            Ok(value) => out.push(value),
            Err(help) => {
                let figure = shortened(record.get(index).unwrap_or_default());
                reporter
                    .report(
                        csv.place(record),
                        format!(
                            "`{figure}` is not what column `{}` should have",
                            header.get(index).unwrap_or_default()
                        ),
                    )
                    .help(help);
                // One is enough: the others are wrong in the same way.
                return None;
            }
        }
    }
    Some(out)
}

/// Moments, counted from the first, rising.
pub(crate) fn stamps(
    path: &At<String>,
    name: Option<&At<String>>,
    inputs: &mut Inputs<'_>,
    reporter: &mut Reporter,
) -> Option<Vec<Span>> {
    let mut moments = column(path, name, inputs, reporter, moment)?;
    // Logs are written when requests end, in an order of their own.
    moments.sort_unstable();
    let first = moments.first().copied().unwrap_or(0);
    Some(moments.into_iter().map(|ns| Span::from_nanos((ns - first).min(u64::MAX.into()) as u64)).collect())
}

/// Counts, one for each row.
pub(crate) fn counts(
    path: &At<String>,
    name: Option<&At<String>>,
    inputs: &mut Inputs<'_>,
    reporter: &mut Reporter,
) -> Option<Vec<f64>> {
    column(path, name, inputs, reporter, |text| match text.parse::<f64>() {
        Ok(count) if (0.0..=1e12).contains(&count) => Ok(count),
        _ => Err("write a count, from 0"),
    })
}

/// A moment in nanoseconds: seconds, or `2023-11-16 18:15:46.6805900`.
fn moment(text: &str) -> Result<u128, &'static str> {
    const HELP: &str = "write seconds, as in `12.5`, or a date with a time, as in `2023-11-16 18:15:46.68`";
    if let Ok(span) = units::duration(&format!("{text}s")) {
        return Ok(u128::from(span.nanos()));
    }
    let (date, time) = text.split_once([' ', 'T']).ok_or(HELP)?;
    let mut date = date.split('-').map(|part| part.parse::<i64>().ok());
    let (Some(Some(year)), Some(Some(month)), Some(Some(day)), None) =
        (date.next(), date.next(), date.next(), date.next())
    else {
        return Err(HELP);
    };
    let mut clock = time.trim_end_matches('Z').split(':');
    let (Some(hours), Some(minutes), Some(seconds), None) = (clock.next(), clock.next(), clock.next(), clock.next())
    else {
        return Err(HELP);
    };
    let (hours, minutes) = (hours.parse::<u64>().map_err(|_| HELP)?, minutes.parse::<u64>().map_err(|_| HELP)?);
    let (whole, fraction) = seconds.split_once('.').unwrap_or((seconds, ""));
    let whole = whole.parse::<u64>().map_err(|_| HELP)?;
    // Not through a float: 2023 in nanoseconds has more digits than a float has.
    let digits: String = fraction.chars().chain("000000000".chars()).take(9).collect();
    let ns = digits.parse::<u64>().map_err(|_| HELP)?;
    if !(1970..=2500).contains(&year)
        || !(1..=12).contains(&month)
        || !(1..=31).contains(&day)
        || hours > 24
        || minutes > 59
        || whole > 60
    {
        return Err(HELP);
    }
    let seconds = days_since_1970(year, month, day) as u64 * 86_400 + hours * 3_600 + minutes * 60 + whole;
    Ok(u128::from(seconds) * 1_000_000_000 + u128::from(ns))
}

/// Days from 1970-01-01 in the Gregorian calendar (Howard Hinnant, `days_from_civil`).
fn days_since_1970(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year / 400;
    let year_of_era = year - era * 400;
    let day_of_year = (153 * (month + if month > 2 { -3 } else { 9 }) + 2) / 5 + day - 1;
    era * 146_097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year - 719_468
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_date_becomes_nanoseconds_to_the_last_digit() {
        assert_eq!(moment("1970-01-02 00:00:01.5"), Ok(86_401_500_000_000));
        let at = |text| moment(text).unwrap();
        assert_eq!(at("2023-11-16 18:15:50.9951690") - at("2023-11-16 18:15:46.6805900"), 4_314_579_000);
        assert_eq!(at("2024-03-01T00:00:00Z") - at("2024-02-28T00:00:00Z"), 2 * 86_400_000_000_000);
        assert_eq!(moment("12.5"), Ok(12_500_000_000));
    }

    #[test]
    fn what_is_no_moment_is_refused() {
        for text in
            ["", "soon", "-1", "2023-13-01 00:00:00", "2023-11-16", "2023-11-16 1:2", "1e400", "2023-11-16 00:00:00.x"]
        {
            assert!(moment(text).is_err(), "{text}");
        }
    }
}
