//! Tables of typed columns, row by row, as Parquet (<https://parquet.apache.org/docs/file-format/>). The only crate
//! that knows the `parquet` crate.
//!
//! Rows are held until a row group is full, then written and forgotten: memory does not grow with the table.

use std::borrow::Cow;
use std::fmt;
use std::io::{self, Write};
use std::sync::Arc;

use parquet::basic::{Compression, LogicalType, Repetition, Type as Physical};
use parquet::data_type::{BoolType, ByteArray, ByteArrayType, DataType, DoubleType, Int64Type};
use parquet::errors::ParquetError;
use parquet::file::properties::{EnabledStatistics, WriterProperties};
use parquet::file::writer::{SerializedFileWriter, SerializedRowGroupWriter};
use parquet::schema::types::{ColumnPath, Type};

/// Rows of a row group.
const GROUP_ROWS: usize = 1 << 15;

/// Type of a column. Every column may have rows without a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Text in UTF-8.
    Text,
    /// A whole number of at least zero, of 64 bits.
    Count,
    /// A number in double precision.
    Figure,
    /// True or false.
    Flag,
}

/// Value of a row in a column.
#[derive(Clone, Debug, PartialEq)]
pub enum Value<'a> {
    /// The row has no value in this column.
    None,
    /// Of a [`Kind::Text`].
    Text(Cow<'a, str>),
    /// Of a [`Kind::Count`].
    Count(u64),
    /// Of a [`Kind::Figure`].
    Figure(f64),
    /// Of a [`Kind::Flag`].
    Flag(bool),
}

/// As a cell of text: empty if there is none.
impl fmt::Display for Value<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Value::None => Ok(()),
            Value::Text(text) => f.write_str(text),
            Value::Count(count) => count.fmt(f),
            Value::Figure(figure) => figure.fmt(f),
            Value::Flag(flag) => flag.fmt(f),
        }
    }
}

impl<'a> Value<'a> {
    /// A text, or none.
    pub fn text(text: Option<impl Into<Cow<'a, str>>>) -> Self {
        text.map_or(Value::None, |text| Value::Text(text.into()))
    }

    /// A whole number, or none.
    pub fn count(count: Option<u64>) -> Self {
        count.map_or(Value::None, Value::Count)
    }

    /// A number, or none.
    pub fn figure(figure: Option<f64>) -> Self {
        figure.map_or(Value::None, Value::Figure)
    }
}

/// Writer of a Parquet file.
pub struct Parquet {
    /// It writes to memory, from which each row group goes to where the file goes.
    file: SerializedFileWriter<Vec<u8>>,
    columns: Vec<Column>,
    rows: usize,
}

/// Values of a column that are not written yet.
struct Column {
    held: Held,
    /// For each row 1 if it has a value, else 0.
    levels: Vec<i16>,
}

enum Held {
    Texts(Vec<ByteArray>),
    Counts(Vec<i64>),
    Figures(Vec<f64>),
    Flags(Vec<bool>),
}

impl Parquet {
    /// Begins a file with these columns. Of two of the same name the second is called `name (2)`: most readers take
    /// columns by their names.
    ///
    /// # Errors
    /// If a file cannot have such columns.
    pub fn new<'n>(columns: impl IntoIterator<Item = (&'n str, Kind)>) -> io::Result<Self> {
        let (mut fields, mut held, mut names) = (Vec::new(), Vec::new(), Vec::<String>::new());
        // A dictionary of texts makes a file smaller. One of numbers takes half of the time of writing, and saves
        // little beside the compression.
        let mut properties = WriterProperties::builder()
            .set_compression(Compression::SNAPPY)
            .set_statistics_enabled(EnabledStatistics::Chunk)
            .set_created_by("meshsim".into())
            .set_dictionary_enabled(false);
        for (name, kind) in columns {
            let again = names.iter().filter(|it| *it == name).count();
            let unique = if again == 0 { name.to_owned() } else { format!("{name} ({})", again + 1) };
            names.push(name.to_owned());
            if kind == Kind::Text {
                properties = properties.set_column_dictionary_enabled(ColumnPath::from(unique.as_str()), true);
            }
            let (physical, logical, empty) = match kind {
                Kind::Text => (Physical::BYTE_ARRAY, Some(LogicalType::String), Held::Texts(Vec::new())),
                Kind::Count => (Physical::INT64, Some(LogicalType::integer(64, false)), Held::Counts(Vec::new())),
                Kind::Figure => (Physical::DOUBLE, None, Held::Figures(Vec::new())),
                Kind::Flag => (Physical::BOOLEAN, None, Held::Flags(Vec::new())),
            };
            let field = Type::primitive_type_builder(&unique, physical)
                .with_repetition(Repetition::OPTIONAL)
                .with_logical_type(logical);
            fields.push(Arc::new(field.build().map_err(wrong)?));
            held.push(Column { held: empty, levels: Vec::new() });
        }
        let schema = Type::group_type_builder("rows").with_fields(fields).build().map_err(wrong)?;
        let file = SerializedFileWriter::new(Vec::new(), Arc::new(schema), Arc::new(properties.build()));
        Ok(Parquet { file: file.map_err(wrong)?, columns: held, rows: 0 })
    }

    /// Adds a row: a value for each column, of its kind.
    ///
    /// # Errors
    /// If `out` takes no more, or the values do not fit the columns.
    pub fn row<'a>(
        &mut self,
        values: impl IntoIterator<Item = Value<'a>>,
        out: &mut (impl Write + ?Sized),
    ) -> io::Result<()> {
        let mut values = values.into_iter();
        for column in &mut self.columns {
            column.push(values.next().ok_or_else(misfit)?)?;
        }
        if values.next().is_some() {
            return Err(misfit());
        }
        self.rows += 1;
        if self.rows >= GROUP_ROWS { self.write_group(out) } else { Ok(()) }
    }

    /// Ends the file.
    ///
    /// # Errors
    /// If `out` takes no more.
    pub fn end(mut self, out: &mut (impl Write + ?Sized)) -> io::Result<()> {
        self.write_group(out)?;
        out.write_all(&self.file.into_inner().map_err(wrong)?)?;
        out.flush()
    }

    fn write_group(&mut self, out: &mut (impl Write + ?Sized)) -> io::Result<()> {
        if std::mem::take(&mut self.rows) > 0 {
            let mut group = self.file.next_row_group().map_err(wrong)?;
            self.columns.iter_mut().try_for_each(|column| column.write(&mut group))?;
            group.close().map_err(wrong)?;
        }
        self.file.flush()?;
        out.write_all(&std::mem::take(self.file.inner_mut()))
    }
}

impl fmt::Debug for Parquet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Parquet")
            .field("columns", &self.columns.len())
            .field("rows", &self.rows)
            .finish_non_exhaustive()
    }
}

impl Column {
    fn push(&mut self, value: Value<'_>) -> io::Result<()> {
        let has_value = value != Value::None;
        match (&mut self.held, value) {
            (_, Value::None) => {}
            (Held::Texts(all), Value::Text(text)) => all.push(text.as_bytes().to_vec().into()),
            // As the same 64 bits: the logical type says that there is no sign.
            (Held::Counts(all), Value::Count(count)) => all.push(count as i64),
            (Held::Figures(all), Value::Figure(figure)) => all.push(figure),
            (Held::Flags(all), Value::Flag(flag)) => all.push(flag),
            _ => return Err(misfit()),
        }
        self.levels.push(i16::from(has_value));
        Ok(())
    }

    /// Writes the values to the next column of a row group, and forgets them.
    fn write(&mut self, group: &mut SerializedRowGroupWriter<'_, Vec<u8>>) -> io::Result<()> {
        match &mut self.held {
            Held::Texts(all) => put::<ByteArrayType>(group, all, &self.levels),
            Held::Counts(all) => put::<Int64Type>(group, all, &self.levels),
            Held::Figures(all) => put::<DoubleType>(group, all, &self.levels),
            Held::Flags(all) => put::<BoolType>(group, all, &self.levels),
        }?;
        self.levels.clear();
        Ok(())
    }
}

fn put<T: DataType>(
    group: &mut SerializedRowGroupWriter<'_, Vec<u8>>,
    values: &mut Vec<T::T>,
    levels: &[i16],
) -> io::Result<()> {
    let mut column = group.next_column().map_err(wrong)?.ok_or_else(misfit)?;
    column.typed::<T>().write_batch(values, Some(levels), None).map_err(wrong)?;
    values.clear();
    column.close().map_err(wrong)
}

fn wrong(error: ParquetError) -> io::Error {
    io::Error::other(error)
}

fn misfit() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, "a row does not fit the columns of its table")
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use parquet::file::reader::{FileReader, SerializedFileReader};
    use parquet::record::RowAccessor;

    use super::*;

    const COLUMNS: [(&str, Kind); 5] =
        [("name", Kind::Text), ("n", Kind::Count), ("x", Kind::Figure), ("is", Kind::Flag), ("n", Kind::Count)];

    fn row(n: u64) -> [Value<'static>; 5] {
        [
            Value::Text(format!("line\n{n}, \"ü\"").into()),
            Value::Count(u64::MAX - n),
            Value::Figure(n as f64 / 3.0),
            Value::Flag(n.is_multiple_of(2)),
            if n.is_multiple_of(3) { Value::Count(n) } else { Value::None },
        ]
    }

    fn written(rows: u64) -> Vec<u8> {
        let (mut bytes, mut file) = (Vec::new(), Parquet::new(COLUMNS).unwrap());
        (0..rows).for_each(|n| file.row(row(n), &mut bytes).unwrap());
        file.end(&mut bytes).unwrap();
        bytes
    }

    #[test]
    fn what_is_written_is_read_back_across_row_groups() {
        let rows = 2 * GROUP_ROWS as u64 + 7;
        let bytes = written(rows);
        assert_eq!(bytes, written(rows), "the same rows are the same bytes");
        let file = SerializedFileReader::new(Bytes::from(bytes)).unwrap();
        assert_eq!((file.num_row_groups(), file.metadata().file_metadata().num_rows()), (3, rows as i64));
        let names: Vec<_> =
            file.metadata().file_metadata().schema().get_fields().iter().map(|it| it.name().to_owned()).collect();
        assert_eq!(names, ["name", "n", "x", "is", "n (2)"]);
        let mut count = 0;
        for (n, read) in (0..).zip(file.get_row_iter(None).unwrap()) {
            let read = read.unwrap();
            let [name, big, x, is, often] = row(n);
            assert_eq!(Value::Text(read.get_string(0).unwrap().as_str().into()), name);
            assert_eq!(Value::Count(read.get_ulong(1).unwrap()), big);
            assert_eq!(Value::Figure(read.get_double(2).unwrap()), x);
            assert_eq!(Value::Flag(read.get_bool(3).unwrap()), is);
            assert_eq!(read.get_ulong(4).map_or(Value::None, Value::Count), often);
            count += 1;
        }
        assert_eq!(count, rows);
    }

    #[test]
    fn a_table_without_rows_is_a_file_and_a_row_of_other_values_is_refused() {
        let file = SerializedFileReader::new(Bytes::from(written(0))).unwrap();
        assert_eq!(file.metadata().file_metadata().num_rows(), 0);
        let mut file = Parquet::new(COLUMNS).unwrap();
        assert!(file.row([Value::Flag(true)], &mut Vec::new()).is_err());
        assert!(Parquet::new(COLUMNS).unwrap().row(row(1).into_iter().skip(1), &mut Vec::new()).is_err());
    }
}
