//! Asks once and says the outcome: exit 0 if everything written so far is durable.

use std::io::{Error, Read, Result, Write};
use std::net::TcpStream;
use std::time::Duration;

/// Without a crate; with one (`ureq`, `reqwest`) keep the connections.
fn barrier() -> Result<()> {
    let url = std::env::var("METAMASTER_URL").map_err(Error::other)?;
    let host = url.trim_start_matches("http://");
    let mut stream = TcpStream::connect(host)?;
    stream.set_read_timeout(Some(Duration::from_secs(40)))?;
    write!(stream, "POST /v1/barrier?timeoutSeconds=30 HTTP/1.1\r\nHost: {host}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")?;
    let mut answer = String::new();
    stream.take(16384).read_to_string(&mut answer)?;
    match answer.starts_with("HTTP/1.1 200 ") {
        true => Ok(()),
        false => Err(Error::other(format!("barrier: {answer}"))), // don't acknowledge
    }
}

fn main() {
    if let Err(error) = barrier() {
        eprintln!("{error}");
        std::process::exit(1);
    }
    println!("durable");
}
