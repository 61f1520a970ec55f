//! LLM inference traces: who asked for how many tokens, when.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::{Path, PathBuf};

use flate2::read::MultiGzDecoder;
use jiff::civil::DateTime;

/// One request of a trace.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Request {
    /// Milliseconds since the first request.
    pub at_ms: u64,
    /// Tokens of the prompt.
    pub tokens_in: u32,
    /// Tokens of the answer.
    pub tokens_out: u32,
}

/// A known file layout, recognised by its header line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// `TIMESTAMP,ContextTokens,GeneratedTokens` of the Azure LLM inference traces 2023.
    Azure2023,
    /// `timestamp_ms,input_length,output_length,..` of the Mooncake traces.
    Mooncake,
}

/// A trace in order of time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trace {
    kind: Kind,
    requests: Vec<Request>,
}

/// Why a trace could not be read.
#[derive(Debug, thiserror::Error)]
pub enum TraceError {
    /// The file cannot be opened or read.
    #[error("cannot read {}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// The system's answer.
        source: io::Error,
    },
    /// Nothing in the file, not even a header.
    #[error("{} is empty", path.display())]
    Empty {
        /// The file.
        path: PathBuf,
    },
    /// A header of neither kind.
    #[error("{}, line 1: unknown header `{found}`, expected `{}` or `{}`", path.display(), AZURE_HEADER, MOONCAKE_HEADER)]
    Header {
        /// The file.
        path: PathBuf,
        /// The header's first 80 characters.
        found: String,
    },
    /// A row that does not fit the header.
    #[error("{}, line {line}: {reason}", path.display())]
    Row {
        /// The file.
        path: PathBuf,
        /// Line number, the header is line 1.
        line: u64,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// A header and no row.
    #[error("{} holds no request", path.display())]
    NoRequests {
        /// The file.
        path: PathBuf,
    },
    /// More rows than a trace may have.
    #[error("{} holds more than {} requests", path.display(), MAX_REQUESTS)]
    TooMany {
        /// The file.
        path: PathBuf,
    },
}

impl Trace {
    /// Reads a CSV file, plain or gzip. Rows may be out of order; they are sorted by time, stably.
    ///
    /// # Errors
    /// A missing or unreadable file, an empty one, an unknown header, a malformed row (with its line), no rows, or more than
    /// [`MAX_REQUESTS`] of them.
    pub fn read(path: &Path) -> Result<Self, TraceError> {
        let io_error = |source| TraceError::Io { path: path.to_owned(), source };
        let mut file = BufReader::new(File::open(path).map_err(io_error)?);
        let magic = file.fill_buf().map_err(io_error)?;
        let plain: Box<dyn Read> =
            if magic.starts_with(&GZIP_MAGIC) { Box::new(MultiGzDecoder::new(file)) } else { Box::new(file) };
        Self::parse(path, plain)
    }

    /// The recognised layout.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// The requests by time; the first is at 0 ms.
    pub fn requests(&self) -> &[Request] {
        &self.requests
    }

    fn parse(path: &Path, plain: Box<dyn Read>) -> Result<Self, TraceError> {
        let mut reader =
            csv::ReaderBuilder::new().has_headers(false).flexible(true).trim(csv::Trim::All).from_reader(plain);
        let mut record = csv::ByteRecord::new();
        if !next(path, &mut reader, &mut record)? {
            return Err(TraceError::Empty { path: path.to_owned() });
        }
        let kind = Kind::of_header(&record)
            .ok_or_else(|| TraceError::Header { path: path.to_owned(), found: shown(&record) })?;

        let mut rows: Vec<(i128, u32, u32)> = Vec::new();
        while next(path, &mut reader, &mut record)? {
            if rows.len() == MAX_REQUESTS {
                return Err(TraceError::TooMany { path: path.to_owned() });
            }
            let line = record.position().map_or(0, csv::Position::line);
            let row = kind.row(&record).map_err(|reason| TraceError::Row { path: path.to_owned(), line, reason })?;
            rows.push(row);
        }
        rows.sort_by_key(|row| row.0);
        let Some(&(start, ..)) = rows.first() else {
            return Err(TraceError::NoRequests { path: path.to_owned() });
        };
        let requests = rows
            .into_iter()
            .map(|(at_us, tokens_in, tokens_out)| Request {
                at_ms: u64::try_from((at_us - start) / 1000).unwrap_or(u64::MAX),
                tokens_in,
                tokens_out,
            })
            .collect();
        Ok(Self { kind, requests })
    }
}

impl Kind {
    fn of_header(record: &csv::ByteRecord) -> Option<Self> {
        let starts_with = |header: &str| {
            let mut fields = record.iter().map(|field| field.strip_prefix(UTF8_BOM).unwrap_or(field));
            header.split(',').all(|name| fields.next() == Some(name.as_bytes()))
        };
        if starts_with(AZURE_HEADER) && record.len() == 3 {
            Some(Self::Azure2023)
        } else {
            starts_with(MOONCAKE_HEADER).then_some(Self::Mooncake)
        }
    }

    /// Microseconds since any fixed instant, prompt tokens, answer tokens.
    fn row(self, record: &csv::ByteRecord) -> Result<(i128, u32, u32), &'static str> {
        let fields = match self {
            Self::Azure2023 => record.len() == 3,
            Self::Mooncake => record.len() >= 3,
        };
        if !fields {
            return Err("wrong number of fields");
        }
        let field = |i: usize| record.get(i).and_then(|f| std::str::from_utf8(f).ok());
        let time = field(0).ok_or("the time is not text")?;
        let at_us = match self {
            Self::Azure2023 => {
                let time: DateTime = time.parse().map_err(|_| "the time is not `YYYY-MM-DD HH:MM:SS.fraction`")?;
                time.duration_since(EPOCH).as_micros()
            }
            Self::Mooncake => {
                let ms: u64 = time.parse().map_err(|_| "the time is not a whole number of milliseconds")?;
                i128::from(ms) * 1000
            }
        };
        let tokens = |i: usize| -> Result<u32, &'static str> {
            let count: u32 = field(i).and_then(|f| f.parse().ok()).ok_or("a token count is not a whole number")?;
            if count > MAX_TOKENS { Err("a token count above 10,000,000") } else { Ok(count) }
        };
        Ok((at_us, tokens(1)?, tokens(2)?))
    }
}

fn next(
    path: &Path,
    reader: &mut csv::Reader<Box<dyn Read>>,
    record: &mut csv::ByteRecord,
) -> Result<bool, TraceError> {
    reader.read_byte_record(record).map_err(|error| TraceError::Io { path: path.to_owned(), source: error.into() })
}

fn shown(record: &csv::ByteRecord) -> String {
    let fields: Vec<_> = record.iter().map(String::from_utf8_lossy).collect();
    fields.join(",").chars().filter(|c| !c.is_control()).take(80).collect()
}

/// The header of the Azure LLM inference traces 2023.
pub const AZURE_HEADER: &str = "TIMESTAMP,ContextTokens,GeneratedTokens";
/// How the header of a Mooncake trace starts.
pub const MOONCAKE_HEADER: &str = "timestamp_ms,input_length,output_length";
/// Most requests a trace may hold.
pub const MAX_REQUESTS: usize = 5_000_000;
/// Most tokens a request may have on either side.
pub const MAX_TOKENS: u32 = 10_000_000;

const GZIP_MAGIC: [u8; 2] = [0x1f, 0x8b];
const UTF8_BOM: &[u8] = b"\xef\xbb\xbf";
const EPOCH: DateTime = DateTime::constant(1970, 1, 1, 0, 0, 0, 0);

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Trace, TraceError> {
        Trace::parse(Path::new("t.csv"), Box::new(io::Cursor::new(text.as_bytes().to_vec())))
    }

    #[test]
    fn azure_rows_become_milliseconds_since_the_first() {
        let trace = parse(
            "TIMESTAMP,ContextTokens,GeneratedTokens\n2023-11-16 23:59:59.9990000,5,6\n2023-11-17 00:00:01.5000000,7,8\n",
        )
        .unwrap();
        assert_eq!(trace.kind(), Kind::Azure2023);
        assert_eq!(trace.requests()[0], Request { at_ms: 0, tokens_in: 5, tokens_out: 6 });
        assert_eq!(trace.requests()[1], Request { at_ms: 1501, tokens_in: 7, tokens_out: 8 });
    }

    #[test]
    fn mooncake_rows_are_sorted_and_may_have_more_columns() {
        let trace = parse("\u{feff}timestamp_ms,input_length,output_length,n_blocks\n30,1,2,3\n10,4,5,6\n").unwrap();
        assert_eq!(trace.kind(), Kind::Mooncake);
        assert_eq!(trace.requests().iter().map(|r| (r.at_ms, r.tokens_in)).collect::<Vec<_>>(), [(0, 4), (20, 1)]);
    }

    #[test]
    fn bad_rows_name_their_line() {
        for (text, line) in [
            ("TIMESTAMP,ContextTokens,GeneratedTokens\nyesterday,1,2\n", 2),
            ("TIMESTAMP,ContextTokens,GeneratedTokens\n2023-11-16 18:17:03.9,1,2\n2023-11-16 18:17:04,1\n", 3),
            ("timestamp_ms,input_length,output_length\n1,2,3\n-1,2,3\n", 3),
            ("timestamp_ms,input_length,output_length\n1,2,3\n4,2.5,3\n", 3),
            ("timestamp_ms,input_length,output_length\n1,10000001,3\n", 2),
        ] {
            match parse(text) {
                Err(TraceError::Row { line: found, .. }) => assert_eq!(found, line, "{text}"),
                other => panic!("{text}: {other:?}"),
            }
        }
    }

    #[test]
    fn files_without_requests_are_refused() {
        assert!(matches!(parse(""), Err(TraceError::Empty { .. })));
        assert!(matches!(parse("a,b,c\n1,2,3\n"), Err(TraceError::Header { .. })));
        assert!(matches!(parse("TIMESTAMP,ContextTokens,GeneratedTokens\n"), Err(TraceError::NoRequests { .. })));
        assert!(matches!(Trace::read(Path::new("no/such/file")), Err(TraceError::Io { .. })));
    }

    #[test]
    fn gzip_is_recognised_by_its_bytes() {
        use std::io::Write as _;
        let path = std::env::temp_dir().join(format!("hanzo-trace-{}.csv", std::process::id()));
        let mut encoder = flate2::write::GzEncoder::new(File::create(&path).unwrap(), flate2::Compression::fast());
        encoder.write_all(b"timestamp_ms,input_length,output_length\n7,1,2\n").unwrap();
        encoder.finish().unwrap();
        let trace = Trace::read(&path);
        std::fs::remove_file(&path).unwrap();
        assert_eq!(trace.unwrap().requests().len(), 1);
    }
}
