//! Finds the subtasks that hold up a checkpoint, long before it expires. Pure: from observed facts to names.
//!
//! Only causes are reported, not the subtasks that wait for them: a subtask that is not in its synchronous phase is one
//! if every subtask before it has passed the barrier on or waits for room in a channel, and it does not wait for room
//! itself.

use crate::runtime::TaskId;
use crate::runtime::metrics::CheckpointPhase;

/// What is known of a subtask and a checkpoint.
#[derive(Debug, Clone, Copy)]
pub struct TaskFacts {
    pub task: TaskId,
    pub is_acknowledged: bool,
    /// What it does for the checkpoint, and since when, ms.
    pub phase: CheckpointPhase,
    pub since_ms: i64,
    /// It waits for room in an output channel.
    pub is_blocked: bool,
}

/// A subtask that holds up a checkpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Stuck {
    pub task: TaskId,
    pub phase: CheckpointPhase,
    pub since_ms: i64,
}

/// The subtasks that have held up a checkpoint, triggered at `triggered_ms`, for `stuck_after_ms`. `edges` are the pairs
/// of vertices that are connected.
pub fn stuck(
    now_ms: i64,
    stuck_after_ms: u64,
    triggered_ms: i64,
    edges: &[(usize, usize)],
    tasks: &[TaskFacts],
) -> Vec<Stuck> {
    let horizon = now_ms.saturating_sub(i64::try_from(stuck_after_ms).unwrap_or(i64::MAX));
    let let_through =
        |vertex: usize| tasks.iter().filter(|t| t.task.vertex == vertex).all(|t| t.is_acknowledged || t.is_blocked);
    let mut found = Vec::new();
    for facts in tasks.iter().filter(|t| !t.is_acknowledged) {
        let since_ms = match facts.phase {
            CheckpointPhase::Synchronous => facts.since_ms,
            CheckpointPhase::Alignment | CheckpointPhase::Barrier => {
                let inputs = edges.iter().filter(|(_, to)| *to == facts.task.vertex);
                if facts.is_blocked || !inputs.map(|(from, _)| *from).all(let_through) {
                    continue;
                }
                triggered_ms
            }
        };
        if since_ms <= horizon {
            found.push(Stuck { task: facts.task, phase: facts.phase, since_ms });
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use CheckpointPhase::*;

    fn task(vertex: usize, subtask: usize) -> TaskId {
        TaskId { vertex, subtask }
    }

    fn waiting(vertex: usize, subtask: usize) -> TaskFacts {
        let task = task(vertex, subtask);
        TaskFacts { task, is_acknowledged: false, phase: Barrier, since_ms: i64::MIN, is_blocked: false }
    }

    fn acknowledged(vertex: usize, subtask: usize) -> TaskFacts {
        TaskFacts { is_acknowledged: true, ..waiting(vertex, subtask) }
    }

    #[test]
    fn the_cause_is_named_and_not_what_waits_for_it() {
        let edges = [(0, 1), (1, 2)];
        let blocked = |v, s| TaskFacts { is_blocked: true, ..waiting(v, s) };
        let in_phase = |v, s, phase, since_ms| TaskFacts { phase, since_ms, ..waiting(v, s) };
        for (name, tasks, expected) in [
            ("all passed", vec![acknowledged(0, 0), acknowledged(1, 0), acknowledged(2, 0)], vec![]),
            ("a source does not answer", vec![waiting(0, 0), waiting(1, 0), waiting(2, 0)], vec![(0, 0, Barrier)]),
            ("a slow last vertex", vec![blocked(0, 0), blocked(1, 0), waiting(2, 0)], vec![(2, 0, Barrier)]),
            (
                "one of two is slow with its records",
                vec![acknowledged(0, 0), acknowledged(1, 0), waiting(1, 1), in_phase(2, 0, Alignment, 5)],
                vec![(1, 1, Barrier)],
            ),
            (
                "a synchronous phase hangs",
                vec![acknowledged(0, 0), in_phase(1, 0, Synchronous, 10), waiting(2, 0)],
                vec![(1, 0, Synchronous)],
            ),
            (
                "a synchronous phase that has just begun",
                vec![acknowledged(0, 0), in_phase(1, 0, Synchronous, 950), waiting(2, 0)],
                vec![],
            ),
        ] {
            let found: Vec<_> =
                stuck(1_000, 100, 0, &edges, &tasks).iter().map(|s| (s.task.vertex, s.task.subtask, s.phase)).collect();
            assert_eq!(found, expected, "{name}");
        }
    }

    #[test]
    fn nothing_is_reported_before_its_time() {
        let tasks = [waiting(0, 0)];
        assert_eq!(stuck(1_099, 100, 1_000, &[], &tasks), []);
        assert_eq!(
            stuck(1_100, 100, 1_000, &[], &tasks),
            [Stuck { task: task(0, 0), phase: Barrier, since_ms: 1_000 }]
        );
        assert_eq!(stuck(i64::MAX, u64::MAX, 1_000, &[], &tasks), []);
    }
}
