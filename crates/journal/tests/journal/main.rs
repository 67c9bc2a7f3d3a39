//! The promises of a journal, on a file system in memory that loses what was not synced, and on that of the machine.

mod crash;
mod damage;
mod machine;
mod memory;
mod model;
mod writer;
