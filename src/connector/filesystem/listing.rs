//! Which files a table's path stands for.

use std::path::{Path, PathBuf};

use crate::connector::options::{Options, invalid};
use crate::error::{Error, Result};
use regex::Regex;

/// A folder tree deeper than this is taken for a loop of links.
const MAX_DEPTH: usize = 32;

/// The local path of the option `path`: plain, or a `file:` URI.
pub fn local_path(options: Options<'_>) -> Result<PathBuf> {
    let text = options.required("path")?;
    let wrong = || invalid("path", text, "a local path or a file:// URI");
    let local = match text.strip_prefix("file:") {
        Some(uri) => {
            let path = uri.strip_prefix("//").unwrap_or(uri);
            let path = path.strip_prefix("localhost").unwrap_or(path);
            percent_decoded(path).filter(|p| p.starts_with('/')).ok_or_else(wrong)?
        }
        None if text.contains("://") || text.trim().is_empty() => return Err(wrong()),
        None => text.to_owned(),
    };
    std::path::absolute(&local).map_err(|e| wrong().caused_by(&e))
}

fn percent_decoded(text: &str) -> Option<String> {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((b, tail)) = rest.split_first() {
        match (b, tail) {
            (b'%', [high, low, tail @ ..]) => {
                let hex = [*high, *low];
                out.push(u8::from_str_radix(std::str::from_utf8(&hex).ok()?, 16).ok()?);
                rest = tail;
            }
            (b'%', _) => return None,
            _ => {
                out.push(*b);
                rest = tail;
            }
        }
    }
    String::from_utf8(out).ok()
}

/// The pattern of the option `source.path.regex-pattern`, which must match a file's whole path.
pub fn pattern(options: Options<'_>) -> Result<Option<Regex>> {
    let name = "source.path.regex-pattern";
    options
        .get(name)
        .map(|text| {
            Regex::new(&format!("^(?:{text})$")).map_err(|e| invalid(name, text, "a regular expression").caused_by(&e))
        })
        .transpose()
}

/// All data files under `root` (or `root` itself), sorted by path.
pub fn files(root: &Path, pattern: Option<&Regex>) -> Result<Vec<String>> {
    let mut found = Vec::new();
    let meta = std::fs::metadata(root).map_err(|e| failed(root, &e))?;
    if meta.is_dir() {
        walk(root, 0, &mut found)?;
    } else {
        found.push(text_of(root)?);
    }
    found.retain(|path| pattern.is_none_or(|p| p.is_match(path)));
    found.sort_unstable();
    Ok(found)
}

fn walk(folder: &Path, depth: usize, found: &mut Vec<String>) -> Result<()> {
    if depth > MAX_DEPTH {
        let shown = folder.display();
        return Err(Error::invalid(
            "path_too_deep",
            format!("{shown} is nested too deeply; are there links in a circle?"),
        ));
    }
    for entry in std::fs::read_dir(folder).map_err(|e| failed(folder, &e))? {
        let entry = entry.map_err(|e| failed(folder, &e))?;
        if matches!(entry.file_name().as_encoded_bytes().first(), Some(b'.' | b'_')) {
            continue;
        }
        let path = entry.path();
        match std::fs::metadata(&path) {
            Ok(meta) if meta.is_dir() => walk(&path, depth + 1, found)?,
            Ok(meta) if meta.is_file() => found.push(text_of(&path)?),
            Ok(_) => {}
            // Renamed or removed since it was listed.
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => {}
            Err(e) => return Err(failed(&path, &e)),
        }
    }
    Ok(())
}

fn text_of(path: &Path) -> Result<String> {
    let shown = path.display();
    path.to_str()
        .map(str::to_owned)
        .ok_or_else(|| Error::invalid("invalid_path", format!("the name of {shown} is not valid UTF-8; rename it")))
}

/// The error of a file operation.
pub fn failed(path: &Path, cause: &std::io::Error) -> Error {
    let shown = path.display();
    match cause.kind() {
        std::io::ErrorKind::NotFound => Error::not_found("path_not_found", format!("{shown} does not exist")),
        std::io::ErrorKind::PermissionDenied => {
            Error::invalid("path_not_accessible", format!("{shown} may not be accessed")).caused_by(cause)
        }
        _ => Error::unavailable("file_access_failed", format!("accessing {shown} failed")).caused_by(cause),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::connector::options::spec;

    #[test]
    fn paths_and_uris() {
        let check = |text: &str| local_path(Options::new(&spec("filesystem", &[("path", text)])));
        assert_eq!(check("/a/b").unwrap(), Path::new("/a/b"));
        assert_eq!(check("file:///a/b%20c").unwrap(), Path::new("/a/b c"));
        assert_eq!(check("file:/a").unwrap(), Path::new("/a"));
        for wrong in ["s3://b/k", "file://host/a", "file:///%zz", ""] {
            assert_eq!(check(wrong).unwrap_err().code, "invalid_option", "{wrong}");
        }
    }

    #[test]
    fn hidden_files_are_left_out_and_the_rest_is_sorted() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(dir.path().join("sub/_tmp")).unwrap();
        for name in ["b.json", "a.json", ".hidden", "_meta", "sub/c.csv", "sub/_tmp/d.json"] {
            std::fs::write(dir.path().join(name), "").unwrap();
        }
        let names = |pattern: Option<&str>| {
            let pattern = pattern.map(|p| Regex::new(p).unwrap());
            let all = files(dir.path(), pattern.as_ref()).unwrap();
            all.iter().map(|f| f.rsplit('/').next().unwrap().to_owned()).collect::<Vec<_>>()
        };
        assert_eq!(names(None), ["a.json", "b.json", "c.csv"]);
        assert_eq!(names(Some(r"^.*\.csv$")), ["c.csv"]);
        assert_eq!(files(&dir.path().join("x"), None).unwrap_err().code, "path_not_found");
    }
}
