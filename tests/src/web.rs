//! Plain requests to a server of the machine's own, each on a connection of its own.

use std::{io, time::Duration};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    time::timeout,
};

/// No answer takes longer. Only a failing test waits so long.
const SOON: Duration = Duration::from_secs(30);

/// The status and the body that are got there.
///
/// # Panics
/// When no answer came in time.
pub async fn get(address: &str, path: &str) -> (u16, String) {
    ask(address, &format!("GET {path} HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n\r\n")).await
}

/// The answer to this JSON.
///
/// # Panics
/// When no answer came in time.
pub async fn post(address: &str, path: &str, json: &str) -> (u16, String) {
    let length = json.len();
    let request = format!(
        "POST {path} HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\ncontent-type: application/json\r\n\
         content-length: {length}\r\n\r\n{json}"
    );
    ask(address, &request).await
}

async fn ask(address: &str, request: &str) -> (u16, String) {
    let answer = timeout(SOON, exchange(address, request)).await;
    let answer =
        answer.unwrap_or_else(|_| panic!("{address} does not answer")).unwrap_or_else(|e| panic!("{address}: {e}"));
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or_else(|| panic!("no answer: {answer}"));
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok());
    (status.unwrap_or_else(|| panic!("no status: {head}")), body.to_owned())
}

async fn exchange(address: &str, request: &str) -> io::Result<String> {
    let mut stream = TcpStream::connect(address).await?;
    stream.write_all(request.as_bytes()).await?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await?;
    Ok(answer)
}
