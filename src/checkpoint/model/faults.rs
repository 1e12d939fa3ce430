//! Every kind of fault at every request of a job's life: the job goes on or recovers, and no snapshot that is listed as
//! completed is ever unreadable.

use std::panic::AssertUnwindSafe;

use futures::FutureExt;

use super::steps::Step;
use super::*;
use crate::crash::here;
use crate::metadata::SnapshotKind;
use crate::storage::faulty::Fault;

/// A life with everything in it; all steps concern the same job.
const LIFE: &[Step] = &[
    Step::Submit,
    Step::Checkpoint(0),
    Step::Checkpoint(0),
    Step::Begin(0, SnapshotKind::Savepoint),
    Step::Gc,
    Step::Continue(0),
    Step::Savepoint(0),
    Step::Checkpoint(0),
    Step::Checkpoint(0),
    Step::Failover(0),
    Step::Checkpoint(0),
    Step::Savepoint(0),
    Step::DeleteSavepoint(0),
    Step::Gc,
    Step::Cancel(0),
    Step::Restart(0),
    Step::Checkpoint(0),
    Step::Cancel(0),
    Step::DeleteJob(0, true),
];

/// A fault, and whether the process ends with it.
const FAULTS: &[(Fault, bool)] = &[
    (Fault::ServerError, false),
    (Fault::TimeoutAfterSuccess, false),
    (Fault::DiskFull, false),
    (Fault::ConnectionCut, false),
    (Fault::ConnectionCut, true),
    (Fault::ConnectionCutAfterSuccess, true),
];

/// Seed of the operators' work, and so of the lengths and names of all files.
const SEED: u64 = 7;

/// Lives once with a fault at the `at`-th request; answers how many requests there were. A fault lasts until the step
/// after it: the disk is freed, the connection comes back. `ends` = the process ends with it.
async fn live(at: u64, fault: Option<Fault>, ends: bool) -> u64 {
    let mut world = World::new(SEED).await;
    world.log.push(format!("{fault:?} at request {at}, the process ends: {ends}"));
    let mut planned = fault;
    let mut refused = 0;
    for step in LIFE {
        world.log.push(format!("{step:?}"));
        // Requests of the checks between the steps do not count.
        let before = world.faults.requests();
        if let Some(fault) = planned
            && let Some(n) = at.checked_sub(world.requests)
        {
            world.faults.plan(n, fault);
        }
        let outcome = world.step(*step).await;
        world.requests += world.faults.requests() - before;
        let came = world.faults.mend();
        if came {
            planned = None;
        }
        match outcome {
            Ok(()) if came && ends => world.start_again().await,
            Ok(()) => {}
            Err(error) => {
                assert!(came, "{step:?} failed by itself: {error}\n{}", world.story());
                refused += 1;
                if ends {
                    world.start_again().await;
                } else {
                    let ids: Vec<JobId> = world.jobs.iter().filter(|j| j.runs).map(|j| j.row.id).collect();
                    for id in ids {
                        match step {
                            Step::Failover(_) | Step::Restart(_) => world.failover(id).await.unwrap(),
                            _ => world.give_up(id).await,
                        }
                    }
                }
            }
        }
        world.forget_deleted().await;
        // Before the fault, all lives are the same.
        if fault.is_none() || planned.is_none() {
            world.check().await;
        }
    }
    assert!(refused <= 1, "one fault refuses one step at most\n{}", world.story());
    // What the fault left over goes with the next cleaning; a running job can still be checkpointed and deleted.
    if world.jobs.iter().any(|j| j.runs) {
        world.step(Step::Checkpoint(0)).await.unwrap();
        world.step(Step::Cancel(0)).await.unwrap();
    }
    for _ in 0..world.jobs.len() {
        world.step(Step::DeleteJob(0, true)).await.unwrap();
        world.forget_deleted().await;
    }
    world.step(Step::Gc).await.unwrap();
    let left = world.store.list("").await.unwrap();
    assert!(left.is_empty(), "{left:?}\n{}", world.story());
    assert_eq!(world.rows().await, [], "{}", world.story());
    world.requests
}

#[test]
fn any_fault_at_any_request_leaves_every_listed_snapshot_whole() {
    let requests = std::sync::atomic::AtomicU64::new(0);
    in_parallel(&[()], async |()| {
        requests.store(live(0, None, false).await, std::sync::atomic::Ordering::Relaxed);
    });
    let requests = requests.into_inner();
    assert!(requests > 60, "a life has {requests} requests");
    let lives: Vec<(u64, Fault, bool)> =
        (0..requests).flat_map(|at| FAULTS.iter().map(move |(fault, ends)| (at, *fault, *ends))).collect();
    in_parallel(&lives, async |(at, fault, ends)| {
        live(*at, Some(*fault), *ends).await;
    });
    println!("{} lives of {requests} requests", lives.len());
}

/// Lives once with a crash at the `n`-th point of the `at`-th step; whether there is such a point.
async fn crash(at: usize, n: u64) -> bool {
    let mut world = World::new(SEED).await;
    let mut came = false;
    for (number, step) in LIFE.iter().enumerate() {
        world.log.push(format!("{step:?}"));
        here::arm((number == at).then_some(n));
        let outcome = AssertUnwindSafe(world.step(*step)).catch_unwind().await;
        here::arm(None);
        match outcome {
            Ok(done) => done.unwrap(),
            Err(panic) if panic.is::<here::Crash>() => {
                came = true;
                world.log.push(format!("crash at its point {n}"));
                world.start_again().await;
            }
            Err(panic) => std::panic::resume_unwind(panic),
        }
        if number == at && !came {
            return false;
        }
        world.forget_deleted().await;
        if number >= at {
            world.check().await;
        }
    }
    world.step(Step::Gc).await.unwrap();
    world.check_nothing_left().await;
    true
}

#[test]
fn a_crash_at_any_point_leaves_every_listed_snapshot_whole() {
    let crashes = std::sync::atomic::AtomicU64::new(0);
    let steps: Vec<usize> = (0..LIFE.len()).collect();
    in_parallel(&steps, async |at| {
        let mut n = 1;
        while crash(*at, n).await {
            crashes.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            n += 1;
        }
    });
    let crashes = crashes.into_inner();
    println!("{crashes} crashes");
    assert!(crashes > 40, "{crashes}");
}
