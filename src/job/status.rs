//! The transition table of a job's status.

use crate::metadata::JobStatus;

/// The statuses from which a job may move to `to`. Every status update names them, so a move that is not in this table
/// cannot happen.
pub fn sources_of(to: JobStatus) -> &'static [JobStatus] {
    use JobStatus::*;
    match to {
        Created => &[Canceled, Failed, Finished],
        Initializing => &[Created, Initializing, Running, Restarting, Cancelling, Suspended],
        Running => &[Initializing],
        Restarting => &[Initializing, Running],
        Cancelling => &[Created, Initializing, Running, Restarting, Suspended],
        Suspended => &[Created, Initializing, Running, Restarting],
        Canceled => &[Created, Initializing, Running, Restarting, Cancelling, Suspended],
        Failed => &[Initializing, Running, Restarting],
        Finished => &[Running],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_terminal_status_is_left_only_by_a_restart() {
        for to in JobStatus::ALL {
            for from in sources_of(*to) {
                assert!(!from.is_terminal() || *to == JobStatus::Created, "{from} -> {to}");
            }
        }
    }

    #[test]
    fn every_running_status_can_be_cancelled() {
        for from in JobStatus::ALL.iter().filter(|s| !s.is_terminal()) {
            assert!(sources_of(JobStatus::Canceled).contains(from), "{from}");
        }
    }
}
