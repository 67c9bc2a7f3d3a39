//! The gateway's memory stays bounded, whatever its clients do: measured on the real process.
//!
//! `MESHSIM_CAMPAIGN=10` sends ten times as much.

#![cfg(target_os = "linux")]

mod common;

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::Child;
use std::time::Duration;

use common::{campaign, command};

/// The process may hold so much at its peak, the run itself included.
const PEAK_BYTES_MAX: u64 = 150 << 20;
/// More than the gateway keeps open.
const CLIENTS: usize = 700;
const PATIENCE: Duration = Duration::from_secs(60);

/// A live run with its gateway in the process that is looked at.
struct Run {
    child: Child,
    address: String,
    _folder: tempfile::TempDir,
}

impl Run {
    fn begin() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mesh = "name: small\nnodes: [ { name: n, cores: 8 } ]\nduration: 600s\nservices:\n  s:\n    endpoints: { e: { script: [ sleep: 1ms ] } }\n";
        fs::write(folder.path().join("mesh.yaml"), mesh).unwrap();
        let args = ["live", "mesh.yaml", "--until-stopped", "--no-progress", "--http", "127.0.0.1:0"];
        let mut child = command(folder.path(), &args).spawn().unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines().map_while(Result::ok);
        let address = lines
            .find_map(|line| Some(line.split("http://").nth(1)?.split('/').next()?.to_owned()))
            .expect("it says where its gateway is");
        // Further output must not fill the pipe.
        std::thread::spawn(move || lines.count());
        Run { child, address, _folder: folder }
    }

    fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(&self.address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_write_timeout(Some(Duration::from_millis(200))).unwrap();
        stream
    }

    /// A new client finds the gateway open, and the process small.
    fn expect_well(&self, when: &str) {
        let mut stream = self.connect();
        stream.write_all(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        assert!(answer.starts_with("HTTP/1.1 200"), "{when}: {answer:?}");
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")?.trim().strip_suffix(" kB")).unwrap();
        let peak = peak.trim().parse::<u64>().unwrap() << 10;
        println!("{when}: {} MB at its peak", peak / 1_000_000);
        assert!(peak < PEAK_BYTES_MAX, "{when}: {peak} bytes");
    }
}

impl Drop for Run {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// So many bytes of requests in a row.
fn pipelined(path: &str, bytes: usize) -> Vec<u8> {
    let request = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n");
    request.repeat(bytes / request.len()).into_bytes()
}

#[test]
fn no_client_makes_the_gateway_large_or_keeps_others_out() {
    let run = Run::begin();
    run.expect_well("at the start");

    let requests = pipelined("/s/e", (4 << 20) * campaign());
    let mut flood: Vec<TcpStream> = (0..4).map(|_| run.connect()).collect();
    flood.iter_mut().for_each(|stream| drop(stream.write_all(&requests)));
    run.expect_well("after pipelined requests whose responses are not read");
    drop(flood);

    let requests = pipelined("/api/openapi.json", 16 << 10);
    let mut unread: Vec<TcpStream> = (0..CLIENTS).map(|_| run.connect()).collect();
    unread.iter_mut().for_each(|stream| drop(stream.write_all(&requests)));
    run.expect_well("with clients that never read");
    drop(unread);

    let mut slow: Vec<TcpStream> = (0..CLIENTS).map(|_| run.connect()).collect();
    for part in [&b"POST /s/e HTTP/1.1\r\nHost: local"[..], b"host\r\nContent-Length: 65536\r\n\r\n", &[b'x'; 60_000]] {
        slow.iter_mut().for_each(|stream| drop(stream.write_all(part)));
        run.expect_well("with clients that send slowly");
    }
    drop(slow);

    let silent: Vec<TcpStream> = (0..CLIENTS).map(|_| run.connect()).collect();
    run.expect_well("with clients that say nothing");
    drop(silent);
}
