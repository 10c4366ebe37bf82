//! The mock from outside, over raw sockets: what its answers look like, and that each fault is what its name says.

mod answers;
mod client;
mod faults;
mod ledger;
