//! A cursor over one JSON text that skips what is not wanted without decoding it.
//!
//! Strings are searched many bytes at a time for the three things that matter in them: the closing quote, a backslash
//! and a control character (which JSON forbids). The text must be valid UTF-8.

use memchr::memchr2;

use super::Fault;

/// Deepest nesting of a record; beyond it the record is refused rather than the stack exhausted.
pub const MAX_DEPTH: usize = 200;

/// A position in a JSON text.
pub struct Cursor<'a> {
    pub bytes: &'a [u8],
    pub at: usize,
    /// Whether it is known that there are no control characters, so that strings need not be searched for them.
    pub clean: bool,
}

/// A member's name as it stands in the text, with quotes and colon, ready to be compared.
pub struct Name {
    pub text: Box<[u8]>,
    /// The first and the last 8 bytes, where there are as many.
    first: u64,
    last: u64,
    /// The schema's member that it stands for.
    pub member: Option<usize>,
}

impl Name {
    /// Prepares `text`.
    pub fn new(text: &[u8], member: Option<usize>) -> Self {
        let last = text.len().checked_sub(8).map_or(0, |at| word(text, at));
        Name { text: text.into(), first: word(text, 0), last, member }
    }
}

/// The 8 bytes from `at` on; 0 if there are fewer.
#[inline]
fn word(bytes: &[u8], at: usize) -> u64 {
    bytes.get(at..).and_then(<[u8]>::first_chunk::<8>).map_or(0, |w| u64::from_le_bytes(*w))
}

/// A JSON string: as it stands, or rewritten because it has escapes.
pub enum Text<'a> {
    Plain(&'a [u8]),
    /// In the scratch buffer.
    Escaped,
}

/// In the high bit of each byte of `word`: whether it is a quote, a backslash or a control character. Bytes after the
/// first marked one may be marked wrongly (the borrow of a subtraction), so only the first counts.
#[inline]
fn special(word: u64) -> u64 {
    const ONES: u64 = u64::MAX / 255;
    const HIGH: u64 = ONES << 7;
    let zero = |x: u64| x.wrapping_sub(ONES) & !x;
    let quote = zero(word ^ (ONES * 0x22));
    let escape = zero(word ^ (ONES * 0x5c));
    let control = word.wrapping_sub(ONES * 0x20) & !word;
    (quote | escape | control) & HIGH
}

#[inline]
fn is_special(b: u8) -> bool {
    b == b'"' || b == b'\\' || b < 0x20
}

impl<'a> Cursor<'a> {
    /// The next byte; 0 at the end, which no JSON text contains.
    #[inline]
    pub fn peek(&self) -> u8 {
        self.bytes.get(self.at).copied().unwrap_or(0)
    }

    /// Skips white space.
    #[inline]
    pub fn space(&mut self) {
        // One comparison where there is none, as usual.
        while self.peek() <= b' ' && matches!(self.peek(), b' ' | b'\t' | b'\r' | b'\n') {
            self.at += 1;
        }
    }

    /// Takes a name if it is next. Most have 8 to 16 bytes: two words are compared, overlapping, instead of a call.
    #[inline]
    pub fn take_name(&mut self, name: &Name) -> bool {
        let length = name.text.len();
        let Some(next) = self.bytes.get(self.at..self.at + length) else { return false };
        let same = match length {
            8..=16 => word(next, 0) == name.first && word(next, length - 8) == name.last,
            _ => *next == *name.text,
        };
        if same {
            self.at += length;
        }
        same
    }

    /// Takes `literal` if it is next.
    #[inline]
    pub fn take(&mut self, literal: &[u8]) -> bool {
        let found = self.bytes.get(self.at..).is_some_and(|rest| rest.starts_with(literal));
        if found {
            self.at += literal.len();
        }
        found
    }

    /// The fault "something else was expected here".
    #[cold]
    pub fn fault(&self, expected: &'static str) -> Box<Fault> {
        Box::new(Fault::Syntax { at: self.at, expected })
    }

    /// Where the next quote, backslash or control character is, from `from` on.
    ///
    /// Short strings end within two words; for longer ones the call of a vectorised search pays.
    #[inline]
    fn find_special(&self, mut from: usize) -> usize {
        for _ in 0..2 {
            let Some(block) = self.bytes.get(from..).and_then(<[u8]>::first_chunk::<8>) else { break };
            let mask = special(u64::from_le_bytes(*block));
            if mask != 0 {
                return from + usize::try_from(mask.trailing_zeros() / 8).unwrap_or(0);
            }
            from += 8;
        }
        let tail = self.bytes.get(from..).unwrap_or_default();
        let end = memchr2(b'"', b'\\', tail).unwrap_or(tail.len());
        let passed = if self.clean { &[] } else { tail.get(..end).unwrap_or_default() };
        // Without a branch per byte, so that it is vectorised.
        if passed.iter().fold(false, |any, b| any | (*b < 0x20)) {
            return from + passed.iter().position(|b| is_special(*b)).unwrap_or(end);
        }
        from + end
    }

    /// Skips a string; the cursor is at its opening quote.
    #[inline]
    pub fn skip_string(&mut self) -> Result<(), Box<Fault>> {
        let mut at = self.at + 1;
        loop {
            at = self.find_special(at);
            match self.bytes.get(at) {
                Some(b'"') => {
                    self.at = at + 1;
                    return Ok(());
                }
                Some(b'\\') => at += 2,
                _ => {
                    self.at = at.min(self.bytes.len());
                    return Err(self.fault("the end of a string"));
                }
            }
        }
    }

    /// Reads a string, into `scratch` if it has escapes; the cursor is at its opening quote.
    #[inline]
    pub fn string(&mut self, scratch: &mut Vec<u8>) -> Result<Text<'a>, Box<Fault>> {
        let start = self.at + 1;
        let end = self.find_special(start);
        if self.bytes.get(end) == Some(&b'"') {
            self.at = end + 1;
            return Ok(Text::Plain(&self.bytes[start..end]));
        }
        scratch.clear();
        self.escaped_string(start, end, scratch)?;
        Ok(Text::Escaped)
    }

    #[cold]
    fn escaped_string(&mut self, mut start: usize, mut end: usize, out: &mut Vec<u8>) -> Result<(), Box<Fault>> {
        loop {
            out.extend_from_slice(self.bytes.get(start..end).unwrap_or_default());
            self.at = end.min(self.bytes.len());
            match self.peek() {
                b'"' => {
                    self.at += 1;
                    return Ok(());
                }
                b'\\' => {
                    self.at += 1;
                    self.escape(out)?;
                }
                _ => return Err(self.fault("the end of a string")),
            }
            start = self.at;
            end = self.find_special(start);
        }
    }

    /// Reads what follows a backslash.
    fn escape(&mut self, out: &mut Vec<u8>) -> Result<(), Box<Fault>> {
        let plain = match self.peek() {
            b @ (b'"' | b'\\' | b'/') => b,
            b'b' => 8,
            b'f' => 12,
            b'n' => b'\n',
            b'r' => b'\r',
            b't' => b'\t',
            b'u' => {
                self.at += 1;
                let mut code = self.hex4()?;
                if (0xd800..0xdc00).contains(&code) && self.bytes.get(self.at..).is_some_and(|r| r.starts_with(b"\\u"))
                {
                    let back = self.at;
                    self.at += 2;
                    let low = self.hex4()?;
                    if (0xdc00..0xe000).contains(&low) {
                        code = 0x10000 + ((code - 0xd800) << 10) + (low - 0xdc00);
                    } else {
                        self.at = back;
                    }
                }
                // Half of a surrogate pair is no character.
                let c = char::from_u32(code).unwrap_or(char::REPLACEMENT_CHARACTER);
                out.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
                return Ok(());
            }
            _ => return Err(self.fault("an escape")),
        };
        out.push(plain);
        self.at += 1;
        Ok(())
    }

    fn hex4(&mut self) -> Result<u32, Box<Fault>> {
        let digits = self.bytes.get(self.at..self.at + 4).filter(|d| d.iter().all(u8::is_ascii_hexdigit));
        let code = digits.and_then(|d| std::str::from_utf8(d).ok()).and_then(|d| u32::from_str_radix(d, 16).ok());
        let code = code.ok_or_else(|| self.fault("four hexadecimal digits"))?;
        self.at += 4;
        Ok(code)
    }

    /// A plain integer of at most 18 digits; `None`, without moving, if the number is anything else.
    #[inline]
    pub fn integer(&mut self) -> Option<i64> {
        let rest = self.bytes.get(self.at..)?;
        let negative = rest.first() == Some(&b'-');
        let start = usize::from(negative);
        let mut value = 0i64;
        let mut end = start;
        while let Some(digit) = rest.get(end).map(|b| b.wrapping_sub(b'0')).filter(|d| *d < 10) {
            if end - start == 18 {
                return None;
            }
            value = value * 10 + i64::from(digit);
            end += 1;
        }
        let next = rest.get(end).copied().unwrap_or(0);
        let leading_zero = rest.get(start) == Some(&b'0') && end - start > 1;
        if end == start || leading_zero || matches!(next, b'.' | b'e' | b'E') {
            return None;
        }
        self.at += end;
        Some(if negative { -value } else { value })
    }

    /// The text of a number.
    pub fn number(&mut self) -> Result<&'a [u8], Box<Fault>> {
        let start = self.at;
        if self.peek() == b'-' {
            self.at += 1;
        }
        let whole = self.digits()?;
        if whole > 1 && self.bytes.get(self.at - whole) == Some(&b'0') {
            return Err(self.fault("a number without leading zeros"));
        }
        if self.peek() == b'.' {
            self.at += 1;
            self.digits()?;
        }
        if matches!(self.peek(), b'e' | b'E') {
            self.at += 1;
            if matches!(self.peek(), b'-' | b'+') {
                self.at += 1;
            }
            self.digits()?;
        }
        Ok(&self.bytes[start..self.at])
    }

    fn digits(&mut self) -> Result<usize, Box<Fault>> {
        let start = self.at;
        while self.peek().is_ascii_digit() {
            self.at += 1;
        }
        if self.at == start { Err(self.fault("a digit")) } else { Ok(self.at - start) }
    }

    /// Skips a value of any kind; the cursor is at its first byte.
    pub fn skip_value(&mut self, depth: usize) -> Result<(), Box<Fault>> {
        match self.peek() {
            b'"' => self.skip_string(),
            b'{' | b'[' if depth >= MAX_DEPTH => Err(self.fault("less nesting")),
            b'{' => self.skip_object(depth),
            b'[' => self.skip_array(depth),
            b'n' if self.take(b"null") => Ok(()),
            b't' if self.take(b"true") => Ok(()),
            b'f' if self.take(b"false") => Ok(()),
            b'-' | b'0'..=b'9' => match self.integer() {
                Some(_) => Ok(()),
                None => self.number().map(|_| ()),
            },
            _ => Err(self.fault("a value")),
        }
    }

    fn skip_object(&mut self, depth: usize) -> Result<(), Box<Fault>> {
        self.at += 1;
        self.space();
        if self.peek() == b'}' {
            self.at += 1;
            return Ok(());
        }
        loop {
            if self.peek() != b'"' {
                return Err(self.fault("a member's name"));
            }
            self.skip_string()?;
            self.colon()?;
            self.skip_value(depth + 1)?;
            if !self.next_of(b'}')? {
                return Ok(());
            }
        }
    }

    fn skip_array(&mut self, depth: usize) -> Result<(), Box<Fault>> {
        self.at += 1;
        self.space();
        if self.peek() == b']' {
            self.at += 1;
            return Ok(());
        }
        loop {
            self.skip_value(depth + 1)?;
            if !self.next_of(b']')? {
                return Ok(());
            }
        }
    }

    /// Takes `:` and the space around it.
    #[inline]
    pub fn colon(&mut self) -> Result<(), Box<Fault>> {
        self.space();
        if self.peek() != b':' {
            return Err(self.fault("':'"));
        }
        self.at += 1;
        self.space();
        Ok(())
    }

    /// Takes `,` (true: another element follows, and the cursor is at it) or the closing bracket (false).
    #[inline]
    pub fn next_of(&mut self, close: u8) -> Result<bool, Box<Fault>> {
        self.space();
        match self.peek() {
            b',' => {
                self.at += 1;
                self.space();
                Ok(true)
            }
            b if b == close => {
                self.at += 1;
                Ok(false)
            }
            _ => Err(self.fault(if close == b'}' { "',' or '}'" } else { "',' or ']'" })),
        }
    }
}
