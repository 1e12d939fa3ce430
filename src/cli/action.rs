//! Waiting for a long action of the service.

use super::client::Client;
use super::failure::{Exit, Failure};
use super::units::Millis;
use super::wait::{self, Step};
use crate::api::actions::ActionView;
use crate::metadata::ActionStatus;

/// Decides whether an action has ended.
fn step(action: &ActionView, what: &str) -> Step {
    match (action.status, &action.failure) {
        (ActionStatus::Running, _) => Step::Wait(format!("{what} is under way"), None),
        (ActionStatus::Completed, _) => Step::Done,
        (ActionStatus::Failed, Some(failure)) => {
            Step::Failed(Failure::new(Exit::Failed, &failure.code, failure.message.clone()))
        }
        (ActionStatus::Failed, None) => {
            Step::Failed(Failure::new(Exit::Failed, "action_failed", "no reason was stored"))
        }
    }
}

/// Looks at an action until it has ended.
pub async fn wait(client: &Client, action: &ActionView, what: &str, limit: Millis) -> Result<ActionView, Failure> {
    wait::for_resource(client, &["actions", &action.id], what, limit, |a| step(a, what)).await
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::actions::ActionFailure;
    use crate::metadata::ActionKind;

    #[test]
    fn an_action_is_awaited_until_it_has_ended() {
        let action = |status, failure: Option<&str>| ActionView {
            id: "0".into(),
            kind: ActionKind::Fsck,
            job_id: None,
            status,
            started_ms: 0,
            ended_ms: None,
            fsck: None,
            drill: None,
            failure: failure.map(|code| ActionFailure { code: code.into(), message: "m".into() }),
        };
        let outcome = |a: &ActionView| match step(a, "it") {
            Step::Wait(..) => "wait".to_owned(),
            Step::Done => "done".to_owned(),
            Step::Failed(failure) => failure.code,
        };
        assert_eq!(outcome(&action(ActionStatus::Running, None)), "wait");
        assert_eq!(outcome(&action(ActionStatus::Completed, None)), "done");
        assert_eq!(outcome(&action(ActionStatus::Failed, Some("fsck_wrong_store"))), "fsck_wrong_store");
        assert_eq!(outcome(&action(ActionStatus::Failed, None)), "action_failed");
    }
}
