//! Live runs whose processes belong to the test: it can watch, stop and kill each.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Child;
use std::thread;

use serde_json::Value;

use super::{assert_exit, command, json, meshsim, one_line, signal, until};

/// A process of the tool, with its output in a file; killed when the test ends.
pub(crate) struct Process {
    pub(crate) name: String,
    pub(crate) child: Child,
    stderr: PathBuf,
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if thread::panicking() {
            eprintln!("== {} said:\n{}", self.name, self.stderr());
        }
    }
}

impl Process {
    pub(crate) fn start(folder: &Path, name: &str, args: &[&str]) -> Self {
        let path = |end: &str| folder.join(format!("{name}.{end}"));
        let file = |end: &str| File::create(path(end)).unwrap();
        let mut command = command(folder, args);
        let child = command.arg("-v").stdout(file("out")).stderr(file("err")).env("NO_COLOR", "1").spawn().unwrap();
        Process { name: name.into(), child, stderr: path("err") }
    }

    /// All that it has said on stderr.
    pub(crate) fn stderr(&self) -> String {
        String::from_utf8_lossy(&fs::read(&self.stderr).unwrap_or_default()).into_owned()
    }

    /// The same in one line.
    pub(crate) fn said(&self) -> String {
        one_line(&self.stderr())
    }

    /// The output after these words, up to the next blank or comma.
    #[track_caller]
    pub(crate) fn says(&self, words: &str) -> String {
        until(&format!("{} says {words:?}; it said: {}", self.name, self.stderr()), || {
            let said = self.said();
            let (_, rest) = said.split_once(words)?;
            Some(rest.split([' ', ',']).next()?.trim_end_matches('/').to_owned())
        })
    }

    pub(crate) fn signal(&self, name: &str) {
        signal(self.child.id(), name);
    }

    #[track_caller]
    pub(crate) fn ends(&mut self) -> Option<i32> {
        until(&format!("{} has ended", self.name), || self.child.try_wait().unwrap()).code()
    }
}

/// A coordinator and all nodes and clients of its mesh, in processes of their own.
pub(crate) struct Cluster {
    pub(crate) folder: PathBuf,
    pub(crate) joins: String,
    pub(crate) gateway: String,
    pub(crate) coordinator: Process,
    pub(crate) nodes: Vec<Process>,
    pub(crate) client: Process,
}

impl Cluster {
    pub(crate) fn begin(test: &str, mesh: &str, nodes: usize, of_coordinator: &[&str], of_nodes: &[&str]) -> Self {
        let folder = super::folder(test, mesh);
        let fixed = ["coordinator", "mesh.yaml", "--listen", "127.0.0.1:0", "--http", "127.0.0.1:0", "--out", "run"];
        let coordinator = Process::start(&folder, "coordinator", &[&fixed, of_coordinator].concat());
        let joins = coordinator.says("nodes and clients join at ");
        let gateway = coordinator.says("requests at http://");
        let node = |n| {
            let name = format!("node-{n}");
            Process::start(&folder, &name, &[&["node", "--join", &joins, "--name", &name], of_nodes].concat())
        };
        let nodes = (0..nodes).map(node).collect();
        let client = Process::start(&folder, "client", &["client", "--join", &joins]);
        coordinator.says("all have joined:");
        Cluster { joins, gateway, coordinator, nodes, client, folder }
    }

    pub(crate) fn status(&self) -> Value {
        let output = meshsim(&self.folder, &["ctl", "--to", &self.gateway, "--json", "status"]);
        assert_exit(&output, 0);
        serde_json::from_slice(&output.stdout).unwrap()
    }

    #[track_caller]
    pub(crate) fn is_at(&self, secs: f64) {
        until("the run is there", || (self.status()["time_s"].as_f64()? >= secs).then_some(()));
    }

    #[track_caller]
    pub(crate) fn node_is(&self, node: usize, state: &str) {
        until(&format!("node-{node} is {state}: {}", self.status()["nodes"]), || {
            (self.status()["nodes"][node]["state"] == state).then_some(())
        });
    }

    /// Ends the run; its summary.
    pub(crate) fn end(&mut self) -> Value {
        self.coordinator.signal("TERM");
        self.coordinator.ends();
        assert_eq!(self.client.ends(), Some(0));
        json(&self.folder.join("run/summary.json"))
    }
}
