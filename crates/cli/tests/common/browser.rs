//! A real browser that a test drives: Chromium, over its pipe for debugging
//! (<https://chromedevtools.github.io/devtools-protocol/>).

use std::fs::{File, OpenOptions};
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use serde_json::{Value, json};

use super::until;

/// Chromium, if there is one; said, or a failure, if there is none.
pub(crate) fn chromium() -> Option<&'static str> {
    let found = ["chromium", "chromium-browser", "google-chrome"]
        .into_iter()
        .find(|name| Command::new(name).arg("--version").output().is_ok_and(|it| it.status.success()));
    if found.is_none() {
        assert!(std::env::var_os("MESHSIM_REQUIRE_BROWSER").is_none(), "there is no Chromium here");
        println!("skipped: there is no Chromium here");
    }
    found
}

/// A browser with one page.
pub(crate) struct Browser {
    child: Child,
    to: File,
    from: BufReader<File>,
    session: String,
    asked: u64,
    /// Messages of the page in the console, and refused requests.
    pub(crate) complaints: Vec<String>,
}

impl Browser {
    /// Opens an address, in a window of this size.
    pub(crate) fn open(folder: &Path, address: &str, (width, height): (u32, u32)) -> Option<Self> {
        let chromium = chromium()?;
        let (to, from) = (folder.join("to-browser"), folder.join("from-browser"));
        for pipe in [&to, &from] {
            let _ = std::fs::remove_file(pipe);
            assert!(Command::new("mkfifo").arg(pipe).status().unwrap().success());
        }
        // It reads from descriptor 3 and writes to 4. A pipe opened for both directions does not block.
        let line = "exec \"$0\" \"$@\" 3<>to-browser 4<>from-browser";
        let child = Command::new("sh")
            .args(["-c", line, chromium, "--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"])
            .args(["--remote-debugging-pipe", "--no-first-run", "--disable-background-networking"])
            .arg(format!("--user-data-dir={}", folder.join("profile").display()))
            .arg(format!("--window-size={width},{height}"))
            .current_dir(folder)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let both = |pipe| OpenOptions::new().read(true).write(true).open(pipe).unwrap();
        let (to, from) = (both(&to), BufReader::new(both(&from)));
        let mut browser = Browser { child, to, from, session: String::new(), asked: 0, complaints: Vec::new() };
        let made = browser.ask("Target.createTarget", json!({ "url": "about:blank" }));
        let attached = browser.ask("Target.attachToTarget", json!({ "targetId": made["targetId"], "flatten": true }));
        browser.session = attached["sessionId"].as_str().unwrap().to_owned();
        for domain in ["Page", "Runtime", "Log"] {
            browser.ask(&format!("{domain}.enable"), json!({}));
        }
        browser.ask(
            "Emulation.setDeviceMetricsOverride",
            json!({ "width": width, "height": height, "deviceScaleFactor": 1, "mobile": false }),
        );
        browser.ask("Page.navigate", json!({ "url": address }));
        Some(browser)
    }

    /// Sends a command to the browser, and waits for its response.
    pub(crate) fn ask(&mut self, method: &str, params: Value) -> Value {
        self.asked += 1;
        let mut message = json!({ "id": self.asked, "method": method, "params": params });
        if !self.session.is_empty() {
            message["sessionId"] = self.session.clone().into();
        }
        self.to.write_all(format!("{message}\0").as_bytes()).unwrap();
        loop {
            let mut bytes = Vec::new();
            self.from.read_until(0, &mut bytes).unwrap();
            let said: Value = serde_json::from_slice(bytes.strip_suffix(b"\0").unwrap()).unwrap();
            match said["method"].as_str() {
                // A gateway that is gone is no fault of the page's.
                Some("Log.entryAdded") if said["params"]["entry"]["source"] != "network" => {
                    self.complaints.push(said["params"]["entry"]["text"].to_string());
                }
                Some("Runtime.exceptionThrown" | "Runtime.consoleAPICalled") => {
                    self.complaints.push(said["params"].to_string());
                }
                _ => {}
            }
            if said["id"] == self.asked {
                assert!(said["error"].is_null(), "{method}: {said}");
                return said["result"].clone();
            }
        }
    }

    /// The value of an expression in the page.
    pub(crate) fn value(&mut self, expression: &str) -> Value {
        let params = json!({ "expression": expression, "returnByValue": true, "awaitPromise": true });
        let said = self.ask("Runtime.evaluate", params);
        assert!(said["exceptionDetails"].is_null(), "{expression}: {said}");
        said["result"]["value"].clone()
    }

    /// Keeps a picture of the page, for people to look at.
    pub(crate) fn picture(&mut self, path: &Path) {
        let said = self.ask("Page.captureScreenshot", json!({ "captureBeyondViewport": true }));
        std::fs::write(path, decoded(said["data"].as_str().unwrap())).unwrap();
    }

    /// Waits until an expression in the page is true.
    #[track_caller]
    pub(crate) fn until(&mut self, expression: &str) {
        // While the page is loading, the queried value does not exist.
        let expression = format!("(() => {{ try {{ return {expression}; }} catch {{ return false; }} }})()");
        until(&expression, || (self.value(&expression) == true).then_some(()));
    }
}

/// The bytes of a text in base64.
fn decoded(text: &str) -> Vec<u8> {
    let value = |letter: u8| match letter {
        b'A'..=b'Z' => letter - b'A',
        b'a'..=b'z' => letter - b'a' + 26,
        b'0'..=b'9' => letter - b'0' + 52,
        b'+' => 62,
        _ => 63,
    };
    let letters: Vec<u8> = text.bytes().filter(|letter| *letter != b'=').collect();
    let bytes = letters.chunks(4).flat_map(|four| {
        let bits = (0..4).fold(0u32, |bits, i| bits << 6 | u32::from(four.get(i).map_or(0, |letter| value(*letter))));
        bits.to_be_bytes()[1..four.len()].to_vec()
    });
    bytes.collect()
}

impl Drop for Browser {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
