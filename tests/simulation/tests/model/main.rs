//! An abstract model of claim, publish, commit, failover, resume and repair, small enough to be
//! explored completely: every order of every step is tried.
//!
//! One partition, two workers, one user with one client. A step is what happens atomically: a
//! script in Redis, a round trip, a push. The model is about the protocol between the parts; the
//! code of each part is driven by the simulation.

mod protocol;

use std::collections::{HashMap, VecDeque};

use protocol::{RULES, State, Step};

/// The states that were visited, and for each the number of the state and the step that led to it.
#[derive(Default)]
struct Visited {
    numbers: HashMap<State, usize>,
    parents: Vec<Option<(usize, Step)>>,
}

/// Explores everything that can follow from `start`; returns the number of states.
///
/// # Errors
/// The shortest sequence of steps after which an invariant does not hold.
fn explore(start: State) -> Result<usize, String> {
    let (mut visited, mut queue) = (Visited::default(), VecDeque::new());
    visited.add(start.clone(), None);
    queue.push_back((0, start));
    while let Some((number, state)) = queue.pop_front() {
        let steps = state.steps();
        if steps.is_empty() && !state.is_done() {
            let path = visited.path(number);
            return Err(format!("no step is left, and something is missing:\n{path}{state:?}"));
        }
        for step in steps {
            let next = state.after(step);
            if let Some(violation) = next.violation() {
                let path = visited.path(number);
                return Err(format!("{violation}:\n{path}{step:?}\n{next:?}"));
            }
            if !visited.numbers.contains_key(&next) {
                let new = visited.add(next.clone(), Some((number, step)));
                queue.push_back((new, next));
            }
        }
    }
    Ok(visited.parents.len())
}

impl Visited {
    fn add(&mut self, state: State, parent: Option<(usize, Step)>) -> usize {
        let number = self.parents.len();
        self.numbers.insert(state, number);
        self.parents.push(parent);
        number
    }

    /// Returns the steps that led to a state.
    fn path(&self, mut number: usize) -> String {
        let mut steps = Vec::new();
        while let Some((before, step)) = self.parents[number] {
            steps.push(format!("{step:?}\n"));
            number = before;
        }
        steps.into_iter().rev().collect()
    }
}

#[test]
fn every_order_of_steps_keeps_every_invariant() {
    let states = explore(State::start(None)).unwrap_or_else(|violation| panic!("{violation}"));
    assert!(states > 10_000, "only {states} states were explored");
}

#[test]
fn without_any_one_rule_of_the_protocol_an_invariant_is_violated() {
    for (rule, expected) in RULES {
        match explore(State::start(Some(rule))) {
            Ok(states) => panic!("{rule:?}: no violation in {states} states"),
            Err(violation) => assert!(violation.starts_with(expected), "{rule:?}: {violation}"),
        }
    }
}
