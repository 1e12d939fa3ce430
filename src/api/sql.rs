//! `/api/v1/sql`: check a script, run an ad-hoc query.

use arrow::record_batch::RecordBatch;
use axum::Json;
use axum::body::Body as HttpBody;
use axum::extract::State;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use futures::Stream;
use serde_json::json;
use utoipa::ToSchema;

use super::ApiState;
use super::jobs::plan::columns;
use super::problem::{Body, Problem, ProblemBody};
use crate::connector::format::json::encode_rows;
use crate::error::{Error, Result};
use crate::job::query::{self, Query};
use crate::sql;
use crate::types::Schema;
use crate::types::row_kind;

/// A script to check.
#[derive(Debug, Clone, serde::Serialize, serde::Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CheckRequest {
    pub sql: String,
}

/// A script without errors.
#[derive(Debug, Clone, serde::Serialize, serde::Deserialize, ToSchema)]
pub struct CheckView {
    pub statements: Vec<StatementView>,
    /// As `EXPLAIN` prints it; absent if the script only defines tables.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub plan: Option<String>,
    pub warnings: Vec<String>,
}

/// One statement of a script.
#[derive(Debug, Clone, serde::Serialize, serde::Deserialize, ToSchema)]
pub struct StatementView {
    pub line: u64,
    pub column: u64,
    /// Such as `CREATE TABLE` or `INSERT`.
    pub kind: String,
}

/// An ad-hoc query.
#[derive(Debug, Clone, serde::Serialize, serde::Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct QueryRequest {
    /// A script that ends with a SELECT.
    pub sql: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parallelism: Option<u32>,
    /// Ends the query after this many changes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<u64>,
    /// Ends the query with an error after this time (default 600000).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout_ms: Option<u64>,
}

/// Parses and plans a script; creates nothing. An error names its line and column.
#[utoipa::path(
    post,
    path = "/api/v1/sql/check",
    tag = "sql",
    request_body = CheckRequest,
    responses((status = 200, description = "The resource", body = CheckView), (status = 400, description = "The request is wrong", body = ProblemBody, content_type = "application/problem+json"))
)]
pub async fn check_sql(Body(request): Body<CheckRequest>) -> Result<Json<CheckView>, Problem> {
    let report = blocking(move || sql::check(&request.sql)).await?;
    let statements = report
        .statements
        .iter()
        .map(|s| StatementView { line: s.line, column: s.column, kind: s.kind.clone() })
        .collect();
    Ok(Json(CheckView { statements, plan: report.plan, warnings: report.warnings }))
}

/// Runs a SELECT as a job of its own and streams its result, one JSON document a line: first `{"columns":[{"name","type"}]}`,
/// then `{"op":"+I","row":[…]}` per change (`+I`, `-U`, `+U`, `-D`), last `{"end":{"rows","limited"}}` or `{"error":{…}}`.
#[utoipa::path(
    post,
    path = "/api/v1/sql/query",
    tag = "sql",
    request_body = QueryRequest,
    responses(
        (status = 200, description = "Lines of JSON", body = String, content_type = "application/x-ndjson"),
        (status = 400, description = "The request is wrong", body = ProblemBody, content_type = "application/problem+json"),
        (status = 503, description = "Too many queries", body = ProblemBody, content_type = "application/problem+json"),
    )
)]
pub async fn query_sql(State(state): State<ApiState>, Body(request): Body<QueryRequest>) -> Result<Response, Problem> {
    let query = query::start(state.service.context(), &request.sql, request.parallelism, request.timeout_ms).await?;
    let head = line(&json!({ "columns": columns(&query.schema) }));
    let lines = futures::StreamExt::chain(
        futures::stream::iter([Ok::<_, std::convert::Infallible>(head)]),
        stream(query, request.limit.unwrap_or(u64::MAX)),
    );
    Ok(([(CONTENT_TYPE, "application/x-ndjson")], HttpBody::from_stream(lines)).into_response())
}

/// Planning is work for a thread that may block.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
    tokio::task::spawn_blocking(work).await.map_err(|e| Error::internal(format!("planning panicked: {e}")))?
}

/// What is left to send of a query.
enum Step {
    Rows { query: Query, sent: u64 },
    Done,
}

fn stream(query: Query, limit: u64) -> impl Stream<Item = std::result::Result<Bytes, std::convert::Infallible>> {
    futures::stream::unfold(Step::Rows { query, sent: 0 }, move |step| async move {
        let Step::Rows { mut query, sent } = step else { return None };
        if sent >= limit {
            return Some((Ok(end(sent, true)), Step::Done));
        }
        let (bytes, next) = match query.rows.recv().await {
            Some(batch) => {
                let rows = usize::try_from(limit - sent).unwrap_or(usize::MAX).min(batch.num_rows());
                match changes(&batch.slice(0, rows), &query.schema) {
                    Ok(bytes) => (bytes, Step::Rows { query, sent: sent + rows as u64 }),
                    Err(error) => (failure(error), Step::Done),
                }
            }
            None => match query.end.await {
                Ok(Ok(())) => (end(sent, false), Step::Done),
                Ok(Err(error)) => (failure(error), Step::Done),
                Err(_) => (failure(Error::internal("the query ended without a word")), Step::Done),
            },
        };
        Some((Ok(bytes), next))
    })
}

fn changes(batch: &RecordBatch, schema: &Schema) -> Result<Bytes> {
    let mut bytes = Vec::with_capacity(batch.num_rows() * 64);
    let (rows, kinds) = row_kind::split(batch.clone())?;
    for (at, row) in encode_rows(&rows, schema)?.into_iter().enumerate() {
        let kind = kinds.as_ref().map_or(row_kind::INSERT, |k| k.value(at));
        serde_json::to_writer(&mut bytes, &json!({ "op": row_kind::short(kind), "row": row }))
            .map_err(|e| Error::internal("encoding a row failed").caused_by(&e))?;
        bytes.push(b'\n');
    }
    Ok(bytes.into())
}

fn line(value: &serde_json::Value) -> Bytes {
    let mut text = value.to_string();
    text.push('\n');
    text.into()
}

fn end(rows: u64, limited: bool) -> Bytes {
    line(&json!({ "end": { "rows": rows, "limited": limited } }))
}

fn failure(error: Error) -> Bytes {
    line(&json!({ "error": Problem::from(error).body() }))
}
