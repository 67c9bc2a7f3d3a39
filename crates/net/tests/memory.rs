//! Bounds the memory per wire byte of the control messages between processes, measured by the allocator. Together with
//! the longest frame it bounds the memory that one connection can make a process hold.

use std::alloc::System;

use meshsim_net::golden;
use meshsim_wire::{FRAME_BYTES_MAX, Splitter};
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

/// An empty text is a byte on the wire and three words in memory, in a list that was read and may have twice the room.
const EACH_MAX: f64 = 50.0;

#[test]
fn a_decoded_frame_holds_a_bounded_multiple_of_its_wire_bytes() {
    for (what, wire) in golden::lists().into_iter().chain(golden::frames()) {
        let mut splitter = Splitter::new();
        splitter.trust();
        splitter.room().extend_from_slice(&wire);
        let frame = splitter.next_frame().unwrap().unwrap();
        // Allocated once for all frames.
        drop(golden::kept::<()>(&frame).unwrap());
        let region = Region::new(ALLOCATOR);
        let read = golden::kept::<()>(&frame).unwrap();
        let change = region.change();
        drop(read);
        let held = change.bytes_allocated.saturating_sub(change.bytes_deallocated);
        let each = held as f64 / wire.len() as f64;
        println!("{what}: {} bytes on the wire, {held} held ({each:.1} each)", wire.len());
        // A small frame is a box of its own, whatever its content.
        assert!(held < 512 || each <= EACH_MAX, "{what}: {each} bytes for each on the wire");
    }
    assert!(FRAME_BYTES_MAX as f64 * EACH_MAX < 256e6, "so much, for as long as one frame is looked at");
}
