//! Small, repeatable pieces of the engine's work, for timing (`cargo bench`) and for counting instructions
//! (`shoal-instructions`).
//!
//! A case is prepared once, outside the measurement; each call of what it prepared is one iteration of the work that its
//! description names. Everything is seeded, so that each run does the same.

mod codec;
mod membership;
mod pieces;
mod world;

/// One measured thing.
#[derive(Clone, Copy, Debug)]
pub struct Case {
    /// Its name, `subject/what`.
    pub name: &'static str,
    /// What one iteration does.
    pub about: &'static str,
    /// Iterations of one count of instructions: enough that the count does not depend on the first one.
    pub iterations: u32,
    /// Builds what an iteration works on.
    pub prepare: fn() -> Iteration,
}

/// One iteration; its result keeps the work from being optimised away.
pub type Iteration = Box<dyn FnMut() -> u64>;

/// All cases, in the order of the tables.
pub const CASES: &[Case] = &[
    codec::CONTROL,
    codec::GOSSIP,
    pieces::VERIFICATION,
    pieces::DIGEST,
    pieces::BOTH_HASHES,
    pieces::CHOICE_IN_WINDOW,
    pieces::CHOICE_BEYOND_WINDOW,
    pieces::HAVE_MERGE,
    pieces::HAVE_DELTA,
    membership::HOMES,
    membership::TICK,
    membership::CRASH,
];

/// The case called `name`.
pub fn find(name: &str) -> Option<&'static Case> {
    CASES.iter().find(|case| case.name == name)
}

/// Runs an iteration `count` times. A function of its own, never inlined: the tool that counts instructions counts those
/// below it and no others.
#[inline(never)]
pub fn measured(iteration: &mut Iteration, count: u32) -> u64 {
    (0..count).fold(0, |sum, _| sum.wrapping_add(iteration()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_case_runs_and_does_the_same_each_time_that_it_is_prepared() {
        for case in CASES {
            let run = || measured(&mut (case.prepare)(), 3);
            assert_eq!(run(), run(), "{}", case.name);
            assert_eq!(find(case.name).map(|found| found.name), Some(case.name));
        }
    }
}
