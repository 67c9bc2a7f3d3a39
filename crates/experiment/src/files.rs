//! Files that an experiment names: latencies between zones, and arrivals to replay. All are CSV.
//!
//! They are read from the experiment's folder; each has a bound, and each problem in one is reported at its line.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use meshsim_actor::Span;

use crate::inputs::Inputs;
use crate::problem::{Location, Reporter, all_of, nearest, shortened};
use crate::schema::ZONES_MAX;
use crate::section::At;
use crate::units;

/// Largest file of latencies between zones, in bytes.
pub const ZONES_BYTES_MAX: u64 = 4 << 20;
/// Largest file of arrivals, in bytes.
pub const REPLAY_BYTES_MAX: u64 = 256 << 20;
/// Maximum number of rows of a file of arrivals.
pub const REPLAY_ROWS_MAX: usize = 10_000_000;

/// A matrix of latencies.
pub(crate) struct ZoneTable {
    pub(crate) names: Vec<String>,
    /// From, to (both by their place in `names`), how long.
    pub(crate) latencies: Vec<(usize, usize, Span)>,
}

/// Opens a regular file; links are followed.
///
/// # Errors
/// Of [`File::open`]; and for anything but a regular file. A pipe or a device may never end, nor even open.
pub fn open_regular(path: &Path) -> std::io::Result<File> {
    use std::io::{Error, ErrorKind};
    // Before it is opened, because opening a pipe waits for its other end; and after, for the file that was opened.
    let check = |metadata: std::fs::Metadata| match metadata.file_type() {
        kind if kind.is_file() => Ok(()),
        kind if kind.is_dir() => Err(Error::new(ErrorKind::IsADirectory, "it is a directory")),
        _ => Err(Error::new(ErrorKind::InvalidInput, "it is not a regular file")),
    };
    check(std::fs::metadata(path)?)?;
    let file = File::open(path)?;
    check(file.metadata()?)?;
    Ok(file)
}

/// Name of `-` on a command line, in messages.
pub(crate) const STANDARD_INPUT: &str = "standard input";

/// True for `-`, which stands for standard input on a command line.
pub fn is_standard_input(path: &Path) -> bool {
    path == Path::new("-")
}

/// The name of a file that a command line gives, for messages: its path, or `standard input` for `-`.
pub fn given_name(path: &Path) -> String {
    if is_standard_input(path) { STANDARD_INPUT.to_owned() } else { path.display().to_string() }
}

/// Reads the input named on a command line: a file, or `-` for standard input. Returns its name, too.
pub(crate) fn read_given(path: &Path, bytes_max: u64) -> (String, Result<String, String>) {
    let text = match is_standard_input(path) {
        true => as_text(std::io::stdin().lock(), bytes_max),
        false => read_text(path, bytes_max),
    };
    (given_name(path), text)
}

/// Reads a whole file as text, if it is one and not too large.
pub(crate) fn read_text(path: &Path, bytes_max: u64) -> Result<String, String> {
    let file = open_regular(path).map_err(|error| match error.kind() {
        std::io::ErrorKind::NotFound => "no such file".to_owned(),
        std::io::ErrorKind::IsADirectory => "it is a folder".to_owned(),
        _ => error.to_string(),
    })?;
    as_text(file, bytes_max)
}

fn as_text(file: impl Read, bytes_max: u64) -> Result<String, String> {
    let mut bytes = Vec::new();
    file.take(bytes_max + 1).read_to_end(&mut bytes).map_err(|error| error.to_string())?;
    check_bytes(bytes.len() as u64, bytes_max)?;
    String::from_utf8(bytes).map_err(|error| match error.as_bytes() {
        [0x1f, 0x8b, ..] => "it is compressed by gzip: unpack it first".to_owned(),
        [0xff, 0xfe, ..] | [0xfe, 0xff, ..] => "it is UTF-16: save it as UTF-8".to_owned(),
        _ => format!("it is not text (UTF-8): byte {}", error.utf8_error().valid_up_to()),
    })
}

/// Refuses a text that is too large.
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
    fn place(&self, record: &csv::StringRecord) -> Location {
        let start = (record.position().map_or(0, |at| at.byte()) as usize).min(self.text.len());
        // A record may begin behind empty lines.
        let start = start + self.text[start..].len() - self.text[start..].trim_start().len();
        let end = self.text[start..].find(['\n', '\r']).map_or(self.text.len(), |at| start + at);
        Location::new(self.source, start, end)
    }

    /// Passes each record to `each`, the header first, until it returns false. An invalid record is reported, and so is
    /// a file that is not separated by commas. One record is held at a time: a file may have as many rows as it has
    /// bytes.
    ///
    /// `None` if a problem was reported here.
    fn for_each(
        &self,
        reporter: &mut Reporter,
        mut each: impl FnMut(&csv::StringRecord, &mut Reporter) -> bool,
    ) -> Option<()> {
        let mut reader = self.reader();
        let mut record = csv::StringRecord::new();
        let mut rows = 0;
        loop {
            match reader.read_record(&mut record) {
                Ok(false) => return Some(()),
                Ok(true) if rows == 0 && record.len() == 1 && record[0].contains([';', '\t']) => {
                    let what = if record[0].contains(';') { "`;`" } else { "tabs" };
                    reporter
                        .report(self.place(&record), format!("the fields of this file are separated by {what}"))
                        .help("separate them by commas, and write a decimal point as `.`");
                    return None;
                }
                Ok(true) if rows <= REPLAY_ROWS_MAX => {
                    rows += 1;
                    if !each(&record, reporter) {
                        return Some(());
                    }
                }
                Ok(true) => {
                    let help = format!("at most {REPLAY_ROWS_MAX}");
                    reporter.report(self.place(&record), "the file has too many rows").help(help);
                    return None;
                }
                Err(error) => {
                    let at = error.position().map_or(0, |at| at.byte()) as usize;
                    reporter.report(Location::new(self.source, at, at + 1), format!("this is not CSV: {error}"));
                    return None;
                }
            }
        }
    }
}

/// Reads one-way latencies in milliseconds: the first row and the first column are names of zones, row = from.
pub(crate) fn zones(path: &At<String>, inputs: &mut Inputs<'_>, reporter: &mut Reporter) -> Option<ZoneTable> {
    let csv = Csv::open(path, ZONES_BYTES_MAX, inputs, reporter)?;
    let mut names: Option<Vec<String>> = None;
    let mut latencies = vec![];
    let mut seen = vec![];
    let mut is_broken = false;
    csv.for_each(reporter, |record, reporter| match &names {
        None => {
            let header: Vec<String> = record.iter().skip(1).map(str::to_owned).collect();
            is_broken = !is_header_of_zones(&csv, record, &header, reporter);
            seen = vec![false; header.len()];
            names = Some(header);
            !is_broken
        }
        Some(names) => {
            zone_row(&csv, record, names, &mut seen, &mut latencies, reporter);
            true
        }
    })?;
    let Some(names) = names else {
        reporter
            .report(path.place, format!("`{}` is empty", shortened(&path.value)))
            .help("its first row names the zones: `from/to,a,b`");
        return None;
    };
    (!is_broken).then_some(ZoneTable { names, latencies })
}

/// Parses the first row of latencies between zones, and reports its problems.
fn is_header_of_zones(csv: &Csv, record: &csv::StringRecord, names: &[String], reporter: &mut Reporter) -> bool {
    if names.len() > ZONES_MAX {
        reporter
            .report(csv.place(record), format!("too many zones: {}", names.len()))
            .help(format!("at most {ZONES_MAX}"));
        return false;
    }
    if names.is_empty() {
        reporter
            .report(csv.place(record), "the first row names no zone")
            .help("write the zones behind its first field: `from/to,a,b`");
        return false;
    }
    let twice = names.iter().enumerate().find(|(index, name)| names[..*index].contains(name));
    if let Some((_, name)) = twice {
        reporter
            .report(csv.place(record), format!("the zone `{}` has two columns", shortened(name)))
            .help("keep one of the two");
    }
    twice.is_none()
}

/// A row of latencies: from one zone to all.
fn zone_row(
    csv: &Csv,
    record: &csv::StringRecord,
    names: &[String],
    seen: &mut [bool],
    latencies: &mut Vec<(usize, usize, Span)>,
    reporter: &mut Reporter,
) {
    let name = record.get(0).unwrap_or_default();
    let Some(from) = names.iter().position(|known| known == name) else {
        reporter
            .report(csv.place(record), format!("the row `{}` is not a zone of the first row", shortened(name)))
            .label(nearest(name, names.iter().map(String::as_str)).map(|near| format!("did you mean `{near}`?")))
            .help(format!("the zones are {}", all_of(names.iter().map(String::as_str))));
        return;
    };
    if std::mem::replace(&mut seen[from], true) {
        reporter
            .report(csv.place(record), format!("the zone `{}` has two rows", shortened(name)))
            .help("keep one of the two");
        return;
    }
    if record.len() != names.len() + 1 {
        reporter
            .report(
                csv.place(record),
                format!("latencies in this row: {}, not {}", record.len().saturating_sub(1), names.len()),
            )
            .help("one for each zone of the first row");
        return;
    }
    for (to, figure) in record.iter().skip(1).enumerate() {
        match figure.parse::<f64>() {
            Ok(ms) if (0.0..=3.6e6).contains(&ms) => latencies.push((from, to, Span::from_secs_f64(ms / 1e3))),
            _ => {
                reporter
                    .report(csv.place(record), format!("invalid latency `{}` (to {})", shortened(figure), names[to]))
                    .help("one-way milliseconds, from 0 to an hour, as in `38` or `0.5`");
            }
        }
    }
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
    let mut out = vec![];
    let mut header: Option<(csv::StringRecord, usize)> = None;
    // One problem is enough: the other rows are probably wrong in the same way.
    let mut is_broken = false;
    csv.for_each(reporter, |record, reporter| {
        let Some((names, index)) = &header else {
            let index = column_index(&csv, record, column, &parse, reporter);
            is_broken = index.is_none();
            header = index.map(|index| (record.clone(), index));
            return !is_broken;
        };
        match figure(&csv, record, names, *index, &parse, reporter) {
            Some(value) => out.push(value),
            None => is_broken = true,
        }
        !is_broken
    })?;
    if is_broken {
        return None;
    }
    if out.is_empty() {
        reporter
            .report(path.place, format!("`{}` has no rows", shortened(&path.value)))
            .help("a replay needs a header and at least one row");
        return None;
    }
    Some(out)
}

/// Index of the wanted column in the header: the first, if none is named.
fn column_index<T>(
    csv: &Csv,
    header: &csv::StringRecord,
    column: Option<&At<String>>,
    parse: &impl Fn(&str) -> Result<T, &'static str>,
    reporter: &mut Reporter,
) -> Option<usize> {
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
    let name = header.get(index).unwrap_or_default();
    if header.iter().skip(index + 1).any(|other| other == name) {
        reporter
            .report(csv.place(header), format!("the file has two columns `{}`", shortened(name)))
            .help("give each its own name");
        return None;
    }
    if column.is_none() && parse(name).is_ok() {
        reporter
            .report(
                csv.place(header),
                format!("the file has no header: its first row begins with `{}`", shortened(name)),
            )
            .help("write a row with the names of the columns above it");
        return None;
    }
    Some(index)
}

/// The wanted figure of a row. What is wrong is reported.
fn figure<T>(
    csv: &Csv,
    record: &csv::StringRecord,
    header: &csv::StringRecord,
    index: usize,
    parse: &impl Fn(&str) -> Result<T, &'static str>,
    reporter: &mut Reporter,
) -> Option<T> {
    if record.len() != header.len() {
        let is_number = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
        let help = match (header.len(), record.len()) {
            (1, 2) if record.iter().all(is_number) => "is it a decimal comma? write a point, as in `0.5`",
            _ => "each row has as many fields as the header",
        };
        let message = format!("fields in this row: {}, not {}", record.len(), header.len());
        reporter.report(csv.place(record), message).help(help);
        return None;
    }
    let text = record.get(index).unwrap_or_default();
    match parse(text) {
        Ok(value) => Some(value),
        Err(help) => {
            let name = header.get(index).unwrap_or_default();
            reporter
                .report(
                    csv.place(record),
                    format!("`{}` is not what column `{}` should have", shortened(text), shortened(name)),
                )
                .help(help);
            None
        }
    }
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
    Some(moments.into_iter().map(|ns| Span::from_nanos(ns - first)).collect())
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

/// A time in nanoseconds: seconds, or `2023-11-16 18:15:46.6805900`, which counts from 1970. Both fit: the year 2500
/// is at 1.7e19.
fn moment(text: &str) -> Result<u64, &'static str> {
    const HELP: &str = "write seconds, as in `12.5`, or a date with a time, as in `2023-11-16 18:15:46.68`";
    // The common case, without a float: 2023 in nanoseconds has more digits than one can hold.
    if let Some(ns) = decimal(text).filter(|ns| *ns <= units::DURATION_MAX.nanos()) {
        return Ok(ns);
    }
    if let Ok(span) = units::duration(&format!("{text}s")) {
        return Ok(span.nanos());
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
    let seconds = decimal(seconds).ok_or(HELP)?;
    if !(1970..=2500).contains(&year) || !(1..=12).contains(&month) {
        return Err(HELP);
    }
    if !(1..=days_of_month(year, month)).contains(&day) {
        return Err("the month has no such day");
    }
    // A leap second may be the sixtieth; midnight may be written as the end of its day.
    let ends = hours == 24 && minutes == 0 && seconds == 0;
    if !(hours < 24 || ends) || minutes > 59 || seconds >= 61_000_000_000 {
        return Err(HELP);
    }
    let whole = days_since_1970(year, month, day) as u64 * 86_400 + hours * 3_600 + minutes * 60;
    Ok(whole * 1_000_000_000 + seconds)
}

/// `12.5` as so many nanoseconds, to the last digit of them.
fn decimal(text: &str) -> Option<u64> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let are_digits = |text: &str| text.bytes().all(|b| b.is_ascii_digit());
    if whole.is_empty() || !are_digits(whole) || !are_digits(fraction) {
        return None;
    }
    let mut ns = whole.parse::<u64>().ok()?.checked_mul(1_000_000_000)?;
    let mut unit = 100_000_000;
    for digit in fraction.bytes().take(9) {
        ns = ns.checked_add(u64::from(digit - b'0') * unit)?;
        unit /= 10;
    }
    Some(ns)
}

fn days_of_month(year: i64, month: i64) -> i64 {
    match month {
        4 | 6 | 9 | 11 => 30,
        2 if year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) => 29,
        2 => 28,
        _ => 31,
    }
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
        for text in [
            "",
            "soon",
            "-1",
            "2023-13-01 00:00:00",
            "2023-11-16",
            "2023-11-16 1:2",
            "1e400",
            "2023-11-16 00:00:00.x",
            "2023-11-16 00:00:00.123456789x",
            "2023-02-29 00:00:00",
            "2023-02-31 00:00:00",
            "2023-04-31 00:00:00",
            "1900-02-29 00:00:00",
            "2023-02-00 00:00:00",
            "2023-02-01 24:00:01",
            "2023-02-01 25:00:00",
        ] {
            assert!(moment(text).is_err(), "{text}");
        }
        assert!(moment("2024-02-29 00:00:00").is_ok() && moment("2000-02-29 24:00:00").is_ok());
        assert!(moment("2500-12-31 23:59:60.999999999").is_ok(), "the last moment fits");
    }
}
