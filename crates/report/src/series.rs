//! Time series of a run: figures of each load, endpoint, edge, service, version, instance and node, window by window.
//! `series.csv` and `series.parquet` hold one row for each of them and window.
//!
//! - Requests and calls are counted in the window in which they were **due**: a request in that of its planned time, a
//!   call in that in which it was made, and at a service in that in which it arrived. So `offered = done + failed +
//!   expired + unfinished` in every row.
//! - Levels (in flight, in the queue, instances, slots, cores) are means over the window's time.

use std::io::{self, Read, Write};

use meshsim_columns::{self as columns, Parquet, Value};
use meshsim_mesh::policy::PolicyGroup;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Largest series.csv that is read, in bytes.
pub const SERIES_BYTES_MAX: u64 = 1 << 30;

/// Subject of a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, JsonSchema, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// A load. Requests of its warm-up are not counted.
    Load,
    /// One of the endpoints of a load: `name` is `service.endpoint`, `of` the load.
    Endpoint,
    /// The calls from one service to one endpoint, of those that have ended: `name` is the called `service.endpoint`,
    /// `of` the service that calls.
    Edge,
    /// A service, over all its instances.
    Service,
    /// The instances of one version: `name` is the version, `of` the service.
    Version,
    /// One instance: `name` is `node#ordinal`, `of` the service. An ordinal is used again when its instance has gone.
    Instance,
    /// A node, over all its instances.
    Node,
}

impl Kind {
    /// All of them, in the order in which they are written.
    pub const ALL: [Kind; 7] =
        [Kind::Load, Kind::Endpoint, Kind::Edge, Kind::Service, Kind::Version, Kind::Instance, Kind::Node];

    /// In one word, as it is written.
    pub fn as_str(self) -> &'static str {
        match self {
            Kind::Load => "load",
            Kind::Endpoint => "endpoint",
            Kind::Edge => "edge",
            Kind::Service => "service",
            Kind::Version => "version",
            Kind::Instance => "instance",
            Kind::Node => "node",
        }
    }
}

/// Figures of one subject in one window. A cell is empty (`None`) where a figure does not exist for its kind.
///
/// Times end in `_ns` (nanoseconds) or `_s` (seconds since the run began). Percentiles exist as soon as one request was
/// answered: the number of samples beyond one follows from `done`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Row {
    /// Kind of the subject.
    pub kind: Kind,
    /// Owner: of an endpoint the load, of an edge the calling service, of a version or an instance the service; else
    /// empty.
    pub of: String,
    /// Its name.
    pub name: String,
    /// Start of the window.
    pub from_s: f64,
    /// End of the window: the start of the next one, or the end of the run.
    pub to_s: f64,
    /// Requests that were due in it: planned (load, endpoint), made and ended (edge), arrived (the others).
    pub offered: u64,
    /// Of these, answered.
    pub done: u64,
    /// Of these, failed, for any reason: the sum of the six that follow.
    pub failed: u64,
    /// The instance's queue was full, or the instance was gone.
    pub refused: u64,
    /// The service failed, or something that it called.
    pub error: u64,
    /// No reply came in time.
    pub timeout: u64,
    /// The node of the instance went down.
    pub lost: u64,
    /// There was no instance to call.
    pub no_instance: u64,
    /// The instance was to go, and its grace was over before the request was done.
    pub cut: u64,
    /// Dropped unanswered, because the caller had given up; empty for a load, an endpoint and an edge.
    pub expired: Option<u64>,
    /// Neither done nor failed when the run ended, or lost with the memory of a machine that went down.
    pub unfinished: u64,
    /// Attempts after the first, of the requests of this row. At receivers: arrivals that were such attempts.
    pub retries: u64,
    /// Attempts that timed out, a retry of which may have made the request good. Empty where requests arrive.
    pub timeouts: Option<u64>,
    /// Ejections of instances by callers; empty where requests arrive, as the two that follow.
    pub ejections: Option<u64>,
    /// Attempts and retries that a breaker or a retry budget did not allow.
    pub overflows: Option<u64>,
    /// Attempts sent beside one in flight.
    pub hedges: Option<u64>,
    /// Requests refused by a limit on requests at once or over time.
    pub limited: u64,
    /// Requests that instances refused by deadline or priority; empty for a load, an endpoint and an edge.
    pub shed: Option<u64>,
    /// Half of those answered took at most this; empty if none was answered, like the others.
    pub p50_ns: Option<u64>,
    /// 90 % took at most this.
    pub p90_ns: Option<u64>,
    /// 99 % took at most this.
    pub p99_ns: Option<u64>,
    /// The longest.
    pub max_ns: Option<u64>,
    /// Sum of the latencies of the answered ones.
    pub done_sum_ns: u64,
    /// Sum of the times in flight of all others: until they failed, were given up, or the run ended.
    pub other_sum_ns: u64,
    /// Requests in flight (where they arrive: waiting or being worked on), summed over the window's time. Over a whole
    /// run the sum of this is that of `done_sum_ns` and `other_sum_ns`, exactly (Little's law).
    pub in_flight_ns: u64,
    /// The same as a mean: `in_flight_ns` through the window's length.
    pub in_flight_mean: f64,
    /// Maximum in flight at once. Empty where that is unknown: for an edge; for a service, a version and a node in a
    /// window in which several of its instances had requests (each knows its own largest number, and not when the
    /// others had theirs); for a load where requests were sent later than planned.
    pub in_flight_max: Option<u64>,
    /// Requests that wait for a slot, on average; empty where none arrive, as all that follow but the last two.
    pub queue_mean: Option<f64>,
    /// Maximum waiting at once; empty where `in_flight_max` is.
    pub queue_max: Option<u64>,
    /// Instances that the coordinator wants (a surge included), on average; of a service alone.
    pub instances_desired: Option<f64>,
    /// Instances that take requests and are to stay, on average.
    pub instances_ready: Option<f64>,
    /// Slots of the instances that serve, on average.
    pub slots: Option<f64>,
    /// Of these, taken, on average.
    pub slots_in_use: Option<f64>,
    /// Busy cores, on average; of a slow machine, the number that would be busy on a normal one.
    pub cores_in_use: Option<f64>,
    /// Look-ups in caches of scripts that found their key, in the window of the look-up; 0 where there is no cache.
    pub cache_hits: Option<u64>,
    /// The others.
    pub cache_misses: Option<u64>,
    /// Messages that wait to be delivered, on average; 0 where there is no queue.
    pub messages_mean: Option<f64>,
    /// Maximum of these at once; empty where it is unknown: where several instances had some.
    pub messages_max: Option<u64>,
    /// Of the slowest request that was answered, its number among those that the load planned, from 0; of a load and an
    /// endpoint. `meshsim trace request RUN LOAD/NUMBER` shows where its time went.
    pub slowest_request: Option<u64>,
    /// Time at which that request was due.
    pub slowest_at_s: Option<f64>,
}

impl Row {
    /// Events of policies of a group; 0 where there are none.
    pub fn policies(&self, group: PolicyGroup) -> u64 {
        match group {
            PolicyGroup::Ejections => self.ejections.unwrap_or(0),
            PolicyGroup::Overflows => self.overflows.unwrap_or(0),
            PolicyGroup::Hedges => self.hedges.unwrap_or(0),
            PolicyGroup::Limited => self.limited,
            PolicyGroup::Shed => self.shed.unwrap_or(0),
        }
    }

    /// Length of the window, in seconds.
    pub fn length_s(&self) -> f64 {
        self.to_s - self.from_s
    }

    /// The values of the columns.
    fn values(&self) -> [Value<'_>; 45] {
        [
            Value::Text(self.kind.as_str().into()),
            Value::Text(self.of.as_str().into()),
            Value::Text(self.name.as_str().into()),
            Value::Figure(self.from_s),
            Value::Figure(self.to_s),
            Value::Count(self.offered),
            Value::Count(self.done),
            Value::Count(self.failed),
            Value::Count(self.refused),
            Value::Count(self.error),
            Value::Count(self.timeout),
            Value::Count(self.lost),
            Value::Count(self.no_instance),
            Value::Count(self.cut),
            Value::count(self.expired),
            Value::Count(self.unfinished),
            Value::Count(self.retries),
            Value::count(self.timeouts),
            Value::count(self.ejections),
            Value::count(self.overflows),
            Value::count(self.hedges),
            Value::Count(self.limited),
            Value::count(self.shed),
            Value::count(self.p50_ns),
            Value::count(self.p90_ns),
            Value::count(self.p99_ns),
            Value::count(self.max_ns),
            Value::Count(self.done_sum_ns),
            Value::Count(self.other_sum_ns),
            Value::Count(self.in_flight_ns),
            Value::Figure(self.in_flight_mean),
            Value::count(self.in_flight_max),
            Value::figure(self.queue_mean),
            Value::count(self.queue_max),
            Value::figure(self.instances_desired),
            Value::figure(self.instances_ready),
            Value::figure(self.slots),
            Value::figure(self.slots_in_use),
            Value::figure(self.cores_in_use),
            Value::count(self.cache_hits),
            Value::count(self.cache_misses),
            Value::figure(self.messages_mean),
            Value::count(self.messages_max),
            Value::count(self.slowest_request),
            Value::figure(self.slowest_at_s),
        ]
    }
}

/// Time series of a run: all rows, by kind, then by subject, then by time.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Series {
    /// All rows.
    pub rows: Vec<Row>,
    /// Instances of which there are no rows of their own, because there were too many; they count in their versions,
    /// services and nodes. Not in the file: `events.jsonl` says it.
    pub instances_left_out: u64,
}

impl Series {
    /// The rows of one kind.
    pub fn of(&self, kind: Kind) -> impl Iterator<Item = &Row> {
        self.rows.iter().filter(move |row| row.kind == kind)
    }

    /// Writes them as CSV, with a header.
    ///
    /// # Errors
    /// If `out` takes no more.
    pub fn write(&self, mut out: impl Write) -> io::Result<()> {
        let mut line = Line::default();
        COLUMNS.iter().for_each(|(name, _)| line.text(name));
        line.end(&mut out)?;
        for row in &self.rows {
            row.values().iter().for_each(|value| line.value(value));
            line.end(&mut out)?;
        }
        out.flush()
    }

    /// Writes them as Parquet: the same columns.
    ///
    /// # Errors
    /// If `out` takes no more.
    pub fn write_parquet(&self, mut out: impl Write) -> io::Result<()> {
        let mut file = Parquet::new(COLUMNS)?;
        self.rows.iter().try_for_each(|row| file.row(row.values(), &mut out))?;
        file.end(&mut out)
    }
}

/// The columns, in the order of the fields of a [`Row`], and what they hold.
const COLUMNS: [(&str, columns::Kind); 45] = [
    ("kind", columns::Kind::Text),
    ("of", columns::Kind::Text),
    ("name", columns::Kind::Text),
    ("from_s", columns::Kind::Figure),
    ("to_s", columns::Kind::Figure),
    ("offered", columns::Kind::Count),
    ("done", columns::Kind::Count),
    ("failed", columns::Kind::Count),
    ("refused", columns::Kind::Count),
    ("error", columns::Kind::Count),
    ("timeout", columns::Kind::Count),
    ("lost", columns::Kind::Count),
    ("no_instance", columns::Kind::Count),
    ("cut", columns::Kind::Count),
    ("expired", columns::Kind::Count),
    ("unfinished", columns::Kind::Count),
    ("retries", columns::Kind::Count),
    ("timeouts", columns::Kind::Count),
    ("ejections", columns::Kind::Count),
    ("overflows", columns::Kind::Count),
    ("hedges", columns::Kind::Count),
    ("limited", columns::Kind::Count),
    ("shed", columns::Kind::Count),
    ("p50_ns", columns::Kind::Count),
    ("p90_ns", columns::Kind::Count),
    ("p99_ns", columns::Kind::Count),
    ("max_ns", columns::Kind::Count),
    ("done_sum_ns", columns::Kind::Count),
    ("other_sum_ns", columns::Kind::Count),
    ("in_flight_ns", columns::Kind::Count),
    ("in_flight_mean", columns::Kind::Figure),
    ("in_flight_max", columns::Kind::Count),
    ("queue_mean", columns::Kind::Figure),
    ("queue_max", columns::Kind::Count),
    ("instances_desired", columns::Kind::Figure),
    ("instances_ready", columns::Kind::Figure),
    ("slots", columns::Kind::Figure),
    ("slots_in_use", columns::Kind::Figure),
    ("cores_in_use", columns::Kind::Figure),
    ("cache_hits", columns::Kind::Count),
    ("cache_misses", columns::Kind::Count),
    ("messages_mean", columns::Kind::Figure),
    ("messages_max", columns::Kind::Count),
    ("slowest_request", columns::Kind::Count),
    ("slowest_at_s", columns::Kind::Figure),
];

/// A line of CSV in progress. A large mesh has millions of cells: a general writer of CSV takes longer for them than
/// the run itself.
#[derive(Default)]
struct Line {
    cells: Vec<u8>,
    count: itoa::Buffer,
    figure: ryu::Buffer,
}

impl Line {
    /// A cell with a text (RFC 4180).
    fn text(&mut self, text: &str) {
        if text.contains(['"', ',', '\n', '\r']) {
            self.cells.push(b'"');
            self.cells.extend_from_slice(text.replace('"', "\"\"").as_bytes());
            self.cells.push(b'"');
        } else {
            self.cells.extend_from_slice(text.as_bytes());
        }
        self.cells.push(b',');
    }

    fn value(&mut self, value: &Value<'_>) {
        match value {
            Value::None => {}
            Value::Text(text) => return self.text(text),
            Value::Count(count) => self.cells.extend_from_slice(self.count.format(*count).as_bytes()),
            Value::Figure(figure) => self.cells.extend_from_slice(self.figure.format(*figure).as_bytes()),
            Value::Flag(flag) => self.cells.extend_from_slice(flag.to_string().as_bytes()),
        }
        self.cells.push(b',');
    }

    fn end(&mut self, out: &mut impl Write) -> io::Result<()> {
        // In the place of the last comma.
        self.cells.pop();
        self.cells.push(b'\n');
        out.write_all(&self.cells)?;
        self.cells.clear();
        Ok(())
    }
}

/// Parses a series.csv.
///
/// # Errors
/// The problem, with its line: another set of columns, an invalid number, or a file that is too large.
pub fn read(source: impl Read) -> Result<Series, String> {
    let mut csv = csv::Reader::from_reader(source.take(SERIES_BYTES_MAX));
    let mut rows = Vec::new();
    for row in csv.deserialize() {
        rows.push(row.map_err(|error: csv::Error| error.to_string())?);
    }
    if csv.get_ref().limit() == 0 {
        return Err(format!("it is larger than {} MiB", SERIES_BYTES_MAX >> 20));
    }
    Ok(Series { rows, instances_left_out: 0 })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(kind: Kind, name: &str, from_s: f64) -> Row {
        Row {
            kind,
            of: String::new(),
            name: name.into(),
            from_s,
            to_s: from_s + 1.0,
            offered: 3,
            done: 2,
            failed: 1,
            refused: 17,
            error: 18,
            timeout: 19,
            lost: 20,
            no_instance: 21,
            cut: 22,
            expired: Some(23),
            unfinished: 24,
            retries: 25,
            timeouts: Some(26),
            ejections: Some(45),
            overflows: None,
            hedges: Some(46),
            limited: 47,
            shed: Some(48),
            p50_ns: Some(27),
            p90_ns: None,
            p99_ns: None,
            max_ns: Some(30),
            done_sum_ns: 31,
            other_sum_ns: 32,
            in_flight_ns: 33,
            in_flight_mean: 34.25,
            in_flight_max: Some(35),
            queue_mean: Some(36.25),
            queue_max: Some(37),
            instances_desired: Some(38.25),
            instances_ready: Some(39.25),
            slots: None,
            slots_in_use: Some(41.25),
            cores_in_use: Some(42.25),
            cache_hits: Some(49),
            cache_misses: Some(50),
            messages_mean: Some(51.25),
            messages_max: None,
            slowest_request: Some(u64::MAX),
            slowest_at_s: Some(44.25),
        }
    }

    fn written(series: &Series) -> String {
        let mut bytes = Vec::new();
        series.write(&mut bytes).unwrap();
        String::from_utf8(bytes).unwrap()
    }

    #[test]
    fn what_is_written_is_read_back_whatever_the_names() {
        let names = ["users", "=1+1", "a,b\"c\nd", "a\rb", "\u{2028}<script>", ""];
        let rows = Kind::ALL.into_iter().flat_map(|kind| names.map(|name| row(kind, name, 1.0 / 3.0))).collect();
        let series = Series { rows, instances_left_out: 0 };
        assert_eq!(read(written(&series).as_bytes()).unwrap(), series);
    }

    #[test]
    fn a_kind_is_written_as_it_is_called() {
        for kind in Kind::ALL {
            let series = Series { rows: vec![row(kind, "it", 0.0)], instances_left_out: 0 };
            assert!(written(&series).lines().nth(1).unwrap().starts_with(&format!("{},,it,", kind.as_str())));
        }
    }

    #[test]
    fn what_is_no_series_is_refused_with_its_line() {
        let good = written(&Series { rows: vec![row(Kind::Load, "it", 0.0)], instances_left_out: 0 });
        let error = read(good.replace(",3,2,1,", ",3,two,1,").as_bytes()).unwrap_err();
        assert!(error.contains("line: 2"), "{error}");
        assert!(read(good.replace("offered", "asked").as_bytes()).is_err());
        assert!(read(&b"\xff\xff\n\xff,\n"[..]).is_err());
    }
}
