//! Memory for reading a large file. The only test of its process, since it reads the peak memory of the process.

use meshsim_experiment::Bundle;
use meshsim_mesh::model::Arrivals;

const ROWS: usize = 2_000_000;

/// Peak memory of this process, in bytes; `None` where the system does not report it.
fn peak() -> Option<usize> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find(|line| line.starts_with("VmHWM:"))?;
    line.split_whitespace().nth(1)?.parse::<usize>().ok().map(|kib| kib * 1024)
}

#[test]
fn a_row_of_csv_costs_its_text_and_a_few_numbers() {
    let Some(_) = peak() else {
        println!("skipped: no /proc/self/status here");
        return;
    };
    let mut csv = String::from("seconds\n");
    (0..ROWS).for_each(|row| csv += &format!("{}.{:06}\n", row / 1000, row % 1000 * 1000));
    let text = "nodes: [ { name: n } ]\nduration: 1h\nservices: { a: { endpoints: { get: { script: [ sleep: 1ms ] } } } }\n\
                load: { u: { to: a, arrivals: { replay: rows.csv } } }\n";
    let bytes = csv.len();
    let bundle = Bundle { text: text.into(), files: vec![("rows.csv".into(), csv)] };
    let before = peak().expect("there was one");
    let experiment = bundle.read().unwrap_or_else(|problems| panic!("{problems}"));
    let taken = peak().expect("there was one") - before;
    let Arrivals::Stamps(stamps) = &experiment.mesh.loads[0].arrivals else { panic!() };
    assert_eq!((stamps.len(), stamps[ROWS - 1].nanos()), (ROWS, 1_999_999_000_000));
    // A copy of the text; and of each row a number of 8 bytes, in a list that doubles, and in the one that stays.
    let per_row = (taken - bytes.min(taken)) / ROWS;
    assert!(per_row <= 40, "{per_row} bytes for each row beside its text");
}
