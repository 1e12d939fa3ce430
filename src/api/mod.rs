//! HTTP only: requests in, one call of the layer below, responses out.
//!
//! All resources live under `/api/v1`; errors are RFC 9457 problems ([`problem`]); the OpenAPI description is generated
//! from the handlers, and `openapi/openapi.json` is a copy that a test compares. Every limit is a setting.

pub mod actions;
pub mod checkpoint_statistics;
pub mod checkpoints;
pub mod health;
pub mod idempotency;
pub mod jobs;
pub mod model;
pub mod page;
pub mod problem;
pub mod prometheus;
pub mod savepoints;
pub mod sql;
pub mod wait;

use std::time::Duration;

use axum::Router;
use axum::error_handling::HandleErrorLayer;
use axum::extract::{DefaultBodyLimit, Request};
use axum::http::{HeaderName, StatusCode};
use axum::middleware::{Next, from_fn};
use axum::response::Response;
use tokio_util::sync::CancellationToken;
use tower::ServiceBuilder;
use tower::limit::GlobalConcurrencyLimitLayer;
use tower::load_shed::LoadShedLayer;
use tower_http::catch_panic::CatchPanicLayer;
use tower_http::request_id::{MakeRequestUuid, PropagateRequestIdLayer, SetRequestIdLayer};
use tower_http::trace::TraceLayer;
use utoipa::OpenApi;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::error::{Error, ErrorKind};
use crate::job::JobService;
use problem::Problem;

/// The header that carries a request's id, both ways.
const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// What handlers share.
#[derive(Clone)]
pub struct ApiState {
    pub service: JobService,
    /// Cancelled when the service begins to shut down.
    pub stopping: CancellationToken,
}

#[derive(OpenApi)]
#[openapi(
    info(
        title = "Holdfast",
        description = "Runs Flink SQL streaming jobs in one process and does not lose their state.\n\nTimes are milliseconds since the Unix epoch. Ids are 32 lower-case hexadecimal digits. Where a path takes a job's id, the job's name works too. Errors are RFC 9457 problems with stable codes.",
        license(name = "Apache-2.0", identifier = "Apache-2.0"),
    ),
    servers((url = "/", description = "this service")),
    tags(
        (name = "jobs", description = "Submit, look at, cancel, stop and restart jobs"),
        (name = "savepoints", description = "Snapshots that live until they are deleted"),
        (name = "checkpoints", description = "Snapshots that the service takes and retires by itself"),
        (name = "sql", description = "Check SQL, run ad-hoc queries"),
        (name = "service", description = "The service itself"),
    )
)]
struct Description;

fn api_routes() -> OpenApiRouter<ApiState> {
    OpenApiRouter::with_openapi(Description::openapi())
        .routes(routes!(jobs::submit::submit_job, jobs::list::list_jobs))
        .routes(routes!(jobs::show::get_job, jobs::delete::delete_job))
        .routes(routes!(jobs::plan::get_job_plan))
        .routes(routes!(jobs::exceptions::list_job_exceptions))
        .routes(routes!(jobs::metrics::get_job_metrics))
        .routes(routes!(jobs::durability::get_job_durability))
        .routes(routes!(jobs::drill::start_drill, jobs::drill::list_drills))
        .routes(routes!(jobs::cancel::cancel_job))
        .routes(routes!(jobs::stop::stop_job))
        .routes(routes!(jobs::restart::restart_job))
        .routes(routes!(jobs::upgrade::upgrade_job))
        .routes(routes!(jobs::upgrade::list_job_upgrades))
        .routes(routes!(jobs::upgrade::get_job_upgrade))
        .routes(routes!(savepoints::of_job::create_savepoint, savepoints::of_job::list_job_savepoints))
        .routes(routes!(savepoints::of_job::get_job_savepoint, savepoints::of_job::delete_job_savepoint))
        .routes(routes!(savepoints::list::list_savepoints))
        .routes(routes!(savepoints::import::import_savepoint))
        .routes(routes!(
            savepoints::show::get_savepoint,
            savepoints::change::change_savepoint,
            savepoints::delete::delete_savepoint
        ))
        .routes(routes!(savepoints::show::get_savepoint_manifest))
        .routes(routes!(savepoints::export::export_savepoint))
        .routes(routes!(savepoints::verify::verify_savepoint))
        .routes(routes!(savepoints::operations::list_savepoint_operations))
        .routes(routes!(savepoints::operations::get_savepoint_operation))
        .routes(routes!(checkpoints::trigger_checkpoint, checkpoints::list_checkpoints))
        .routes(routes!(checkpoint_statistics::get_checkpoint_statistics))
        .routes(routes!(checkpoint_statistics::get_checkpoint))
        .routes(routes!(actions::start_fsck, actions::list_fscks))
        .routes(routes!(actions::get_action))
        .routes(routes!(sql::check_sql))
        .routes(routes!(sql::query_sql))
        .routes(routes!(health::get_health))
        .routes(routes!(health::get_ready))
        .routes(routes!(health::get_version))
        .routes(routes!(health::get_error_codes))
        .routes(routes!(prometheus::get_metrics))
}

/// The OpenAPI 3.1 description of this API.
pub fn openapi() -> utoipa::openapi::OpenApi {
    api_routes().into_openapi()
}

/// The OpenAPI description as the committed file has it: pretty-printed JSON with a final newline.
pub fn openapi_json() -> String {
    let mut text = openapi().to_pretty_json().expect("an OpenAPI description is JSON");
    text.push('\n');
    text
}

/// The whole service over HTTP.
pub fn router(service: JobService, stopping: CancellationToken) -> Router {
    let settings = service.context().settings.clone();
    let (routes, description) = api_routes().split_for_parts();
    let time_limit = Duration::from_millis(settings.request_timeout_ms);
    let limits = ServiceBuilder::new()
        .layer(HandleErrorLayer::new(|_| async {
            Problem::from(Error::unavailable("overloaded", "too many requests at once; try again in a second"))
        }))
        .layer(LoadShedLayer::new())
        .layer(GlobalConcurrencyLimitLayer::new(settings.max_concurrent_requests));
    routes
        .with_state(ApiState { service, stopping })
        .layer(from_fn(move |request, next| limit_time(request, next, time_limit)))
        .layer(limits)
        .merge(utoipa_swagger_ui::SwaggerUi::new("/docs").url("/openapi.json", description))
        .fallback(|| async {
            Problem::from(Error::not_found("no_such_route", "there is no such path; see /docs for those that exist"))
        })
        .method_not_allowed_fallback(|| async {
            Problem::from(Error::invalid("method_not_allowed", "this path does not take this method; see /docs"))
                .with_status(StatusCode::METHOD_NOT_ALLOWED)
        })
        .layer(DefaultBodyLimit::max(settings.max_body_bytes))
        .layer(CatchPanicLayer::custom(|_: Box<dyn std::any::Any + Send>| {
            use axum::response::IntoResponse;
            Problem::from(Error::internal("the request made the service panic; the log has more")).into_response()
        }))
        .layer(TraceLayer::new_for_http())
        .layer(PropagateRequestIdLayer::new(REQUEST_ID))
        .layer(SetRequestIdLayer::new(REQUEST_ID, MakeRequestUuid))
}

/// Ends a request that takes too long. Requests that wait on purpose (`?wait=`) get that time on top; the body of a
/// stream is not limited, only its start.
async fn limit_time(request: Request, next: Next, limit: Duration) -> Response {
    use axum::response::IntoResponse;
    let wait = request.uri().query().and_then(wait::from_query).unwrap_or_default();
    match tokio::time::timeout(limit + wait, next.run(request)).await {
        Ok(response) => response,
        Err(_) => Problem::from(Error::new(
            ErrorKind::Unavailable,
            "request_timeout",
            format!("the request took longer than {} ms", limit.as_millis()),
        ))
        .into_response(),
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_committed_openapi_file_is_what_the_code_says() {
        let committed = include_str!("../../openapi/openapi.json");
        assert!(
            committed == super::openapi_json(),
            "openapi/openapi.json is out of date: run 'make openapi' (holdfast openapi > openapi/openapi.json)"
        );
    }
}
