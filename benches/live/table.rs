//! The measurements, and their tables.

use crate::plan::{BARE, Plan, TONIC, TRANSPORT, WHOLE, Way};
use crate::process::{Failure, Process, Report};
use crate::workload::{MESSAGE_BYTES, frame_bytes};

const ROUNDS: u32 = 5;
/// A quick run does this many times less.
const QUICK: u32 = 200;

/// The two sides of a measurement.
#[derive(Clone, Copy, Debug)]
struct Measured {
    sender: Report,
    receiver: Report,
}

impl Measured {
    /// The listening side is the sender in some ways and the receiver in others.
    fn take(way: &Way, plan: &Plan) -> Result<Self, Failure> {
        let (mut listener, port) = Process::listen(way, plan)?;
        let mut dialler = Process::dial(way, plan, port)?;
        let (one, other) = (dialler.report()?, listener.report()?);
        let (sender, receiver) = if one.is_sender { (one, other) } else { (other, one) };
        if [sender.messages, receiver.messages] != [plan.messages(); 2] {
            let (sent, came) = (sender.messages, receiver.messages);
            return Err(
                format!("{}: of {} messages {sent} were sent and {came} came", way.name, plan.messages()).into()
            );
        }
        Ok(Measured { sender, receiver })
    }

    fn per_sec(&self) -> f64 {
        self.sender.messages as f64 / self.sender.secs
    }
}

/// The best round of each way. The ways take turns, because the other load of the machine varies.
fn best<const N: usize>(
    ways: [(Way, Plan); N],
    is_quick: bool,
    cost: impl Fn(&Measured) -> f64,
) -> Result<[Measured; N], Failure> {
    let mut best = [None; N];
    for _ in 0..if is_quick { 1 } else { ROUNDS } {
        for ((way, plan), best) in ways.iter().zip(&mut best) {
            let measured = Measured::take(way, plan)?;
            *best = best.filter(|best| cost(best) <= cost(&measured)).or(Some(measured));
        }
    }
    Ok(best.map(|best| best.expect("there is a round")))
}

fn amount(full: u32, is_quick: bool) -> u32 {
    if is_quick { full / QUICK } else { full }
}

fn processor_ns(report: &Report) -> String {
    format!("{:.0}", report.processor_secs * 1e9 / report.messages as f64)
}

pub(crate) fn one_way(is_quick: bool) -> Result<(), Failure> {
    let (frame, added) = frame_bytes();
    println!("\none way: messages of {MESSAGE_BYTES} bytes, in our frames {frame} ({added} more)");
    line("", ["M messages/s", "MB/s payload", "of bare", "x tonic", "sender ns", "receiver ns"].map(String::from));
    let plan = |messages| Plan::one_way(amount(messages, is_quick));
    let ways =
        [(BARE, plan(20_000_000)), (TRANSPORT, plan(5_000_000)), (WHOLE, plan(2_000_000)), (TONIC, plan(1_000_000))];
    let measured = best(ways, is_quick, |measured| 1.0 / measured.per_sec())?;
    let [bare, .., tonic] = measured;
    for ((way, _), it) in ways.iter().zip(measured) {
        line(
            way.name,
            [
                format!("{:.2}", it.per_sec() / 1e6),
                format!("{:.0}", it.per_sec() * MESSAGE_BYTES as f64 / 1e6),
                format!("{:.0} %", it.per_sec() / bare.per_sec() * 100.0),
                format!("{:.1} x", it.per_sec() / tonic.per_sec()),
                processor_ns(&it.sender),
                processor_ns(&it.receiver),
            ],
        );
    }
    println!("ns: processor time of each side for a message; the busier side is the most that a core can do");
    Ok(())
}

pub(crate) fn round_trip(is_quick: bool) -> Result<(), Failure> {
    println!("\nround trip: {MESSAGE_BYTES} bytes there and an acknowledgement back, one at a time");
    line("", ["p50 us", "p99 us", "sender ns", "receiver ns"].map(String::from));
    let plan = Plan::round_trips(amount(20_000, is_quick));
    let ways = [BARE, TRANSPORT, WHOLE].map(|way| (way, plan));
    let measured = best(ways, is_quick, |measured| measured.sender.trip_p50_us)?;
    for ((way, _), it) in ways.iter().zip(measured) {
        let trips = [it.sender.trip_p50_us, it.sender.trip_p99_us].map(|us| format!("{us:.1}"));
        let [p50, p99] = trips;
        line(way.name, [p50, p99, processor_ns(&it.sender), processor_ns(&it.receiver)]);
    }
    Ok(())
}

pub(crate) fn broadcast(is_quick: bool) -> Result<(), Failure> {
    let (targets, count) = if is_quick { (20, 10) } else { (200, 1_000) };
    println!("\nbroadcast: {MESSAGE_BYTES} bytes to {targets} connections, and the next when all have acknowledged");
    line("", ["broadcasts/s", "M messages/s", "p50 us", "p99 us", "sender ns", "receiver ns"].map(String::from));
    let ways = [BARE, WHOLE].map(|way| (way, Plan::broadcasts(targets, count)));
    let measured = best(ways, is_quick, |measured| measured.sender.secs)?;
    for ((way, _), it) in ways.iter().zip(measured) {
        line(
            way.name,
            [
                format!("{:.0}", f64::from(count) / it.sender.secs),
                // In both directions.
                format!("{:.2}", 2.0 * it.per_sec() / 1e6),
                format!("{:.0}", it.sender.trip_p50_us),
                format!("{:.0}", it.sender.trip_p99_us),
                processor_ns(&it.sender),
                processor_ns(&it.receiver),
            ],
        );
    }
    println!("messages: with the acknowledgements; ns: for a message and its acknowledgement");
    Ok(())
}

/// A row: a name and numbers.
pub(crate) fn line<const N: usize>(name: &str, numbers: [String; N]) {
    let numbers: Vec<String> = numbers.iter().map(|number| format!("{number:>13}")).collect();
    println!("{name:<24}{}", numbers.concat());
}
