//! Where to listen. A port alone is one of this machine's own, which nobody reaches from outside.

use std::net::{Ipv4Addr, SocketAddr};

/// Reads a port, or an address with one.
pub(super) fn parse(text: &str) -> Result<SocketAddr, String> {
    let port = text.strip_prefix(':').or_else(|| text.strip_prefix("localhost:")).unwrap_or(text);
    if let Ok(port) = port.parse::<u16>() {
        return Ok((Ipv4Addr::LOCALHOST, port).into());
    }
    text.parse().map_err(|_| {
        "it is no place to listen: write a port (9464), which only this machine reaches, or an address with a port \
         (0.0.0.0:9464, [::]:9464), which others reach too"
            .to_owned()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_an_address_that_is_written_out_is_reached_from_outside() {
        for (text, address) in [
            ("9464", "127.0.0.1:9464"),
            (":9464", "127.0.0.1:9464"),
            ("localhost:0", "127.0.0.1:0"),
            ("0.0.0.0:80", "0.0.0.0:80"),
            ("[::]:9464", "[::]:9464"),
        ] {
            assert_eq!(parse(text).unwrap().to_string(), address, "{text}");
        }
        for bad in ["", ":", "99999", "-1", "example.org:80", "10.0.0.1", "::1", "http://localhost:80"] {
            assert!(parse(bad).unwrap_err().contains("9464"), "{bad}");
        }
    }
}
