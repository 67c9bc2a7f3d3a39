//! The files that an experiment names: real ones are read exactly, and a copy of them all is a copy of the run.

mod corpus;

use std::path::Path;

use corpus::corpus_file;
use meshsim_actor::Span;
use meshsim_experiment::check::check;
use meshsim_experiment::{Bundle, Experiment, Override, load, parse};
use meshsim_mesh::model::{Arrivals, Process};

const MESH: &str = "
# Kept in a copy, like everything that needs no change.
nodes: [ { name: n, zone: x }, { name: m, zone: y } ]
services: { a: { endpoints: { get: { script: [ work: 1ms ] } } } }
";

fn read(text: &str) -> Experiment {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests");
    parse("mesh.yaml", text, &folder, &[]).unwrap_or_else(|problems| panic!("{problems}"))
}

/// Writes the text and the files into an empty folder and reads them again.
fn copied(experiment: &Experiment, test: &str) -> Experiment {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(test);
    let _ = std::fs::remove_dir_all(&folder);
    std::fs::create_dir_all(&folder).unwrap();
    for file in &experiment.files {
        std::fs::write(folder.join(&file.name), file.text.as_bytes()).unwrap();
    }
    std::fs::write(folder.join("copy.yaml"), &experiment.text).unwrap();
    load(&folder.join("copy.yaml"), &[]).unwrap_or_else(|problems| panic!("{problems}\n{}", experiment.text))
}

fn assert_same(a: &Experiment, b: &Experiment) {
    assert_eq!((&a.name, a.seed, a.duration), (&b.name, b.seed, b.duration));
    assert_eq!(format!("{:?}", a.mesh), format!("{:?}", b.mesh));
    assert_eq!(a.network, b.network);
    // A copy of the copy is the same text.
    assert_eq!(a.text, b.text);
    assert_eq!(
        a.files.iter().map(|file| (&file.name, &file.text)).collect::<Vec<_>>(),
        b.files.iter().map(|file| (&file.name, &file.text)).collect::<Vec<_>>()
    );
}

#[test]
fn a_copy_beside_its_files_is_the_same_experiment_and_keeps_the_comments() {
    let load = "load: { u: { to: a, arrivals: { replay: ../tests/files/stamps.csv } } }\n";
    let it = read(&format!("{MESH}network: {{ zones: files/zones.csv }} # ours\n{load}"));
    let written: Vec<_> = it.files.iter().map(|file| (file.written.as_str(), file.name.as_str())).collect();
    assert_eq!(written, [("../tests/files/stamps.csv", "stamps.csv"), ("files/zones.csv", "zones.csv")]);
    let expected = format!("{MESH}network: {{ zones: zones.csv }} # ours\n{load}")
        .replace("../tests/files/stamps.csv", "stamps.csv")
        .replace("nodes:", "name: mesh\nnodes:");
    assert_eq!(it.text, expected);
    assert_same(&it, &copied(&it, "same"));
}

#[test]
fn whatever_way_a_file_is_named_the_copy_reads_the_same() {
    let absolute = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/files/stamps.csv");
    let absolute = absolute.display();
    let arrivals = |text: &str| format!("{MESH}load:\n  u: {{ to: a, arrivals: {{ replay: {text} }} }}\n");
    for (index, text) in [
        arrivals("\"files/stamps.csv\""),
        arrivals("'./files/stamps.csv'"),
        arrivals("&file files/stamps.csv"),
        arrivals(&absolute.to_string()),
        format!("{MESH}load:\n  u:\n    to: a\n    arrivals:\n      replay: >-\n        files/stamps.csv\n"),
        // Twice the same file, by an alias, by a merge, and by another path.
        format!(
            "{MESH}load:\n  u: &u {{ to: a, arrivals: {{ replay: &f files/stamps.csv }} }}\n  v: {{ <<: *u, for: 1s }}\n  \
             w: {{ to: a, arrivals: {{ replay: *f }} }}\n  x: {{ to: a, arrivals: {{ replay: ./files/../files/stamps.csv }} }}\n"
        ),
        // All of it as one map of JSON, which has no line of its own for a name.
        "{\"nodes\": [{\"name\": \"n\"}], \"services\": {\"a\": {\"endpoints\": {\"get\": {}}}}, \
         \"load\": {\"u\": {\"to\": \"a\", \"arrivals\": {\"replay\": \"files/stamps.csv\"}}}}"
            .to_owned(),
        format!("%YAML 1.2\n---\n{}", arrivals("files/stamps.csv")),
    ]
    .into_iter()
    .enumerate()
    {
        let it = read(&text);
        assert!(!it.text.contains("files/"), "{}", it.text);
        assert_same(&it, &copied(&it, &format!("way-{index}")));
    }
}

#[test]
fn two_files_of_one_name_and_an_override_are_told_apart_in_the_copy() {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("two");
    for (path, stamp) in [("a/t.csv", 1), ("b/T.csv", 2), ("t.txt", 3)] {
        std::fs::create_dir_all(folder.join(path).parent().unwrap()).unwrap();
        std::fs::write(folder.join(path), format!("s\n0\n{stamp}\n")).unwrap();
    }
    let one = |name: &str, file: &str| format!("  {name}: {{ to: a, arrivals: {{ replay: {file} }} }}\n");
    let text = format!("{MESH}load:\n{}{}{}", one("u", "a/t.csv"), one("v", "b/T.csv"), one("w", "a/t.csv"));
    let set = Override::parse("load.w.arrivals.replay=t.txt").unwrap();
    let it = parse("mesh.yaml", &text, &folder, &[set]).unwrap_or_else(|problems| panic!("{problems}"));
    let names: Vec<_> = it.files.iter().map(|file| file.name.as_str()).collect();
    assert_eq!(names, ["t.csv", "T-2.csv", "t-3.csv"]);
    assert_same(&it, &copied(&it, "two-copied"));
}

#[test]
fn a_bundle_carries_the_files_and_survives_being_written_down() {
    let load = "load: { u: { to: a, arrivals: { replay: files/stamps.csv } } }\n";
    let it = read(&format!("{MESH}network: {{ zones: files/zones.csv }}\n{load}"));
    let json = serde_json::to_string(&it.bundle()).unwrap();
    let bundle: Bundle = serde_json::from_str(&json).unwrap();
    assert_same(&it, &bundle.read().unwrap_or_else(|problems| panic!("{problems}")));
}

#[test]
fn a_bundle_opens_no_file_whatever_it_names() {
    let real = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/files/stamps.csv");
    assert!(real.is_file());
    let real = real.display().to_string();
    for named in [real.as_str(), "stamps.csv", "../stamps.csv", "./there.csv"] {
        let text = format!("{MESH}load: {{ u: {{ to: a, arrivals: {{ replay: '{named}' }} }} }}\n");
        let bundle = Bundle { text, files: vec![("there.csv".into(), "s\n0\n".into())] };
        let problems = bundle.read().unwrap_err();
        let told = problems.iter().next().unwrap();
        assert!(told.message.contains("it is not in the bundle"), "{problems}");
        assert_eq!(told.help.as_deref(), Some("the bundle has `there.csv`"));
    }
}

#[test]
fn what_is_too_large_for_a_file_is_too_large_in_a_bundle() {
    use meshsim_experiment::limits::{FILE_BYTES_MAX, ZONES_BYTES_MAX};
    let told = |bundle: Bundle| bundle.read().unwrap_err().to_string();
    let bundle = Bundle { text: " ".repeat(FILE_BYTES_MAX as usize + 1), files: vec![] };
    assert!(told(bundle).contains("the file is larger than 16 MiB"));
    let zones = ("z.csv".to_owned(), " ".repeat(ZONES_BYTES_MAX as usize + 1));
    let bundle = Bundle { text: format!("{MESH}network: {{ zones: z.csv }}\n"), files: vec![zones] };
    assert!(told(bundle).contains("cannot read `z.csv`: it is larger than 4 MiB"));
}

#[test]
fn real_arrivals_are_replayed_to_the_last_one() {
    let Some(azure) = corpus_file("arrivals/azure-conv.csv") else { return };
    let it = read(&format!(
        "{MESH}duration: 1h\nload: {{ u: {{ to: a, arrivals: {{ replay: {}, column: TIMESTAMP }} }} }}\n",
        azure.display()
    ));
    let Arrivals::Stamps(stamps) = &it.mesh.loads[0].arrivals else { panic!() };
    assert_eq!((stamps.len(), stamps[0]), (19_366, Span::ZERO));
    let last = stamps[19_365].secs();
    assert!(stamps.is_sorted() && (3_501.0..3_502.0).contains(&last), "{last}");
    assert!((check(&it).loads[0].rate * 3_600.0 - 19_366.0).abs() < 1e-6);
}

#[test]
fn real_counts_are_replayed_one_for_one() {
    let Some(nasa) = corpus_file("arrivals/nasa-week1-per-minute.csv") else { return };
    let text = std::fs::read_to_string(&nasa).unwrap();
    let header: Vec<_> = text.lines().next().unwrap().split(',').collect();
    let column = header.iter().position(|name| *name == "requests").unwrap();
    let counts: Vec<u64> =
        text.lines().skip(1).map(|line| line.split(',').nth(column).unwrap().parse().unwrap()).collect();
    let it = read(&format!(
        "{MESH}duration: 7d\nload: {{ u: {{ to: a, arrivals: {{ replay: {}, column: requests, per: 1m }} }} }}\n",
        nasa.display()
    ));
    let Arrivals::Rate { process: Process::Poisson, stages } = &it.mesh.loads[0].arrivals else { panic!() };
    assert_eq!((counts.len(), stages.len()), (10_080, 10_080));
    for (stage, count) in stages.iter().zip(&counts) {
        assert_eq!((stage.length, stage.to), (Span::from_secs(60), stage.from));
        assert!((stage.from * 60.0 - *count as f64).abs() < 1e-9);
    }
    let planned = check(&it).loads[0].rate * it.duration.secs();
    assert!((planned - counts.iter().sum::<u64>() as f64).abs() < 1e-3, "{planned}");
}

/// Problems of a file that an experiment names: the line, the message and the help of each.
fn told(naming: &str, csv: &str) -> Vec<String> {
    let bundle = Bundle { text: format!("{MESH}{naming}"), files: vec![("f.csv".into(), csv.into())] };
    let Err(problems) = bundle.read() else { return vec![] };
    let line =
        |p: &meshsim_experiment::Problem| format!("{}: {} | {}", p.line, p.message, p.help.as_deref().unwrap_or("-"));
    problems.iter().map(line).collect()
}

#[test]
fn a_file_that_does_not_say_one_thing_is_refused_at_its_line() {
    const REPLAY: &str = "load: { u: { to: a, arrivals: { replay: f.csv } } }\n";
    const COLUMN: &str = "load: { u: { to: a, arrivals: { replay: f.csv, column: t } } }\n";
    const COUNTS: &str = "load: { u: { to: a, arrivals: { replay: f.csv, per: 1m } } }\n";
    const ZONES: &str = "network: { zones: f.csv }\n";
    let table = [
        (REPLAY, "t\n0\n0,5\n", "3: fields in this row: 2, not 1 | is it a decimal comma? write a point, as in `0.5`"),
        (REPLAY, "t,n\n0,1\n1\n", "3: fields in this row: 1, not 2 | each row has as many fields as the header"),
        (COUNTS, "n,m\n1,1,1\n", "2: fields in this row: 3, not 2 | each row has as many fields as the header"),
        (COLUMN, "t,n,t\n0,1,2\n", "1: the file has two columns `t` | give each its own name"),
        (
            REPLAY,
            "t;n\n0;1\n",
            "1: the fields of this file are separated by `;` | separate them by commas, and write a decimal point as `.`",
        ),
        (
            REPLAY,
            "0\n1\n2\n",
            "1: the file has no header: its first row begins with `0` | write a row with the names of the columns above it",
        ),
        (
            REPLAY,
            "t\n2023-02-28 10:00:00\n2023-02-31 10:00:00\n",
            "3: `2023-02-31 10:00:00` is not what column `t` should have | the month has no such day",
        ),
        (REPLAY, "t\n", "5: `f.csv` has no rows | a replay needs a header and at least one row"),
        (
            ZONES,
            ";x;y\nx;0;1\ny;1;0\n",
            "1: the fields of this file are separated by `;` | separate them by commas, and write a decimal point as `.`",
        ),
        (ZONES, ",x,y,x\nx,0,1,2\n", "1: the zone `x` has two columns | keep one of the two"),
        (ZONES, ",x,y\nx,0,1\nx,0,2\n", "3: the zone `x` has two rows | keep one of the two"),
        (ZONES, "zones\n", "1: the first row names no zone | write the zones behind its first field: `from/to,a,b`"),
    ];
    for (naming, csv, expected) in table {
        assert_eq!(told(naming, csv), [expected], "{csv}");
    }
    for (naming, csv) in [(REPLAY, "t,n\n0.5,1\n1,2\n"), (COLUMN, "n,t,n\n0,1,2\n"), (ZONES, ",x,y\nx,0,1\n")] {
        assert_eq!(told(naming, csv), [""; 0], "{csv}");
    }
}

#[test]
fn moments_are_read_to_the_nanosecond() {
    let csv = "t\n1700158546.680590001\n1700158546.680590002\n1700158547\n";
    let bundle = Bundle {
        text: format!("{MESH}load: {{ u: {{ to: a, arrivals: {{ replay: f.csv }} }} }}\n"),
        files: vec![("f.csv".into(), csv.into())],
    };
    let it = bundle.read().unwrap_or_else(|problems| panic!("{problems}"));
    let Arrivals::Stamps(stamps) = &it.mesh.loads[0].arrivals else { panic!() };
    assert_eq!(stamps.iter().map(|stamp| stamp.nanos()).collect::<Vec<_>>(), [0, 1, 319_409_999]);
}
