//! Checks of drawn plans: they are what they were, they find what is planted, and what they have found stays mended.

#![allow(clippy::unwrap_used)] // A panic is how a test fails.

use std::{fs, io};

use shoal_sim::check::{Bug, FaultKind, Invariant, Plan, Verdict, check, shrink};

/// Seeds in which every planted bug is found, and which are green without one.
const SEEDS: u64 = 150;

fn violated(plan: &Plan, bug: Option<Bug>) -> Option<Invariant> {
    check(plan, bug).violation.map(|violation| violation.invariant)
}

/// Which rule is broken first by each seed with a bug, where any is.
fn found(bug: Bug) -> Vec<(u64, Invariant)> {
    (0..SEEDS).filter_map(|seed| violated(&Plan::draw(seed), Some(bug)).map(|invariant| (seed, invariant))).collect()
}

/// The bug is found, and nothing else is taken for it.
fn is_found_as(bug: Bug, expected: &[Invariant]) {
    let found = found(bug);
    assert!(found.iter().any(|(_, invariant)| *invariant == expected[0]), "{bug:?}: {found:?}");
    assert!(found.iter().all(|(_, invariant)| expected.contains(invariant)), "{bug:?}: {found:?}");
}

#[test]
fn without_a_bug_the_seeds_are_green() {
    for seed in 0..SEEDS {
        let Verdict { violation, .. } = check(&Plan::draw(seed), None);
        assert!(violation.is_none(), "seed {seed}: {violation:?}; replay with: shoal-sim check --seed {seed}");
    }
}

#[test]
fn a_lease_that_is_never_returned_is_found() {
    is_found_as(Bug::KeptLease, &[Invariant::Leases]);
}

#[test]
fn a_have_map_that_is_off_by_one_is_found() {
    is_found_as(Bug::ShiftedMap, &[Invariant::Maps]);
}

#[test]
fn an_unverified_piece_that_is_served_is_found() {
    is_found_as(Bug::UnverifiedPiece, &[Invariant::Unverified]);
}

#[test]
fn a_refutation_that_is_lost_is_found() {
    is_found_as(Bug::LostRefutation, &[Invariant::Membership]);
}

#[test]
fn a_requester_that_is_starved_is_found() {
    // What is refused behind the engine's back takes a slot for ever.
    is_found_as(Bug::StarvedRequester, &[Invariant::Finish, Invariant::Quiet]);
}

#[test]
fn equal_plans_give_equal_runs_and_others_differ() {
    for seed in [1, 14, 77] {
        let plan = Plan::draw(seed);
        assert_eq!(plan, Plan::draw(seed));
        assert_eq!(check(&plan, None), check(&plan, None), "seed {seed}");
    }
    assert_ne!(check(&Plan::draw(1), None).event_hash, check(&Plan::draw(2), None).event_hash);
}

#[test]
fn a_plan_is_read_as_it_was_written() {
    for seed in 0..500 {
        let plan = Plan::draw(seed);
        assert_eq!(Plan::parse(&plan.to_toml()).unwrap(), plan, "seed {seed}");
    }
}

#[test]
fn drawn_plans_have_every_kind_of_fault_and_also_none() {
    let plans: Vec<Plan> = (0..1000).map(Plan::draw).collect();
    let name = |what: &FaultKind| format!("{what:?}").split([' ', '{']).next().unwrap().to_owned();
    let mut kinds: Vec<String> = plans.iter().flat_map(|plan| &plan.faults).map(|fault| name(&fault.what)).collect();
    kinds.sort();
    kinds.dedup();
    assert_eq!(kinds.len(), 18, "{kinds:?}");
    assert!(plans.iter().any(|plan| plan.faults.is_empty()));
    assert!(plans.iter().any(|plan| plan.nodes.len() == 2) && plans.iter().any(|plan| plan.nodes.len() == 24));
}

#[test]
fn what_cannot_be_is_refused_with_what_is_allowed() {
    let good = Plan::draw(3);
    let refusal = |plan: Plan| Plan::parse(&plan.to_toml()).unwrap_err().to_string();
    assert!(refusal(Plan { nodes: Vec::new(), ..good.clone() }).contains("1 to 1000"));
    let mut far = good.clone();
    far.pulls[0].node = 99;
    assert!(refusal(far).contains("numbered from 0"));
    let mut still = good.clone();
    still.upstream.bytes_per_s = 0;
    assert!(refusal(still).contains("the least is 1"));
    assert!(refusal(Plan { loss_permille: 1000, ..good }).contains("900 of 1000"));
    assert!(Plan::parse("seed = 1\nspeed = 2").is_err());
}

#[test]
fn a_plan_that_fails_is_made_small_and_fails_in_the_same_way() {
    let fails = |plan: &Plan| violated(plan, Some(Bug::ShiftedMap)) == Some(Invariant::Maps);
    let plan = (0..SEEDS).map(Plan::draw).find(|plan| fails(plan) && plan.nodes.len() > 4).unwrap();
    let small = shrink(&plan, 500, &mut |plan| fails(plan));
    assert!(fails(&small));
    assert!(small.nodes.len() <= 3 && small.faults.is_empty() && small.pulls.len() <= 2, "{small:?}");
    assert_eq!(small.blobs.len(), 1);
}

/// Plans that failed once, made small: all in the folder `regressions`.
#[allow(clippy::disallowed_methods)] // The simulator reads no files; its tests may.
fn regressions() -> Vec<(String, String)> {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/regressions");
    let read = |entry: io::Result<fs::DirEntry>| {
        let path = entry.unwrap().path();
        (path.display().to_string(), fs::read_to_string(path).unwrap())
    };
    fs::read_dir(folder).unwrap().map(read).collect()
}

#[test]
fn what_checks_have_found_stays_mended() {
    let regressions = regressions();
    assert!(!regressions.is_empty());
    for (name, text) in regressions {
        let plan = Plan::parse(&text).unwrap();
        assert!(!plan.about.is_empty(), "{name} says what it was");
        let violation = check(&plan, None).violation;
        assert!(violation.is_none(), "{name}: {}: {violation:?}", plan.about);
    }
}
