//! Functions between text and bytes: character sets, base64, hex.

use base64::Engine;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};

use super::super::arguments::{
    Want, bytes_rows, function, literal_text, put, put_char, refuse, signature, string, text_rows,
};
use crate::error::{Error, Result};
use crate::expr::Expr;
use crate::expr::function::Function;
use crate::types::{DataType, MAX_LENGTH, TypeKind};

pub(super) const ENCODE: Function = function(
    "ENCODE",
    |a| charset_type(a, "ENCODE(string, character set)", Want::Text, TypeKind::VarBinary(MAX_LENGTH)),
    |_| {
        Ok(bytes_rows(|row, out| {
            Charset::new(row.str(1))?.encode(row.str(0), out);
            Ok(true)
        }))
    },
);
pub(super) const DECODE: Function = function(
    "DECODE",
    |a| charset_type(a, "DECODE(bytes, character set)", Want::Bytes, TypeKind::VarChar(MAX_LENGTH)),
    |_| {
        Ok(text_rows(|row, out| {
            Charset::new(row.str(1))?.decode(row.bytes(0).unwrap_or_default(), |c| put_char(out, c));
            Ok(true)
        }))
    },
);
/// Text of base64; what is not base64 is an error, as in Flink.
pub(super) const FROM_BASE64: Function = function(
    "FROM_BASE64",
    |a| signature(a, "FROM_BASE64(string)", &[Want::Text], &[]).map(string),
    |_| {
        Ok(text_rows(|row, out| {
            let bytes = BASE64
                .decode(row.str(0))
                .map_err(|e| Error::invalid("invalid_base64", format!("FROM_BASE64: the text is not base64 ({e})")))?;
            put(out, &String::from_utf8_lossy(&bytes));
            Ok(true)
        }))
    },
);
pub(super) const TO_BASE64: Function = function(
    "TO_BASE64",
    |a| signature(a, "TO_BASE64(string or bytes)", &[Want::TextOrBytes], &[]).map(string),
    |_| {
        Ok(text_rows(|row, out| {
            let text = base64::display::Base64Display::new(row.bytes(0).unwrap_or_default(), &BASE64);
            std::fmt::Write::write_fmt(out, format_args!("{text}")).expect("a string builder accepts every write");
            Ok(true)
        }))
    },
);
/// Upper-case hex of a string's UTF-8, or of an integer as 64 bits without leading zeros.
pub(super) const HEX: Function = function(
    "HEX",
    |a| hex_type(a),
    |_| {
        Ok(text_rows(|row, out| {
            if let Some(number) = row.int(0) {
                std::fmt::Write::write_fmt(out, format_args!("{number:X}"))
                    .expect("a string builder accepts every write");
            }
            for byte in row.bytes(0).unwrap_or_default() {
                put_char(out, hex_digit(byte >> 4));
                put_char(out, hex_digit(byte & 15));
            }
            Ok(true)
        }))
    },
);
/// Null for what is not hex. With an odd number of digits Flink drops the first and puts a zero byte in front.
pub(super) const UNHEX: Function = function(
    "UNHEX",
    |a| {
        signature(a, "UNHEX(string)", &[Want::Text], &[])?;
        Ok(DataType::nullable(TypeKind::VarBinary(MAX_LENGTH)))
    },
    |_| {
        Ok(bytes_rows(|row, out| {
            let digits = row.str(0).as_bytes();
            let odd = digits.len() % 2;
            if odd == 1 {
                out.push(0);
            }
            let start = out.len();
            out.resize(start + digits.len() / 2, 0);
            Ok(hex::decode_to_slice(&digits[odd..], &mut out[start..]).is_ok())
        }))
    },
);

/// Java's decoder: padding may be missing, loose bits at the end are ignored.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new()
        .with_decode_allow_trailing_bits(true)
        .with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

fn hex_digit(nibble: u8) -> char {
    char::from_digit(u32::from(nibble), 16).map_or('0', |c| c.to_ascii_uppercase())
}

fn hex_type(args: &[Expr]) -> Result<DataType> {
    let usage = "HEX(integer or string)";
    let integer = signature(args, usage, &[Want::Int], &[]);
    integer.or_else(|_| signature(args, usage, &[Want::Text], &[])).map(string)
}

fn charset_type(args: &[Expr], usage: &str, value: Want, kind: TypeKind) -> Result<DataType> {
    let nullable = signature(args, usage, &[value, Want::Text], &[])?;
    let [_, charset] = args else { return Err(refuse(usage, args)) };
    if let Some(charset) = literal_text(charset) {
        Charset::new(charset)?;
    }
    Ok(DataType { kind, nullable })
}

#[derive(Clone, Copy)]
enum Charset {
    Ascii,
    Latin1,
    Utf8,
    Utf16Be,
    Utf16Le,
    /// Big endian with a byte order mark; on reading, the mark decides.
    Utf16,
}

impl Charset {
    fn new(name: &str) -> Result<Self> {
        Ok(match name.to_ascii_uppercase().as_str() {
            "US-ASCII" | "ASCII" => Charset::Ascii,
            "ISO-8859-1" | "ISO8859-1" | "LATIN1" => Charset::Latin1,
            "UTF-8" | "UTF8" => Charset::Utf8,
            "UTF-16BE" => Charset::Utf16Be,
            "UTF-16LE" => Charset::Utf16Le,
            "UTF-16" | "UTF16" => Charset::Utf16,
            _ => {
                return Err(Error::invalid(
                    "invalid_argument",
                    format!(
                        "there is no character set '{name}': use US-ASCII, ISO-8859-1, UTF-8, UTF-16BE, UTF-16LE or UTF-16"
                    ),
                ));
            }
        })
    }
    /// What a set cannot say becomes `?`.
    fn encode(self, text: &str, out: &mut Vec<u8>) {
        match self {
            Charset::Utf8 => out.extend_from_slice(text.as_bytes()),
            Charset::Ascii => {
                out.extend(text.chars().map(|c| u8::try_from(c).ok().filter(u8::is_ascii).unwrap_or(b'?')))
            }
            Charset::Latin1 => out.extend(text.chars().map(|c| u8::try_from(c).unwrap_or(b'?'))),
            Charset::Utf16Be => out.extend(text.encode_utf16().flat_map(u16::to_be_bytes)),
            Charset::Utf16Le => out.extend(text.encode_utf16().flat_map(u16::to_le_bytes)),
            Charset::Utf16 => {
                // Java writes no mark for an empty text.
                if !text.is_empty() {
                    out.extend([0xFE, 0xFF]);
                }
                Charset::Utf16Be.encode(text, out);
            }
        }
    }
    /// What is not in the set becomes U+FFFD.
    fn decode(self, bytes: &[u8], mut put: impl FnMut(char)) {
        match self {
            Charset::Utf8 => String::from_utf8_lossy(bytes).chars().for_each(put),
            Charset::Ascii => {
                bytes.iter().for_each(|b| put(if b.is_ascii() { char::from(*b) } else { char::REPLACEMENT_CHARACTER }));
            }
            Charset::Latin1 => bytes.iter().for_each(|b| put(char::from(*b))),
            Charset::Utf16Be | Charset::Utf16Le => {
                let little = matches!(self, Charset::Utf16Le);
                let pair = |pair: &[u8; 2]| if little { u16::from_le_bytes(*pair) } else { u16::from_be_bytes(*pair) };
                let (pairs, rest) = bytes.as_chunks::<2>();
                for c in char::decode_utf16(pairs.iter().map(pair)) {
                    put(c.unwrap_or(char::REPLACEMENT_CHARACTER));
                }
                if !rest.is_empty() {
                    put(char::REPLACEMENT_CHARACTER);
                }
            }
            Charset::Utf16 => match bytes {
                [0xFF, 0xFE, rest @ ..] => Charset::Utf16Le.decode(rest, put),
                [0xFE, 0xFF, rest @ ..] | rest => Charset::Utf16Be.decode(rest, put),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::arguments::testing::{bytes, check, code, lit, null, num, run, show};
    use super::super::FUNCTIONS;

    #[test]
    fn character_sets() {
        let encoded = [
            ("é", "UTF-8", "c3a9"),
            ("é", "ISO-8859-1", "e9"),
            ("é☃", "US-ASCII", "3f3f"),
            ("é", "UTF-16", "feff00e9"),
            ("é", "utf-16le", "e900"),
            ("é", "UTF-16BE", "00e9"),
        ];
        for (text, set, expected) in encoded {
            check(FUNCTIONS, "ENCODE", vec![lit(text), lit(set)], expected, "BYTES NOT NULL");
        }
        let s = "STRING NOT NULL";
        check(FUNCTIONS, "DECODE", vec![bytes(b"\xE9"), lit("ISO-8859-1")], "é", s);
        check(FUNCTIONS, "DECODE", vec![bytes(b"\xFFA"), lit("UTF-8")], "\u{FFFD}A", s);
        check(FUNCTIONS, "DECODE", vec![bytes(b"\xE9A"), lit("US-ASCII")], "\u{FFFD}A", s);
        check(FUNCTIONS, "DECODE", vec![bytes(b"\xFE\xFF\0A"), lit("UTF-16")], "A", s);
        check(FUNCTIONS, "DECODE", vec![bytes(b"A\0"), lit("UTF-16LE")], "A", s);
        assert_eq!(code(FUNCTIONS, "ENCODE", vec![lit("a"), lit("EBCDIC")]), "invalid_argument");
        assert_eq!(code(FUNCTIONS, "ENCODE", vec![num(1), lit("UTF-8")]), "invalid_argument");
    }

    #[test]
    fn base64_and_hex() {
        let s = "STRING NOT NULL";
        check(FUNCTIONS, "TO_BASE64", vec![lit("naïve café")], "bmHDr3ZlIGNhZsOp", s);
        check(FUNCTIONS, "TO_BASE64", vec![bytes(b"a")], "YQ==", s);
        check(FUNCTIONS, "FROM_BASE64", vec![lit("YQ==")], "a", s);
        check(FUNCTIONS, "FROM_BASE64", vec![lit("YQ")], "a", s);
        check(FUNCTIONS, "FROM_BASE64", vec![lit("")], "", s);
        check(FUNCTIONS, "FROM_BASE64", vec![null()], "NULL", "STRING");
        for bad in ["a", " ", "a-b_"] {
            assert_eq!(code(FUNCTIONS, "FROM_BASE64", vec![lit(bad)]), "invalid_base64", "{bad:?}");
        }
        check(FUNCTIONS, "HEX", vec![num(-7)], "FFFFFFFFFFFFFFF9", s);
        check(FUNCTIONS, "HEX", vec![num(0)], "0", s);
        check(FUNCTIONS, "HEX", vec![lit("☃!")], "E2988321", s);
        assert_eq!(code(FUNCTIONS, "HEX", vec![bytes(b"a")]), "invalid_argument");
        for (text, expected) in
            [("4142", "4142"), ("616", "0016"), ("4", "00"), ("", ""), ("zz", "NULL"), ("é", "NULL")]
        {
            let (data_type, answer) = run(FUNCTIONS, "UNHEX", vec![lit(text)]).unwrap();
            assert_eq!((show(&answer).as_str(), data_type.to_string().as_str()), (expected, "BYTES"), "{text}");
        }
    }
}
