//! State as ordered entries that need no RocksDB: what a canonical savepoint stores. The format is described for other
//! programs in `docs/savepoint-format.md`; a change of it raises [`ENTRIES_VERSION`] and keeps the old reader.
//!
//! A file holds entries of one table of one subtask, in ascending order of key group and key; a large table is several
//! files. It is
//! - the line `HOLDFAST-ENTRIES <version>\n`;
//! - a header: length u32 BE, then JSON ([`Header`]);
//! - sections, one per key group that has entries: the byte 1, the key group u16 BE, then its entries: the byte 2, length
//!   of the key u32 BE, the key (without its key group), length of the value u32 BE, the value;
//! - the end: the byte 0, the number of entries u64 BE.
//!
//! Invariants: 1. every table has at least one file, so that its layout is known even if it is empty; 2. memory is bounded
//! by the largest entry, disk by [`PART_BYTES`] for each file that is waiting to be stored.

use std::fs::File;
use std::io::{BufReader, BufWriter, Read, Write};
use std::ops::Range;
use std::path::{Path, PathBuf};

use rocksdb::{ColumnFamilyDescriptor, DB, Options, ReadOptions};

use super::SharedMemory;
use super::backend::{
    Backend, FORMAT_VERSION, META, check_layout, database_options, family, io_error, malformed, open_error, read_error,
    stored_layout, table_options,
};
use crate::error::{Error, Result};

/// Version that this build writes.
pub const ENTRIES_VERSION: u32 = 1;
const MAGIC: &str = "HOLDFAST-ENTRIES ";
/// A file is closed when it has this many bytes.
pub const PART_BYTES: u64 = if cfg!(test) { 512 } else { 32 << 20 };
/// What files of entries end with.
const EXTENSION: &str = "entries";
/// Longest header, bytes.
const MAX_HEADER_BYTES: u32 = 1 << 20;
const END: u8 = 0;
const KEY_GROUP: u8 = 1;
const ENTRY: u8 = 2;

/// What a file says about its entries.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Header {
    pub table: String,
    /// Counts the files of the table from 0.
    pub part: u64,
    /// The operator's description of its keys and values.
    pub layout: String,
    /// Version of the encodings of keys and values.
    pub state_version: u32,
}

/// The files of entries in a folder, in order; none if it holds something else.
pub fn entry_files(dir: &Path) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(dir).map_err(|e| io_error("list", dir, &e))? {
        let path = entry.map_err(|e| io_error("list", dir, &e))?.path();
        if path.extension().is_some_and(|e| e == EXTENSION) {
            files.push(path);
        }
    }
    files.sort_unstable();
    Ok(files)
}

/// Writes the entries of the image in `dir` to files in `to`, which is created; calls `done` with each file as soon as it
/// is whole, and goes on when that returns.
pub fn write(dir: &Path, to: &Path, shared: &SharedMemory, done: &mut dyn FnMut(PathBuf) -> Result<()>) -> Result<()> {
    std::fs::create_dir_all(to).map_err(|e| io_error("create", to, &e))?;
    let names = DB::list_cf(&Options::default(), dir).map_err(|e| open_error(dir, e))?;
    let families = names.iter().map(|n| ColumnFamilyDescriptor::new(n, table_options(shared)));
    let db = DB::open_cf_descriptors_read_only(&database_options(shared, false), dir, families, false)
        .map_err(|e| open_error(dir, e))?;
    let layout = stored_layout(&db, dir)?;
    for table in names.iter().filter(|n| *n != META && *n != "default") {
        let mut reading = ReadOptions::default();
        reading.fill_cache(false);
        let mut entries = db.raw_iterator_cf_opt(&family(&db, table)?, reading);
        entries.seek_to_first();
        let mut header =
            Header { table: table.clone(), part: 0, layout: layout.clone(), state_version: FORMAT_VERSION };
        let mut file = Writer::create(to, &header)?;
        while let Some((key, value)) = entries.item() {
            if file.bytes >= PART_BYTES {
                done(file.finish()?)?;
                header.part += 1;
                file = Writer::create(to, &header)?;
            }
            file.put(key, value)?;
            entries.next();
        }
        entries.status().map_err(|e| read_error(dir, e))?;
        done(file.finish()?)?;
    }
    Ok(())
}

/// Puts the entries of `files` whose key groups are in `range` into the backend's tables of these names.
pub(super) fn import(
    backend: &Backend,
    files: &[PathBuf],
    range: Range<u16>,
    tables: &[&str],
    layout: &str,
) -> Result<()> {
    for path in files {
        let mut reader = Reader::open(path)?;
        check_layout(&reader.header.state_version.to_string(), &reader.header.layout, layout)?;
        let table = reader.header.table.clone();
        let wanted = tables.contains(&table.as_str());
        while reader.advance()? {
            if !wanted || !range.contains(&reader.key_group) {
                continue;
            }
            // One sorted file: from here as far as the range goes.
            backend.ingest(&table, |put| {
                loop {
                    put(&reader.key, &reader.value)?;
                    if !reader.advance()? || !range.contains(&reader.key_group) {
                        return Ok(());
                    }
                }
            })?;
        }
    }
    Ok(())
}

/// A file of entries that is being written.
struct Writer {
    path: PathBuf,
    out: BufWriter<File>,
    bytes: u64,
    entries: u64,
    key_group: Option<[u8; 2]>,
}

impl Writer {
    fn create(folder: &Path, header: &Header) -> Result<Writer> {
        // Part numbers of equal length, so that names sort as numbers.
        let path = folder.join(format!("{}-{:08}.{EXTENSION}", header.table, header.part));
        let out = File::create(&path).map_err(|e| io_error("create", &path, &e))?;
        let mut writer = Writer { path, out: BufWriter::new(out), bytes: 0, entries: 0, key_group: None };
        let json = serde_json::to_vec(header).map_err(|e| Error::internal("encoding a header failed").caused_by(&e))?;
        writer.write(format!("{MAGIC}{ENTRIES_VERSION}\n").as_bytes())?;
        writer.write_sized(&json)?;
        Ok(writer)
    }

    fn put(&mut self, key: &[u8], value: &[u8]) -> Result<()> {
        let (group, key) = key.split_first_chunk::<2>().ok_or_else(|| malformed("a stored key is too short"))?;
        if self.key_group != Some(*group) {
            self.key_group = Some(*group);
            self.write(&[KEY_GROUP])?;
            self.write(group)?;
        }
        self.write(&[ENTRY])?;
        self.write_sized(key)?;
        self.write_sized(value)?;
        self.entries += 1;
        Ok(())
    }

    fn finish(mut self) -> Result<PathBuf> {
        self.write(&[END])?;
        self.write(&self.entries.to_be_bytes())?;
        self.out.flush().map_err(|e| io_error("write", &self.path, &e))?;
        Ok(self.path)
    }

    fn write_sized(&mut self, bytes: &[u8]) -> Result<()> {
        let length = u32::try_from(bytes.len()).map_err(|_| Error::internal("an entry has more than 4 GiB"))?;
        self.write(&length.to_be_bytes())?;
        self.write(bytes)
    }

    fn write(&mut self, bytes: &[u8]) -> Result<()> {
        self.bytes += bytes.len() as u64;
        self.out.write_all(bytes).map_err(|e| io_error("write", &self.path, &e))
    }
}

/// Reads a file of entries, one after another.
struct Reader {
    path: PathBuf,
    input: BufReader<File>,
    header: Header,
    entries: u64,
    key_group: u16,
    /// With its key group.
    key: Vec<u8>,
    value: Vec<u8>,
    in_section: bool,
    ended: bool,
}

impl Reader {
    fn open(path: &Path) -> Result<Reader> {
        let input = BufReader::new(File::open(path).map_err(|e| io_error("read", path, &e))?);
        let header = Header { table: String::new(), part: 0, layout: String::new(), state_version: 0 };
        let mut reader = Reader {
            path: path.to_owned(),
            input,
            header,
            entries: 0,
            key_group: 0,
            key: Vec::new(),
            value: Vec::new(),
            in_section: false,
            ended: false,
        };
        let expected = format!("{MAGIC}{ENTRIES_VERSION}\n");
        let mut magic = vec![0; expected.len()];
        reader.read(&mut magic)?;
        if !magic.starts_with(MAGIC.as_bytes()) {
            return Err(reader.wrong("it does not start with HOLDFAST-ENTRIES"));
        }
        if magic != expected.as_bytes() {
            return Err(Error::conflict(
                "state_format_unsupported",
                format!(
                    "{} has entries of another version, this version of holdfast reads version {ENTRIES_VERSION}: use the version that wrote it",
                    path.display()
                ),
            ));
        }
        let length = reader.length()?;
        if length > MAX_HEADER_BYTES {
            return Err(reader.wrong("its header is too long"));
        }
        let mut json = Vec::new();
        reader.sized(length, &mut json)?;
        reader.header =
            serde_json::from_slice(&json).map_err(|e| reader.wrong("its header cannot be read").caused_by(&e))?;
        Ok(reader)
    }

    /// Goes to the next entry; false at the end.
    fn advance(&mut self) -> Result<bool> {
        if self.ended {
            return Ok(false);
        }
        loop {
            let mut kind = [0];
            self.read(&mut kind)?;
            match kind[0] {
                KEY_GROUP => {
                    let mut group = [0; 2];
                    self.read(&mut group)?;
                    let group = u16::from_be_bytes(group);
                    if self.in_section && group <= self.key_group {
                        return Err(self.wrong("its key groups are not in order"));
                    }
                    (self.key_group, self.in_section) = (group, true);
                }
                ENTRY if self.in_section => {
                    let before = std::mem::take(&mut self.key);
                    let mut key = self.key_group.to_be_bytes().to_vec();
                    let length = self.length()?;
                    self.sized(length, &mut key)?;
                    if self.entries > 0 && key <= before {
                        return Err(self.wrong("its keys are not in order"));
                    }
                    let mut value = std::mem::take(&mut self.value);
                    value.clear();
                    let length = self.length()?;
                    self.sized(length, &mut value)?;
                    (self.key, self.value) = (key, value);
                    self.entries += 1;
                    return Ok(true);
                }
                END => {
                    let mut count = [0; 8];
                    self.read(&mut count)?;
                    if u64::from_be_bytes(count) != self.entries {
                        return Err(self.wrong("it has another number of entries than it says"));
                    }
                    let mut more = Vec::new();
                    (&mut self.input).take(1).read_to_end(&mut more).map_err(|e| io_error("read", &self.path, &e))?;
                    if !more.is_empty() {
                        return Err(self.wrong("it goes on behind its end"));
                    }
                    self.ended = true;
                    return Ok(false);
                }
                _ => return Err(self.wrong("it has something else where an entry should begin")),
            }
        }
    }

    fn length(&mut self) -> Result<u32> {
        let mut bytes = [0; 4];
        self.read(&mut bytes)?;
        Ok(u32::from_be_bytes(bytes))
    }

    /// Appends so many bytes; takes no more memory than the file has bytes, whatever the length says.
    fn sized(&mut self, length: u32, to: &mut Vec<u8>) -> Result<()> {
        let read = (&mut self.input).take(u64::from(length)).read_to_end(to);
        let read = read.map_err(|e| io_error("read", &self.path, &e))?;
        if read as u64 == u64::from(length) { Ok(()) } else { Err(self.wrong("it is cut short")) }
    }

    fn read(&mut self, bytes: &mut [u8]) -> Result<()> {
        self.input.read_exact(bytes).map_err(|e| match e.kind() {
            std::io::ErrorKind::UnexpectedEof => self.wrong("it is cut short"),
            _ => io_error("read", &self.path, &e),
        })
    }

    fn wrong(&self, what: &str) -> Error {
        let name = self.path.file_name().unwrap_or_default().to_string_lossy();
        Error::corrupt("state_corrupt", format!("{name} is not a readable file of entries: {what}"))
    }
}

#[cfg(test)]
#[path = "canonical_tests.rs"]
mod tests;
