//! From a URI and variables to a store.

use std::sync::Arc;
use std::time::Duration;

use object_store::aws::{AmazonS3Builder, S3ConditionalPut};
use object_store::azure::MicrosoftAzureBuilder;
use object_store::gcp::GoogleCloudStorageBuilder;
use object_store::local::LocalFileSystem;
use object_store::memory::InMemory;
use object_store::{BackoffConfig, ClientOptions, ObjectStore, RetryConfig};
use reqwest::Url;

use crate::error::{Error, Result};

use super::local::{LocalFolder, is_in_memory};
use super::{Store, key};

/// Longest wait for a connection to the store.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// Longest time of one request, its body included: a part of 8 MiB at 300 kB/s.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(30);
/// Retries of one request, the first ones quick: a store's single 503 must not fail a checkpoint.
const MAX_RETRIES: usize = 8;
/// No retry after this; below the usual timeout of a checkpoint, so that the cause is reported.
const RETRY_TIMEOUT: Duration = Duration::from_secs(60);
/// Delays between retries, doubling.
const FIRST_BACKOFF: Duration = Duration::from_millis(100);
const LONGEST_BACKOFF: Duration = Duration::from_secs(5);

/// How requests are repeated.
pub(super) fn retry() -> RetryConfig {
    RetryConfig {
        backoff: BackoffConfig { init_backoff: FIRST_BACKOFF, max_backoff: LONGEST_BACKOFF, base: 2.0 },
        max_retries: MAX_RETRIES,
        retry_timeout: RETRY_TIMEOUT,
    }
}

/// Opens the store at `uri`.
pub(super) async fn open(uri: &str, variables: Vec<(String, String)>, retry: RetryConfig) -> Result<Store> {
    let invalid = |problem: &str| {
        let message = format!("'{uri}' is not a store: {problem}");
        Error::invalid("invalid_store_uri", message)
    };
    let parsed = Url::parse(uri).map_err(|_| {
        invalid("expected file:///folder, s3://bucket/prefix, gs://bucket/prefix, az://container/prefix or memory://")
    })?;
    if parsed.query().is_some()
        || parsed.fragment().is_some()
        || !parsed.username().is_empty()
        || parsed.password().is_some()
    {
        return Err(invalid("options and credentials belong in the environment, not in the URI"));
    }
    let base = normal_form(uri).ok_or_else(|| invalid("it cannot be understood"))?;
    let bucket = parsed.host_str().unwrap_or_default().to_owned();
    let prefix = parsed.path().trim_matches('/').to_owned();
    if parsed.scheme() == "file" {
        if !bucket.is_empty() {
            return Err(invalid("the folder must be absolute, as in file:///var/lib/holdfast"));
        }
        let folder = parsed.to_file_path().map_err(|()| invalid("the folder must be absolute"))?;
        let local = LocalFolder::open(folder).await?;
        let objects = LocalFileSystem::new_with_prefix(local.root())
            .map_err(|e| super::store_error::from_write("opening", &base, e))?
            .with_automatic_cleanup(true);
        let is_durable = !is_in_memory(local.root());
        return Ok(Store {
            objects: Arc::new(objects),
            prefix: String::new(),
            base,
            local: Some(local),
            is_durable,
            requests: Arc::default(),
        });
    }
    if parsed.scheme() == "memory" {
        return Ok(Store {
            objects: Arc::new(InMemory::new()),
            prefix: String::new(),
            base,
            local: None,
            is_durable: false,
            requests: Arc::default(),
        });
    }
    if bucket.is_empty() {
        return Err(invalid("the bucket or container is missing"));
    }
    if !prefix.is_empty() {
        key::check(&prefix).map_err(|_| invalid("its prefix may have letters, digits and '.', '_', '=', '-' only"))?;
    }
    let built: object_store::Result<Arc<dyn ObjectStore>> = match parsed.scheme() {
        "s3" | "s3a" => open_s3(&bucket, variables, retry),
        "gs" => open_gs(&bucket, variables, retry),
        "az" | "azure" => open_az(&bucket, variables, retry),
        scheme => return Err(invalid(&format!("the scheme {scheme}:// is not known"))),
    };
    let objects = built.map_err(|e| invalid("its settings in the environment are wrong").caused_by(&e))?;
    let prefix = if prefix.is_empty() { prefix } else { format!("{prefix}/") };
    Ok(Store { objects, prefix, base, local: None, is_durable: true, requests: Arc::default() })
}

/// The one spelling of a URI: aliases of schemes replaced, no `/` at the end.
pub(super) fn normal_form(uri: &str) -> Option<String> {
    let url = Url::parse(uri).ok()?;
    let scheme = match url.scheme() {
        "s3a" => "s3",
        "azure" => "az",
        other => other,
    };
    let host = url.host_str().unwrap_or_default();
    Some(format!("{scheme}://{host}{}", url.path().trim_end_matches('/')))
}

fn open_s3(
    bucket: &str,
    variables: Vec<(String, String)>,
    retry: RetryConfig,
) -> object_store::Result<Arc<dyn ObjectStore>> {
    let mut builder = AmazonS3Builder::new().with_client_options(client_options());
    for (name, value) in variables {
        if let Some(Ok(option)) = name.starts_with("AWS_").then(|| name.to_ascii_lowercase().parse()) {
            builder = builder.with_config(option, value);
        }
    }
    let store = builder
        .with_bucket_name(bucket)
        .with_retry(retry)
        // The protocol of checkpoints rests on it; the environment cannot switch it off.
        .with_conditional_put(S3ConditionalPut::ETagMatch)
        .build()?;
    Ok(Arc::new(store))
}

fn open_gs(
    bucket: &str,
    variables: Vec<(String, String)>,
    retry: RetryConfig,
) -> object_store::Result<Arc<dyn ObjectStore>> {
    let mut builder = GoogleCloudStorageBuilder::new().with_client_options(client_options());
    for (name, value) in variables {
        if name == "SERVICE_ACCOUNT" {
            builder = builder.with_service_account_path(value);
        } else if let Some(Ok(option)) = name.starts_with("GOOGLE_").then(|| name.to_ascii_lowercase().parse()) {
            builder = builder.with_config(option, value);
        }
    }
    Ok(Arc::new(builder.with_bucket_name(bucket).with_retry(retry).build()?))
}

fn open_az(
    container: &str,
    variables: Vec<(String, String)>,
    retry: RetryConfig,
) -> object_store::Result<Arc<dyn ObjectStore>> {
    let mut builder = MicrosoftAzureBuilder::new().with_client_options(client_options());
    for (name, value) in variables {
        if name == "IDENTITY_ENDPOINT" {
            builder = builder.with_msi_endpoint(value);
        } else if let Some(Ok(option)) = name.starts_with("AZURE_").then(|| name.to_ascii_lowercase().parse()) {
            builder = builder.with_config(option, value);
        }
    }
    Ok(Arc::new(builder.with_container_name(container).with_retry(retry).build()?))
}

fn client_options() -> ClientOptions {
    ClientOptions::new().with_connect_timeout(CONNECT_TIMEOUT).with_timeout(REQUEST_TIMEOUT)
}
