//! Functions of the chapter "string".
//!
//! Characters are Unicode code points, as in Flink's `BinaryStringData` (where Flink itself falls back to Java strings,
//! as in `LPAD`, it counts UTF-16 units: the difference shows only beyond the basic plane). A null argument gives null
//! unless the function says otherwise. Source: Flink's "System (Built-in) Functions", string functions, checked
//! against Flink 2.3.
//!
//! Calling conventions for forms that are not plain calls: `TRIM(s)`, or `TRIM('BOTH' | 'LEADING' | 'TRAILING', chars, s)`;
//! `POSITION(sub IN s)` is `POSITION(sub, s)`; `OVERLAY(s PLACING r FROM a FOR n)` is `OVERLAY(s, r, a, n)`;
//! `SUBSTRING(s FROM a FOR n)` is `SUBSTRING(s, a, n)`.

mod address;
mod encode;
mod letter;
mod pattern;
mod printf;
mod regex;
mod search;
mod slice;
mod split;
mod url;

use crate::expr::function::Function;

pub(super) static FUNCTIONS: &[Function] = &[
    letter::UPPER,
    letter::LOWER,
    letter::INITCAP,
    letter::CHAR_LENGTH,
    letter::CHARACTER_LENGTH,
    letter::REVERSE,
    letter::ASCII,
    letter::CHR,
    slice::TRIM,
    slice::LTRIM,
    slice::RTRIM,
    slice::BTRIM,
    slice::SUBSTRING,
    slice::SUBSTR,
    slice::LEFT,
    slice::RIGHT,
    slice::OVERLAY,
    slice::LPAD,
    slice::RPAD,
    slice::REPEAT,
    search::POSITION,
    search::LOCATE,
    search::INSTR,
    search::REPLACE,
    search::TRANSLATE,
    search::STARTSWITH,
    search::ENDSWITH,
    split::CONCAT,
    split::CONCAT_WS,
    split::SPLIT,
    split::SPLIT_INDEX,
    split::ELT,
    split::STR_TO_MAP,
    url::PARSE_URL,
    url::URL_ENCODE,
    url::URL_DECODE,
    encode::ENCODE,
    encode::DECODE,
    encode::FROM_BASE64,
    encode::TO_BASE64,
    encode::HEX,
    encode::UNHEX,
    address::INET_ATON,
    address::INET_NTOA,
    printf::PRINTF,
    regex::REGEXP,
    regex::REGEXP_REPLACE,
    regex::REGEXP_EXTRACT,
    regex::REGEXP_EXTRACT_ALL,
    regex::REGEXP_COUNT,
    regex::REGEXP_INSTR,
    regex::REGEXP_SUBSTR,
];
