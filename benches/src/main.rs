//! `shoal-lab`.

fn main() {}
