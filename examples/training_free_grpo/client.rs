//! A client of the chat completions interface that OpenAI's server and many others have, over plain HTTP/1.1: one
//! exchange a connection. Servers that speak TLS alone are reached through a local proxy.

use std::fmt;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::time::Duration;

use hanzo::experience::grpo::{Completion, Llm, Prompt};
use serde_json::{Value, json};

/// Longest head and body of a reply, in bytes.
const MAX_HEAD: u64 = 64 * 1024;
const MAX_BODY: u64 = 4 * 1024 * 1024;
const TIMEOUT: Duration = Duration::from_secs(120);

/// A model behind a server.
pub(crate) struct ChatClient {
    /// Host and port.
    authority: String,
    /// Path of the completions.
    path: String,
    model: String,
    key: Option<String>,
}

/// Why there is no reply.
#[derive(Debug)]
pub(crate) enum ChatError {
    /// The connection failed or broke.
    Io(io::Error),
    /// The server answered with another status than 200.
    Status(u16),
    /// The reply is not what the interface says.
    Malformed(&'static str),
}

impl fmt::Display for ChatError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Io(error) => write!(f, "connection: {error}"),
            Self::Status(status) => write!(f, "the server answered {status}"),
            Self::Malformed(what) => write!(f, "malformed reply: {what}"),
        }
    }
}

impl From<io::Error> for ChatError {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

impl ChatError {
    /// Whether the same call may work a little later.
    pub(crate) fn is_passing(&self) -> bool {
        matches!(self, Self::Io(_) | Self::Status(408 | 429 | 500..=599))
    }
}

impl ChatClient {
    /// A client of `http://host[:port][/base]`.
    ///
    /// # Errors
    /// What is wrong with the address, in one line.
    pub(crate) fn new(url: &str, model: &str, key: Option<String>) -> Result<Self, String> {
        let rest = url.strip_prefix("http://").ok_or("--server must begin with http://")?;
        let (authority, base) = rest.split_once('/').unwrap_or((rest, ""));
        let safe = |text: &str| text.bytes().all(|byte| byte.is_ascii_graphic());
        if authority.is_empty() || !safe(rest) || !key.iter().all(|key| safe(key)) {
            return Err("--server or the key is malformed".into());
        }
        let authority = if authority.contains(':') { authority.to_owned() } else { format!("{authority}:80") };
        let base = base.trim_end_matches('/');
        let slash = if base.is_empty() { "" } else { "/" };
        Ok(Self { authority, path: format!("{slash}{base}/chat/completions"), model: model.to_owned(), key })
    }

    fn post(&self, body: &str) -> Result<Vec<u8>, ChatError> {
        let address = self.authority.to_socket_addrs()?.next().ok_or(ChatError::Malformed("no such host"))?;
        let stream = TcpStream::connect_timeout(&address, TIMEOUT)?;
        stream.set_read_timeout(Some(TIMEOUT))?;
        stream.set_write_timeout(Some(TIMEOUT))?;
        let key = self.key.as_ref().map_or_else(String::new, |key| format!("Authorization: Bearer {key}\r\n"));
        let head = format!(
            "POST {} HTTP/1.1\r\nHost: {}\r\n{key}Content-Type: application/json\r\nContent-Length: {}\r\n\
             Connection: close\r\n\r\n",
            self.path,
            self.authority,
            body.len()
        );
        (&stream).write_all(format!("{head}{body}").as_bytes())?;
        read(BufReader::new(&stream))
    }
}

impl Llm for ChatClient {
    type Error = ChatError;

    fn complete(&mut self, prompt: &Prompt) -> Result<Completion, ChatError> {
        let message = |role: &str, content: &str| json!({"role": role, "content": content});
        let body = json!({
            "model": self.model,
            "messages": [message("system", &prompt.system), message("user", &prompt.user)],
            "temperature": prompt.temperature,
        });
        let reply: Value = serde_json::from_slice(&self.post(&body.to_string())?)
            .map_err(|_| ChatError::Malformed("the body is not JSON"))?;
        let text = reply["choices"][0]["message"]["content"].as_str();
        let text = text.ok_or(ChatError::Malformed("there is no choices[0].message.content"))?.to_owned();
        let tokens = |name: &str| reply["usage"][name].as_u64().unwrap_or(0);
        Ok(Completion { text, prompt_tokens: tokens("prompt_tokens"), completion_tokens: tokens("completion_tokens") })
    }

    fn is_fatal(&self, error: &ChatError) -> bool {
        matches!(error, ChatError::Status(400..=407))
    }
}

/// The body of a reply with status 200, whose end is given by its length, by chunks, or by the end of the connection.
fn read(mut reader: impl BufRead) -> Result<Vec<u8>, ChatError> {
    let mut head = (&mut reader).take(MAX_HEAD);
    let status = line(&mut head)?.split(' ').nth(1).and_then(|status| status.parse().ok());
    let status = status.ok_or(ChatError::Malformed("no status"))?;
    let (mut length, mut chunked) = (None, false);
    loop {
        let line = line(&mut head)?;
        if line.is_empty() {
            break;
        }
        let Some((name, value)) = line.split_once(':') else { continue };
        if name.eq_ignore_ascii_case("content-length") {
            length = value.trim().parse::<u64>().ok();
        }
        chunked |= name.eq_ignore_ascii_case("transfer-encoding") && value.trim().eq_ignore_ascii_case("chunked");
    }
    if status != 200 {
        return Err(ChatError::Status(status));
    }
    let mut body = Vec::new();
    if chunked {
        let mut reader = reader.take(2 * MAX_BODY);
        loop {
            let size = line(&mut reader)?;
            let size = size.split(';').next().and_then(|size| u64::from_str_radix(size.trim(), 16).ok());
            let size = size.ok_or(ChatError::Malformed("no size of a chunk"))?;
            if size == 0 {
                return Ok(body);
            }
            let before = body.len() as u64;
            if before + size.min(MAX_BODY) > MAX_BODY {
                return Err(ChatError::Malformed("the body is too long"));
            }
            (&mut reader).take(size).read_to_end(&mut body)?;
            if body.len() as u64 != before + size || !line(&mut reader)?.is_empty() {
                return Err(ChatError::Malformed("a chunk is cut short"));
            }
        }
    }
    if length.is_some_and(|length| length > MAX_BODY) {
        return Err(ChatError::Malformed("the body is too long"));
    }
    reader.take(length.unwrap_or(MAX_BODY + 1)).read_to_end(&mut body)?;
    match length {
        Some(length) if body.len() as u64 != length => Err(ChatError::Malformed("the body is cut short")),
        None if body.len() as u64 > MAX_BODY => Err(ChatError::Malformed("the body is too long")),
        _ => Ok(body),
    }
}

/// A line without its end.
fn line(reader: &mut impl BufRead) -> Result<String, ChatError> {
    let mut line = String::new();
    if reader.read_line(&mut line)? == 0 {
        return Err(ChatError::Malformed("the reply ends early or its head is too long"));
    }
    Ok(line.trim_end_matches(['\r', '\n']).to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replies_are_read_and_bounded() {
        let of = |text: &str| read(text.as_bytes()).map_err(|error| error.to_string());
        let ok = "HTTP/1.1 200 OK\r\n";
        assert_eq!(of(&format!("{ok}Content-Length: 2\r\n\r\nhi and more")).unwrap(), b"hi");
        assert_eq!(of(&format!("{ok}\r\nto the end")).unwrap(), b"to the end");
        let chunks = format!("{ok}Transfer-Encoding: chunked\r\n\r\n2;x=y\r\nhi\r\n1\r\n!\r\n0\r\n\r\n");
        assert_eq!(of(&chunks).unwrap(), b"hi!");
        for bad in [
            "",
            "HTTP/1.1\r\n\r\n",
            "HTTP/1.1 500 Oops\r\nContent-Length: 0\r\n\r\n",
            &format!("{ok}Content-Length: 3\r\n\r\nhi"),
            &format!("{ok}Content-Length: 99999999999\r\n\r\nhi"),
            &format!("{ok}Transfer-Encoding: chunked\r\n\r\n5\r\nhi\r\n"),
            &format!("{ok}Transfer-Encoding: chunked\r\n\r\nffffffffffffffff\r\nhi\r\n"),
            &format!("{ok}Transfer-Encoding: chunked\r\n\r\nzz\r\n"),
            &format!("{ok}{}", "x: y\r\n".repeat(20_000)),
        ] {
            assert!(of(bad).is_err(), "{bad:.80}");
        }
    }

    #[test]
    fn addresses_are_checked() {
        let client = ChatClient::new("http://localhost/v1/", "m", None).unwrap();
        assert_eq!((client.authority.as_str(), client.path.as_str()), ("localhost:80", "/v1/chat/completions"));
        for bad in ["https://x/v1", "localhost:1", "http://", "http:///v1", "http://a b/", "http://a\r\nx: y/"] {
            assert!(ChatClient::new(bad, "m", None).is_err(), "{bad}");
        }
        assert!(ChatClient::new("http://x", "m", Some("a\r\nb".into())).is_err());
    }
}
