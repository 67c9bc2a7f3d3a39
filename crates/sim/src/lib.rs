//! The virtual-time host: event queue, links, clock
