//! The automaton of a row pattern: states with edges that take a row, and edges that are free.
//!
//! Source: Flink's `NFACompiler` and `NFA`, for patterns whose elements follow each other strictly, as those of SQL do;
//! groups and alternatives, which Flink refuses, are built of the same parts. A row is offered to each partial match;
//! all edges whose conditions hold are followed, so that a match may go on in several ways at once. A greedy loop is left
//! only with a row that it cannot take; a reluctant one may be left with any row.
//!
//! Pure: which conditions hold for a row comes from outside, as a word with a bit for each variable.

use crate::error::{Error, Result};
use crate::graph::pattern::Pattern;

/// Most states of an automaton: quantifiers such as `{1000}` are written out.
const MAX_STATES: usize = 10_000;
/// The state that a match ends in.
pub const FINAL: usize = 0;

#[derive(Debug, Clone, Default)]
struct State {
    edges: Vec<Edge>,
}

#[derive(Debug, Clone, Copy)]
enum Edge {
    /// Maps the row to the variable.
    Take { variable: usize, to: usize },
    /// Without a row, unless one of the variables in this word can take it.
    Proceed { to: usize, unless: u64 },
}

/// See the module text.
#[derive(Debug, Clone)]
pub struct Nfa {
    states: Vec<State>,
    start: usize,
    /// By state: the variables whose conditions decide what a row does there.
    needed: Vec<u64>,
}

/// A way on for a partial match: the row is mapped to the variable.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Step {
    pub variable: usize,
    pub to: usize,
    /// Whether the match is complete as well, while it may also go on.
    pub completes: bool,
}

impl Nfa {
    /// Builds the automaton.
    pub fn new(pattern: &Pattern) -> Result<Self> {
        let mut nfa = Nfa { states: vec![State::default()], start: FINAL, needed: Vec::new() };
        nfa.start = nfa.build(pattern, FINAL)?;
        nfa.needed = (0..nfa.states.len()).map(|state| nfa.needed_at(state)).collect();
        Ok(nfa)
    }

    /// The state in which nothing was taken yet.
    pub fn start(&self) -> usize {
        self.start
    }
    /// The number of states.
    pub fn state_count(&self) -> usize {
        self.states.len()
    }
    /// The variables whose conditions must be known for [`Nfa::steps`].
    pub fn needed(&self, state: usize) -> u64 {
        self.needed.get(state).copied().unwrap_or(0)
    }

    /// All ways on from a state with a row for which the conditions in `truth` hold.
    pub fn steps(&self, state: usize, truth: u64, out: &mut Vec<Step>) {
        out.clear();
        self.reach(state, Some(truth), &mut |edge| {
            if let Edge::Take { variable, to } = *edge
                && truth >> variable & 1 == 1
            {
                out.push(Step { variable, to, completes: false });
            }
        });
        for step in out {
            // Flink asks the conditions of the edges that lead on about the row that was just taken.
            step.completes = step.to != FINAL && self.reaches_final(step.to, Some(truth));
        }
    }

    /// Whether the pattern matches no rows at all.
    pub fn can_be_empty(&self) -> bool {
        self.start == FINAL || self.reaches_final(self.start, None)
    }

    fn reaches_final(&self, state: usize, truth: Option<u64>) -> bool {
        let mut found = false;
        self.reach(state, truth, &mut |edge| found |= matches!(edge, Edge::Proceed { to: FINAL, .. }));
        found
    }

    /// Visits the edges of all states that can be reached without a row; without `truth` all free edges are followed.
    fn reach(&self, from: usize, truth: Option<u64>, visit: &mut impl FnMut(&Edge)) {
        let mut seen = vec![from];
        let mut stack = vec![from];
        while let Some(state) = stack.pop() {
            for edge in self.states.get(state).map_or(&[][..], |s| &s.edges) {
                match *edge {
                    Edge::Proceed { unless, .. } if truth.is_some_and(|t| t & unless != 0) => {}
                    Edge::Proceed { to, .. } => {
                        visit(edge);
                        if !seen.contains(&to) {
                            seen.push(to);
                            stack.push(to);
                        }
                    }
                    Edge::Take { .. } => visit(edge),
                }
            }
        }
    }

    fn needed_at(&self, state: usize) -> u64 {
        let mut needed = 0;
        let mut targets = Vec::new();
        self.reach(state, None, &mut |edge| match *edge {
            Edge::Take { variable, to } => {
                needed |= 1 << variable;
                targets.push(to);
            }
            Edge::Proceed { unless, .. } => needed |= unless,
        });
        for target in targets {
            self.reach(target, None, &mut |edge| {
                if let Edge::Proceed { unless, .. } = edge {
                    needed |= unless;
                }
            });
        }
        needed
    }

    fn state(&mut self, edges: Vec<Edge>) -> Result<usize> {
        if self.states.len() >= MAX_STATES {
            return Err(Error::invalid(
                "pattern_too_large",
                format!("the pattern has more than {MAX_STATES} states: use smaller numbers in its quantifiers"),
            ));
        }
        self.states.push(State { edges });
        Ok(self.states.len() - 1)
    }

    /// The state that begins a pattern after which `sink` follows.
    fn build(&mut self, pattern: &Pattern, sink: usize) -> Result<usize> {
        match pattern {
            Pattern::Variable(variable) => self.state(vec![Edge::Take { variable: *variable, to: sink }]),
            Pattern::Concat(parts) => parts.iter().rev().try_fold(sink, |next, part| self.build(part, next)),
            Pattern::Alternation(parts) => {
                let starts = parts.iter().map(|part| self.build(part, sink)).collect::<Result<Vec<_>>>()?;
                // The stack of `reach` takes the last one first.
                self.state(starts.into_iter().rev().map(|to| Edge::Proceed { to, unless: 0 }).collect())
            }
            Pattern::Repeat { pattern, min, max, greedy } => self.repeat(pattern, (*min, *max), *greedy, sink),
        }
    }

    fn repeat(
        &mut self,
        pattern: &Pattern,
        (min, max): (u32, Option<u32>),
        greedy: bool,
        sink: usize,
    ) -> Result<usize> {
        // One optional occurrence is tried both ways, and a fixed number leaves no choice.
        let choice = !((min == 0 && max == Some(1)) || max == Some(min));
        let unless = if greedy && choice { first(pattern) } else { 0 };
        let leave = Edge::Proceed { to: sink, unless };
        let at_least = min.max(1);
        let mut next = sink;
        match max {
            None => {
                next = self.state(vec![leave])?;
                let body = self.build(pattern, next)?;
                self.enter(next, body);
            }
            Some(max) => {
                for _ in at_least..max {
                    next = self.occurrence(pattern, next, Some(leave))?;
                }
            }
        }
        for _ in 1..at_least {
            next = self.occurrence(pattern, next, None)?;
        }
        self.occurrence(pattern, next, (min == 0).then_some(leave))
    }

    /// The pattern once, or what `leave` leads to.
    fn occurrence(&mut self, pattern: &Pattern, next: usize, leave: Option<Edge>) -> Result<usize> {
        let body = self.build(pattern, next)?;
        let Some(leave) = leave else { return Ok(body) };
        let state = self.state(vec![leave])?;
        self.enter(state, body);
        Ok(state)
    }

    /// Lets a state go on as `body` does, before everything else.
    fn enter(&mut self, state: usize, body: usize) {
        self.states[state].edges.push(Edge::Proceed { to: body, unless: 0 });
    }
}

/// The variables that can take the first row of a pattern.
fn first(pattern: &Pattern) -> u64 {
    match pattern {
        Pattern::Variable(variable) => 1 << variable,
        Pattern::Alternation(parts) => parts.iter().fold(0, |all, part| all | first(part)),
        Pattern::Concat(parts) => {
            let mut all = 0;
            for part in parts {
                all |= first(part);
                if !is_optional(part) {
                    break;
                }
            }
            all
        }
        Pattern::Repeat { pattern, .. } => first(pattern),
    }
}

/// Whether a pattern can match no rows.
pub fn is_optional(pattern: &Pattern) -> bool {
    match pattern {
        Pattern::Variable(_) => false,
        Pattern::Concat(parts) => parts.iter().all(is_optional),
        Pattern::Alternation(parts) => parts.iter().any(is_optional),
        Pattern::Repeat { pattern, min, .. } => *min == 0 || is_optional(pattern),
    }
}

/// Whether a pattern's last element is a greedy loop, whose end only a row after the match would show.
pub fn ends_greedy(pattern: &Pattern) -> bool {
    match pattern {
        Pattern::Variable(_) => false,
        Pattern::Concat(parts) => parts.last().is_some_and(ends_greedy),
        Pattern::Alternation(parts) => parts.iter().any(ends_greedy),
        Pattern::Repeat { pattern, min, max, greedy } => {
            let choice = !((*min == 0 && *max == Some(1)) || *max == Some(*min));
            (*greedy && choice) || ends_greedy(pattern)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn v(n: usize) -> Pattern {
        Pattern::Variable(n)
    }
    fn repeat(pattern: Pattern, min: u32, max: Option<u32>, greedy: bool) -> Pattern {
        Pattern::Repeat { pattern: Box::new(pattern), min, max, greedy }
    }

    /// The lengths at which matches that begin with the first row are complete; `rows` are words of conditions.
    fn lengths(pattern: &Pattern, rows: &[u64]) -> Vec<usize> {
        let nfa = Nfa::new(pattern).unwrap();
        let (mut states, mut complete, mut steps) = (vec![nfa.start()], Vec::new(), Vec::new());
        for (at, row) in rows.iter().enumerate() {
            for state in std::mem::take(&mut states) {
                nfa.steps(state, *row & nfa.needed(state), &mut steps);
                for step in &steps {
                    if step.to == FINAL || step.completes {
                        complete.push(at + 1);
                    }
                    if step.to != FINAL {
                        states.push(step.to);
                    }
                }
            }
        }
        complete
    }

    #[test]
    fn patterns_complete_where_flinks_do() {
        const A: u64 = 1;
        const B: u64 = 2;
        const C: u64 = 4;
        let ab = |middle: Pattern| Pattern::Concat(vec![v(0), middle, v(2)]);
        let check = |pattern: &Pattern, rows: &[u64], expected: &[usize]| {
            assert_eq!(lengths(pattern, rows), expected, "{pattern:?} over {rows:?}");
        };
        check(&ab(v(1)), &[A, B, C], &[3]);
        check(&ab(v(1)), &[A, C], &[]);
        // Greedy: a row that is both B and C is B.
        let plus = ab(repeat(v(1), 1, None, true));
        check(&plus, &[A, B, B | C, C], &[4]);
        check(&plus, &[A, C], &[]);
        check(&ab(repeat(v(1), 1, None, false)), &[A, B, B | C, C], &[3, 4]);
        check(&ab(repeat(v(1), 0, None, true)), &[A, C], &[2]);
        check(&ab(repeat(v(1), 0, None, true)), &[A, B | C, C], &[3]);
        // An optional variable goes both ways.
        check(&ab(repeat(v(1), 0, Some(1), true)), &[A, B | C, C], &[2, 3]);
        check(&ab(repeat(v(1), 2, Some(3), true)), &[A, B, B, B, C], &[5]);
        check(&ab(repeat(v(1), 2, Some(3), true)), &[A, B, B, B, B, C], &[]);
        check(&ab(repeat(v(1), 2, Some(3), false)), &[A, B, B, B | C, C], &[4, 5]);
        check(&ab(repeat(v(1), 2, Some(2), true)), &[A, B, B | C, C], &[4]);
        check(&ab(repeat(v(1), 0, Some(2), true)), &[A, B, B, C], &[4]);
        check(&ab(repeat(v(1), 2, None, true)), &[A, B, C, C], &[]);
        check(&ab(repeat(v(1), 2, None, true)), &[A, B, B, B, C], &[5]);
        // At the end a reluctant loop completes with each row.
        check(&Pattern::Concat(vec![v(0), repeat(v(1), 1, None, false)]), &[A, B, B, C], &[2, 3]);
        check(&Pattern::Concat(vec![v(0), repeat(v(1), 0, None, false)]), &[A, B], &[1, 2]);
    }

    #[test]
    fn groups_and_alternatives_match() {
        const A: u64 = 1;
        const B: u64 = 2;
        const C: u64 = 4;
        let group = Pattern::Concat(vec![v(0), v(1)]);
        let pattern = Pattern::Concat(vec![repeat(group.clone(), 1, None, true), v(2)]);
        assert_eq!(lengths(&pattern, &[A, B, A, B, C]), [5]);
        assert_eq!(lengths(&pattern, &[A, B, A, C]), Vec::<usize>::new());
        let either = Pattern::Concat(vec![Pattern::Alternation(vec![v(0), v(1)]), v(2)]);
        assert_eq!(lengths(&either, &[B, C]), [2]);
        assert_eq!(lengths(&either, &[A | B, C]), [2, 2]);
        // Loops over what may be empty end.
        let nested = Pattern::Concat(vec![repeat(repeat(v(0), 0, None, true), 1, None, true), v(2)]);
        assert_eq!(lengths(&nested, &[A, A, C]), [3]);
        assert!(Nfa::new(&repeat(v(0), 0, None, false)).unwrap().can_be_empty());
        assert!(!Nfa::new(&pattern).unwrap().can_be_empty());
        assert!(ends_greedy(&Pattern::Concat(vec![v(2), repeat(group, 1, None, true)])));
        assert!(is_optional(&repeat(v(0), 0, Some(2), true)));
    }

    #[test]
    fn quantifiers_that_are_too_large_are_refused() {
        let error = Nfa::new(&repeat(v(0), 100_000, Some(100_000), true)).unwrap_err();
        assert_eq!(error.code, "pattern_too_large");
    }
}
