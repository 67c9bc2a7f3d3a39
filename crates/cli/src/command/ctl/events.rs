//! `meshsim ctl events`

use std::time::Duration;

use meshsim_report::table::{Look, Paint};

use super::gateway::Gateway;
use crate::error::Error;
use crate::screen::Screen;
use meshsim_gateway::{Events, Phase};

/// Interval between two queries.
const EVERY: Duration = Duration::from_millis(500);

/// Prints what has happened, one event a line; with `follow` until the run ends.
pub(super) fn print(gateway: &Gateway, follow: bool, json: bool, screen: &mut Screen) -> Result<(), Error> {
    let mut from = 0;
    loop {
        let asked = gateway.get::<Events>(&format!("/api/events?from={from}"));
        let Events { events, next, left_out, phase } = match asked {
            // The gateway goes with the run.
            Err(Error::Gateway(..)) if follow && from > 0 => return Ok(()),
            other => other?,
        };
        for event in &events {
            match json {
                true => screen.print_json_line(event)?,
                false => screen.print(&line(event, screen.paint()))?,
            }
        }
        let is_all = events.is_empty();
        from = next;
        if is_all && (!follow || phase == Phase::Ended || screen.is_closed()) {
            if left_out > 0 && !json {
                screen.print(&format!("and {left_out} more, in events.jsonl when the run has ended\n"))?;
            }
            return Ok(());
        }
        if is_all {
            #[expect(clippy::disallowed_methods, reason = "a person waits for news of another process")]
            std::thread::sleep(EVERY);
        }
    }
}

fn line(event: &meshsim_report::events::Event, paint: Paint) -> String {
    use meshsim_report::events::EventKind;
    let (look, word) = match event.kind {
        EventKind::FaultBegan => (Look::Bad, "fault began"),
        EventKind::FaultEnded => (Look::Plain, "fault ended"),
        EventKind::NodeDead | EventKind::NodeShunned => (Look::Bad, ""),
        EventKind::NodeLeft => (Look::Warn, ""),
        EventKind::OperationBegan => (Look::Good, "began"),
        EventKind::OperationSettled => (Look::Good, "settled"),
        EventKind::StepDecided => (Look::Dim, "decided"),
        EventKind::StepSettled => (Look::Dim, "settled"),
        EventKind::NodeBack => (Look::Plain, ""),
        EventKind::InstanceReady | EventKind::InstanceGone | EventKind::LeftOut => (Look::Dim, ""),
    };
    let words = if word.is_empty() { event.what.clone() } else { format!("{word}: {}", event.what) };
    format!("{:>9.2}s  {}\n", event.at_s, paint.on(look, &words))
}
