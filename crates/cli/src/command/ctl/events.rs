//! `meshsim ctl events`

use std::time::Duration;

use super::gateway::GatewayClient;
use super::show;
use crate::error::Error;
use crate::screen::Screen;
use meshsim_gateway::{Events, Phase};

/// Interval between two queries.
const EVERY: Duration = Duration::from_millis(500);

/// Prints what has happened, one event a line; with `follow` until the run ends.
pub(super) fn print(gateway: &GatewayClient, follow: bool, json: bool, screen: &mut Screen) -> Result<(), Error> {
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
                false => screen.print(&show::event(event, screen.paint()))?,
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
