//! The SQL text of a command: a file, or standard input.

use std::io::Read;

use super::failure::Failure;

/// SQL text with the name under which errors show it.
#[derive(Debug, Clone)]
pub struct Source {
    pub name: String,
    pub text: String,
}

impl Source {
    /// Reads a file, or standard input if the path is `-`.
    pub fn read(path: &str) -> Result<Source, Failure> {
        let mut text = String::new();
        let (name, read) = if path == "-" {
            ("<stdin>", std::io::stdin().lock().read_to_string(&mut text))
        } else {
            (path, std::fs::File::open(path).and_then(|mut f| f.read_to_string(&mut text)))
        };
        read.map_err(|e| Failure::usage("unreadable_file", format!("{name} cannot be read")).because(&e))?;
        // Editors on Windows begin files with a byte order mark, which is no SQL.
        if let Some(rest) = text.strip_prefix('\u{feff}') {
            text = rest.to_owned();
        }
        Ok(Source { name: name.to_owned(), text })
    }

    /// The failure, with this text behind its lines and columns.
    pub fn explain(&self, failure: Failure) -> Failure {
        failure.within(&self.name, &self.text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_read_without_their_mark() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("q.sql");
        std::fs::write(&path, "\u{feff}SELECT 1").unwrap();
        assert_eq!(Source::read(path.to_str().unwrap()).unwrap().text, "SELECT 1");
        let failure = Source::read(dir.path().join("none.sql").to_str().unwrap()).unwrap_err();
        assert_eq!((failure.exit, failure.code.as_str()), (super::super::failure::Exit::Usage, "unreadable_file"));
    }
}
