//! Files to and from a store that is not a folder: in parts, a few at once, with their SHA-256 taken on the way.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use bytes::Bytes;
use futures::StreamExt;
use futures::stream::FuturesUnordered;
use object_store::path::Path as ObjectPath;
use object_store::{MultipartUpload, ObjectStoreExt, PutPayload};
use sha2::{Digest, Sha256};

use crate::error::{Error, Result};

use super::local::{blocking, copy, create_file};
use super::store_error::{file_corrupt, from_file, from_read, from_write, missing, occupied};
use super::{PutOutcome, Store, Stored};

/// Up to this, a file is one put; above, parts of this size. S3's smallest part is 5 MiB.
const PART_BYTES: u64 = 8 << 20;
/// S3 takes 10 000 parts; the largest files have larger parts.
const MAX_PARTS: u64 = 9_000;
/// Parts of one file under way, and so in memory.
const PARTS_AT_ONCE: usize = 3;
/// Bytes of one request when reading: bounded, so that the time limit of a request fits any file.
const RANGE_BYTES: u64 = 8 << 20;

impl Store {
    /// Stores a file; see [`Store::put_file`].
    pub(super) async fn upload(
        &self,
        key: &str,
        path: &ObjectPath,
        source: &Path,
        expected_sha256: Option<&str>,
    ) -> Result<Stored> {
        let opened = source.to_owned();
        let (mut file, bytes) = blocking(move || {
            let open = || File::open(&opened).and_then(|file| file.metadata().map(|m| (file, m.len())));
            open().map_err(|e| from_file("reading", &opened, &e))
        })
        .await?;
        if bytes <= PART_BYTES {
            let (_, part) = read_part(file, source, bytes).await?;
            let stored = Stored { bytes, sha256: hex::encode(Sha256::digest(&part)) };
            check_sha256(source, &stored, expected_sha256)?;
            return match self.put_if_absent(key, part).await? {
                PutOutcome::Created => Ok(stored),
                PutOutcome::Exists => self.same_or_occupied(key, path, stored).await,
            };
        }
        // A multipart upload cannot be conditional everywhere; keys are unique, so what exists is one's own.
        if self.exists(key).await? {
            let hashed = source.to_owned();
            let stored =
                blocking(move || copy(&mut file, &mut std::io::sink()).map_err(|e| from_file("reading", &hashed, &e)))
                    .await?;
            check_sha256(source, &stored, expected_sha256)?;
            return self.same_or_occupied(key, path, stored).await;
        }
        let failed = |e| from_write("storing", &self.uri_of(key), e);
        let mut upload = self.objects.put_multipart(path).await.map_err(failed)?;
        let uploaded = self.upload_parts(upload.as_mut(), key, file, source, bytes, expected_sha256).await;
        match uploaded {
            Ok(stored) => {
                upload.complete().await.map_err(failed)?;
                Ok(stored)
            }
            Err(error) => {
                // The store's lifecycle rule removes what this cannot.
                let _ = upload.abort().await;
                Err(error)
            }
        }
    }

    async fn upload_parts(
        &self,
        upload: &mut dyn MultipartUpload,
        key: &str,
        mut file: File,
        source: &Path,
        bytes: u64,
        expected_sha256: Option<&str>,
    ) -> Result<Stored> {
        let failed = |e| from_write("storing", &self.uri_of(key), e);
        let part_bytes = part_bytes(bytes);
        let mut hasher = Sha256::new();
        let mut under_way = FuturesUnordered::<object_store::UploadPart>::new();
        let mut left = bytes;
        while left > 0 {
            let part;
            (file, part) = read_part(file, source, left.min(part_bytes)).await?;
            left -= part.len() as u64;
            hasher.update(&part);
            if under_way.len() == PARTS_AT_ONCE
                && let Some(done) = under_way.next().await
            {
                done.map_err(failed)?;
            }
            self.requests.put();
            under_way.push(upload.put_part(PutPayload::from_bytes(part)));
        }
        while let Some(done) = under_way.next().await {
            done.map_err(failed)?;
        }
        let stored = Stored { bytes, sha256: hex::encode(hasher.finalize()) };
        check_sha256(source, &stored, expected_sha256)?;
        Ok(stored)
    }

    /// The object that is there is as good as the one to be stored if it has the same bytes.
    async fn same_or_occupied(&self, key: &str, path: &ObjectPath, stored: Stored) -> Result<Stored> {
        let there = self.objects.head(path).await.map_err(|e| from_read("reading", &self.uri_of(key), e))?;
        if there.size == stored.bytes && self.hash_ranges(key, path, there.size).await? == stored {
            return Ok(stored);
        }
        Err(occupied(&self.uri_of(key)))
    }

    /// The SHA-256 of an object of this length.
    pub(super) async fn hash_ranges(&self, key: &str, path: &ObjectPath, bytes: u64) -> Result<Stored> {
        let mut hasher = Sha256::new();
        let mut ranges = self.ranges(key, path, bytes);
        while let Some(part) = ranges.next().await {
            hasher.update(&part?);
        }
        Ok(Stored { bytes, sha256: hex::encode(hasher.finalize()) })
    }

    /// Reads an object to a file; returns what it wrote, which may differ from what is expected.
    pub(super) async fn download(
        &self,
        key: &str,
        path: &ObjectPath,
        target: &Path,
        expected_bytes: u64,
    ) -> Result<Stored> {
        let there = self.objects.head(path).await.map_err(|e| from_read("reading", &self.uri_of(key), e))?;
        if there.size != expected_bytes {
            let message = format!("{} has {} bytes, but {expected_bytes} were stored", self.uri_of(key), there.size);
            return Err(Error::corrupt("object_corrupt", message));
        }
        let created = target.to_owned();
        let mut file = blocking(move || create_file(&created)).await?;
        let mut hasher = Sha256::new();
        let mut ranges = self.ranges(key, path, expected_bytes);
        let mut bytes = 0;
        while let Some(part) = ranges.next().await {
            let part = part?;
            bytes += part.len() as u64;
            let written = target.to_owned();
            (file, hasher) = blocking(move || {
                hasher.update(&part);
                std::io::Write::write_all(&mut file, &part).map_err(|e| from_file("writing", &written, &e))?;
                Ok((file, hasher))
            })
            .await?;
        }
        Ok(Stored { bytes, sha256: hex::encode(hasher.finalize()) })
    }

    /// Reads an object through; see [`Store::digest`].
    pub(super) async fn digest_remote(&self, key: &str, path: &ObjectPath) -> Result<Stored> {
        let there = self.objects.head(path).await.map_err(|e| from_read("reading", &self.uri_of(key), e))?;
        self.hash_ranges(key, path, there.size).await
    }

    /// The object's bytes in ranges, in order, a few requested ahead.
    fn ranges(&self, key: &str, path: &ObjectPath, bytes: u64) -> futures::stream::BoxStream<'_, Result<Bytes>> {
        let (path, uri) = (path.clone(), self.uri_of(key));
        let starts = (0..bytes.div_ceil(RANGE_BYTES)).map(|n| n * RANGE_BYTES);
        futures::stream::iter(starts)
            .map(move |start| {
                let (path, uri) = (path.clone(), uri.clone());
                let range = start..bytes.min(start + RANGE_BYTES);
                async move {
                    self.requests.get();
                    let wanted = range.end - range.start;
                    let part = self.objects.get_range(&path, range).await.map_err(|e| match e {
                        object_store::Error::NotFound { .. } => missing(&uri),
                        e => from_read("reading", &uri, e),
                    })?;
                    if part.len() as u64 != wanted {
                        return Err(Error::unavailable(
                            "store_unavailable",
                            format!("reading {uri}: the answer is cut short"),
                        ));
                    }
                    Ok(part)
                }
            })
            .buffered(PARTS_AT_ONCE)
            .boxed()
    }
}

/// Size of the parts of a file, all equal but the last.
fn part_bytes(bytes: u64) -> u64 {
    bytes.div_ceil(MAX_PARTS).next_multiple_of(1 << 20).max(PART_BYTES)
}

/// Reads exactly the next `bytes` of a file.
async fn read_part(mut file: File, source: &Path, bytes: u64) -> Result<(File, Bytes)> {
    let source = source.to_owned();
    blocking(move || {
        let capacity = usize::try_from(bytes).map_err(|_| Error::internal("a part is larger than memory"))?;
        let mut part = Vec::with_capacity(capacity);
        let read = (&mut file).take(bytes).read_to_end(&mut part).map_err(|e| from_file("reading", &source, &e))?;
        if read != capacity {
            return Err(file_corrupt(&source, "became shorter while it was read"));
        }
        Ok((file, Bytes::from(part)))
    })
    .await
}

fn check_sha256(source: &Path, stored: &Stored, expected: Option<&str>) -> Result<()> {
    match expected {
        Some(expected) if expected != stored.sha256 => {
            Err(file_corrupt(source, "is not what it was when it was written"))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_fit_the_limits_of_stores() {
        for bytes in [PART_BYTES + 1, 1 << 30, 80 << 30, 5 << 40] {
            let part = part_bytes(bytes);
            assert!(part >= PART_BYTES && bytes.div_ceil(part) <= MAX_PARTS, "{bytes}: {part}");
        }
        assert_eq!(part_bytes(1 << 30), PART_BYTES);
    }
}
