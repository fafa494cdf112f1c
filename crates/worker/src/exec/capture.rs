//! A child's output, read to its end and kept in part: a child that writes without bound fills no memory, and never
//! waits for a reader.

use std::io::Result;

use tokio::io::{AsyncRead, AsyncReadExt};

/// How much is read at once.
const CHUNK: usize = 8192;

/// The beginning of a stream, or its end.
#[derive(Debug)]
pub(super) struct Capture {
    kept: Vec<u8>,
    most: usize,
    end: bool,
    cut: bool,
}

impl Capture {
    /// Keeps the first `most` bytes.
    pub(super) const fn head(most: usize) -> Self {
        Self { kept: Vec::new(), most, end: false, cut: false }
    }

    /// Keeps the last `most` bytes.
    pub(super) const fn tail(most: usize) -> Self {
        Self { kept: Vec::new(), most, end: true, cut: false }
    }

    /// Reads the stream to its end.
    pub(super) async fn read(&mut self, stream: Option<impl AsyncRead + Unpin>) -> Result<()> {
        let Some(mut stream) = stream else { return Ok(()) };
        let mut chunk = vec![0; CHUNK];
        loop {
            let length = stream.read(&mut chunk).await?;
            if length == 0 {
                return Ok(());
            }
            self.add(&chunk[..length]);
        }
    }

    fn add(&mut self, bytes: &[u8]) {
        if self.end {
            self.kept.extend_from_slice(bytes);
            // Twice the length before it is cut: each byte is moved once at most.
            if self.kept.len() > 2 * self.most {
                self.kept.drain(..self.kept.len() - self.most);
                self.cut = true;
            }
        } else {
            let room = self.most - self.kept.len();
            self.kept.extend_from_slice(&bytes[..bytes.len().min(room)]);
            self.cut |= bytes.len() > room;
        }
    }

    /// What was kept, as text; what is not UTF-8 is replaced. A cut tail begins with an ellipsis.
    pub(super) fn text(mut self) -> String {
        if self.end && self.kept.len() > self.most {
            self.kept.drain(..self.kept.len() - self.most);
            self.cut = true;
        }
        let text = String::from_utf8_lossy(&self.kept);
        if self.end && self.cut { format!("…{text}") } else { text.into_owned() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn of(mut capture: Capture, input: &[u8]) -> String {
        capture.read(Some(input)).await.unwrap();
        assert!(capture.kept.capacity() < 8 * CHUNK, "it fills no memory");
        capture.text()
    }

    #[tokio::test]
    async fn the_beginning_or_the_end_is_kept_and_the_rest_is_read_all_the_same() {
        let input: Vec<u8> = (0..1_000_000u32).map(|i| b'a' + (i % 26) as u8).collect();
        assert_eq!(of(Capture::head(5), &input).await, "abcde");
        let last = std::str::from_utf8(&input[input.len() - 5..]).unwrap();
        assert_eq!(of(Capture::tail(5), &input).await, format!("…{last}"));
        assert_eq!(of(Capture::tail(5), b"abc").await, "abc");
        assert_eq!(of(Capture::tail(2), b"abc").await, "…bc");
        assert_eq!(of(Capture::head(2), b"a\xff").await, "a\u{fffd}");
    }
}
