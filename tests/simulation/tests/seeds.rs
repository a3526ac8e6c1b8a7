//! Seeds that run with every `cargo test`.

use std::{collections::BTreeSet, fs, path::Path};

use simulation::{
    planted::BUGS,
    report::Report,
    runner::{Case, Runner},
    states::STATES,
};

const SEEDS: u64 = 500;

/// Seeds that have found a defect, each named in the commit that fixed it.
const REGRESSIONS: &[u64] = &[
    2060,
    200_678,
    7_001_310,
    7_001_642,
    60_003_933,
    90_002_902,
    90_005_034,
    100_000_294,
    100_013_872,
    110_012_630,
    110_013_723,
    151_000_192,
    152_009_512,
    230_012_248,
    240_003_685,
    250_000_530,
    400_005_642,
];

fn runner() -> Runner {
    Runner::at(env!("CARGO_BIN_EXE_simulate"))
}

#[test]
fn every_property_holds_and_every_state_is_reached() {
    let mut reached = BTreeSet::new();
    let mut failed = Vec::new();
    let seeds = (1..=SEEDS).chain(REGRESSIONS.iter().copied());
    runner().run_all(seeds.map(Case::of_seed), |case, report| {
        reached.extend(report.reached.iter().cloned());
        if report.has_failed() {
            failed.push(format!("{}: {}", case.command(), report.violations.join("; ")));
        }
        true
    });
    assert!(failed.is_empty(), "properties do not hold:\n{}", failed.join("\n"));
    let missing: Vec<_> = STATES.iter().filter(|state| !reached.contains(**state)).collect();
    assert!(missing.is_empty(), "not reached, so nothing is shown about it: {missing:?}");
}

#[test]
fn every_planted_bug_can_be_planted() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2).expect("a root");
    for bug in BUGS {
        let text = fs::read_to_string(root.join(bug.file)).expect("the file exists");
        assert_eq!(text.matches(bug.correct).count(), 1, "{}: {}", bug.file, bug.correct);
    }
}

#[cfg(target_os = "linux")]
#[test]
fn a_seed_repeats_its_trace() {
    for seed in 1..=8 {
        let case = Case::of_seed(seed);
        let (first, second) = (runner().run(&case), runner().run(&case));
        assert_eq!(first.trace, second.trace, "seed {seed}");
    }
}

/// A state stands in for a failure, as no seed fails.
#[test]
fn a_shrunk_case_fails_as_before_with_fewer_faults_and_records() {
    const STATE: &str = "a worker crashed";
    let fails = |report: &Report| report.reached.iter().any(|state| state == STATE);
    let runner = runner();
    let has_many_faults = |case: &Case| case.plan().faults.len() > 5;
    let mut cases = (1..=SEEDS).map(Case::of_seed).filter(has_many_faults);
    let failing = cases.find_map(|case| Some((runner.run(&case), case)).filter(|(r, _)| fails(r)));
    let (report, case) = failing.expect("a seed with many faults reaches the state");
    let (smallest, report) = runner.shrink(&case, report, fails);
    assert!(fails(&report), "{report}");
    assert_eq!(runner.run(&smallest).trace, report.trace);
    let plan = smallest.plan();
    assert!(plan.enabled().len() <= 2, "{}", smallest.command());
    assert!(plan.max_records <= plan.records / 2, "{}", smallest.command());
}
