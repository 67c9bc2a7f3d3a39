//! A live run that a test starts, asks and steers through its gateway.

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::PathBuf;
use std::process::{Child, Output};
use std::sync::{Arc, Mutex};

use serde_json::Value;

use super::{PATIENCE, command, meshsim, one_line, stderr, stdout, until};

/// The experiment of a run that names no other.
pub(crate) const MESH: &str = "
name: small
seed: 7
duration: 60s
nodes: [ { name: node, count: 2 } ]
services:
  front: { instances: 2, capacity: 8, endpoints: { show: { script: [ work: 2ms, call: back.get ] }, part: { script: [ call: { to: back.fail, optional: true } ] } } }
  back: { instances: 2, capacity: 4, endpoints: { get: { script: [ work: 3ms ] }, fail: { errors: 100% }, nap: { script: [ sleep: 60s ] } } }
load:
  users: { to: front.show, arrivals: { constant: 5/s } }
";

/// A folder with it, for one test.
pub(crate) fn folder(test: &str) -> PathBuf {
    super::folder(test, MESH)
}

/// A live run without a planned end; it ends with the test at the latest.
pub(crate) struct Run {
    pub(crate) folder: PathBuf,
    pub(crate) child: Child,
    /// Address of its gateway.
    pub(crate) address: String,
    pub(crate) stderr: Arc<Mutex<String>>,
}

impl Run {
    /// Starts a live run, and waits until it is in progress.
    pub(crate) fn begin(test: &str, args: &[&str]) -> Self {
        let run = Self::open(test, &[&["live", "mesh.yaml", "--until-stopped", "--no-progress"][..], args].concat());
        until("the run goes on", || (run.get("/readyz").status == 200).then_some(()));
        run.until_served();
        run
    }

    /// Starts the process of a run, and waits until its gateway is open.
    pub(crate) fn open(test: &str, args: &[&str]) -> Self {
        Self::open_in(folder(test), args)
    }

    pub(crate) fn open_in(folder: PathBuf, args: &[&str]) -> Self {
        let mut child = command(&folder, args).spawn().unwrap();
        let stderr = Arc::<Mutex<String>>::default();
        let (lines, kept) = (BufReader::new(child.stderr.take().unwrap()).lines(), stderr.clone());
        std::thread::spawn(move || {
            lines.map_while(Result::ok).for_each(|line| *kept.lock().unwrap() += &(line + "\n"))
        });
        let mut run = Run { folder, child, address: String::new(), stderr };
        run.address = until("the gateway is open", || {
            let said = run.stderr.lock().unwrap().clone();
            assert!(run.child.try_wait().unwrap().is_none(), "it ended: {said}");
            said.split("http://").nth(1).and_then(|rest| Some(rest.split_once('/')?.0.to_owned()))
        });
        run
    }

    pub(crate) fn start(test: &str) -> Self {
        Self::begin(test, &["--http", "127.0.0.1:0"])
    }

    pub(crate) fn token(&self) -> String {
        let port = self.address.rsplit_once(':').unwrap().1;
        fs::read_to_string(self.folder.join(format!("meshsim/meshsim-{port}.token"))).unwrap().trim().to_owned()
    }

    /// Sends bytes as they are, and reads to the end.
    pub(crate) fn raw(&self, bytes: &[u8]) -> Vec<u8> {
        let mut stream = TcpStream::connect(&self.address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        // A server that refuses may not read all.
        let _ = stream.write_all(bytes);
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer);
        answer
    }

    pub(crate) fn ask(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> Answer {
        let mut text = format!("{method} {path} HTTP/1.1\r\nConnection: close\r\nContent-Length: {}\r\n", body.len());
        if !headers.iter().any(|(key, _)| *key == "Host") {
            text += &format!("Host: {}\r\n", self.address);
        }
        headers.iter().for_each(|(key, value)| text += &format!("{key}: {value}\r\n"));
        Answer::read(&self.raw(format!("{text}\r\n{body}").as_bytes()))
    }

    pub(crate) fn get(&self, path: &str) -> Answer {
        self.ask("GET", path, &[], "")
    }

    /// With the token.
    pub(crate) fn post(&self, path: &str, body: &str) -> Answer {
        self.ask("POST", path, &[("Authorization", &format!("Bearer {}", self.token()))], body)
    }

    #[track_caller]
    pub(crate) fn until_status(&self, what: &str, is: impl Fn(&Value) -> bool) -> Value {
        until(what, || Some(self.get("/api/status")).filter(|it| it.status == 200).map(|it| it.json()).filter(&is))
    }

    /// Waits until the deployed instances accept requests, and the gateway knows them.
    #[track_caller]
    pub(crate) fn until_served(&self) {
        self.until_status("all is there", |status| status["services"][1]["ready"] == 2);
        until("there is an answer", || (self.get("/front/show").status == 200).then_some(()));
    }

    pub(crate) fn ctl(&self, args: &[&str]) -> Output {
        let url = format!("http://{}", self.address);
        meshsim(&self.folder, &[&["ctl", "--to", &url][..], args].concat())
    }

    /// Output of `ctl` on success.
    #[track_caller]
    pub(crate) fn ctl_says(&self, args: &[&str]) -> String {
        let output = self.ctl(args);
        let text = stdout(&output);
        assert_eq!(output.status.code(), Some(0), "{args:?}: {text}{}", stderr(&output));
        text
    }

    /// Exit code and error output of `ctl`.
    #[track_caller]
    pub(crate) fn ctl_complains(&self, args: &[&str]) -> (i32, String) {
        let output = self.ctl(args);
        (output.status.code().unwrap(), one_line(&stderr(&output)))
    }

    /// Exit code and output.
    pub(crate) fn ended(mut self) -> (i32, String) {
        let status = until("the run ends", || self.child.try_wait().unwrap());
        let mut text = String::new();
        self.child.stdout.take().unwrap().read_to_string(&mut text).unwrap();
        (status.code().unwrap(), text)
    }
}

impl Drop for Run {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("{}", self.stderr.lock().unwrap());
        }
        // Its children go when it is gone.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: BTreeMap<String, String>,
    pub(crate) body: String,
}

impl Answer {
    pub(crate) fn read(bytes: &[u8]) -> Self {
        let text = String::from_utf8(bytes.to_vec()).unwrap();
        let (head, body) = text.split_once("\r\n\r\n").unwrap_or_else(|| panic!("no answer: {text:?}"));
        let mut lines = head.lines();
        let status = lines.next().unwrap().split(' ').nth(1).unwrap().parse().unwrap();
        let header = |line: &str| line.split_once(": ").map(|(key, value)| (key.to_lowercase(), value.to_owned()));
        Answer { status, headers: lines.filter_map(header).collect(), body: body.to_owned() }
    }

    #[track_caller]
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {:?}", self.body))
    }

    #[track_caller]
    pub(crate) fn expect(self, status: u16) -> Self {
        assert_eq!(self.status, status, "{}", self.body);
        self
    }

    /// Error message.
    #[track_caller]
    pub(crate) fn refused(self, status: u16) -> String {
        let answer = self.expect(status).json();
        answer["error"].as_str().unwrap_or_else(|| panic!("{answer}")).to_owned()
    }
}
