//! The diagram as a picture: time runs down, event by event, and a message slopes from its sending to its arrival.

use meshsim_report::picture;

use super::{Arrow, Diagram, Fared, secs};
use crate::flow::line::cut;

/// Pixels: of the times at the left, between two lines, between two events, above the first event.
const LEFT: f64 = 96.0;
const GAP_MIN: f64 = 110.0;
const GAP_MAX: f64 = 220.0;
const WIDTH_WANTED: f64 = 1_100.0;
const ROW: f64 = 20.0;
const TOP: f64 = 74.0;
/// Pixels of a character, at most.
const CHAR: f64 = 6.6;

pub(in crate::command) fn draw(diagram: &Diagram, run: &str) -> String {
    let count = diagram.actors.len().max(1) as f64;
    let gap = ((WIDTH_WANTED - LEFT) / count).clamp(GAP_MIN, GAP_MAX);
    let width = LEFT + gap * count;
    let x = |actor: usize| LEFT + gap * (actor as f64 + 0.5);

    // Every sending, arrival, loss and mark has a row of its own, in the order in which they happened.
    let mut moments: Vec<(u64, u64)> =
        diagram.messages.iter().map(|message| (message.sent_ns, message.record)).collect();
    moments.extend(diagram.messages.iter().filter_map(|message| match message.fared {
        Fared::Arrived { at_ns, record, .. } => Some((at_ns, record)),
        Fared::Lost { at_ns, .. } => Some((at_ns, message.record)),
        Fared::UnderWay => None,
    }));
    moments.extend(diagram.marks.iter().map(|mark| (mark.at_ns, mark.record)));
    moments.sort_unstable();
    moments.dedup();
    let y = |moment: (u64, u64)| TOP + ROW * (moments.binary_search(&moment).unwrap_or(moments.len()) as f64 + 1.0);
    let bottom = TOP + ROW * (moments.len() as f64 + 1.5);

    let mut out = picture::text(16.0, 26.0, "start", "title", &cut(&format!("Messages of {run}"), 90));
    let left_out = match diagram.left_out {
        0 => String::new(),
        n => format!(", {} left out", meshsim_report::count(n)),
    };
    let shown = meshsim_report::plural(diagram.messages.len() as u64, "message");
    out += &picture::text(16.0, 44.0, "start", "mut", &format!("{shown}{left_out}; time runs down, one event a row"));
    for (at, name) in diagram.actors.iter().enumerate() {
        out += &picture::line(x(at), TOP + 4.0, x(at), bottom, "line");
        let name = cut(name, (gap / CHAR) as usize);
        out += &picture::text(x(at), TOP - 4.0, "middle", "", &name);
    }
    let mut last_time = String::new();
    for moment in &moments {
        let time = secs(moment.0);
        if time != last_time {
            out += &picture::text(LEFT - 10.0, y(*moment) + 4.0, "end", "mut", &time);
            last_time = time;
        }
    }
    for message in &diagram.messages {
        let (x1, y1) = (x(message.from), y((message.sent_ns, message.record)));
        let (x2, y2) = match message.fared {
            Fared::Arrived { at_ns, record, .. } => (x(message.to), y((at_ns, record))),
            // The arrow of a lost message ends before the line of its receiver.
            Fared::Lost { at_ns, .. } => {
                (x(message.to) - 16.0 * (x(message.to) - x1).signum(), y((at_ns, message.record)).max(y1 + ROW * 0.7))
            }
            Fared::UnderWay => (x(message.to), bottom),
        };
        let (stroke, ink, head) = match message.arrow() {
            Arrow::Lost => ("bad", "badink", "cross"),
            Arrow::Odd => ("odd", "", "oddhead"),
            Arrow::Plain => ("msg", "", "head"),
        };
        out += &picture::line(x1, y1, x2, y2, stroke);
        out += &match message.fared {
            Fared::Lost { .. } => picture::cross(x2, y2),
            Fared::Arrived { .. } => picture::head(x1, y1, x2, y2, head),
            Fared::UnderWay => String::new(),
        };
        // The words stand at the sending, on the side to which the message goes.
        let (dx, anchor, room) = if x2 >= x1 { (6.0, "start", width - x1) } else { (-6.0, "end", x1 - LEFT) };
        let words = cut(&message.label(), ((room - 10.0) / CHAR).max(4.0) as usize);
        out += &picture::text(x1 + dx, y1 - 3.0, anchor, ink, &words);
    }
    for mark in &diagram.marks {
        let (mx, my) = (x(mark.actor), y((mark.at_ns, mark.record)));
        let class = if mark.is_bad { "badink" } else { "ok" };
        out += &if mark.is_bad {
            picture::cross(mx, my)
        } else {
            format!("<circle cx=\"{mx:.1}\" cy=\"{my:.1}\" r=\"3.5\" class=\"ok\"/>\n")
        };
        let words = cut(&mark.words, ((width - mx - 10.0) / CHAR).max(4.0) as usize);
        out += &picture::text(mx + 8.0, my + 4.0, "start", class, &words);
    }
    let label = format!("Space-time diagram of {run}: {shown}{left_out}");
    picture::svg(width, bottom + 12.0, &label, &out)
}
