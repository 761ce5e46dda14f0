//! `simulation`: clusters under faults, judged by what must hold.

fn main() {}
