//! Tests of the mock over raw sockets: its answers, and that each fault does what its name says.

// A client that sees every byte.
mod client;

// Answers of every endpoint.
mod answers;

// Every fault.
mod faults;

// The ledger and its totals.
mod ledger;
