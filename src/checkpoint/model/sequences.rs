//! Random sequences of steps with crashes: no listed snapshot is ever damaged, and nothing is left behind.
//!
//! `HOLDFAST_MODEL_SEED=N` replays one sequence; `HOLDFAST_MODEL_SEQUENCES=N` runs another number of them.

use std::panic::AssertUnwindSafe;
use std::sync::atomic::{AtomicU64, Ordering};

use futures::FutureExt;

use super::steps::Step;
use super::*;
use crate::crash::here;
use crate::metadata::SnapshotKind;
use crate::storage::faulty::Fault;

const SEQUENCES: u64 = 500;
const STEPS: usize = 24;

/// What goes wrong during a step.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Mishap {
    None,
    /// The process ends at the n-th numbered point.
    CrashAtPoint(u64),
    /// The process ends at the n-th request to the store.
    CrashAtRequest(u64, Fault),
    /// One request fails, and the process goes on.
    Request(u64, Fault),
}

fn step(rng: &mut Rng) -> Step {
    let n = rng.next();
    match rng.below(32) {
        0..2 => Step::Submit,
        2 => Step::Fork(n),
        3..11 => Step::Checkpoint(n),
        11..13 => Step::Begin(n, SnapshotKind::Savepoint),
        13..15 => Step::Begin(n, SnapshotKind::Checkpoint),
        15..18 => Step::Continue(n),
        18..20 => Step::Savepoint(n),
        20..22 => Step::Failover(n),
        22 => Step::Retire(n),
        23 => Step::Cancel(n),
        24 => Step::Restart(n),
        25 => Step::DeleteSavepoint(n),
        26..28 => Step::DeleteJob(n, rng.below(2) == 0),
        _ => Step::Gc,
    }
}

fn mishap(rng: &mut Rng) -> Mishap {
    match rng.below(12) {
        0..2 => Mishap::CrashAtPoint(1 + rng.below(7)),
        2 => Mishap::CrashAtRequest(rng.below(14), Fault::ConnectionCut),
        3 => Mishap::CrashAtRequest(rng.below(14), Fault::ConnectionCutAfterSuccess),
        4 => Mishap::Request(rng.below(8), Fault::ServerError),
        5 => Mishap::Request(rng.below(8), Fault::TimeoutAfterSuccess),
        6 => Mishap::Request(rng.below(8), Fault::Slow(1)),
        _ => Mishap::None,
    }
}

impl World {
    /// One step with what goes wrong in it, and what follows from that.
    async fn turn(&mut self, step: Step, mishap: Mishap) {
        self.log.push(format!("{step:?} {mishap:?}"));
        match mishap {
            Mishap::None => {}
            Mishap::CrashAtPoint(n) => here::arm(Some(n)),
            Mishap::CrashAtRequest(n, fault) | Mishap::Request(n, fault) => self.faults.plan(n, fault),
        }
        let outcome = AssertUnwindSafe(self.step(step)).catch_unwind().await;
        here::arm(None);
        let fault_came = self.faults.mend();
        match outcome {
            Err(panic) if !panic.is::<here::Crash>() => std::panic::resume_unwind(panic),
            Err(_) => self.start_again().await,
            Ok(_) if fault_came && matches!(mishap, Mishap::CrashAtRequest(..)) => self.start_again().await,
            Ok(Ok(())) if step == Step::Gc => self.check_nothing_left().await,
            Ok(Ok(())) => {}
            Ok(Err(error)) => {
                assert!(fault_came, "{step:?} failed by itself: {error}\n{}", self.story());
                self.after_failure(step).await;
            }
        }
        self.forget_deleted().await;
        self.check().await;
    }

    /// The step failed and the process lives: snapshots are given up, attempts are begun again.
    async fn after_failure(&mut self, step: Step) {
        let ids: Vec<JobId> = self.jobs.iter().filter(|j| j.runs).map(|j| j.row.id).collect();
        for id in ids {
            match step {
                Step::Failover(_) | Step::Restart(_) => {
                    let again = self.failover(id).await;
                    assert!(again.is_ok(), "{again:?}\n{}", self.story());
                }
                Step::Checkpoint(_) | Step::Savepoint(_) | Step::Begin(..) | Step::Continue(_) => {
                    self.give_up(id).await;
                }
                _ => {}
            }
        }
    }

    /// Everything is deleted: nothing is left anywhere.
    async fn end(&mut self) {
        self.log.push("the end".into());
        for row in self.rows().await.iter().filter(|s| s.status == SnapshotStatus::Completed) {
            self.check_restores(row).await;
        }
        self.step(Step::Gc).await.unwrap();
        while self.jobs.iter().any(|j| j.runs) {
            self.step(Step::Cancel(0)).await.unwrap();
        }
        for _ in 0..self.jobs.len() {
            self.step(Step::DeleteJob(0, true)).await.unwrap();
            self.forget_deleted().await;
        }
        self.step(Step::Gc).await.unwrap();
        let left = self.store.list("").await.unwrap();
        assert!(left.is_empty(), "{left:?}\n{}", self.story());
        assert_eq!(self.rows().await, [], "{}", self.story());
    }
}

/// Counts of what happened, so that the test cannot pass by doing nothing.
#[derive(Default)]
struct Tally {
    completed: AtomicU64,
    crashes: AtomicU64,
}

/// Says how to replay when the sequence fails, whatever fails in it.
struct ReplayHint(u64);

impl Drop for ReplayHint {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("seed {0} failed: replay with HOLDFAST_MODEL_SEED={0}", self.0);
        }
    }
}

async fn sequence(seed: u64, tally: &Tally) {
    let mut world = World::new(seed).await;
    let _hint = ReplayHint(seed);
    world.log.push(format!("seed {seed}: replay with HOLDFAST_MODEL_SEED={seed}"));
    world.turn(Step::Submit, Mishap::None).await;
    for _ in 0..STEPS {
        let (step, mishap) = (step(&mut world.rng), mishap(&mut world.rng));
        world.turn(step, mishap).await;
        tally.crashes.fetch_add(u64::from(!matches!(mishap, Mishap::None)), Ordering::Relaxed);
    }
    world.end().await;
    tally.completed.fetch_add(world.contents.len() as u64, Ordering::Relaxed);
}

#[test]
fn random_sequences_never_damage_a_listed_snapshot_and_leave_nothing_behind() {
    let number = |name: &str| std::env::var(name).ok().map(|v| v.parse::<u64>().expect("a number"));
    let seeds: Vec<u64> = match number("HOLDFAST_MODEL_SEED") {
        Some(seed) => vec![seed],
        None => (0..number("HOLDFAST_MODEL_SEQUENCES").unwrap_or(SEQUENCES)).collect(),
    };
    let tally = Tally::default();
    in_parallel(&seeds, async |seed| sequence(*seed, &tally).await);
    let (completed, crashes) = (tally.completed.into_inner(), tally.crashes.into_inner());
    println!("{} sequences, {completed} snapshots, {crashes} mishaps", seeds.len());
    assert!(completed > seeds.len() as u64 * 3, "{completed} snapshots");
    assert!(seeds.len() == 1 || crashes > seeds.len() as u64, "{crashes} mishaps");
}
