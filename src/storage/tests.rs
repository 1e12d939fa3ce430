//! Each test of a store's behaviour runs on a folder, in memory, and on a real S3 server.

#[path = "../../tests/it/support/s3.rs"]
mod s3_server;

use object_store::memory::InMemory;
use sha2::{Digest, Sha256};
use tempfile::TempDir;

use super::*;
use crate::error::ErrorKind;

/// A store with a folder for working files.
struct Fixture {
    store: Store,
    folder: TempDir,
}

async fn file() -> Fixture {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(&format!("file://{}/new/a%20store/", folder.path().display())).await.unwrap();
    Fixture { store, folder }
}

async fn memory() -> Fixture {
    Fixture { store: Store::open("memory://").await.unwrap(), folder: tempfile::tempdir().unwrap() }
}

async fn s3() -> Fixture {
    let bucket = tokio::task::spawn_blocking(s3_server::fresh_bucket).await.unwrap();
    let store = Store::open_with(&format!("s3://{}/some/prefix/", bucket.name), bucket.variables).await.unwrap();
    Fixture { store, folder: tempfile::tempdir().unwrap() }
}

/// Makes `file::name`, `memory::name` and `s3::name` of each function `name(Fixture)`.
macro_rules! on_all {
    ($($name:ident),* $(,)?) => { on_all!(@ file [$($name)*]); on_all!(@ memory [$($name)*]); on_all!(@ s3 [$($name)*]); };
    (@ $store:ident [$($name:ident)*]) => {
        mod $store {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $name() { super::$name(super::$store().await).await; })*
        }
    };
}

on_all!(
    an_object_is_put_once,
    files_come_back_as_they_were,
    a_file_is_not_stored_over_another,
    a_file_that_changed_is_not_stored,
    wrong_bytes_are_detected,
    listing_and_deleting,
    uris_and_keys_convert,
    the_probe_leaves_nothing,
);

fn check_error<T: std::fmt::Debug>(result: Result<T>, kind: ErrorKind, code: &str) -> Error {
    let error = result.expect_err(code);
    assert_eq!((error.kind, error.code.as_str()), (kind, code), "{error}");
    error
}

fn sha256(bytes: &[u8]) -> String {
    hex::encode(Sha256::digest(bytes))
}

/// Bytes without a short period, so that parts in a wrong order show.
fn content(bytes: usize) -> Vec<u8> {
    (0..bytes.div_ceil(8) as u64)
        .flat_map(|n| n.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_le_bytes())
        .take(bytes)
        .collect()
}

async fn keys_of(store: &Store, prefix: &str) -> Vec<String> {
    let mut keys: Vec<_> = store.list(prefix).await.unwrap().into_iter().map(|object| object.key).collect();
    keys.sort();
    keys
}

async fn an_object_is_put_once(Fixture { store, .. }: Fixture) {
    assert!(!store.exists("a/manifest.json").await.unwrap());
    let missing = check_error(store.get("a/manifest.json").await, ErrorKind::NotFound, "object_missing");
    assert!(missing.message.contains("a/manifest.json"), "{missing}");
    check_error::<()>(Err(missing_is_corrupt(missing)), ErrorKind::Corrupt, "object_missing");
    for (bytes, expected) in [("one", PutOutcome::Created), ("two", PutOutcome::Exists), ("one", PutOutcome::Exists)] {
        assert_eq!(store.put_if_absent("a/manifest.json", Bytes::from(bytes)).await.unwrap(), expected);
    }
    assert_eq!(store.get("a/manifest.json").await.unwrap(), "one");
    assert!(store.exists("a/manifest.json").await.unwrap());
    assert_eq!(store.put_if_absent("empty", Bytes::new()).await.unwrap(), PutOutcome::Created);
    assert_eq!(store.get("empty").await.unwrap(), "");
    check_error(store.put_if_absent("../a", Bytes::new()).await, ErrorKind::Invalid, "invalid_object_key");
}

/// Not on the S3 server of these tests: s3s-fs 0.14.1 looks whether an object exists and then writes it, so several of
/// racing conditional puts succeed. S3 itself decides atomically.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_of_racing_puts_wins() {
    for Fixture { store, folder: _folder } in [file().await, memory().await] {
        check_racing_puts(store).await;
    }
}

async fn check_racing_puts(store: Store) {
    let puts = (0..16_u8).map(|n| {
        let store = store.clone();
        tokio::spawn(async move { store.put_if_absent("race/object", Bytes::from(vec![n; 10_000])).await.unwrap() })
    });
    let outcomes = futures::future::join_all(puts).await;
    let winners: Vec<_> =
        (0..16_u8).zip(outcomes).filter(|(_, o)| *o.as_ref().unwrap() == PutOutcome::Created).collect();
    assert_eq!(winners.len(), 1);
    assert_eq!(store.get("race/object").await.unwrap(), vec![winners[0].0; 10_000]);
}

async fn files_come_back_as_they_were(Fixture { store, folder }: Fixture) {
    const PART: usize = 8 << 20;
    for bytes in [0, 1, 70_000, PART - 1, PART, PART + 1, 3 * PART, 5 * PART + 12_345] {
        let (source, target) = (folder.path().join("source"), folder.path().join(format!("deep/er/{bytes}")));
        let content = content(bytes);
        std::fs::write(&source, &content).unwrap();
        let key = format!("files/{bytes}.sst");
        let expected = Stored { bytes: bytes as u64, sha256: sha256(&content) };
        // Twice, as after a lost answer.
        for sha256 in [None, Some(expected.sha256.as_str())] {
            assert_eq!(store.put_file(&key, &source, sha256).await.unwrap(), expected);
        }
        // What was there before is replaced.
        std::fs::create_dir_all(target.parent().unwrap()).unwrap();
        std::fs::write(&target, "something longer than nothing").unwrap();
        store.get_to_file(&key, &target, expected.bytes, &expected.sha256).await.unwrap();
        assert!(std::fs::read(&target).unwrap() == content, "{bytes} bytes");
    }
}

async fn a_file_is_not_stored_over_another(Fixture { store, folder }: Fixture) {
    for bytes in [10, (8 << 20) + 10] {
        let source = folder.path().join("source");
        let key = format!("files/{bytes}");
        let mut content = content(bytes);
        std::fs::write(&source, &content).unwrap();
        let first = store.put_file(&key, &source, None).await.unwrap();
        content[bytes - 1] ^= 1;
        std::fs::write(&source, &content).unwrap();
        check_error(store.put_file(&key, &source, None).await, ErrorKind::Conflict, "object_exists");
        std::fs::write(&source, &content[..bytes - 1]).unwrap();
        check_error(store.put_file(&key, &source, None).await, ErrorKind::Conflict, "object_exists");
        store.get_to_file(&key, &folder.path().join("target"), first.bytes, &first.sha256).await.unwrap();
    }
}

async fn a_file_that_changed_is_not_stored(Fixture { store, folder }: Fixture) {
    for bytes in [10, (8 << 20) + 10] {
        let source = folder.path().join("source");
        std::fs::write(&source, content(bytes)).unwrap();
        let expected = sha256(b"what it was");
        check_error(store.put_file("file", &source, Some(&expected)).await, ErrorKind::Corrupt, "file_corrupt");
        assert!(!store.exists("file").await.unwrap());
    }
    let missing = store.put_file("file", &folder.path().join("missing"), None).await;
    check_error(missing, ErrorKind::Unavailable, "disk_unavailable");
    assert_eq!(keys_of(&store, "").await, Vec::<String>::new());
}

async fn wrong_bytes_are_detected(Fixture { store, folder }: Fixture) {
    let (source, target) = (folder.path().join("source"), folder.path().join("target"));
    std::fs::write(&source, "content").unwrap();
    let stored = store.put_file("jobs/a.sst", &source, None).await.unwrap();
    let other = sha256(b"other");
    for (bytes, sha256) in [(stored.bytes, &other), (stored.bytes + 1, &stored.sha256), (0, &stored.sha256)] {
        let error = store.get_to_file("jobs/a.sst", &target, bytes, sha256).await;
        let error = check_error(error, ErrorKind::Corrupt, "object_corrupt");
        assert!(error.message.contains(&store.uri_of("jobs/a.sst")), "{error}");
        assert!(!target.exists());
    }
    std::fs::write(&target, "old").unwrap();
    let missing = store.get_to_file("jobs/b.sst", &target, 1, &other).await;
    check_error(missing, ErrorKind::NotFound, "object_missing");
    assert!(!target.exists());
}

async fn listing_and_deleting(Fixture { store, .. }: Fixture) {
    assert_eq!(keys_of(&store, "").await, Vec::<String>::new());
    assert_eq!(keys_of(&store, "jobs").await, Vec::<String>::new());
    let started_ms = crate::clock::now_ms();
    let all = ["jobs/1/chk-1/m.json", "jobs/1/chk-1/0.sst", "jobs/1/chk-10/m.json", "jobs/10/m.json", "top"];
    for key in all {
        store.put_if_absent(key, Bytes::from(key)).await.unwrap();
    }
    let cases = [
        ("", &["jobs/1/chk-1/0.sst", "jobs/1/chk-1/m.json", "jobs/1/chk-10/m.json", "jobs/10/m.json", "top"][..]),
        ("jobs", &["jobs/1/chk-1/0.sst", "jobs/1/chk-1/m.json", "jobs/1/chk-10/m.json", "jobs/10/m.json"]),
        ("jobs/1", &["jobs/1/chk-1/0.sst", "jobs/1/chk-1/m.json", "jobs/1/chk-10/m.json"]),
        ("jobs/1/chk-1/", &["jobs/1/chk-1/0.sst", "jobs/1/chk-1/m.json"]),
        ("jobs/2", &[]),
    ];
    for (prefix, expected) in cases {
        assert_eq!(keys_of(&store, prefix).await, expected, "{prefix}");
    }
    let listed = store.list("jobs/10").await.unwrap();
    assert_eq!(listed[0].bytes, 14);
    // Within a day: clocks differ, units do not.
    assert!((listed[0].modified_ms - started_ms).abs() < 86_400_000, "{listed:?}");
    check_error(store.list("../x").await, ErrorKind::Invalid, "invalid_object_key");

    store.delete(["jobs/1/chk-1/m.json", "missing", "jobs/missing/x", "jobs/1/chk-1/0.sst"]).await.unwrap();
    store.delete(Vec::<String>::new()).await.unwrap();
    assert_eq!(keys_of(&store, "").await, ["jobs/1/chk-10/m.json", "jobs/10/m.json", "top"]);
    // More than a bulk request holds.
    let many: Vec<_> = (0..1_100).map(|n| format!("many/{n}")).collect();
    for keys in many.chunks(50) {
        let puts = keys.iter().map(|key| store.put_if_absent(key, Bytes::new()));
        futures::future::try_join_all(puts).await.unwrap();
    }
    assert_eq!(store.list("many").await.unwrap().len(), many.len());
    store.delete(&many).await.unwrap();
    assert_eq!(keys_of(&store, "many").await, Vec::<String>::new());
}

async fn uris_and_keys_convert(Fixture { store, .. }: Fixture) {
    let uri = store.uri_of("jobs/1/m.json");
    assert_eq!(uri, format!("{}/jobs/1/m.json", store.uri()));
    assert_eq!(store.key_of(&uri).as_deref(), Some("jobs/1/m.json"));
    let base = store.uri();
    for other in [base.to_owned(), format!("{base}/"), format!("{base}x/a"), "gs://other/a".to_owned(), "x".to_owned()]
    {
        assert_eq!(store.key_of(&other), None, "{other}");
    }
    if base != "memory://" {
        assert_eq!(store.key_of(&format!("{base}/../b")), None, "it leads out of the store");
    }
}

async fn the_probe_leaves_nothing(Fixture { store, .. }: Fixture) {
    store.probe().await.unwrap();
    store.probe().await.unwrap();
    assert_eq!(keys_of(&store, "").await, Vec::<String>::new());
}

#[tokio::test]
async fn a_folder_has_nothing_but_objects() {
    let Fixture { store, folder } = file().await;
    let root = store.local_path().unwrap();
    assert_eq!(root, folder.path().join("new/a store").canonicalize().unwrap());
    store.put_if_absent("a/b/c", Bytes::from("x")).await.unwrap();
    store.put_if_absent("a/b/c", Bytes::from("y")).await.unwrap();
    std::fs::write(root.join("a/foreign file"), "z").unwrap();
    assert_eq!(keys_of(&store, "").await, ["a/b/c"]);
    assert_eq!(std::fs::read_dir(root.join(".staging")).unwrap().count(), 0);
    std::fs::remove_file(root.join("a/foreign file")).unwrap();
    store.delete(["a/b/c"]).await.unwrap();
    assert!(!root.join("a").exists(), "empty folders are removed");
    // Even if someone tidied up.
    std::fs::remove_dir(root.join(".staging")).unwrap();
    store.put_if_absent("a/b/c", Bytes::from("x")).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn folders_that_vanish_while_objects_are_put_do_no_harm() {
    let Fixture { store, .. } = file().await;
    let tasks = (0..4).map(|n| {
        let store = store.clone();
        tokio::spawn(async move {
            for round in 0..50 {
                let key = format!("shared/folder/{n}-{round}");
                assert_eq!(store.put_if_absent(&key, Bytes::from("x")).await.unwrap(), PutOutcome::Created);
                store.delete([&key]).await.unwrap();
            }
        })
    });
    for task in futures::future::join_all(tasks).await {
        task.unwrap();
    }
    assert_eq!(keys_of(&store, "").await, Vec::<String>::new());
}

#[tokio::test]
async fn damage_on_disk_is_detected() {
    let Fixture { store, folder } = file().await;
    let (source, target) = (folder.path().join("source"), folder.path().join("target"));
    std::fs::write(&source, content(100_000)).unwrap();
    let stored = store.put_file("a.sst", &source, None).await.unwrap();
    let object = store.local_path().unwrap().join("a.sst");
    let mut damaged = content(100_000);
    damaged[50_000] ^= 1;
    for bytes in [&damaged[..], &content(100_000)[..99_999], b""] {
        std::fs::write(&object, bytes).unwrap();
        let read = store.get_to_file("a.sst", &target, stored.bytes, &stored.sha256).await;
        check_error(read, ErrorKind::Corrupt, "object_corrupt");
    }
}

#[tokio::test]
async fn only_stores_that_outlive_a_restart_are_durable() {
    assert!(!memory().await.store.is_durable());
    assert!(s3().await.store.is_durable());
    let folder = tempfile::tempdir_in("/dev/shm").unwrap();
    let store = Store::open(&format!("file://{}/x", folder.path().display())).await.unwrap();
    assert!(!store.is_durable());
    let folder = tempfile::tempdir_in(env!("CARGO_MANIFEST_DIR")).unwrap();
    let store = Store::open(&format!("file:{}", folder.path().display())).await.unwrap();
    assert!(store.is_durable());
    assert_eq!(store.uri(), format!("file://{}", folder.path().display()));
}

#[tokio::test]
async fn what_is_not_a_store_is_refused() {
    let uris = [
        "",
        "folder",
        "/folder",
        "file://relative/folder",
        "http://x/y",
        "s3://",
        "s3:///x",
        "s3://b/with space",
        "s3://key:secret@b/x",
        "s3://b/x?region=y",
        "ftp://b",
    ];
    for uri in uris {
        check_error(Store::open_with(uri, []).await, ErrorKind::Invalid, "invalid_store_uri");
    }
    let variables =
        [("AWS_ENDPOINT".to_owned(), "no url".to_owned()), ("AWS_SKIP_SIGNATURE".to_owned(), "perhaps".to_owned())];
    check_error(Store::open_with("s3://b", variables).await, ErrorKind::Invalid, "invalid_store_uri");
    let file = tempfile::NamedTempFile::new().unwrap();
    let opened = Store::open(&format!("file://{}", file.path().display())).await;
    check_error(opened, ErrorKind::Unavailable, "store_unavailable");
}

#[tokio::test]
async fn a_store_that_does_not_answer_is_unavailable() {
    let listener = std::net::TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    drop(listener);
    let once = object_store::RetryConfig { max_retries: 0, ..open::retry() };
    let store = open::open("s3://bucket/p", s3_server::variables(port), once).await.unwrap();
    let file = tempfile::NamedTempFile::new().unwrap();
    let failures = [
        store.put_if_absent("a", Bytes::new()).await.map(|_| ()),
        store.put_file("a", file.path(), None).await.map(|_| ()),
        store.get("a").await.map(|_| ()),
        store.get_to_file("a", &file.path().with_extension("x"), 0, "").await,
        store.exists("a").await.map(|_| ()),
        store.probe().await,
    ];
    for failure in failures {
        let error = check_error(failure, ErrorKind::Unavailable, "store_unavailable");
        assert!(error.message.contains("s3://bucket/p/"), "{error}");
    }
    check_error(store.list("").await, ErrorKind::Unavailable, "store_unavailable");
    check_error(store.delete(["a"]).await, ErrorKind::Unavailable, "store_unavailable");
}

#[tokio::test]
async fn a_missing_bucket_and_wrong_credentials_are_told_apart_from_a_missing_object() {
    let bucket = tokio::task::spawn_blocking(s3_server::fresh_bucket).await.unwrap();
    let store = Store::open_with("s3://no-such-bucket", bucket.variables.clone()).await.unwrap();
    // Listed, because this server makes a bucket when something is put in it.
    let error = check_error(store.list("").await, ErrorKind::Unavailable, "store_unavailable");
    assert!(error.message.contains("bucket"), "{error}");
    let mut variables = bucket.variables;
    for (name, value) in &mut variables {
        if name == "AWS_SECRET_ACCESS_KEY" {
            *value = "wrong".to_owned();
        }
    }
    let store = Store::open_with(&format!("s3://{}", bucket.name), variables).await.unwrap();
    check_error(store.put_if_absent("a", Bytes::new()).await, ErrorKind::Unavailable, "store_access_denied");
    check_error(store.get("a").await, ErrorKind::Unavailable, "store_access_denied");
}

/// How a store misbehaves when it is put to.
#[derive(Debug, PartialEq)]
enum Flaw {
    /// Ignores `PutMode::Create`, as old S3 clones do.
    Overwrites,
    /// Stores the object, but its answer is lost.
    AnswerLost,
}

#[derive(Debug)]
struct Flawed(Flaw, InMemory);

impl std::fmt::Display for Flawed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:?}", self.0)
    }
}

type ObjectPath = object_store::path::Path;
type StoreResult<T> = object_store::Result<T>;
type StoreStream<T> = futures::stream::BoxStream<'static, StoreResult<T>>;
type StoreFuture<'a, T> = futures::future::BoxFuture<'a, StoreResult<T>>;

impl ObjectStore for Flawed {
    fn put_opts<'a, 's: 'r, 'l: 'r, 'r>(
        &'s self,
        location: &'l ObjectPath,
        payload: PutPayload,
        options: PutOptions,
    ) -> StoreFuture<'r, object_store::PutResult>
    where
        Self: 'r,
    {
        let options = if self.0 == Flaw::Overwrites { PutOptions::default() } else { options };
        Box::pin(async move {
            let stored = self.1.put_opts(location, payload, options).await;
            match self.0 {
                Flaw::Overwrites => stored,
                Flaw::AnswerLost => Err(object_store::Error::Generic { store: "test", source: "broken pipe".into() }),
            }
        })
    }
    fn put_multipart_opts<'s: 'r, 'l: 'r, 'r>(
        &'s self,
        location: &'l ObjectPath,
        options: object_store::PutMultipartOptions,
    ) -> StoreFuture<'r, Box<dyn object_store::MultipartUpload>>
    where
        Self: 'r,
    {
        self.1.put_multipart_opts(location, options)
    }
    fn get_opts<'s: 'r, 'l: 'r, 'r>(
        &'s self,
        location: &'l ObjectPath,
        options: object_store::GetOptions,
    ) -> StoreFuture<'r, object_store::GetResult>
    where
        Self: 'r,
    {
        self.1.get_opts(location, options)
    }
    fn delete_stream(&self, locations: StoreStream<ObjectPath>) -> StoreStream<ObjectPath> {
        self.1.delete_stream(locations)
    }
    fn list(&self, prefix: Option<&ObjectPath>) -> StoreStream<object_store::ObjectMeta> {
        self.1.list(prefix)
    }
    fn list_with_delimiter<'s: 'r, 'l: 'r, 'r>(
        &'s self,
        prefix: Option<&'l ObjectPath>,
    ) -> StoreFuture<'r, object_store::ListResult>
    where
        Self: 'r,
    {
        self.1.list_with_delimiter(prefix)
    }
    fn copy_opts<'s: 'r, 'l: 'r, 't: 'r, 'r>(
        &'s self,
        from: &'l ObjectPath,
        to: &'t ObjectPath,
        options: object_store::CopyOptions,
    ) -> StoreFuture<'r, ()>
    where
        Self: 'r,
    {
        self.1.copy_opts(from, to, options)
    }
}

#[tokio::test]
async fn the_probe_refuses_a_store_that_replaces_objects() {
    let Fixture { store, .. } = memory().await;
    let store = Store { objects: Arc::new(Flawed(Flaw::Overwrites, InMemory::new())), ..store };
    let error = check_error(store.probe().await, ErrorKind::Invalid, "store_unsafe");
    assert!(error.message.contains("replaces objects"), "{error}");
    assert_eq!(keys_of(&store, "").await, Vec::<String>::new());
}

#[tokio::test]
async fn a_put_whose_answer_is_lost_is_found_out_about() {
    let Fixture { store, folder } = memory().await;
    let store = Store { objects: Arc::new(Flawed(Flaw::AnswerLost, InMemory::new())), ..store };
    assert_eq!(store.put_if_absent("a", Bytes::from("one")).await.unwrap(), PutOutcome::Created);
    assert_eq!(store.put_if_absent("a", Bytes::from("two")).await.unwrap(), PutOutcome::Exists);
    let source = folder.path().join("source");
    std::fs::write(&source, "one").unwrap();
    assert_eq!(store.put_file("b", &source, None).await.unwrap().bytes, 3);
    std::fs::write(&source, "two").unwrap();
    check_error(store.put_file("b", &source, None).await, ErrorKind::Conflict, "object_exists");
    store.probe().await.unwrap();
}
