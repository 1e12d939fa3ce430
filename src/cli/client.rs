//! The service over HTTP. Answers are the API's own types; everything else becomes a [`Failure`].

use std::time::Duration;

use futures::{Stream, TryStreamExt};
use reqwest::{Method, RequestBuilder, Response, Url};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::failure::{Exit, Failure, exit_of};
use crate::api::problem::ProblemBody;

/// Longest wait for a connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// Longest time of one request; above the service's own limit, so that its answer is seen.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(60);
/// Most characters shown of an answer that is no problem of ours, such as a proxy's page.
const MAX_SHOWN_CHARS: usize = 200;

/// Where the service is.
#[derive(Debug, Clone, clap::Args)]
pub struct ServerArgs {
    /// URL of the service
    #[arg(
        long,
        global = true,
        env = "HOLDFAST_SERVER",
        value_name = "URL",
        default_value = "http://127.0.0.1:8081",
        hide_env_values = true
    )]
    server: String,
}

/// A connection to one service.
#[derive(Debug, Clone)]
pub struct Client {
    http: reqwest::Client,
    base: Url,
}

impl Client {
    /// A client of the service that the flags name. Connects when first used.
    pub fn new(args: &ServerArgs) -> Result<Client, Failure> {
        let invalid = || {
            let detail = format!("'{}' is not the URL of a service; write it like http://127.0.0.1:8081", args.server);
            Failure::usage("invalid_server", detail)
        };
        let mut base = Url::parse(&args.server).map_err(|_| invalid())?;
        if !matches!(base.scheme(), "http" | "https") {
            return Err(invalid());
        }
        base.set_query(None);
        base.set_fragment(None);
        let http = reqwest::Client::builder()
            .connect_timeout(CONNECT_TIMEOUT)
            .user_agent(concat!("holdfast/", env!("CARGO_PKG_VERSION")))
            .build()
            .map_err(|e| Failure::usage("invalid_server", "no HTTP client can be made").because(&e))?;
        Ok(Client { http, base })
    }

    /// The URL of a resource under `/api/v1`. Names are escaped.
    fn url(&self, path: &[&str]) -> Result<Url, Failure> {
        // What the URL standard would take for a step up or out.
        if let Some(wrong) = path.iter().find(|s| matches!(**s, "" | "." | "..")) {
            return Err(Failure::usage("invalid_name", format!("'{wrong}' is neither an id nor a name")));
        }
        let mut url = self.base.clone();
        url.path_segments_mut()
            .expect("http and https URLs have paths")
            .pop_if_empty()
            .extend(["api", "v1"])
            .extend(path);
        Ok(url)
    }

    /// Reads a resource.
    pub async fn get<T: DeserializeOwned>(&self, path: &[&str], query: &[(&str, String)]) -> Result<T, Failure> {
        self.answer(self.request(Method::GET, path)?.query(query)).await
    }

    /// Posts without a body.
    pub async fn post<T: DeserializeOwned>(&self, path: &[&str]) -> Result<T, Failure> {
        self.answer(self.request(Method::POST, path)?).await
    }

    /// Posts a JSON body.
    pub async fn post_json<T: DeserializeOwned>(&self, path: &[&str], body: &impl Serialize) -> Result<T, Failure> {
        self.answer(self.request(Method::POST, path)?.json(body)).await
    }

    /// Posts a JSON body with a query.
    pub async fn post_query<T: DeserializeOwned>(
        &self,
        path: &[&str],
        query: &[(&str, String)],
        body: &impl Serialize,
    ) -> Result<T, Failure> {
        self.answer(self.request(Method::POST, path)?.query(query).json(body)).await
    }

    /// Changes a resource by a JSON body.
    pub async fn patch_json<T: DeserializeOwned>(&self, path: &[&str], body: &impl Serialize) -> Result<T, Failure> {
        self.answer(self.request(Method::PATCH, path)?.json(body)).await
    }

    /// Submits a job, or (with `dry_run`) asks what it would be.
    pub async fn submit<T: DeserializeOwned>(
        &self,
        body: &impl Serialize,
        dry_run: bool,
        idempotency_key: Option<&str>,
    ) -> Result<T, Failure> {
        let mut request = self.request(Method::POST, &["jobs"])?.json(body);
        if dry_run {
            request = request.query(&[("dry_run", "true")]);
        }
        if let Some(key) = idempotency_key {
            request = request.header("idempotency-key", key);
        }
        self.answer(request).await
    }

    /// Deletes a resource.
    pub async fn delete(&self, path: &[&str], query: &[(&str, String)]) -> Result<(), Failure> {
        self.send(self.request(Method::DELETE, path)?.query(query).timeout(REQUEST_TIMEOUT)).await.map(drop)
    }

    /// Posts a JSON body and answers the body of the answer as it comes, for as long as it takes.
    pub async fn stream<B: Serialize>(
        &self,
        path: &[&str],
        body: &B,
    ) -> Result<impl Stream<Item = Result<bytes::Bytes, Failure>> + use<B>, Failure> {
        let response = self.send(self.request(Method::POST, path)?.json(body)).await?;
        let base = self.shown_base();
        Ok(response.bytes_stream().map_err(move |e| unreachable(&base, e)))
    }

    fn request(&self, method: Method, path: &[&str]) -> Result<RequestBuilder, Failure> {
        Ok(self.http.request(method, self.url(path)?))
    }

    async fn answer<T: DeserializeOwned>(&self, request: RequestBuilder) -> Result<T, Failure> {
        let response = self.send(request.timeout(REQUEST_TIMEOUT)).await?;
        let bytes = response.bytes().await.map_err(|e| unreachable(&self.shown_base(), e))?;
        serde_json::from_slice(&bytes).map_err(|e| {
            let detail =
                "the answer is not one of this version's service; are both of one version, and is --server right?";
            Failure::new(Exit::Failed, "unexpected_answer", detail).because(&e)
        })
    }

    async fn send(&self, request: RequestBuilder) -> Result<Response, Failure> {
        let response = request.send().await.map_err(|e| unreachable(&self.shown_base(), e))?;
        let status = response.status();
        if status.is_success() {
            return Ok(response);
        }
        let body = response.bytes().await.unwrap_or_default();
        Err(refusal(status.as_u16(), &body))
    }

    /// The base without a password.
    fn shown_base(&self) -> String {
        let mut base = self.base.clone();
        if base.password().is_some() {
            // Cannot fail: the URL has a host.
            let _ = base.set_password(Some("…"));
        }
        base.to_string().trim_end_matches('/').to_owned()
    }
}

fn unreachable(base: &str, error: reqwest::Error) -> Failure {
    let (code, detail) = if error.is_timeout() && !error.is_connect() {
        ("service_timeout", format!("{base} did not answer in time"))
    } else if error.is_connect() {
        let ask = "does the service run ('holdfast serve'), and is --server right?";
        ("service_unreachable", format!("cannot reach {base}: {ask}"))
    } else {
        ("connection_lost", format!("the connection to {base} broke"))
    };
    Failure::new(Exit::Unavailable, code, detail).because(&error.without_url())
}

/// The failure that an answer other than a success stands for.
fn refusal(status: u16, body: &[u8]) -> Failure {
    if let Ok(problem) = serde_json::from_slice::<ProblemBody>(body) {
        return problem.into();
    }
    let text = String::from_utf8_lossy(body);
    let text: String = text.trim().chars().take(MAX_SHOWN_CHARS).collect();
    Failure::new(exit_of(status), "unexpected_answer", format!("HTTP status {status}: {text}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client(server: &str) -> Result<Client, Failure> {
        super::super::install_crypto();
        Client::new(&ServerArgs { server: server.to_owned() })
    }

    #[test]
    fn names_are_escaped_into_one_segment() {
        let check = |server: &str, name: &str, expected: &str| {
            assert_eq!(client(server).unwrap().url(&["jobs", name, "plan"]).unwrap().as_str(), expected);
        };
        check("http://h:1", "a", "http://h:1/api/v1/jobs/a/plan");
        check("http://h:1/", "a b/c?d#e%", "http://h:1/api/v1/jobs/a%20b%2Fc%3Fd%23e%25/plan");
        check("https://h/holdfast/", "a", "https://h/holdfast/api/v1/jobs/a/plan");
    }

    #[test]
    fn names_that_would_be_another_path_are_refused() {
        for name in ["", ".", ".."] {
            assert_eq!(client("http://h").unwrap().url(&["jobs", name]).unwrap_err().code, "invalid_name");
        }
    }

    #[test]
    fn wrong_servers_are_refused() {
        for server in ["", "localhost:8081", "ftp://h", "http://"] {
            assert_eq!(client(server).unwrap_err().exit, Exit::Usage, "{server}");
        }
    }

    #[test]
    fn passwords_are_not_shown() {
        assert_eq!(client("http://u:secret@h:1").unwrap().shown_base(), "http://u:%E2%80%A6@h:1");
    }

    #[test]
    fn refusals_are_problems_or_a_proxys_page() {
        let problem =
            serde_json::json!({"type": "t", "title": "t", "status": 404, "detail": "d", "code": "job_not_found"});
        let failure = refusal(404, problem.to_string().as_bytes());
        assert_eq!((failure.exit, failure.code.as_str()), (Exit::NotFound, "job_not_found"));
        let failure = refusal(502, b"<html>bad gateway</html>");
        assert_eq!((failure.exit, failure.code.as_str()), (Exit::Unavailable, "unexpected_answer"));
        assert!(failure.detail.contains("bad gateway"));
    }

    #[tokio::test]
    async fn a_service_that_is_not_there_is_unavailable() {
        // A port that was free a moment ago, and that nobody listens on.
        let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let client = client(&format!("http://127.0.0.1:{port}")).unwrap();
        let failure = client.get::<serde_json::Value>(&["jobs"], &[]).await.unwrap_err();
        assert_eq!((failure.exit, failure.code.as_str()), (Exit::Unavailable, "service_unreachable"));
    }
}
