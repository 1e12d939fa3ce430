//! Errors as RFC 9457 problem details.

use axum::Json;
use axum::extract::rejection::JsonRejection;
use axum::extract::{FromRequest, FromRequestParts, Request};
use axum::http::header::{CONTENT_TYPE, RETRY_AFTER};
use axum::http::request::Parts;
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use serde::de::DeserializeOwned;

use crate::error::{Error, ErrorKind, Place};

/// Where each code has a line.
const ERROR_DOCS: &str = "/errors";
/// Seconds after which an unavailable service may be asked again.
const RETRY_AFTER_SECONDS: &str = "1";

/// Body of every error response (`application/problem+json`).
#[derive(Debug, Clone, serde::Serialize, serde::Deserialize, utoipa::ToSchema)]
pub struct ProblemBody {
    /// A URI reference that identifies the kind of problem.
    #[serde(rename = "type")]
    pub problem_type: String,
    /// The kind of problem in words.
    pub title: String,
    /// The HTTP status.
    pub status: u16,
    /// What failed and what to do.
    pub detail: String,
    /// Stable code for programs.
    pub code: String,
    /// The places that the problem is about.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub errors: Vec<ProblemPlace>,
}

/// One place that a problem is about.
#[derive(Debug, Clone, Default, serde::Serialize, serde::Deserialize, utoipa::ToSchema)]
pub struct ProblemPlace {
    /// What is wrong there.
    pub detail: String,
    /// JSON pointer into the request body.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pointer: Option<String>,
    /// Line in the SQL text (or input file), from 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub line: Option<u64>,
    /// Column in the SQL text, from 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub column: Option<u64>,
    /// Input file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file: Option<String>,
}

/// An error response.
#[derive(Debug)]
pub struct Problem {
    error: Error,
    status: StatusCode,
}

impl From<Error> for Problem {
    fn from(error: Error) -> Self {
        let status = match error.kind {
            ErrorKind::Invalid => StatusCode::BAD_REQUEST,
            ErrorKind::NotFound => StatusCode::NOT_FOUND,
            ErrorKind::Conflict | ErrorKind::Fenced => StatusCode::CONFLICT,
            ErrorKind::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
            ErrorKind::Corrupt | ErrorKind::Internal => StatusCode::INTERNAL_SERVER_ERROR,
        };
        Problem { error, status }
    }
}

impl Problem {
    /// The same problem with another HTTP status.
    pub fn with_status(mut self, status: StatusCode) -> Self {
        self.status = status;
        self
    }
    /// What the client sees. Causes are for the log only.
    pub fn body(&self) -> ProblemBody {
        let e = &self.error;
        let detail = e.message.clone();
        let place = e.place.as_ref().map(|place| match place {
            Place::Sql { line, column } => ProblemPlace {
                detail: detail.clone(),
                line: Some(*line),
                column: Some(*column),
                ..ProblemPlace::default()
            },
            Place::Pointer { pointer } => {
                ProblemPlace { detail: detail.clone(), pointer: Some(pointer.clone()), ..ProblemPlace::default() }
            }
            Place::Input { file, line } => ProblemPlace {
                detail: detail.clone(),
                file: Some(file.clone()),
                line: Some(*line),
                ..ProblemPlace::default()
            },
        });
        let title = match e.kind {
            ErrorKind::Invalid => "The request is not valid",
            ErrorKind::NotFound => "Not found",
            ErrorKind::Conflict => "The request conflicts with the current state",
            ErrorKind::Fenced => "Another instance owns the job",
            ErrorKind::Unavailable => "Temporarily unavailable",
            ErrorKind::Corrupt => "Stored data is damaged",
            ErrorKind::Internal => "Internal error",
        };
        ProblemBody {
            problem_type: format!("{ERROR_DOCS}#{}", e.code),
            title: title.to_owned(),
            status: self.status.as_u16(),
            detail,
            code: e.code.clone(),
            errors: place.into_iter().collect(),
        }
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        if self.status.is_server_error() {
            tracing::error!(code = self.error.code, error = %self.error, "request failed");
        } else {
            tracing::debug!(code = self.error.code, error = %self.error, "request refused");
        }
        let mut response = (self.status, Json(self.body())).into_response();
        response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        if self.status == StatusCode::SERVICE_UNAVAILABLE {
            response.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static(RETRY_AFTER_SECONDS));
        }
        response
    }
}

/// A query string whose errors are problems.
pub struct Query<T>(pub T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequestParts<S> for Query<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let query = axum::extract::Query::<T>::from_request_parts(parts, state).await;
        query.map(|q| Query(q.0)).map_err(|e| Error::invalid("invalid_query", e.body_text()).into())
    }
}

/// Path parameters whose errors are problems.
pub struct Path<T>(pub T);

impl<T: DeserializeOwned + Send, S: Send + Sync> FromRequestParts<S> for Path<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let path = axum::extract::Path::<T>::from_request_parts(parts, state).await;
        path.map(|p| Path(p.0)).map_err(|e| Error::invalid("invalid_path", e.body_text()).into())
    }
}

/// A JSON body whose errors are problems with a JSON pointer.
pub struct Body<T>(pub T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequest<S> for Body<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        match Json::<serde_json::Value>::from_request(request, state).await {
            Ok(Json(value)) => from_value(value).map(Body),
            Err(rejection) => Err(refused(&rejection)),
        }
    }
}

/// A JSON body that may be left out.
pub struct OptionalBody<T>(pub T);

impl<T: DeserializeOwned + Default, S: Send + Sync> FromRequest<S> for OptionalBody<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        let bytes = axum::body::Bytes::from_request(request, state)
            .await
            .map_err(|e| Problem::from(Error::invalid("invalid_body", e.body_text())).with_status(e.status()))?;
        if bytes.is_empty() {
            return Ok(OptionalBody(T::default()));
        }
        let value = serde_json::from_slice(&bytes)
            .map_err(|e| Problem::from(Error::invalid("invalid_body", format!("the body is not JSON: {e}"))))?;
        from_value(value).map(OptionalBody)
    }
}

fn from_value<T: DeserializeOwned>(value: serde_json::Value) -> Result<T, Problem> {
    serde_path_to_error::deserialize(value).map_err(|e| {
        let path = e.path().to_string();
        let pointer: String = path
            .split('.')
            .filter(|p| *p != "." && !p.is_empty())
            .map(|p| format!("/{}", p.replace('[', "/").replace(']', "")))
            .collect();
        Problem::from(Error::invalid("invalid_body", e.inner().to_string()).at_pointer(pointer))
    })
}

fn refused(rejection: &JsonRejection) -> Problem {
    let status = rejection.status();
    let code = match status {
        StatusCode::PAYLOAD_TOO_LARGE => "body_too_large",
        StatusCode::UNSUPPORTED_MEDIA_TYPE => "unsupported_media_type",
        _ => "invalid_body",
    };
    let error = Error::invalid(code, rejection.body_text());
    let problem = Problem::from(error);
    if status == StatusCode::PAYLOAD_TOO_LARGE || status == StatusCode::UNSUPPORTED_MEDIA_TYPE {
        problem.with_status(status)
    } else {
        problem
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_has_its_status() {
        let check =
            |kind, status: u16| assert_eq!(Problem::from(Error::new(kind, "c", "m")).body().status, status, "{kind:?}");
        check(ErrorKind::Invalid, 400);
        check(ErrorKind::NotFound, 404);
        check(ErrorKind::Conflict, 409);
        check(ErrorKind::Fenced, 409);
        check(ErrorKind::Unavailable, 503);
        check(ErrorKind::Corrupt, 500);
        check(ErrorKind::Internal, 500);
    }

    #[test]
    fn a_wrong_member_is_named_by_its_pointer() {
        let check = |body: serde_json::Value, pointer: &str| {
            let problem = from_value::<crate::job::SubmitRequest>(body).err().unwrap().body();
            assert_eq!(problem.errors[0].pointer.as_deref(), Some(pointer), "{problem:?}");
        };
        check(serde_json::json!({"sql": "x", "checkpointing": {"retained": "three"}}), "/checkpointing/retained");
        check(serde_json::json!({"sql": "x", "paralelism": 2}), "/paralelism");
    }

    #[test]
    fn causes_are_not_shown_to_clients() {
        let cause = std::io::Error::other("password=secret");
        let problem = Problem::from(Error::internal("m").caused_by(&cause));
        assert!(!serde_json::to_string(&problem.body()).unwrap().contains("secret"));
    }
}
