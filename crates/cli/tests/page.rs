//! The page of a live run at `/` of its gateway, in a browser, and the stream of events behind it.

mod common;

use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;
use std::path::Path;

use common::browser::Browser;
use common::live_run::{MESH, Run};
use common::{PATIENCE, folder, pause, until};
use serde_json::{Value, json};

#[test]
fn the_page_shows_windows_as_they_come_and_what_is_done_there_is_done() {
    let mut run = Run::start("page");
    let (folder, address, token) = (run.folder.clone(), run.address.clone(), run.token());
    let link = format!("http://{address}/#token={token}");
    let Some(mut page) = Browser::open(&folder, &link, (1_400, 1_000)) else { return };
    page.until("Number(document.getElementById('page').dataset.windows) >= 3");
    assert_eq!(page.value("location.hash + document.body.innerHTML.includes('token=')"), "false");
    let last = page.value("document.getElementById('page').dataset.last");
    page.until(&format!("document.getElementById('page').dataset.last !== {last}"));

    // The drawn values are those of the gateway for the same window.
    page.until("known.status.time_s > 5");
    let drawn = "(() => { const all = together(); const i = known.edges.findIndex((at) => at >= 2);                  return [known.edges[i], all.offered[i], all.done[i] + all.failed[i] + all.unfinished[i]]; })()";
    assert_eq!(page.value(drawn), json!([2, 5, 5]));
    let twice = "new Set(known.edges).size === known.edges.length && known.edges.every((at, i) => i === 0 || at > known.edges[i - 1])";
    assert_eq!(page.value(twice), true);

    // An operation in the syntax of the file; an error is shown as the gateway's, and the text stays.
    page.value("parts.field.value = 'extend: back, to: many, rate: 1'; parts.field.form.requestSubmit(); 0");
    page.until("document.querySelector('.act pre').textContent.length > 0");
    assert_eq!(page.value("parts.field.value"), "extend: back, to: many, rate: 1");
    page.value("parts.field.value = 'extend: back, to: 3, rate: 1'; parts.field.form.requestSubmit(); 0");
    page.until(
        "[...document.querySelectorAll('[data-table=services] tr')].some((row) => row.textContent.includes('3 / 3'))",
    );

    // Operations of every kind are told from faults.
    for (kind, text) in [("set", "set: services.back.balancer, to: random"), ("flush", "flush: back")] {
        page.value(&format!("parts.field.value = '{text}'; parts.field.form.requestSubmit(); 0"));
        until(kind, || {
            let all = run.get("/api/operations").expect(200).json();
            all["operations"].as_array().unwrap().iter().any(|it| it["kind"] == kind).then_some(())
        });
    }

    // A manual fault is on top, and can be ended there.
    run.ctl_says(&["fault", "crash: node-1, for: 1000s"]);
    page.until("document.querySelector('[data-fault]')?.textContent.includes('node-1 down')");
    page.until("document.querySelector('[data-node=node-1]')?.textContent.includes('dead')");
    page.value("document.querySelector('[data-fault] button').click(); 0");
    page.until("!document.querySelector('[data-fault]')");
    page.until("document.querySelector('[data-node=node-1]')?.textContent.includes('up')");

    assert_eq!(page.value("document.documentElement.scrollWidth <= innerWidth"), true);
    page.ask(
        "Emulation.setDeviceMetricsOverride",
        json!({ "width": 420, "height": 900, "deviceScaleFactor": 1, "mobile": true }),
    );
    page.until("document.querySelector('.plot svg').getAttribute('viewBox').split(' ')[2] < 420");
    assert_eq!(page.value("document.documentElement.scrollWidth"), 420);
    assert_eq!(page.complaints, [""; 0]);

    // One that is killed is missed; another run in its place begins anew.
    run.child.kill().unwrap();
    page.until("document.querySelector('[data-state=lost]') !== null");
    assert_eq!(page.value("[...document.querySelectorAll('[data-change]')].every((it) => it.disabled)"), true);
    let _ = run.child.wait();
    let again = ["live", "mesh.yaml", "--until-stopped", "--no-progress", "--http", &address];
    let again = Run::open_in(folder, &again);
    page.until("!document.querySelector('[data-state=lost]') && known.edges[0] === 0 && known.edges.length > 3");
    assert_eq!(page.value(twice), true);
    again.post("/api/stop", "").expect(202);
    page.until("document.querySelector('[data-state=ended]') !== null");
    assert_eq!(again.ended().0, 0);
    assert_eq!(page.complaints, [""; 0]);
}

#[test]
fn a_listener_beyond_the_limit_is_refused_until_another_leaves() {
    let run = Run::start("listeners");
    let listen = || {
        let mut stream = TcpStream::connect(&run.address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        write!(stream, "GET /api/stream HTTP/1.1\r\nHost: {}\r\n\r\n", run.address).unwrap();
        let mut line = String::new();
        let mut reader = BufReader::new(stream);
        reader.read_line(&mut line).unwrap();
        (line.contains(" 200 "), reader)
    };
    let mut all: Vec<_> = (0..32).map(|_| listen()).collect();
    assert!(all.iter().all(|(is_in, _)| *is_in));
    let refused = run.get("/api/stream").expect(503).json();
    assert_eq!(refused["error"], "32 pages show this run already");
    let (_, mut first) = all.remove(0);
    until("a tick", || {
        let mut line = String::new();
        first.read_line(&mut line).unwrap();
        (line.starts_with("data: {") && line.contains("\"is_all\":true")).then_some(())
    });
    drop(first);
    until("there is room", || listen().0.then_some(()));
}

/// Keeps pictures of the page in both themes, wide and narrow, for people to look at.
fn pictures(page: &mut Browser, folder: &Path) {
    for (width, height) in [(1_400, 1_200), (420, 2_400)] {
        let size = json!({ "width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 700 });
        page.ask("Emulation.setDeviceMetricsOverride", size);
        for theme in ["light", "dark"] {
            let features = json!([{ "name": "prefers-color-scheme", "value": theme }]);
            page.ask("Emulation.setEmulatedMedia", json!({ "features": features }));
            page.until(&format!("document.querySelector('.plot svg').getAttribute('viewBox').split(' ')[2] < {width}"));
            page.picture(&folder.join(format!("page-{width}-{theme}.png")));
        }
        assert_eq!(page.value("document.documentElement.scrollWidth <= innerWidth"), true, "at {width} px");
    }
}

#[test]
fn the_page_shows_slos_and_versions_and_asks_before_it_does_harm() {
    let mesh = format!("{MESH}slo: [ users errors <= 100%, p99 < 30ms, p50 < 1us, back errors <= 100% any 5s ]\n");
    let run = Run::open_in(
        folder("careful", &mesh),
        &["live", "mesh.yaml", "--until-stopped", "--no-progress", "--http", "127.0.0.1:0"],
    );
    run.until_served();
    let link = format!("http://{}/#token={}", run.address, run.token());
    let Some(mut page) = Browser::open(&run.folder, &link, (1_400, 1_000)) else { return };
    page.until("known.status.time_s > 5");
    let outcomes = "[...document.querySelectorAll('[data-slo]')].map((it) => it.dataset.outcome).join()";
    // Whether p99 holds is for the machine to say.
    page.until(&format!("/^pass,[a-z]+,fail,pass$/.test({outcomes})"));
    // They are those of the status.
    let shown = page.value("[...document.querySelectorAll('[data-slo]')].map((it) => it.dataset.slo)");
    let status = run.get("/api/status").expect(200).json();
    let slos: Vec<&Value> = status["slo"].as_array().unwrap().iter().map(|it| &it["slo"]).collect();
    assert_eq!(shown, json!(slos));
    page.until("document.querySelector('line.slo') !== null");

    // While an update goes on, each version has its row.
    assert_eq!(page.value("document.querySelectorAll('tr[data-version]').length"), 0);
    run.post("/api/operations", "{ update: back, to: 2, strategy: batch, rate: 0.5, every: 8s }").expect(202);
    page.until("[...document.querySelectorAll('tr[data-version]')].map((it) => it.dataset.version).join() === '1,2'");
    pictures(&mut page, &run.folder);

    // A fault of most of the nodes is asked about once, in its place; another text is another question.
    let ask = |page: &mut Browser, text: &str| {
        page.value(&format!("parts.field.value = '{text}'; parts.field.form.requestSubmit(); 0"))
    };
    let said = "document.querySelector('.act pre').textContent";
    ask(&mut page, "crash: [node-0, node-1], for: 2s");
    page.until(&format!("{said}.startsWith('This hits 2 of 2 nodes.')"));
    assert_eq!(page.value("document.querySelector('.act button').textContent"), "Really do it");
    ask(&mut page, "wipe: node-1, for: 2s");
    page.until(&format!("{said}.startsWith('This loses all')"));
    page.value("parts.field.dispatchEvent(new Event('input', { bubbles: true })); 0");
    assert_eq!(page.value("document.querySelector('.act button').textContent"), "Do it");
    ask(&mut page, "undeploy: front");
    page.until(&format!("{said}.startsWith('This takes away all instances of front.')"));
    assert_eq!(page.value("known.events.some((it) => it.kind === 'fault_began')"), false);
    ask(&mut page, "crash: node-1, for: 2s");
    page.until("known.events.some((it) => it.kind === 'fault_began')");
    let begun = "known.events.filter((it) => it.kind === 'fault_began').length";
    ask(&mut page, "crash: [node-0, node-1], for: 2s");
    ask(&mut page, "crash: [node-0, node-1], for: 2s");
    page.until(&format!("{begun} === 2"));

    // A page that was away for a while goes on where it was; one whose place is not known begins anew.
    page.value(
        "globalThis.seen = []; globalThis.was = take; take = (tick) => { seen.push(tick.is_all); was(tick); }; 0",
    );
    let windows = page.value("known.edges.length");
    page.value("source.close(); 0");
    pause(2_500);
    page.value("connect(); 0");
    page.until("seen.length >= 3");
    assert_eq!(page.value("seen.includes(true)"), false, "nothing was said twice");
    let edges = "known.edges[0] === 0 && new Set(known.edges).size === known.edges.length";
    page.until(&format!("known.edges.length > {windows} + 2 && {edges}"));
    page.value("known.last = 'another-7'; connect(); 0");
    page.until("seen.includes(true)");
    page.until(&format!("document.getElementById('live').textContent.includes('begun anew') && {edges}"));
    assert_eq!(page.complaints, [""; 0]);
}

#[test]
fn a_stream_goes_on_after_the_last_event_that_a_browser_names() {
    let run = Run::start("resumed");
    let listen = |header: &str| {
        let mut stream = TcpStream::connect(&run.address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        write!(stream, "GET /api/stream HTTP/1.1\r\nHost: {}\r\n{header}\r\n", run.address).unwrap();
        BufReader::new(stream)
    };
    // The id of the next event, and its data.
    let next = |reader: &mut BufReader<TcpStream>| {
        let mut id = String::new();
        until("an event", || {
            let mut line = String::new();
            reader.read_line(&mut line).unwrap();
            id = line.strip_prefix("id: ").map_or_else(|| id.clone(), |id| id.trim().to_owned());
            let data = line.strip_prefix("data: ")?;
            Some((id.clone(), serde_json::from_str::<Value>(data).unwrap()))
        })
    };
    let number = |id: &str| id.rsplit_once('-').unwrap().1.parse::<u64>().unwrap();
    let mut first = listen("");
    let (id, all) = next(&mut first);
    assert_eq!(all["is_all"], true);
    let (later, change) = next(&mut first);
    assert_eq!((number(&later), &change["is_all"]), (number(&id) + 1, &false.into()));
    drop(first);
    pause(2_500);
    // Every event since then comes, in order.
    let mut again = listen(&format!("Last-Event-ID: {later}\r\n"));
    for step in 1..=3 {
        let (id, change) = next(&mut again);
        assert_eq!((number(&id), &change["is_all"]), (number(&later) + step, &false.into()));
    }
    // An id of another run, or one that is to come, is none.
    for wrong in [format!("1-{}", number(&later)), later.replace(&format!("-{}", number(&later)), "-99999"), "x".into()]
    {
        let (_, all) = next(&mut listen(&format!("Last-Event-ID: {wrong}\r\n")));
        assert_eq!(all["is_all"], true, "{wrong}");
    }
}
