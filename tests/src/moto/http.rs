//! As much HTTP as the proxy needs: a request and an answer a connection, so that any of both can be broken on purpose.

use std::{io, time::Duration};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    time::timeout,
};

/// Only a failing test waits so long.
const LIMIT: Duration = Duration::from_secs(30);

/// A request.
#[derive(Debug, Clone, Default)]
pub(super) struct Request {
    /// `POST`.
    pub(super) method: String,
    /// With its query.
    pub(super) path: String,
    /// With names in lower case.
    pub(super) headers: Vec<(String, String)>,
    pub(super) body: Vec<u8>,
}

/// An answer.
#[derive(Debug, Clone, Default)]
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) body: String,
    /// When it was given, where that is said.
    pub(super) date: Option<String>,
}

impl Request {
    /// The next one that this connection brings; none if it brings none.
    pub(super) async fn read(stream: &mut TcpStream) -> io::Result<Option<Self>> {
        let mut bytes = Vec::new();
        let (head, rest) = loop {
            if let Some(end) = bytes.windows(4).position(|four| four == b"\r\n\r\n") {
                break (String::from_utf8_lossy(&bytes[..end]).into_owned(), bytes.split_off(end + 4));
            }
            if stream.read_buf(&mut bytes).await? == 0 {
                return Ok(None);
            }
        };
        let mut lines = head.split("\r\n");
        let mut first = lines.next().unwrap_or_default().split(' ').map(str::to_owned);
        let (method, path) = (first.next().unwrap_or_default(), first.next().unwrap_or_default());
        let headers = lines.filter_map(|line| line.split_once(':'));
        let headers = headers.map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned())).collect();
        let mut request = Self { method, path, headers, body: rest };
        let length = request.header("content-length").and_then(|length| length.parse().ok()).unwrap_or(0);
        while request.body.len() < length {
            if stream.read_buf(&mut request.body).await? == 0 {
                return Ok(None);
            }
        }
        Ok(Some(request))
    }

    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    /// Sends it to this host and port, and returns the answer.
    pub(super) async fn send(&self, to: &str) -> io::Result<Answer> {
        let ask = async {
            let mut stream = TcpStream::connect(to).await?;
            let mut head = format!("{} {} HTTP/1.1\r\nconnection: close\r\n", self.method, self.path);
            let left_out = ["connection", "content-length", "accept-encoding", "transfer-encoding", "expect"];
            for (name, value) in self.headers.iter().filter(|(name, _)| !left_out.contains(&name.as_str())) {
                head.extend([name, ": ", value, "\r\n"]);
            }
            head.extend(["content-length: ", &self.body.len().to_string(), "\r\n\r\n"]);
            stream.write_all(head.as_bytes()).await?;
            stream.write_all(&self.body).await?;
            let mut answer = Vec::new();
            stream.read_to_end(&mut answer).await?;
            io::Result::Ok(String::from_utf8_lossy(&answer).into_owned())
        };
        let answer = timeout(LIMIT, ask).await.map_err(io::Error::other)??;
        let (head, body) = answer.split_once("\r\n\r\n").ok_or(io::ErrorKind::UnexpectedEof)?;
        let status = head.split(' ').nth(1).and_then(|status| status.parse().ok());
        Ok(Answer::new(status.ok_or(io::ErrorKind::InvalidData)?, body))
    }
}

impl Answer {
    pub(super) fn new(status: u16, body: impl Into<String>) -> Self {
        Self { status, body: body.into(), date: None }
    }

    /// Writes it, and ends the connection.
    pub(super) async fn write(&self, stream: &mut TcpStream) -> io::Result<()> {
        let Self { status, body, date } = self;
        let date = date.as_ref().map_or_else(String::new, |date| format!("date: {date}\r\n"));
        let kind = if body.starts_with('<') { "text/xml" } else { "text/plain" };
        let head = format!(
            "HTTP/1.1 {status} -\r\nconnection: close\r\ncontent-type: {kind}\r\n{date}content-length: {}\r\n\r\n",
            body.len()
        );
        stream.write_all(head.as_bytes()).await?;
        stream.write_all(body.as_bytes()).await?;
        stream.shutdown().await
    }
}

/// The parameters of a form, in their order.
pub(super) fn parse_form(body: &[u8]) -> Vec<(String, String)> {
    let body = String::from_utf8_lossy(body);
    let pairs = body.split('&').filter_map(|pair| pair.split_once('='));
    pairs.map(|(name, value)| (decode(name), decode(value))).collect()
}

/// Parameters as a form.
pub(super) fn form(parameters: &[(&str, &str)]) -> Vec<u8> {
    let pairs: Vec<String> = parameters.iter().map(|(name, value)| format!("{name}={}", encode(value))).collect();
    pairs.join("&").into_bytes()
}

fn encode(text: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
    text.bytes().map(|byte| if plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") }).collect()
}

fn decode(text: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'+' => b' ',
            b'%' => {
                let mut digit = || rest.next().and_then(|digit| char::from(digit).to_digit(16)).unwrap_or_default();
                (digit() * 16 + digit()) as u8
            }
            byte => byte,
        });
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_form_is_read_as_it_was_written() {
        let parameters = [("a", "x y/ü+%"), ("b.member.1", "")];
        let read = parse_form(&form(&parameters));
        assert_eq!(read, parameters.map(|(name, value)| (name.to_owned(), value.to_owned())));
        assert_eq!(parse_form(b"a=x+y")[0].1, "x y");
    }
}
