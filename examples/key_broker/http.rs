//! As much of HTTP/1.1 as one POST with a JSON body needs, on the loopback interface: one exchange a connection.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use serde_json::Value;

/// Longest head and body of a message, in bytes: an evidence message in base64 is the largest.
const MAX_HEAD: u64 = 8 * 1024;
const MAX_BODY: usize = 1_500_000;
const TIMEOUT: Duration = Duration::from_secs(10);

/// Answers requests, one after the other, until it is dropped.
pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Server {
    /// `answer` takes a path and a body, and gives status and body.
    pub(crate) fn start(mut answer: impl FnMut(&str, &Value) -> (u16, Value) + Send + 'static) -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let address = listener.local_addr()?;
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let thread = std::thread::spawn(move || {
            for stream in listener.incoming() {
                if stopped.load(Ordering::SeqCst) {
                    break;
                }
                // A connection that fails is the client's to notice.
                let _ = stream.and_then(|stream| serve(stream, &mut answer));
            }
        });
        Ok(Self { address, stop, thread: Some(thread) })
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
        // Wakes the listener.
        let _ = TcpStream::connect(self.address);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn serve(stream: TcpStream, answer: &mut impl FnMut(&str, &Value) -> (u16, Value)) -> io::Result<()> {
    stream.set_read_timeout(Some(TIMEOUT))?;
    stream.set_write_timeout(Some(TIMEOUT))?;
    let (status, body) = match read(&stream) {
        Ok((start, body)) => match (start.split(' ').collect::<Vec<_>>().as_slice(), serde_json::from_slice(&body)) {
            (["POST", path, "HTTP/1.1"], Ok(body)) => answer(path, &body),
            (["POST", ..], Err(_)) => (400, serde_json::json!({ "error": "body is not JSON" })),
            _ => (405, serde_json::json!({ "error": "only POST is answered" })),
        },
        Err(error) => (400, serde_json::json!({ "error": error.to_string() })),
    };
    let body = body.to_string();
    let head = format!("HTTP/1.1 {status} {}\r\nContent-Type: application/json\r\n", reason(status));
    write!(&stream, "{head}Content-Length: {}\r\nConnection: close\r\n\r\n{body}", body.len())
}

const fn reason(status: u16) -> &'static str {
    match status {
        200 => "OK",
        400 => "Bad Request",
        403 => "Forbidden",
        404 => "Not Found",
        429 => "Too Many Requests",
        _ => "Method Not Allowed",
    }
}

/// Posts a text and gives status and body.
pub(crate) fn post(address: SocketAddr, path: &str, body: &str) -> io::Result<(u16, Value)> {
    let stream = TcpStream::connect_timeout(&address, TIMEOUT)?;
    stream.set_read_timeout(Some(TIMEOUT))?;
    write!(&stream, "POST {path} HTTP/1.1\r\nHost: {address}\r\nContent-Length: {}\r\n\r\n{body}", body.len())?;
    let (start, body) = read(&stream)?;
    let status = start.split(' ').nth(1).and_then(|status| status.parse().ok());
    let status = status.ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "no status"))?;
    Ok((status, serde_json::from_slice(&body)?))
}

/// The first line and the body of a message whose length is stated.
fn read(stream: &TcpStream) -> io::Result<(String, Vec<u8>)> {
    let invalid = |what| io::Error::new(io::ErrorKind::InvalidData, what);
    let mut reader = BufReader::new(stream);
    let mut head = (&mut reader).take(MAX_HEAD);
    let mut start = String::new();
    head.read_line(&mut start)?;
    let mut length = None;
    loop {
        let mut line = String::new();
        if head.read_line(&mut line)? == 0 {
            return Err(invalid("head does not end or is too long"));
        }
        if line.trim_end().is_empty() {
            break;
        }
        if let Some((name, value)) = line.split_once(':')
            && name.eq_ignore_ascii_case("content-length")
        {
            length = value.trim().parse::<usize>().ok();
        }
    }
    let length = length.ok_or_else(|| invalid("no content-length"))?;
    if length > MAX_BODY {
        return Err(invalid("body is too long"));
    }
    let mut body = Vec::new();
    reader.take(length as u64).read_to_end(&mut body)?;
    if body.len() == length { Ok((start.trim_end().into(), body)) } else { Err(invalid("body is cut short")) }
}
