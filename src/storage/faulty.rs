//! A store in memory that fails on purpose, for tests of protocols.
//!
//! Requests are counted; a fault is planned for the n-th from now on. It sits below [`Store`], where a client's own
//! repetitions have already been used up: what a caller sees here is what it sees when a store stays away.

use std::ops::Range;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use futures::stream::BoxStream;
use futures::{StreamExt, TryStreamExt};
use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::{
    CopyOptions, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore, PutMultipartOptions,
    PutOptions, PutPayload, PutResult, Result, UploadPart,
};

use super::Store;

/// What happens to a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// It is refused: 5xx.
    ServerError,
    /// It is carried out, and its answer is lost.
    TimeoutAfterSuccess,
    /// It is refused if it writes, and so is every later one that writes, until [`Faults::mend`].
    DiskFull,
    /// It and every later one fail, until [`Faults::mend`].
    ConnectionCut,
    /// The same, but this one is carried out.
    ConnectionCutAfterSuccess,
    /// It takes this long, ms.
    Slow(u64),
}

#[derive(Debug, Default)]
struct State {
    requests: u64,
    planned: Option<(u64, Fault)>,
    /// All requests fail; or only writes.
    gone: bool,
    full: bool,
    fired: bool,
}

/// The plan of faults of one store.
#[derive(Debug, Default)]
pub struct Faults(Mutex<State>);

impl Faults {
    /// Plans a fault for the `n`-th request from now on, from 0; forgets any other.
    pub fn plan(&self, n: u64, fault: Fault) {
        let mut state = self.0.lock().unwrap();
        let at = state.requests + n;
        *state = State { requests: state.requests, planned: Some((at, fault)), ..State::default() };
    }
    /// Ends all faults; whether one had come.
    pub fn mend(&self) -> bool {
        let mut state = self.0.lock().unwrap();
        let fired = state.fired;
        *state = State { requests: state.requests, ..State::default() };
        fired
    }
    /// Requests so far.
    pub fn requests(&self) -> u64 {
        self.0.lock().unwrap().requests
    }
    /// Counts a request; answers its fault.
    fn next(&self, writes: bool) -> Option<Fault> {
        let mut state = self.0.lock().unwrap();
        let number = state.requests;
        state.requests += 1;
        if state.gone {
            return Some(Fault::ConnectionCut);
        }
        if state.full && writes {
            return Some(Fault::DiskFull);
        }
        let fault = state.planned.filter(|(at, _)| *at == number).map(|(_, fault)| fault)?;
        state.planned = None;
        state.fired = true;
        state.gone = matches!(fault, Fault::ConnectionCut | Fault::ConnectionCutAfterSuccess);
        state.full = fault == Fault::DiskFull;
        (writes || fault != Fault::DiskFull).then_some(fault)
    }
    /// Runs a request under its fault.
    async fn run<T>(&self, writes: bool, request: impl Future<Output = Result<T>>) -> Result<T> {
        match self.next(writes) {
            None => request.await,
            Some(Fault::Slow(ms)) => {
                tokio::time::sleep(Duration::from_millis(ms)).await;
                request.await
            }
            Some(fault @ (Fault::TimeoutAfterSuccess | Fault::ConnectionCutAfterSuccess)) => {
                request.await?;
                Err(failure(fault))
            }
            Some(fault) => Err(failure(fault)),
        }
    }
}

fn failure(fault: Fault) -> object_store::Error {
    object_store::Error::Generic { store: "faulty", source: format!("planned: {fault:?}").into() }
}

/// The store below [`Store`].
#[derive(Debug, Clone)]
struct Faulty {
    inner: Arc<InMemory>,
    faults: Arc<Faults>,
}

impl Store {
    /// A new store in memory with planned faults.
    pub fn faulty() -> (Store, Arc<Faults>) {
        let faults = Arc::new(Faults::default());
        let objects = Arc::new(Faulty { inner: Arc::new(InMemory::new()), faults: Arc::clone(&faults) });
        let store = Store {
            objects,
            prefix: String::new(),
            base: "memory://".into(),
            local: None,
            is_durable: false,
            requests: Arc::default(),
        };
        (store, faults)
    }
}

impl std::fmt::Display for Faulty {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("faulty")
    }
}

#[async_trait::async_trait]
impl ObjectStore for Faulty {
    async fn put_opts(&self, location: &Path, payload: PutPayload, opts: PutOptions) -> Result<PutResult> {
        self.faults.run(true, self.inner.put_opts(location, payload, opts)).await
    }
    async fn put_multipart_opts(&self, location: &Path, opts: PutMultipartOptions) -> Result<Box<dyn MultipartUpload>> {
        let inner = self.faults.run(true, self.inner.put_multipart_opts(location, opts)).await?;
        Ok(Box::new(FaultyUpload { inner, faults: Arc::clone(&self.faults) }))
    }
    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        self.faults.run(false, self.inner.get_opts(location, options)).await
    }
    async fn get_ranges(&self, location: &Path, ranges: &[Range<u64>]) -> Result<Vec<Bytes>> {
        self.faults.run(false, self.inner.get_ranges(location, ranges)).await
    }
    fn delete_stream(&self, locations: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        let this = self.clone();
        locations
            .and_then(move |location| {
                let this = this.clone();
                async move {
                    let one = futures::stream::once(async move { Ok(location) }).boxed();
                    let deleted = this.inner.delete_stream(one).try_collect::<Vec<_>>();
                    let deleted = this.faults.run(true, deleted).await?;
                    Ok(deleted.into_iter().next().expect("one was asked for"))
                }
            })
            .boxed()
    }
    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        let (this, prefix) = (self.clone(), prefix.cloned());
        let listed = async move {
            let all = this.inner.list(prefix.as_ref()).try_collect::<Vec<_>>();
            this.faults.run(false, all).await
        };
        futures::stream::once(listed).map_ok(|all| futures::stream::iter(all.into_iter().map(Ok))).try_flatten().boxed()
    }
    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.faults.run(false, self.inner.list_with_delimiter(prefix)).await
    }
    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.faults.run(true, self.inner.copy_opts(from, to, options)).await
    }
}

#[derive(Debug)]
struct FaultyUpload {
    inner: Box<dyn MultipartUpload>,
    faults: Arc<Faults>,
}

#[async_trait::async_trait]
impl MultipartUpload for FaultyUpload {
    fn put_part(&mut self, data: PutPayload) -> UploadPart {
        let (part, faults) = (self.inner.put_part(data), Arc::clone(&self.faults));
        Box::pin(async move { faults.run(true, part).await })
    }
    async fn complete(&mut self) -> Result<PutResult> {
        let faults = Arc::clone(&self.faults);
        faults.run(true, self.inner.complete()).await
    }
    async fn abort(&mut self) -> Result<()> {
        let faults = Arc::clone(&self.faults);
        faults.run(true, self.inner.abort()).await
    }
}

mod tests {
    use super::*;

    /// A file of several parts is there as a whole or not at all, and storing it again works, whatever happened to the
    /// first try.
    #[tokio::test]
    async fn a_partial_upload_leaves_nothing_that_could_be_taken_for_the_file() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("large.sst");
        let bytes: Vec<u8> = (0..(20_u32 << 20)).map(|n| u8::try_from(n % 251).unwrap()).collect();
        std::fs::write(&file, &bytes).unwrap();
        let (store, faults) = Store::faulty();
        let expected = store.put_file("clean", &file, None).await.unwrap();
        let requests = faults.requests();
        assert!(requests >= 5, "an upload in parts has {requests} requests");
        for at in 0..requests {
            for fault in [
                Fault::ServerError,
                Fault::TimeoutAfterSuccess,
                Fault::DiskFull,
                Fault::ConnectionCut,
                Fault::ConnectionCutAfterSuccess,
                Fault::Slow(1),
            ] {
                let (store, faults) = Store::faulty();
                faults.plan(at, fault);
                let first = store.put_file("key", &file, None).await;
                assert!(faults.mend() || fault == Fault::DiskFull, "{fault:?} at {at} came");
                let there = store.length("key").await.unwrap();
                assert!(there.is_none_or(|n| n == expected.bytes), "{fault:?} at {at}: {there:?} bytes are there");
                if let Ok(stored) = first {
                    assert_eq!((stored, there), (expected.clone(), Some(expected.bytes)), "{fault:?} at {at}");
                }
                let again = store.put_file("key", &file, None).await;
                assert_eq!(again.as_ref().ok(), Some(&expected), "{fault:?} at {at}: {again:?}");
                assert_eq!(store.digest("key").await.unwrap(), expected, "{fault:?} at {at}");
            }
        }
    }
}
