//! The jobraft binary.
fn main() {}
